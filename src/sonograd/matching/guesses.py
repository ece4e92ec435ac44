"""Where to start: closed forms and small searches for each kind of stage."""

import math
from collections.abc import Mapping
from functools import partial
from itertools import product

import torch
from torch import Tensor

from sonograd.effects import (
    Chain,
    Chorus,
    Compressor,
    Delay,
    Distortion,
    Effect,
    Freeverb,
    Gain,
    Gate,
    ParametricEQ,
    TwoStageLimiter,
    Width,
)
from sonograd.matching._threads import side_by_side
from sonograd.matching.align import cross_spectra
from sonograd.matching.equalize import (
    BandResponse,
    EqualizerFit,
    band_response,
    fit_bands,
    flipped,
)
from sonograd.matching.levels import Levels
from sonograd.matching.stages import run_stage, stages_of

__all__ = ["best_gain", "replaced_bands", "starting_points"]

_NEPER = math.log(10) / 20
Values = dict[str, float]


def best_gain(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the factor that turns ``x`` into ``y`` best, and the energy that remains."""
    power = float(x.square().sum())
    if power <= 0:
        return 0.0, float(y.square().sum())
    factor = float((x * y).sum()) / power
    return factor, float((y - factor * x).square().sum())


def loudness(x: Tensor, y: Tensor) -> float:
    """Return the factor that gives ``x`` the energy of ``y``."""
    power = float(x.square().sum())
    return math.sqrt(float(y.square().sum()) / power) if power > 0 else 0.0


def decibels(factor: float) -> float:
    """Return the level of a factor; -120 dB for 0."""
    return 20 * math.log10(max(abs(factor), 1e-6))


def starting_points(
    chain: Chain,
    dry: Tensor,
    wet: Tensor,
    base: Mapping[str, Mapping[str, float]],
    held: set[str],
    *,
    width: int = 4,
    seed: int = 0,
    levels: Levels | None = None,
) -> list[dict[str, Values]]:
    """Return values to start from, most promising first.

    A beam goes through the chain: each stage proposes values for the signal that reaches it, and
    the proposals that leave the least energy, with the best gain, survive.

    Args:
        chain: The stages.
        dry: ``(segments, channels, samples)``, float64.
        wet: Aligned with it.
        base: Values of what is held, and defaults.
        held: ``"stage.parameter"`` of what is held.
        width: How many survive a stage.
        seed: Of random proposals.
        levels: Of wet, where phases say nothing: energies and distances are then those of levels.
    """
    stages = stages_of(chain)
    beam: list[tuple[float, dict[str, Values], Tensor]] = [(0.0, {}, dry)]
    for place, (name, stage) in enumerate(stages):
        known = {f"{name}.{p.name}" for p in stage.params} <= held
        target = wet
        if not known and not isinstance(stage, ParametricEQ) and levels is None:
            target = _before(wet, dry, stages[place + 1 :], base, held, seed)
        own = {k: v for k, v in base[name].items() if f"{name}.{k}" in held}
        free = isinstance(stage, Compressor) and f"{name}.makeup_db" not in held
        proposals: list[list[Values]] = [[{}]] * len(beam)
        if not known:
            phase = levels is None
            proposals = side_by_side(
                [partial(_propose, stage, x, target, seed, phase=phase) for _, _, x in beam]
            )
        asked = [(*item, p) for item, some in zip(beam, proposals, strict=True) for p in some]
        tried = side_by_side(
            [
                partial(_tried, stage, x, target, {**base[name], **p, **own}, levels, makeup=free)
                for _, _, x, p in asked
            ]
        )
        grown = [
            (left, {**chosen, name: values}, y)
            for (_, chosen, _, _), (left, values, y) in zip(asked, tried, strict=True)
        ]
        grown.sort(key=lambda item: item[0])
        beam = grown[:width]
    return [chosen for _, chosen, _ in beam]


def _tried(
    stage: Effect, x: Tensor, y: Tensor, values: Values, levels: Levels | None, *, makeup: bool
) -> tuple[float, Values, Tensor]:
    """Return what values leave of ``y``, the values with a makeup gain if free, and the output."""
    found = run_stage(stage, x, values)
    if makeup:
        factor = best_gain(found, y)[0] if levels is None else loudness(found, y)
        values = {**values, "makeup_db": max(-24.0, min(24.0, decibels(factor)))}
        found = found * abs(factor)
    left = best_gain(found, y)[1] if levels is None else levels.distance(found)
    return left, values, found


def replaced_bands(
    chain: Chain,
    dry: Tensor,
    wet: Tensor,
    values: Mapping[str, Mapping[str, float]],
    name: str,
    *,
    seed: int = 0,
    context: int = 0,
) -> Values | None:
    """Fit the bands of one equalizer anew, from what enters it to what should leave it.

    What should leave it is wet with the gain of later dynamics divided out and later filters
    turned over; None where a later stage cannot be undone so.
    """
    stages = stages_of(chain)
    place = [n for n, _ in stages].index(name)
    x = dry
    for before, stage in stages[:place]:
        x = run_stage(stage, x, values[before])
    equalizer = chain.stage(name)
    assert isinstance(equalizer, ParametricEQ)  # by its name
    y = run_stage(equalizer, x, values[name])
    target = wet
    factor = torch.ones_like(y)
    for later, stage in stages[place + 1 :]:
        if not isinstance(stage, (Gain, Compressor, Gate)):
            return None
        z = run_stage(stage, y, values[later])
        safe = y.abs() > 1e-7
        factor = factor * torch.where(safe, z / torch.where(safe, y, torch.ones_like(y)), 1.0)
        y = z
    # A gate that is shut would blow up what it hides.
    limit = 1e-3 * float(factor.abs().max())
    factor = torch.where(factor.abs() < limit, torch.full_like(factor, math.inf), factor)
    target = target / factor
    rate = equalizer.sample_rate
    long = x.shape[-1] - context > 6 * rate
    measured = band_response(
        x[..., context:], target[..., context:], sample_rate=rate, size=32_768 if long else 16_384
    )
    begin = dict(values[name])
    fits = fit_bands(equalizer, measured, starts=6, iterations=20, seed=seed, begin=begin)
    return dict(fits[0].values)


def _before(
    wet: Tensor,
    dry: Tensor,
    later: list[tuple[str, Effect]],
    base: Mapping[str, Mapping[str, float]],
    held: set[str],
    seed: int,
) -> Tensor:
    """Undo the equalizer that follows, as far as it is known or the transfer function shows it."""
    for name, stage in later:
        if isinstance(stage, ParametricEQ) and all(
            kind in {"peak", "low_shelf", "high_shelf"} for kind in stage.bands
        ):
            values = base[name]
            if not {f"{name}.{p.name}" for p in stage.params} <= held:
                measured = band_response(dry, wet, sample_rate=stage.sample_rate)
                values = fit_bands(stage, measured, starts=8, rounds=2, seed=seed)[0].values
            return run_stage(stage, wet, flipped(values))
    return wet


def _propose(stage: Effect, x: Tensor, y: Tensor, seed: int, *, phase: bool) -> list[Values]:
    if isinstance(stage, Gain):
        factor = best_gain(x, y)[0] if phase else loudness(x, y)
        return [{"gain_db": max(-60.0, min(24.0, decibels(factor)))}]
    if isinstance(stage, ParametricEQ):
        if phase:
            measured = band_response(x, y, sample_rate=stage.sample_rate)
        else:
            measured = _magnitudes(x, y, stage.sample_rate)
        fits = fit_bands(stage, measured, seed=seed)
        return [dict(fit.values) for fit in _distinct(fits, 3)]
    if isinstance(stage, Compressor):
        return _compressors(x, 4)
    if isinstance(stage, TwoStageLimiter):
        levels = _levels(x, (0.7, 0.9, 0.98))
        return [{"threshold_db": t, "release_ms": r} for t in levels for r in (50.0, 200.0)]
    if isinstance(stage, Gate):
        levels = _levels(x, (0.2, 0.4, 0.6, 0.8))
        times = ((1.0, 50.0), (5.0, 150.0))
        return [
            {"threshold_db": t, "ratio": r, "attack_ms": a, "release_ms": b}
            for t, r, (a, b) in product(levels, (2.0, 6.0), times)
        ]
    if isinstance(stage, Distortion):
        return _drives(x, y)
    if isinstance(stage, Width):
        return [_width(x, y)]
    if isinstance(stage, Delay):
        return _delays(stage, x, y)
    if isinstance(stage, Chorus):
        return _choruses(stage, x, y)
    if isinstance(stage, Freeverb):
        rooms = product((0.2, 0.5, 0.8), (0.2, 0.6))
        return [
            {"room_size": r, "damping": d, "wet": 0.33, "dry": 0.4, "width": 0.7} for r, d in rooms
        ]
    return _anywhere(stage, seed)


def _magnitudes(x: Tensor, y: Tensor, sample_rate: float, bands: int = 80) -> BandResponse:
    """Measure a transfer function whose phase is lost: by the power in bands, before and after."""
    power_x, power_y, _, _ = cross_spectra(x, y, 8192)
    bins = torch.linspace(0, sample_rate / 2, power_x.numel(), dtype=torch.float64)
    top = min(18_000.0, 0.46 * sample_rate)
    edges = torch.logspace(math.log10(30.0), math.log10(top), bands + 1, dtype=torch.float64)
    band = torch.bucketize(bins, edges) - 1
    inside = (band >= 0) & (band < bands)
    sums = torch.zeros(3, bands, dtype=torch.float64)
    rows = torch.stack([power_x, power_y, power_x * bins])[:, inside]
    sums.index_add_(1, band[inside], rows)
    heard = sums[0] > 1e-9 * sums[0].max()
    before, after, center = sums[:, heard]
    response = (after / before).sqrt().to(torch.complex128)
    trust = torch.full_like(before, 0.9)
    return BandResponse(center / before, response, trust, phase=False)


def _anywhere(stage: Effect, seed: int) -> list[Values]:
    """Return the defaults, and points spread over the ranges."""
    count = 4 * len(stage.params)
    draws = torch.quasirandom.SobolEngine(max(len(stage.params), 1), scramble=True, seed=seed)
    points = draws.draw(min(count, 24)).double()[:, : len(stage.params)]
    found: list[Values] = [{}]
    for point in points:
        values = stage.from_unit(point)
        found.append({name: float(v) for name, v in values.items()})
    return found


def _distinct(fits: list[EqualizerFit], count: int) -> list[EqualizerFit]:
    """Keep the best fits that differ in cost."""
    kept = fits[:1]
    for fit in fits[1:]:
        if len(kept) == count:
            break
        if all(abs(fit.cost - other.cost) > 1e-3 * other.cost for other in kept):
            kept.append(fit)
    return kept


def _levels(x: Tensor, ranks: tuple[float, ...]) -> list[float]:
    """Return quantiles of the magnitude in dB, silence left out."""
    level = x.abs().reshape(-1)[:: max(1, x.numel() // 100_000)]
    level = level[level > 1e-4 * float(level.max())]
    if not level.numel():
        return [-20.0 for _ in ranks]
    found = torch.quantile(level, torch.tensor(ranks, dtype=level.dtype))
    return [max(-79.0, min(-0.5, decibels(float(v)))) for v in found]


def _compressors(x: Tensor, times: int) -> list[Values]:
    pairs = ((1.0, 60.0), (8.0, 120.0), (25.0, 300.0), (0.3, 150.0))[:times]
    return [
        {"threshold_db": t, "ratio": r, "attack_ms": a, "release_ms": b}
        for t, r, (a, b) in product(_levels(x, (0.5, 0.75, 0.9)), (2.0, 5.0), pairs)
    ]


def _drives(x: Tensor, y: Tensor) -> list[Values]:
    """For each drive the output gain in closed form."""
    found = []
    for drive in (0.0, 6.0, 12.0, 18.0, 24.0, 36.0):
        bent = torch.tanh(math.exp(drive * _NEPER) * x)
        factor, _ = best_gain(bent, y)
        found.append({"drive_db": drive, "output_db": max(-60.0, min(24.0, decibels(factor)))})
    return found


def _width(x: Tensor, y: Tensor) -> Values:
    middle = best_gain(x[:, :1] + x[:, 1:2], y[:, :1] + y[:, 1:2])[0]
    side = best_gain(x[:, :1] - x[:, 1:2], y[:, :1] - y[:, 1:2])[0]
    ratio = side / middle if abs(middle) > 1e-9 else 1.0
    return {"width": max(0.0, min(2.0, ratio))}


def _delays(stage: Delay, x: Tensor, y: Tensor) -> list[Values]:
    """Peaks of the impulse response between both, three beyond its first 10 ms and one before.

    What is as near as that may as well come from a filter.
    """
    size = 1 << (2 * x.shape[-1] - 1).bit_length()
    a, b = torch.fft.rfft(x, size), torch.fft.rfft(y, size)
    power = a.abs().square().sum((0, 1))
    response = torch.fft.irfft((a.conj() * b).sum((0, 1)) / (power + 1e-3 * power.mean()), size)
    rate = stage.sample_rate
    near, far = round(0.001 * rate), round(0.01 * rate)
    found = []
    for first, last, count in ((far, round(2.0 * rate), 3), (near, far, 1)):
        line = response[first : min(last, x.shape[-1] - 1)].abs()
        for _ in range(count if line.numel() else 0):
            place = int(line.argmax())
            direct, echo = float(response[0]), float(response[place + first])
            mix = abs(echo) / max(abs(echo) + abs(direct), 1e-9)
            for feedback in (0.2, 0.5):
                found.append(
                    {"delay_ms": 1000 * (place + first) / rate, "mix": mix, "feedback": feedback}
                )
            line[max(place - 50, 0) : place + 50] = 0
    return found or [{}]


def _choruses(stage: Chorus, x: Tensor, y: Tensor) -> list[Values]:
    """Lay swinging delays over a map of when which delay is heard, and keep the brightest.

    The map is a deconvolution in short windows; a delay whose rate is wrong crosses what is bright
    in it and does not follow it.
    """
    rate = stage.sample_rate
    size, hop, top = round(0.09 * rate), round(0.02 * rate), round(0.03 * rate)
    if x.shape[-1] < 4 * size:
        return [{}]
    window = torch.hann_window(size, dtype=x.dtype)
    length = 1 << (size + top).bit_length()
    a, b = (torch.fft.rfft(v.mean((0, 1)).unfold(-1, size, hop) * window, length) for v in (x, y))
    power = a.abs().square()
    floor = 1e-2 * power.mean(-1, keepdim=True) + 1e-12
    heard = torch.fft.irfft(a.conj() * b / (power + floor), length)[:, :top]
    heard[:, : round(0.0008 * rate)] = 0  # the direct sound
    heard = heard.square() / heard.square().sum(-1, keepdim=True).clamp_min(1e-12)
    loud = power.mean(-1)
    heard = heard * (loud > 1e-4 * loud.max())[:, None]
    time = (torch.arange(heard.shape[0], dtype=x.dtype) * hop + size / 2) / rate
    seconds = x.shape[-1] / rate
    spots = {p.name: p for p in stage.params}
    slow, fast = max(spots["rate_hz"].low, 0.1), min(spots["rate_hz"].high, 8.0)
    grid = [
        torch.arange(slow, fast, 0.2 / seconds, dtype=x.dtype),
        torch.arange(0.02, 0.8, 0.03, dtype=x.dtype),
        torch.arange(2.0, 16.0, 0.3, dtype=x.dtype),
    ]
    found = _brightest(_blurred(heard, round(0.0002 * rate)), time, rate, stage, grid, 6)
    for narrower in (3, 9, 27):
        blurred = _blurred(heard, max(1, round(0.0002 * rate / narrower)))
        steps = [0.2 / seconds / narrower, 0.03 / narrower, 0.3 / narrower]
        around = torch.arange(-3, 4, dtype=x.dtype) / 2
        fine = []
        for _, point in found[:3]:
            axes = [p + s * around for p, s in zip(point, steps, strict=True)]
            fine += _brightest(blurred, time, rate, stage, axes, 2)
        found = sorted(fine, key=lambda item: -item[0])
    return [
        {"rate_hz": r, "depth": max(d, 0.0), "center_ms": c, "mix": mix, "feedback": 0.0}
        for _, (r, d, c) in found[:3]
        for mix in (0.3, 0.5)
    ]


def _blurred(heard: Tensor, reach: int) -> Tensor:
    """Widen a map over delays."""
    return torch.nn.functional.max_pool1d(heard[None], 2 * reach + 1, 1, reach)[0]


def _brightest(
    heard: Tensor,
    time: Tensor,
    rate: float,
    stage: Chorus,
    axes: list[Tensor],
    count: int,
) -> list[tuple[float, tuple[float, float, float]]]:
    """Sum a map along ``center_ms + 10 depth lfo`` for all points of a grid; brightest first."""
    depths, centers = axes[1], axes[2]
    rows = torch.arange(heard.shape[0])
    found: list[tuple[float, tuple[float, float, float]]] = []
    for hz in axes[0].tolist():
        swing = torch.sin(2 * math.pi * (hz * time + stage.phase))
        delay_ms = centers[None, :, None] + 10 * depths[:, None, None] * swing
        place = (delay_ms.clamp_min(1.0) * (rate / 1000)).round().long()
        score = heard[rows, place.clamp_max(heard.shape[1] - 1)].sum(-1)
        best = int(score.argmax())
        i, j = divmod(best, len(centers))
        found.append((float(score[i, j]), (hz, float(depths[i]), float(centers[j]))))
    return sorted(found, key=lambda item: -item[0])[:count]
