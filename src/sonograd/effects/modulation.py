"""Effects that a slow oscillation moves."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonograd.effects._options import check_number, check_option
from sonograd.effects.base import Effect
from sonograd.functional.delays import moving_delay
from sonograd.functional.feedback_delays import feedback_delay
from sonograd.functional.modulation import (
    LFO_SHAPES,
    LfoShape,
    lfo,
    note_beats,
    sweeping_all_pass,
)
from sonograd.functional.stereo import pan_gains
from sonograd.params import Param

__all__ = ["AutoPan", "Chorus", "Flanger", "Phaser", "RingModulation", "Tremolo", "Vibrato"]

_RATE = Param("rate_hz", "Hz", 0.01, 20.0, 1.0, scale="log", moves=True)
_TEMPO = Param("tempo_bpm", "1", 30.0, 300.0, 120.0, scale="log", moves=True)
_DEPTH = Param("depth", "1", 0.0, 1.0, 0.5, moves=True)
_SPREAD = Param("spread_deg", "deg", 0.0, 180.0, 0.0, per_channel=False)
_FEEDBACK = Param("feedback", "1", -0.95, 0.95, 0.0)
_MIX = Param("mix", "1", 0.0, 1.0, 0.5, moves=True)


class _Modulated(Effect):
    """An effect with a low-frequency oscillator."""

    def __init__(
        self,
        sample_rate: float,
        *,
        shape: LfoShape = "sine",
        phase: float = 0.0,
        sync: str | None = None,
    ) -> None:
        """Choose the oscillator.

        Args:
            sample_rate: Of the audio, in Hz.
            shape: See :func:`~sonograd.functional.lfo`.
            phase: Where it starts, in turns.
            sync: A note that one turn lasts, like ``"1/4"``; the parameter is ``tempo_bpm`` then,
                not ``rate_hz``.
        """
        super().__init__(sample_rate)
        check_option(shape, "shape", LFO_SHAPES)
        self.shape = shape
        self.phase = check_number(phase, "phase", unit="turns")
        self.sync = sync
        self._beats = None if sync is None else note_beats(sync)
        if sync is not None:
            tempo = replace(_TEMPO, per_channel=_named(type(self).params, "rate_hz").per_channel)
            own = [tempo if param.name == "rate_hz" else param for param in type(self).params]
            self.declare(own)

    def oscillate(
        self, x: Tensor, memory: Tensor | None, values: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the oscillation ``(1 or batch, 1 or channels, samples)`` and its state."""
        if self._beats is None:
            rate = values["rate_hz"]
        else:
            rate = values["tempo_bpm"] / (60 * self._beats)
        phase: float | Tensor = self.phase
        if "spread_deg" in values:
            # From one channel to the next; the last one has all of it.
            place = torch.arange(x.shape[1], device=x.device) / max(x.shape[1] - 1, 1)
            phase = phase + values["spread_deg"] / 360 * place.to(rate)[:, None]
        return lfo(
            rate,
            x.shape[-1],
            sample_rate=self.sample_rate,
            shape=self.shape,
            phase=phase,
            state=memory,
        )


class Tremolo(_Modulated):
    """Loudness that swings: ``y = (1 - depth (1 - lfo) / 2) x``."""

    params = (_RATE, _DEPTH, _SPREAD)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply."""
        swing, memory = self.oscillate(x, memory, values)
        gain = 1 - values["depth"] * (1 - swing) / 2
        return gain.to(x.dtype) * x, memory


class AutoPan(_Modulated):
    """A place that swings: :class:`~sonograd.effects.Pan` at ``center + depth lfo``."""

    params = (
        replace(_RATE, per_channel=False),
        replace(_DEPTH, default=1.0, per_channel=False),
        Param("center", "1", -1.0, 1.0, 0.0, moves=True, per_channel=False),
    )
    channel_counts = (1, 2)

    def output_channels(self, channels: int) -> int:
        """Return 2."""
        return 2

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply each side with its gain."""
        swing, memory = self.oscillate(x, memory, values)
        pan = (values["center"] + values["depth"] * swing).clamp(-1, 1)
        return torch.cat(pan_gains(pan), dim=1).to(x.dtype) * x, memory


class RingModulation(_Modulated):
    """The product with a tone: ``y = (1 - mix) x + mix lfo x``, sum and difference frequencies."""

    params = (Param("rate_hz", "Hz", 1.0, 10_000.0, 440.0, scale="log", moves=True), _MIX)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply."""
        swing, memory = self.oscillate(x, memory, values)
        return (1 + values["mix"] * (swing - 1)).to(x.dtype) * x, memory


class Vibrato(_Modulated):
    """A pitch that swings: a delay of ``depth_ms (1 + lfo) / 2``, third-order Lagrange.

    It looks one sample ahead, which is its latency.
    """

    params = (
        replace(_RATE, default=5.0),
        Param("depth_ms", "ms", 0.0, 20.0, 1.0, moves=True),
        _SPREAD,
    )

    @property
    def latency(self) -> int:
        """One sample."""
        return 1

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Read in the past, see :func:`~sonograd.functional.moving_delay`."""
        phase, line = (None, None) if memory is None else memory
        swing, phase = self.oscillate(x, phase, values)
        delay = values["depth_ms"] * (1 + swing) / 2 * (self.sample_rate / 1000) + 1
        y, line = moving_delay(x, delay, limit=0.02 * self.sample_rate + 1, state=line)
        return y, (phase, line)


