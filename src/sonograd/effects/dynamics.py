"""Compressors, gates and what else follows the level of a signal."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sonograd.effects._dynamics import (
    Detector,
    link_channels,
    ms_param,
    ratio_param,
)
from sonograd.effects._options import check_option
from sonograd.effects.base import Effect
from sonograd.effects.equalizers import split_bands, split_param
from sonograd.functional._branching import latch
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.ballistics import envelope_follower_stream
from sonograd.functional.delays import delay_line
from sonograd.functional.dynamics import compressor_gain_db, curve_gain, gate_gain_db
from sonograd.functional.scales import db_to_amplitude
from sonograd.params import Param

__all__ = ["Compressor", "DeEsser", "Gate", "MultibandCompressor", "TransientShaper"]

_SILENCE = 1e-12
_THRESHOLD = Param("threshold_db", "dB", -80.0, 0.0, -20.0)
_KNEE = Param("knee_db", "dB", 0.0, 24.0, 0.0)
_MAKEUP = Param("makeup_db", "dB", -24.0, 24.0, 0.0)


def _decibels(level: Tensor) -> Tensor:
    return 20 * torch.log10(level.clamp_min(_SILENCE))


class Compressor(Detector):
    r"""Turn down what is loud, feed-forward.

    A level ``a`` is detected, smoothed by :func:`~sonograd.functional.envelope_follower`, and bent
    by :func:`~sonograd.functional.compressor_gain_db`; with ``smoothing="gain"`` the reduction in
    dB is smoothed instead, after the curve (D. Giannoulis et al., JAES 60(6), 2012). The defaults
    with ``knee_db=0`` are pedalboard's.
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        detector: str = "peak",
        smoothing: str = "level",
        link: str = "none",
        time_convention: str = "juce",
        lookahead_ms: float = 0.0,
    ) -> None:
        """Choose how it listens.

        Args:
            sample_rate: Of the audio, in Hz.
            detector: ``"peak"``, or ``"rms"`` over the additional time ``rms_ms``.
            smoothing: Of the ``"level"``, or of the ``"gain"`` in dB.
            link: ``"none"``: a gain per channel; ``"max"`` or ``"mean"``: one for all.
            time_convention: ``"juce"``, ``"tau"`` or ``"10-90"``, see
                :func:`~sonograd.functional.smoothing_coefficient`.
            lookahead_ms: How much earlier the gain moves; the latency.
        """
        super().__init__(sample_rate)
        self.smoothing = check_option(smoothing, "smoothing", ("level", "gain"))
        self._choose(
            detector=detector,
            link=link,
            time_convention=time_convention,
            lookahead_ms=lookahead_ms,
        )
        times = [ms_param("attack_ms", 5.0), ms_param("release_ms", 100.0)]
        rms = [ms_param("rms_ms", 20.0)] if detector == "rms" else []
        self.declare([_THRESHOLD, ratio_param(), *times, _KNEE, _MAKEUP, *rms])

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply by the gain."""
        mean, follow, late = memory or (None, None, None)
        level, mean = self._level(x, mean, values)
        gain, follow = self.gain(level, follow, values)
        x, late = delay_line(x, self.latency, late)
        return x * gain.to(x.dtype), (mean, follow, late)

    def gain(
        self, level: Tensor, state: Tensor | None, values: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the linear gain for a detected level, and the state of its smoothing."""
        curve = {name: values[name] for name in ("threshold_db", "knee_db")}
        times = (values["attack_ms"], values["release_ms"])
        if self.smoothing == "level":
            follow, state = self._follow(level, *times, state)
            slope = 1 / values["ratio"] - 1
            return curve_gain(follow, slope=slope, makeup_db=values["makeup_db"], **curve), state
        reduction = -compressor_gain_db(
            _decibels(level),
            ratio=values["ratio"].to(level),
            **{name: value.to(level) for name, value in curve.items()},
        )
        reduction, state = self._follow(reduction, *times, state)
        return db_to_amplitude(values["makeup_db"].to(level) - reduction), state


