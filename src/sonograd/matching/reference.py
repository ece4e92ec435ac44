"""Bring one recording closer to another one of different material.

Nothing is recovered here: two songs have no settings in between. What is matched is what can be
measured of each alone: loudness (ITU-R BS.1770), the long-term spectrum of middle and side, how
far levels spread, and width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sonograd.effects import (
    Chain,
    Compressor,
    Effect,
    Gain,
    GraphicEQ,
    MidSideDecode,
    MidSideEncode,
    preset,
)
from sonograd.errors import AudioError, ParameterError
from sonograd.functional.loudness import loudness_lufs
from sonograd.matching.excerpts import survey
from sonograd.matching.sources import Audio, Source

__all__ = ["Distance", "ReferenceResult", "match_reference"]


WARNING = (
    "The recordings hold different material: this is a resemblance in loudness, spectrum, dynamics "
    "and width, not the settings of anyone."
)
_MOST_S = 60.0  # of each recording that is listened to
_LIMIT_DB = 9.0  # of a band
_RIDGE = 0.15
_STEP_S = 0.05


@dataclass(frozen=True)
class Distance:
    """How far two recordings are apart.

    Attributes:
        loudness_lu: Difference of integrated loudness.
        spectrum_db: Root mean square difference of the long-term third-octave spectra of the
            middle, level taken out.
        side_db: The same of the side, level relative to the middle left in; 0 for mono.
        dynamics_db: Mean difference of the quantiles of short-term levels around their median.
        width_db: Difference of the level of the side over that of the middle; 0 for mono.
    """

    loudness_lu: float
    spectrum_db: float
    side_db: float
    dynamics_db: float
    width_db: float


@dataclass(frozen=True)
class ReferenceResult:
    """A chain that brings one recording closer to another one.

    Attributes:
        effect: The chain.
        values: Its values by stage.
        preset: Both as JSON data.
        sample_rate: In Hz.
        before: Distance of the recordings.
        after: Distance once the chain has been applied.
        frequencies_hz: Third octaves, ``(bands,)``.
        spectra_db: Long-term spectra of the middle: source, reference, result, ``(3, bands)``.
        warning: What this is not.
        notes: What was done to the input.
    """

    effect: Chain
    values: Mapping[str, Mapping[str, Any]]
    preset: Mapping[str, Any]
    sample_rate: int
    before: Distance
    after: Distance
    frequencies_hz: Tensor
    spectra_db: Tensor
    warning: str
    notes: tuple[str, ...]

    def process(self, x: Tensor) -> Tensor:
        """Process ``(..., channels, samples)``."""
        y: Tensor = self.effect(x, **self.values)
        return y


def match_reference(
    source: Audio,
    reference: Audio,
    *,
    sample_rate: int | None = None,
    reference_sample_rate: int | None = None,
    amount: float = 1.0,
) -> ReferenceResult:
    """Bring ``source`` closer to ``reference`` in loudness, spectrum, dynamics and width.

    Args:
        source: ``(channels, samples)``, an open file or a path; mono or stereo.
        reference: Other material.
        sample_rate: Of tensors, in Hz.
        reference_sample_rate: Of ``reference``, where it has another one.
        amount: How far to go in spectrum and dynamics, from 0 to 1. Loudness is always met.

    Raises:
        AudioError: If one is silent or shorter than 0.4 s.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount <= 1:
        raise ParameterError(f"amount is {amount!r}; expected a number from 0 to 1")
    first = Source(source, "source", sample_rate)
    second = Source(
        reference,
        "reference",
        reference_sample_rate or sample_rate,
        to_rate=first.sample_rate,
    )
    rate = first.sample_rate
    notes = []
    if second.resampled:
        notes.append(f"reference was resampled from {second.own_rate} to {rate} Hz.")
    x, y = _listen(first), _listen(second)
    if y.shape[0] != x.shape[0]:
        notes.append(f"The source has {x.shape[0]} channels and the reference {y.shape[0]}.")
    goal = _Portrait(y, rate)
    chain, values = _chain(x, goal, rate, float(amount))
    processed = _run(chain, x, values)
    # Loudness last, exactly: a gain changes nothing else.
    missing = goal.loudness - float(loudness_lufs(processed, sample_rate=rate))
    values["gain"] = {"gain_db": max(-60.0, min(24.0, missing))}
    processed = _run(chain, x, values)
    begin, end = _Portrait(x, rate), _Portrait(processed, rate)
    before, after = begin.distance(goal), end.distance(goal)
    said = _about_dynamics(before, after, values["compressor"])
    notes += [said] if said is not None else []
    return ReferenceResult(
        chain,
        values,
        preset(chain, values),
        rate,
        before,
        after,
        begin.centers,
        torch.stack([begin.middle_db, goal.middle_db, end.middle_db]),
        WARNING,
        tuple(notes),
    )


def _run(chain: Chain, x: Tensor, values: Mapping[str, Mapping[str, Any]]) -> Tensor:
    y: Tensor = chain(x, **values)
    return y