class Chorus(_Modulated):
    """A second voice: a delay of ``max(1 ms, center_ms + 10 depth lfo)``, between samples linear.

    ``w = x - feedback v[n - 1]``, ``v = w[n - d]``, ``y = (1 - mix) x + mix v``. The oscillation
    is ``-sin`` by default.
    """

    params = (
        _RATE,
        replace(_DEPTH, default=0.25),
        Param("center_ms", "ms", 1.0, 50.0, 7.0, scale="log", moves=True),
        _FEEDBACK,
        _MIX,
        _SPREAD,
    )

    def __init__(
        self,
        sample_rate: float,
        *,
        shape: LfoShape = "sine",
        phase: float = 0.5,
        sync: str | None = None,
    ) -> None:
        """Choose the oscillator: its shape, where it starts in turns, and the note it follows."""
        super().__init__(sample_rate, shape=shape, phase=phase, sync=sync)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the voice, see :func:`~sonograd.functional.feedback_delay`."""
        phase, line = (None, None) if memory is None else memory
        swing, phase = self.oscillate(x, phase, values)
        delay_ms = (values["center_ms"] + 10 * values["depth"] * swing).clamp_min(1.0)
        wet, line = feedback_delay(
            x,
            (delay_ms * (self.sample_rate / 1000)).clamp_min(3.0),
            -values["feedback"],
            least=max(0.001 * self.sample_rate, 3.0),
            limit=0.06 * self.sample_rate + 3,
            interpolation="linear",
            late=True,
            state=line,
        )
        return x + values["mix"].to(x.dtype) * (wet - x), (phase, line)


class Flanger(_Modulated):
    """A comb that sweeps: a delay of ``center_ms (1 + depth lfo)``, not below 0.5 ms.

    ``w = x + feedback v``, ``v = w[n - d]`` (third-order Lagrange), ``y = (1 - mix) x + mix v``.
    """

    params = (
        replace(_RATE, default=0.25),
        replace(_DEPTH, default=0.7),
        Param("center_ms", "ms", 0.5, 20.0, 3.0, scale="log", moves=True),
        replace(_FEEDBACK, default=0.3),
        _MIX,
        _SPREAD,
    )

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the delayed signal, see :func:`~sonograd.functional.feedback_delay`."""
        phase, line = (None, None) if memory is None else memory
        swing, phase = self.oscillate(x, phase, values)
        delay_ms = values["center_ms"] * (1 + values["depth"] * swing)
        least = max(0.0005 * self.sample_rate, 3.0)
        wet, line = feedback_delay(
            x,
            (delay_ms * (self.sample_rate / 1000)).clamp_min(least),
            values["feedback"],
            least=least,
            limit=0.04 * self.sample_rate + 3,
            state=line,
        )
        return x + values["mix"].to(x.dtype) * (wet - x), (phase, line)


class Phaser(_Modulated):
    r"""Notches that sweep: six first-order all-passes, mixed with the dry signal.

    Their frequency moves on a logarithmic scale from 20 Hz to ``min(20 kHz, 0.49 sample_rate)``
    by half of ``depth`` around ``center_hz``, in steps of four samples; the output is fed back
    with the opposite sign, one sample late. The oscillation is ``-sin`` by default.
    See :func:`~sonograd.functional.sweeping_all_pass`.
    """

    params = (
        _RATE,
        _DEPTH,
        Param("center_hz", "Hz", 20.0, 20_000.0, 1_300.0, scale="log", moves=True),
        _FEEDBACK,
        _MIX,
        _SPREAD,
    )
    _HOLD = 4

    def __init__(
        self,
        sample_rate: float,
        *,
        shape: LfoShape = "sine",
        phase: float = 0.5,
        sync: str | None = None,
    ) -> None:
        """Choose the oscillator: its shape, where it starts in turns, and the note it follows."""
        super().__init__(sample_rate, shape=shape, phase=phase, sync=sync)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Sweep the notches."""
        phase, filters, held, place = (None, None, None, 0) if memory is None else memory
        swing, phase = self.oscillate(x, phase, values)
        low = math.log(20.0)
        span = math.log(min(20_000.0, 0.49 * self.sample_rate)) - low
        center = (values["center_hz"].log() - low) / span
        position = (center + 0.5 * values["depth"] * swing).clamp(0, 1)
        position, held = self._hold(position, held, place)
        warped = torch.tan(math.pi / self.sample_rate * torch.exp(low + span * position))
        coefficient = (warped - 1) / (warped + 1)
        wet, filters = sweeping_all_pass(x, coefficient, values["feedback"], state=filters)
        y = x + values["mix"].to(x.dtype) * (wet.to(x.dtype) - x)
        place = (place + x.shape[-1]) % self._HOLD
        return y, (phase, filters, held, place)

    def _hold(self, moving: Tensor, held: Tensor | None, place: int) -> tuple[Tensor, Tensor]:
        """Hold every fourth value; ``place`` is that of the first sample among the four."""
        before = moving[..., :1] if held is None else held
        line = torch.cat([before, moving], dim=-1)
        time = torch.arange(moving.shape[-1], device=moving.device)
        first = (time + place) // self._HOLD * self._HOLD - place
        steps = line[..., (first + 1).clamp_min(0)]
        return steps, steps[..., -1:]


def _named(params: tuple[Param, ...], name: str) -> Param:
    return next(param for param in params if param.name == name)