class Gate(Detector):
    r"""Turn down what is soft: a downward expander, at a high ratio a gate.

    The gate opens when the level passes ``threshold_db`` and closes when it has been more than
    ``hysteresis_db`` below for ``hold_ms``. Open, the gain is 1; closed, it falls by
    ``ratio - 1`` dB per dB below the threshold less the hysteresis, at most ``range_db``. With
    the ``"rms"`` detector the mean square rises at once and falls within ``rms_ms``. The defaults
    are pedalboard's, whose ``rms_ms`` is fixed.
    """

    _rms_rises_at_once = True

    def __init__(
        self,
        sample_rate: float,
        *,
        detector: str = "rms",
        smoothing: str = "level",
        link: str = "none",
        time_convention: str = "juce",
        lookahead_ms: float = 0.0,
    ) -> None:
        """Choose how it listens; see :class:`Compressor`.

        With ``smoothing="gain"`` the gain in dB moves with attack and release instead of the
        level, which makes closing after a hold smooth.
        """
        super().__init__(sample_rate)
        self.smoothing = check_option(smoothing, "smoothing", ("level", "gain"))
        self._choose(
            detector=detector,
            link=link,
            time_convention=time_convention,
            lookahead_ms=lookahead_ms,
        )
        params = [
            Param("threshold_db", "dB", -80.0, 0.0, -50.0),
            ratio_param(default=10.0),
            ms_param("attack_ms", 1.0),
            ms_param("release_ms", 100.0),
            Param("hold_ms", "ms", 0.0, 1000.0, 0.0, smooth=False),
            Param("hysteresis_db", "dB", 0.0, 24.0, 0.0),
            Param("range_db", "dB", 0.0, 120.0, 120.0),
        ]
        self.declare([*params, *([ms_param("rms_ms", 50.0)] if detector == "rms" else [])])

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply by the gain."""
        mean, follow, door, late = memory or (None, None, None, None)
        level, mean = self._level(x, mean, values)
        times = (values["attack_ms"], values["release_ms"])
        if self.smoothing == "level":
            level, follow = self._follow(level, *times, follow)
        gain_db, door = self._gain_db(level, door, values)
        if self.smoothing == "gain":
            reduction, follow = self._follow(-gain_db, times[1], times[0], follow)
            gain_db = -reduction
        x, late = delay_line(x, self.latency, late)
        return x * db_to_amplitude(gain_db).to(x.dtype), (mean, follow, door, late)

    def _gain_db(
        self, level: Tensor, state: Tensor | None, values: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        lower_db = values["threshold_db"] - values["hysteresis_db"]
        upper, lower = (db_to_amplitude(v) for v in (values["threshold_db"], lower_db))
        hold = values["hold_ms"] * (self.sample_rate / 1000)
        lead = broadcast_shapes(level.shape[:-1], *(v.shape[:-1] for v in (upper, lower, hold)))
        rows = level.detach().expand(*lead, -1).reshape(-1, level.shape[-1])
        limits = [v.detach().expand(*lead, 1).reshape(-1) for v in (upper, lower, hold.round())]
        if state is None:
            state = limits[0].new_zeros(len(limits[0]), 2)
        is_open, state = latch(rows, *limits, state)
        closed_db = gate_gain_db(
            _decibels(level), threshold_db=lower_db.to(level), ratio=values["ratio"].to(level)
        )
        closed_db = torch.maximum(closed_db, -values["range_db"].to(level))
        is_open = is_open.reshape(*lead, -1)
        return torch.where(is_open, torch.zeros_like(closed_db), closed_db), state


class MultibandCompressor(Effect):
    """A compressor for each of 2 to 5 bands, which add up flat where nothing is turned down.

    The bands come from :func:`~sonograd.functional.crossovers.crossover_sections`; band ``k`` has
    the parameters of :class:`Compressor` with ``bandK_`` before them.
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        bands: int = 3,
        order: int = 4,
        detector: str = "peak",
        smoothing: str = "level",
        link: str = "max",
        time_convention: str = "juce",
    ) -> None:
        """Choose the ``bands``, the ``order`` of the crossover, and the rest as a compressor's."""
        super().__init__(sample_rate)
        self.bands = bands = check_option(bands, "bands", (2, 3, 4, 5))
        self.order = check_option(order, "order", (2, 4, 8))
        self.detector, self.smoothing, self.link = detector, smoothing, link
        self.time_convention = time_convention
        self.mixes_channels = link != "none"
        self.compressor = Compressor(
            sample_rate,
            detector=detector,
            smoothing=smoothing,
            link=link,
            time_convention=time_convention,
        )
        params = [split_param(k, bands) for k in range(bands - 1)]
        for k in range(bands):
            params += [_renamed(p, f"band{k + 1}_{p.name}") for p in self.compressor.params]
        self.declare(params)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Split, compress and add."""
        filters, inner = memory or (None, None)
        parts, filters = split_bands(x, filters, values, self.bands, self.order, self.sample_rate)
        batch = x.shape[0]
        own = {}
        for param in self.compressor.params:
            listed = [values[f"band{k + 1}_{param.name}"] for k in range(self.bands)]
            stacked = torch.stack(torch.broadcast_tensors(*listed))
            own[param.name] = stacked.expand(-1, batch, -1, -1).flatten(0, 1)
        y, inner = self.compressor.process(parts.flatten(0, 1), inner, own)
        return y.unflatten(0, (self.bands, batch)).sum(0), (filters, inner)


class TransientShaper(Effect):
    r"""Sharpen or soften attacks, lengthen or shorten what rings, at any level.

    Three followers with time constants: ``f`` is fast both ways, ``s`` rises within
    ``attack_ms``, ``r`` falls within ``sustain_ms``. The gain is
    ``attack_db * (1 - s / f) + sustain_db * (1 - f / r)``: both parentheses lie in [0, 1], the
    first is near 1 while the sound rises, the second while it falls.
    """

    params = (
        Param("attack_db", "dB", -24.0, 24.0, 0.0),
        Param("sustain_db", "dB", -24.0, 24.0, 0.0),
        ms_param("attack_ms", 20.0, low=1.0, high=200.0),
        ms_param("sustain_ms", 300.0, low=20.0, high=2000.0),
    )
    _rise_ms, _fall_ms = 0.5, 20.0

    def __init__(self, sample_rate: float, *, link: str = "max") -> None:
        """Choose whether channels share their gain: ``"max"``, ``"mean"`` or ``"none"``."""
        super().__init__(sample_rate)
        self.link = check_option(link, "link", ("none", "max", "mean"))
        self.mixes_channels = link != "none"

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply by the gain."""
        level = link_channels(x.abs(), self.link)
        rise, fall = (values["attack_ms"].new_tensor(v) for v in (self._rise_ms, self._fall_ms))
        times = (
            (rise, fall),
            (values["attack_ms"][..., 0], fall),
            (rise, values["sustain_ms"][..., 0]),
        )
        follows, states = [], []
        for k, (up, down) in enumerate(times):
            state = None if memory is None else memory[k]
            follow, state = envelope_follower_stream(
                level, up, down, state, sample_rate=self.sample_rate, time_convention="tau"
            )
            follows.append(follow)
            states.append(state)
        fast, slow, ringing = follows
        rising = 1 - slow / fast.clamp_min(_SILENCE)
        falling = 1 - fast / ringing.clamp_min(_SILENCE)
        audible = fast > _SILENCE
        gain_db = values["attack_db"].to(x) * rising + values["sustain_db"].to(x) * falling
        gain_db = torch.where(audible, gain_db, torch.zeros_like(gain_db))
        return x * db_to_amplitude(gain_db), states


