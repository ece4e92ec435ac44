"""Drive: curves that bend the signal, fewer bits, lower rates."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sonograd.effects._options import check_whole
from sonograd.effects.base import Effect
from sonograd.functional import db_to_amplitude
from sonograd.functional.oversampling import oversample, oversampling_latency
from sonograd.functional.shaping import (
    asymmetric_clip,
    bit_crush,
    cubic_clip,
    hard_clip,
    sample_and_hold,
    soft_clip,
    wave_fold,
)
from sonograd.params import Param

__all__ = [
    "AsymmetricClip",
    "BitCrush",
    "Clipping",
    "CubicClip",
    "Distortion",
    "RateReduction",
    "SoftClip",
    "WaveFolder",
]

_DRIVE = Param("drive_db", "dB", -24.0, 60.0, 12.0)
_OUTPUT = Param("output_db", "dB", -60.0, 24.0, 0.0)


class _Shaper(Effect):
    """A curve applied to each sample, at a multiple of the sample rate if wanted."""

    def __init__(self, sample_rate: float, *, oversampling: int = 1) -> None:
        """Choose the multiple of the sample rate.

        Args:
            sample_rate: Of the audio, in Hz.
            oversampling: 1 to 8. Overtones above half of the raised rate still fold back;
                above 1, the output is 64 samples late.
        """
        super().__init__(sample_rate)
        self.oversampling = check_whole(oversampling, "oversampling", 1, 8)

    @property
    def latency(self) -> int:
        """That of the filters of the oversampling."""
        return oversampling_latency(self.oversampling)

    @abstractmethod
    def bend(self, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Apply the curve to ``(batch, channels, any number)``."""

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Bend each sample."""
        ready = {name: value.to(x.dtype) for name, value in values.items()}
        return oversample(x, lambda high: self.bend(high, ready), self.oversampling, memory)


class _Driven(_Shaper):
    """A curve between a gain before and one after."""

    params = (_DRIVE, _OUTPUT)

    @abstractmethod
    def curve(self, x: Tensor) -> Tensor:
        """Return the curve at ``x``."""

    def bend(self, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Apply drive, curve and output gain."""
        driven = self.curve(db_to_amplitude(values["drive_db"]) * x)
        return db_to_amplitude(values["output_db"]) * driven


class Distortion(_Driven):
    """``tanh``: ``y = g_out tanh(g_drive x)``."""

    def curve(self, x: Tensor) -> Tensor:
        """Return ``tanh(x)``."""
        return x.tanh()


class SoftClip(_Driven):
    """A softer knee: ``y = g_out f(g_drive x)`` with ``f(x) = x / sqrt(1 + x^2)``."""

    def curve(self, x: Tensor) -> Tensor:
        """Return the bent signal, see :func:`~sonograd.functional.soft_clip`."""
        return soft_clip(x)


class CubicClip(_Driven):
    """``x - 4/27 x^3``: third harmonic alone as long as nothing reaches 3/2 after the drive."""

    def curve(self, x: Tensor) -> Tensor:
        """Return the bent signal, see :func:`~sonograd.functional.cubic_clip`."""
        return cubic_clip(x)


class WaveFolder(_Driven):
    """Fold back what is too loud: ``y = g_out (2 / pi) sin(pi / 2 g_drive x)``."""

    def curve(self, x: Tensor) -> Tensor:
        """Return the folded signal, see :func:`~sonograd.functional.wave_fold`."""
        return wave_fold(x)


class AsymmetricClip(_Shaper):
    """``tanh`` pushed to one side by ``bias``, with even harmonics, like a tube."""

    params = (_DRIVE, Param("bias", "1", -2.0, 2.0, 0.3), _OUTPUT)

    def bend(self, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Apply drive, curve and output gain, see :func:`~sonograd.functional.asymmetric_clip`."""
        driven = asymmetric_clip(db_to_amplitude(values["drive_db"]) * x, values["bias"])
        return db_to_amplitude(values["output_db"]) * driven


class Clipping(_Shaper):
    """Cut off what passes ``threshold_db``: ``y = min(max(x, -T), T)``."""

    params = (Param("threshold_db", "dB", -60.0, 0.0, -6.0),)

    def bend(self, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Clip, see :func:`~sonograd.functional.hard_clip`."""
        return hard_clip(x, db_to_amplitude(values["threshold_db"]))


class BitCrush(_Shaper):
    """Round to fewer bits: ``y = round(2^b x) / 2^b``, with straight-through gradients."""

    params = (Param("bits", "1", 1.0, 24.0, 8.0, smooth=False),)

    def bend(self, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Round, see :func:`~sonograd.functional.bit_crush`."""
        return bit_crush(x, values["bits"])


class RateReduction(Effect):
    """Hold samples for a period of a lower rate; aliases are the point of it.

    See :func:`~sonograd.functional.sample_and_hold`.
    """

    params = (Param("rate_hz", "Hz", 100.0, 48_000.0, 8_000.0, scale="log", smooth=False),)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Sample and hold."""
        return sample_and_hold(x, values["rate_hz"], sample_rate=self.sample_rate, state=memory)
