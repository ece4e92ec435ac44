"""Limiters."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from sonograd.effects._dynamics import link_channels, ms_param
from sonograd.effects._options import check_number, check_option
from sonograd.effects.base import Effect
from sonograd.functional.ballistics import envelope_follower_stream
from sonograd.functional.delays import delay_line
from sonograd.functional.dynamics import curve_gain
from sonograd.functional.scales import db_to_amplitude
from sonograd.functional.shaping import hard_clip
from sonograd.functional.sliding import sliding_maximum, sliding_sum
from sonograd.params import Param

__all__ = ["Limiter", "TwoStageLimiter"]

_REACH = 12  # samples on either side that a peak between samples depends on
_SILENCE = 1e-12


class Limiter(Effect):
    r"""Keep samples below ``ceiling_db`` without a jump of the gain.

    The reduction that each sample needs is held over the lookahead (sliding maximum), released by
    :func:`~sonograd.functional.envelope_follower`, and averaged over the lookahead. The average
    contains, at the moment of the peak, nothing but values that are at least what the peak needs:
    no sample passes the ceiling (beyond rounding), and the gain in dB moves along straight lines.

    With ``oversample`` the peaks between the samples are looked at too (ITU-R BS.1770, annex 2),
    but not promised: a filter of 24 taps finds them, and the gain moves between them. Measured
    with ideal interpolation at 44.1 kHz, driven 6 dB into the ceiling, a true peak passes it by
    at most 0.03 dB for tones up to 15 kHz, 0.2 dB for noise up to 18 kHz, and 1.4 dB for white
    noise up to half of the sample rate, at ``oversample=4``; without oversampling by 3 dB. Where
    true peaks are measured, set the ceiling lower by as much.
    """

    params = (
        Param("ceiling_db", "dB", -24.0, 0.0, -1.0),
        Param("gain_db", "dB", 0.0, 36.0, 0.0),
        ms_param("release_ms", 100.0, low=1.0),
    )

    def __init__(
        self,
        sample_rate: float,
        *,
        lookahead_ms: float = 5.0,
        oversample: int = 4,
        link: str = "max",
    ) -> None:
        """Choose.

        Args:
            sample_rate: Of the audio, in Hz.
            lookahead_ms: How much earlier the gain starts to fall, and the latency.
            oversample: 1, 2, 4 or 8: how finely peaks are looked for.
            link: ``"max"``: one gain for all channels; ``"none"``: one for each.
        """
        super().__init__(sample_rate)
        self.lookahead_ms = check_number(lookahead_ms, "lookahead_ms", 0, 1000, unit="ms")
        self.oversample = check_option(oversample, "oversample", (1, 2, 4, 8))
        self.link = check_option(link, "link", ("none", "max"))
        self.mixes_channels = link != "none"

    @property
    def latency(self) -> int:
        """The lookahead, and what the filter between the samples needs."""
        return self._window() + (_REACH if self.oversample > 1 else 0)

    def _window(self) -> int:
        return round(self.lookahead_ms * self.sample_rate / 1000)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply by the gain."""
        around, needed, follow, smooth, late = memory or (None,) * 5
        x = x * db_to_amplitude(values["gain_db"]).to(x.dtype)
        peak, around = self._peaks(x, around)
        peak = link_channels(peak, self.link)
        ceiling = (values["ceiling_db"] * (math.log(10) / 20)).to(x.dtype)
        reduction = (peak.clamp_min(_SILENCE).log() - ceiling).clamp_min(0)
        reduction, needed = _windows(reduction, self._window(), needed)
        held = sliding_maximum(reduction, self._window() + 1)
        held, follow = envelope_follower_stream(
            held,
            values["release_ms"].new_zeros(()),
            values["release_ms"][..., 0],
            follow,
            sample_rate=self.sample_rate,
        )
        held, smooth = _windows(held, self._window(), smooth)
        mean = sliding_sum(held, self._window() + 1) / (self._window() + 1)
        x, late = delay_line(x, self.latency, late)
        return x * torch.exp(-mean), (around, needed, follow, smooth, late)

    def _peaks(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Any]:
        """Largest magnitude at and beside each sample, late by the reach of the filter."""
        if self.oversample == 1:
            return x.abs(), None
        joined, state = _windows(x, 2 * _REACH, state)
        rows = joined.reshape(-1, 1, joined.shape[-1])
        between = conv1d(rows, _phases(self.oversample).to(x)).abs().amax(1)
        between = between.reshape(*x.shape[:-1], -1)
        peak = joined[..., _REACH : _REACH + x.shape[-1]].abs()
        return peak.maximum(between[..., :-1]).maximum(between[..., 1:]), state


class TwoStageLimiter(Effect):
    """A compressor (-10 dB, 4:1) into a fast one (1000:1), a gain, and a clipper.

    The limiter of pedalboard; it has no lookahead, so the last stage clips what is left.
    """

    params = (
        Param("threshold_db", "dB", -40.0, 0.0, -10.0),
        ms_param("release_ms", 100.0, low=1.0),
    )

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Run the four stages."""
        first, second = memory or (None, None)
        threshold, release = values["threshold_db"], values["release_ms"]
        fixed = [threshold.new_full((1, 1, 1), v) for v in (-10.0, 0.25, 2.0, 200.0)]
        y, first = self._compress(x, fixed[0], fixed[1], fixed[2], fixed[3], first)
        steep, attack = fixed[1] / 250, fixed[2] / 2000
        y, second = self._compress(y, threshold, steep, attack, release, second)
        makeup = db_to_amplitude(10 * (1 - 0.25) / 2 - threshold)
        return hard_clip(y * makeup.to(y.dtype), 1.0), (first, second)

    def _compress(
        self,
        x: Tensor,
        threshold: Tensor,
        inverse_ratio: Tensor,
        attack_ms: Tensor,
        release_ms: Tensor,
        state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        follow, state = envelope_follower_stream(
            x.abs(), attack_ms[..., 0], release_ms[..., 0], state, sample_rate=self.sample_rate
        )
        return x * curve_gain(follow, threshold_db=threshold, slope=inverse_ratio - 1), state


def _windows(x: Tensor, length: int, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Put the last ``length`` samples of before in front of the block, and remember the next."""
    before = x.new_zeros(*x.shape[:-1], length) if state is None else state
    joined = torch.cat([before, x], dim=-1)
    return joined, joined[..., x.shape[-1] :]


def _phases(factor: int) -> Tensor:
    """Windowed sinc at ``1 / factor``, ... after each sample: ``(factor - 1, 1, 2 * reach)``."""
    shift = torch.arange(1, factor, dtype=torch.float64)[:, None] / factor
    time = torch.arange(-_REACH + 1, _REACH + 1, dtype=torch.float64) - shift
    window = torch.special.i0(7.0 * (1 - (time / _REACH).square()).clamp_min(0).sqrt())
    taps = torch.sinc(time) * window
    normal: Tensor = taps / taps.sum(-1, keepdim=True)
    return normal.unsqueeze(1)