def _listen(source: Source) -> Tensor:
    """Read a recording, or a minute of it in ten parts where it is loud enough to matter."""
    if source.channels > 2:
        raise AudioError(f"{source.name} has {source.channels} channels; expected mono or stereo.")
    if source.samples < 0.5 * source.sample_rate:
        raise AudioError(
            f"{source.name} has {source.samples / source.sample_rate:.2f} s; "
            "expected at least 0.5 s."
        )
    most = round(_MOST_S * source.sample_rate)
    if source.samples <= most:
        x = source.read(0, source.samples)
    else:
        part = most // 10
        starts, levels, _ = survey(source)
        keep = starts[(starts + part <= source.samples) & (levels > levels.max() - 30)]
        chosen = keep[torch.linspace(0, keep.numel() - 1, 10).round().long()]
        x = torch.cat([source.read(int(start), part) for start in chosen], dim=-1)
    if float(x.abs().max()) < 1e-6:
        raise AudioError(f"{source.name} is silent; expected sound.")
    return x


class _Portrait:
    """What is measured of one recording."""

    def __init__(self, x: Tensor, sample_rate: int) -> None:
        self.loudness = float(loudness_lufs(x, sample_rate=sample_rate))
        if not math.isfinite(self.loudness):
            self.loudness = -70.0
        middle = x.mean(0)
        side = (x[0] - x[1]) / 2 if x.shape[0] == 2 else torch.zeros_like(middle)
        self.stereo = x.shape[0] == 2 and float(side.square().mean()) > 1e-12
        self.centers, self.middle_db = _thirds(middle, sample_rate)
        self.side_db = _thirds(side, sample_rate)[1]
        size = max(1, round(_STEP_S * sample_rate))
        power = x[..., : x.shape[-1] // size * size].unflatten(-1, (-1, size)).square()
        levels = 10 * torch.log10(power.mean((0, -1)) + 1e-12)
        levels = levels[levels > levels.max() - 50]
        ranks = torch.tensor([0.1, 0.25, 0.75, 0.9, 0.98], dtype=levels.dtype)
        self.spread = levels.quantile(ranks) - levels.median()
        energy = float(middle.square().mean())
        self.width = 10 * math.log10(max(float(side.square().mean()), 1e-12) / max(energy, 1e-12))

    def shape(self) -> Tensor:
        """Spectrum of the middle with its level taken out."""
        loud = self.middle_db > self.middle_db.max() - 60
        return self.middle_db - self.middle_db[loud].mean()

    def distance(self, goal: "_Portrait") -> Distance:
        """Compare."""
        both = (self.middle_db > self.middle_db.max() - 60) & (
            goal.middle_db > goal.middle_db.max() - 60
        )
        apart = (self.shape() - goal.shape())[both]
        side, width = 0.0, 0.0
        if self.stereo and goal.stereo:
            offset = self.side_db - self.middle_db - goal.side_db + goal.middle_db
            side = float(offset[both].clamp(-40, 40).square().mean().sqrt())
            width = self.width - goal.width
        return Distance(
            self.loudness - goal.loudness,
            float((apart - apart.mean()).square().mean().sqrt()),
            side,
            float((self.spread - goal.spread).abs().mean()),
            width,
        )


def _thirds(x: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Long-term spectrum in third octaves, dB."""
    size = min(8192, 1 << (x.numel().bit_length() - 1))
    window = torch.hann_window(size, dtype=x.dtype)
    total = torch.zeros(size // 2 + 1, dtype=x.dtype)
    frames = x.unfold(-1, size, size // 2)
    for part in frames.split(256):
        total += torch.fft.rfft(part * window).abs().square().sum(0)
    total /= frames.shape[0] * window.square().sum()
    hz = torch.linspace(0, sample_rate / 2, total.numel(), dtype=x.dtype)
    centers = 1000.0 * 10 ** (torch.arange(-16, 13, dtype=x.dtype) / 10)
    centers = centers[centers < 0.45 * sample_rate]
    levels = []
    for center in centers.tolist():
        inside = (hz >= center * 10**-0.05) & (hz < center * 10**0.05)
        mean = total[inside].sum() if bool(inside.any()) else total[(hz - center).abs().argmin()]
        levels.append(mean)
    return centers, 10 * torch.log10(torch.stack(levels) + 1e-15)


def _chain(
    x: Tensor, goal: _Portrait, sample_rate: int, amount: float
) -> tuple[Chain, dict[str, dict[str, Any]]]:
    """Equalize middle and side, then compress, then set the level."""
    stereo = x.shape[0] == 2
    stages: dict[str, Effect] = {}
    if stereo:
        stages["encode"] = MidSideEncode(sample_rate)
    stages["graphic_eq"] = GraphicEQ(sample_rate, bands=31)
    if stereo:
        stages["decode"] = MidSideDecode(sample_rate)
    stages["compressor"] = Compressor(sample_rate, link="max" if stereo else "none")
    stages["gain"] = Gain(sample_rate)
    chain = Chain(**stages)
    values: dict[str, dict[str, Any]] = {"gain": {"gain_db": 0.0}, "compressor": {"ratio": 1.0}}
    gains = torch.zeros(x.shape[0], len(chain.stage("graphic_eq").params), dtype=torch.float64)
    for _ in range(2):  # what a compressor does to the spectrum is put right in the second round
        now = _Portrait(_run(chain, x, values), sample_rate)
        gains = gains + amount * _missing(chain, now, goal, stereo)
        gains = gains.clamp(-_LIMIT_DB, _LIMIT_DB)
        values["graphic_eq"] = _banded(chain, gains)
        values["compressor"] = _compressor(chain, x, values, goal, sample_rate, amount)
    return chain, values


def _missing(chain: Chain, now: _Portrait, goal: _Portrait, stereo: bool) -> Tensor:
    """Gains ``(channels, bands)`` that are missing, smoothed, less where little sounds."""
    equalizer = chain.stage("graphic_eq")
    assert isinstance(equalizer, GraphicEQ)  # made above
    rows = [goal.shape() - now.shape()]
    if stereo:
        side = (goal.side_db - goal.middle_db) - (now.side_db - now.middle_db)
        known = now.stereo and goal.stereo
        rows.append(rows[0] + side if known else rows[0])
    levels = [now.middle_db, now.side_db]
    found = []
    for row, level in zip(rows, levels, strict=False):
        trust = 1 / (1 + 10 ** ((level.max() - 55 - level) / 10))
        smooth = torch.nn.functional.avg_pool1d(
            torch.nn.functional.pad((row * trust)[None, None], (1, 1), mode="replicate"), 3, 1
        )[0, 0]
        found.append((1 - _RIDGE) * smooth)
    ours = equalizer.centers_hz.double().log()
    theirs = now.centers.log()
    return torch.stack([_interpolate(ours, theirs, f) for f in found])


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Read lines between points; the ends are held."""
    right = torch.searchsorted(x, at).clamp(1, x.numel() - 1)
    part = ((at - x[right - 1]) / (x[right] - x[right - 1])).clamp(0, 1)
    return y[right - 1] + part * (y[right] - y[right - 1])


def _banded(chain: Chain, gains: Tensor) -> dict[str, Any]:
    names = [p.name for p in chain.stage("graphic_eq").params]
    if gains.shape[0] == 1:
        return {name: float(gains[0, k]) for k, name in enumerate(names)}
    return {name: gains[None, :, k].clone() for k, name in enumerate(names)}


def _compressor(
    chain: Chain,
    x: Tensor,
    values: Mapping[str, Mapping[str, Any]],
    goal: _Portrait,
    sample_rate: int,
    amount: float,
) -> dict[str, float]:
    """Choose a ratio, at most 6, whose levels spread as those of the reference."""
    plain = _run(chain, x, {**values, "compressor": {"ratio": 1.0}})
    level = plain.abs().reshape(-1)[:: max(1, plain.numel() // 100_000)]
    level = level[level > 1e-4]
    ranks = torch.tensor([0.3, 0.6, 0.85], dtype=level.dtype)
    thresholds = level.quantile(ranks).tolist() if level.numel() else [0.1]
    best: dict[str, float] = {"ratio": 1.0, "threshold_db": -20.0}
    least = float((_Portrait(plain, sample_rate).spread - goal.spread).abs().mean())
    nearest, chosen = math.inf, thresholds[0]

    def attempt(threshold: float, ratio: float) -> None:
        nonlocal best, least, nearest, chosen
        given = {
            "ratio": 1 + amount * (ratio - 1),
            "threshold_db": max(-80.0, min(0.0, 20 * math.log10(max(threshold, 1e-4)))),
            "attack_ms": 8.0,
            "release_ms": 120.0,
            "knee_db": 6.0,
        }
        now = _Portrait(_run(chain, x, {**values, "compressor": given}), sample_rate)
        apart = float((now.spread - goal.spread).abs().mean()) + 0.02 * (ratio - 1)
        if apart < nearest:
            nearest, chosen = apart, threshold
        if apart < least:
            best, least = given, apart

    for threshold in thresholds:
        attempt(threshold, 2.0)
    for ratio in (1.25, 1.6, 3.0, 4.0, 6.0):
        attempt(chosen, ratio)
    return best


def _about_dynamics(before: Distance, after: Distance, values: Mapping[str, Any]) -> str | None:
    """Tell where the dynamics did not come closer, and why."""
    idle = values["ratio"] <= 1.0
    if not idle and after.dynamics_db < before.dynamics_db:
        return None
    if idle and after.dynamics_db > 0.5:
        return (
            "The dynamics were left alone: the levels of the reference do not spread less than "
            "those of the source, and a compressor can only bring levels together."
        )
    if after.dynamics_db >= before.dynamics_db + 0.05:
        return "The dynamics did not come closer: the equalizer moved the levels apart."
    return None