class DeEsser(Effect):
    """Turn down sharp ``s`` sounds: a compressor that listens above ``frequency_hz``.

    ``mode="split"`` turns down the band above only (Linkwitz-Riley, fourth order); ``"wide"`` the
    whole signal.
    """

    def __init__(self, sample_rate: float, *, mode: str = "split", link: str = "max") -> None:
        """Choose what is turned down, and whether channels share their gain."""
        super().__init__(sample_rate)
        self.mode, self.link = check_option(mode, "mode", ("split", "wide")), link
        self.mixes_channels = link != "none"
        self.compressor = Compressor(sample_rate, link=link)
        self.declare(
            [
                Param("frequency_hz", "Hz", 2000.0, 12_000.0, 6000.0, scale="log"),
                Param("threshold_db", "dB", -80.0, 0.0, -30.0),
                ratio_param(),
                ms_param("attack_ms", 3.0),
                ms_param("release_ms", 60.0),
                Param("knee_db", "dB", 0.0, 24.0, 6.0),
            ]
        )

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Split, turn down, and add."""
        filters, follow = memory or (None, None)
        split = {"split1_hz": values["frequency_hz"]}
        parts, filters = split_bands(x, filters, split, 2, 4, self.sample_rate)
        low, high = parts.unbind(0)
        own = {**values, "makeup_db": torch.zeros_like(values["threshold_db"])}
        gain, follow = self.compressor.gain(link_channels(high.abs(), self.link), follow, own)
        y = low + gain * high if self.mode == "split" else gain * x
        return y, (filters, follow)


def _renamed(param: Param, name: str) -> Param:
    return Param(
        name,
        param.unit,
        param.low,
        param.high,
        param.default,
        scale=param.scale,
        smooth=param.smooth,
    )
