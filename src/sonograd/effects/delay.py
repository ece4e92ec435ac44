"""Echoes: one delay line with feedback, several taps, and from side to side."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sonograd.effects._options import check_flag, check_whole
from sonograd.effects.base import Effect
from sonograd.functional import butterworth, db_to_amplitude
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.delays import moving_delay
from sonograd.functional.feedback_delays import feedback_delay
from sonograd.functional.modulation import note_beats
from sonograd.params import Param

__all__ = ["Delay", "MultitapDelay", "PingPongDelay"]

_TIME = Param("delay_ms", "ms", 1.0, 2000.0, 300.0, scale="log")
_TEMPO = Param("tempo_bpm", "1", 30.0, 300.0, 120.0, scale="log")
_FEEDBACK = Param("feedback", "1", -0.99, 0.99, 0.3)
_MIX = Param("mix", "1", 0.0, 1.0, 0.5, moves=True)
_LOOP = (
    Param("low_cut_hz", "Hz", 20.0, 2_000.0, 80.0, scale="log"),
    Param("high_cut_hz", "Hz", 500.0, 20_000.0, 6_000.0, scale="log"),
)


class Delay(Effect):
    """An echo that fades: ``y = (1 - mix) x + mix w[n - D]``, ``w = x + feedback h * w[n - D]``.

    ``D`` may lie between samples (third-order Lagrange, which darkens high tones a little) and
    moves continuously. In a ``filtered`` delay, ``h`` takes away 6 dB per octave below
    ``low_cut_hz`` and above ``high_cut_hz`` at each repetition; otherwise it is 1. With ``sync``,
    the time is that of a note at ``tempo_bpm``. It is at least three samples.
    """

    params: tuple[Param, ...] = (_TIME, _FEEDBACK, _MIX)

    def __init__(
        self, sample_rate: float, *, filtered: bool = False, sync: str | None = None
    ) -> None:
        """Choose what is in the loop.

        Args:
            sample_rate: Of the audio, in Hz.
            filtered: Whether the loop has its two filters.
            sync: A note, like ``"1/8."``; the parameter is ``tempo_bpm`` then, not ``delay_ms``.
        """
        super().__init__(sample_rate)
        self.filtered = check_flag(filtered, "filtered")
        self.sync = sync
        self._beats = None if sync is None else note_beats(sync)
        time = _TIME if sync is None else _TEMPO
        self.declare([time, *type(self).params[1:], *(_LOOP if filtered else ())])
        longest = _TIME.high / 1000 if self._beats is None else self._beats * 60 / _TEMPO.low
        shortest = _TIME.low / 1000 if self._beats is None else self._beats * 60 / _TEMPO.high
        self._least = max(shortest * self.sample_rate, 3.0)
        self._limit = max(longest * self.sample_rate, self._least + 1)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the echoes, see :func:`~sonograd.functional.feedback_delay`."""
        wet, memory = self._echo(x, memory, values, crossed=False)
        mix = values["mix"].to(x.dtype)
        return x + mix * (wet - x), memory

    def _echo(
        self, x: Tensor, memory: Any, values: Mapping[str, Tensor], *, crossed: bool
    ) -> tuple[Tensor, Any]:
        sections = None
        if self.filtered:
            low, high = values["low_cut_hz"][..., 0], values["high_cut_hz"][..., 0]
            rate = self.sample_rate
            cuts = (
                butterworth(1, low, sample_rate=rate, kind="high_pass"),
                butterworth(1, high, sample_rate=rate, kind="low_pass"),
            )
            shape = broadcast_shapes(cuts[0].shape, cuts[1].shape)
            sections = torch.cat([cut.expand(shape) for cut in cuts], dim=-2)
        if self._beats is None:
            seconds = values["delay_ms"] / 1000
        else:
            seconds = self._beats * 60 / values["tempo_bpm"]
        return feedback_delay(
            x,
            (seconds * self.sample_rate).clamp_min(self._least),
            values["feedback"],
            least=self._least,
            limit=self._limit,
            loop_filter=sections,
            crossed=crossed,
            state=memory,
        )


class PingPongDelay(Delay):
    """Echoes from side to side: left after ``D``, right after ``2 D``, and so on.

    The mean of the input channels enters the left line; each line feeds the other, ``feedback``
    as loud. Mono becomes stereo. Otherwise as :class:`Delay`.
    """

    params = tuple(replace(param, per_channel=False) for param in (_TIME, _FEEDBACK, _MIX))
    channel_counts = (1, 2)
    mixes_channels = True

    def output_channels(self, channels: int) -> int:
        """Return 2."""
        return 2

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the echoes, see :func:`~sonograd.functional.feedback_delay`."""
        middle = x.mean(dim=1, keepdim=True)
        entering = torch.cat([middle, torch.zeros_like(middle)], dim=1)
        wet, memory = self._echo(entering, memory, values, crossed=True)
        mix = values["mix"].to(x.dtype)
        return x + mix * (wet - x), memory


class MultitapDelay(Effect):
    """Several echoes: ``y = (1 - mix) x + mix sum_k g_k x[n - D_k]``, between samples too."""

    params = ()

    def __init__(self, sample_rate: float, *, taps: int = 4) -> None:
        """Choose the number of taps, 1 to 16; they start 150 ms apart, 3 dB quieter each."""
        super().__init__(sample_rate)
        self.taps = taps = check_whole(taps, "taps", 1, 16)
        params = [_MIX]
        for k in range(1, taps + 1):
            time = min(150.0 * k, 2000.0)
            params.append(Param(f"tap_{k}_ms", "ms", 1.0, 2000.0, time, scale="log", moves=True))
            params.append(Param(f"tap_{k}_db", "dB", -60.0, 12.0, -3.0 * (k - 1), moves=True))
        self.declare(params)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the echoes, see :func:`~sonograd.functional.moving_delay`."""
        wet = torch.zeros_like(x)
        line = memory
        for k in range(1, self.taps + 1):
            delay = values[f"tap_{k}_ms"] * (self.sample_rate / 1000)
            echo, memory = moving_delay(x, delay, limit=2 * self.sample_rate, state=line)
            wet = wet + db_to_amplitude(values[f"tap_{k}_db"]).to(x.dtype) * echo
        mix = values["mix"].to(x.dtype)
        return x + mix * (wet - x), memory
