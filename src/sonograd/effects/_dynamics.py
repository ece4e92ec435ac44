"""What dynamics processors share: detectors, links between channels, delays for looking ahead."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sonograd.effects._options import check_number, check_option
from sonograd.effects.base import Effect
from sonograd.functional.ballistics import TimeConvention, envelope_follower_stream
from sonograd.params import Param

__all__ = ["Detector", "link_channels", "ms_param", "ratio_param"]

_FLOOR = 1e-24  # of a mean square, where the square root has no slope


def ms_param(name: str, default: float, *, low: float = 0.01, high: float = 2000.0) -> Param:
    """Declare a time in milliseconds."""
    return Param(name, "ms", low, high, default, scale="log")


def ratio_param(name: str = "ratio", default: float = 4.0) -> Param:
    """Declare a ratio."""
    return Param(name, "1", 1.0, 100.0, default, scale="slope")


class Detector(Effect):
    """Base of processors that follow a level and turn it into a gain.

    Attributes:
        detector: ``"peak"`` or ``"rms"``; the latter has the parameter ``rms_ms``.
        link: ``"none"``, ``"max"`` or ``"mean"``.
        time_convention: What times mean, see :func:`~sonograd.functional.smoothing_coefficient`.
        lookahead_ms: How far the gain looks ahead.
    """

    audio_inputs = ("side_chain",)
    detector: str
    link: str
    time_convention: TimeConvention
    lookahead_ms: float
    _rms_rises_at_once = False

    def _choose(
        self, *, detector: str, link: str, time_convention: str, lookahead_ms: float
    ) -> None:
        self.detector = check_option(detector, "detector", ("peak", "rms"))
        self.link = check_option(link, "link", ("none", "max", "mean"))
        conventions: tuple[TimeConvention, ...] = ("juce", "tau", "10-90")
        self.time_convention = check_option(time_convention, "time_convention", conventions)
        self.lookahead_ms = check_number(lookahead_ms, "lookahead_ms", 0, 1000, unit="ms")
        self.mixes_channels = link != "none"

    @property
    def latency(self) -> int:
        """The lookahead in samples."""
        return round(self.lookahead_ms * self.sample_rate / 1000)

    def _follow(
        self, level: Tensor, attack_ms: Tensor, release_ms: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return envelope_follower_stream(
            level,
            attack_ms[..., 0],
            release_ms[..., 0],
            state,
            sample_rate=self.sample_rate,
            time_convention=self.time_convention,
        )

    def _level(
        self, x: Tensor, state: Tensor | None, values: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Detect the level of the side chain, or of ``x``, with linked channels."""
        x = values.get("side_chain", x)
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # squares need more than half
        if self.detector == "peak":
            return link_channels(x.abs(), self.link), None
        times = values["rms_ms"]
        if self.link != "none":
            times = times.mean(-2, keepdim=True)
        power = link_channels(x * x, self.link)
        rise = torch.zeros_like(times) if self._rms_rises_at_once else times
        power, state = self._follow(power, rise, times, state)
        return power.clamp_min(_FLOOR).sqrt(), state


def link_channels(level: Tensor, link: str) -> Tensor:
    """Replace the levels ``(batch, channels, samples)`` by their maximum or mean over channels."""
    if link == "none" or level.shape[-2] == 1:
        return level
    return level.amax(-2, keepdim=True) if link == "max" else level.mean(-2, keepdim=True)
