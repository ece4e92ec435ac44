"""Equalizers with fixed bands, and crossovers."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sonograd.effects._options import check_option, check_whole
from sonograd.effects.base import Effect
from sonograd.errors import ParameterError
from sonograd.functional.convolution import convolve_stream, partition_kernel
from sonograd.functional.crossovers import crossover_sections
from sonograd.functional.fir import interpolate_response, linear_phase_fir, minimum_phase_fir
from sonograd.functional.graphic_eq import graphic_eq_centers, graphic_eq_sections
from sonograd.functional.recursion import sosfilt_stream
from sonograd.functional.scales import db_to_amplitude
from sonograd.params import Param

__all__ = ["Crossover", "FirEQ", "GraphicEQ", "split_param"]

_MOST_TAPS = (1 << 20) - 1
_QUALITY = {10: 2**0.5, 31: 4.318}
# As they are written on the front: ISO 266 rounds 1000 * 10^(k / 10).
_NOMINAL = (
    20, 25, 31, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600,
    2000, 2500, 3150, 4000, 5000, 6300, 8000, 10_000, 12_500, 16_000, 20_000,
)  # fmt: skip


class _Bands(Effect):
    """Gains at fixed frequencies: ``gain_1000hz_db`` and so on."""

    def _declare_bands(self, bands: int, limit_db: float) -> None:
        self.bands = check_option(bands, "bands", (10, 31))
        self.centers_hz = graphic_eq_centers(self.bands, sample_rate=self.sample_rate)
        if not len(self.centers_hz):
            lowest = float(graphic_eq_centers(self.bands, sample_rate=math.inf)[0])
            raise ParameterError(
                f"sample_rate is {self.sample_rate}; expected at least {lowest / 0.48:.0f} Hz: "
                f"the lowest band lies at {lowest:.1f} Hz"
            )
        names = _NOMINAL if self.bands == 31 else _NOMINAL[2::3]
        self.declare(
            [
                Param(f"gain_{name}hz_db", "dB", -limit_db, limit_db, 0.0)
                for name in names[: len(self.centers_hz)]
            ]
        )

    def _gains(self, values: Mapping[str, Tensor]) -> Tensor:
        listed = [values[param.name] for param in self.params]
        return torch.cat(torch.broadcast_tensors(*listed), dim=-1)


class GraphicEQ(_Bands):
    """Ten octave or 31 third-octave bells; at the centers the gains are met exactly.

    The bells overlap, so their own gains are solved for:
    :func:`~sonograd.functional.graphic_eq.graphic_eq_sections`. Bands above 0.48 of the sample
    rate do not exist.
    """

    def __init__(self, sample_rate: float, *, bands: int = 10) -> None:
        """Choose 10 or 31 ``bands``."""
        super().__init__(sample_rate)
        self._declare_bands(bands, 12.0)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Filter with all bells in a row."""
        sections = graphic_eq_sections(
            self._gains(values),
            self.centers_hz.to(x.device),
            _QUALITY[self.bands],
            sample_rate=self.sample_rate,
        )
        return sosfilt_stream(x, sections, memory)


class FirEQ(_Bands):
    """A smooth curve through gains at octaves or thirds, without feedback.

    With ``phase="linear"`` all frequencies are late by the same ``(taps - 1) / 2`` samples, which
    calling makes up for; with ``"minimum"`` there is no delay. A narrow band at the bottom needs
    many taps: about ``2 * sample_rate`` over its width in Hz.
    """

    def __init__(
        self, sample_rate: float, *, bands: int = 10, taps: int = 2047, phase: str = "linear"
    ) -> None:
        """Choose 10 or 31 ``bands``, an odd number of ``taps``, ``"linear"`` or ``"minimum"``."""
        super().__init__(sample_rate)
        self.phase = check_option(phase, "phase", ("linear", "minimum"))
        self.taps = check_whole(taps, "taps", 3, _MOST_TAPS, odd=True)
        self._declare_bands(bands, 24.0)

    @property
    def latency(self) -> int:
        """Half of the filter where its phase is linear."""
        return self.taps // 2 if self.phase == "linear" else 0

    def kernel(self, values: Mapping[str, Tensor]) -> Tensor:
        """Design the impulse response, ``(1 or batch, 1 or channels, taps)``, float64."""
        bins = 1 + (1 << self.taps.bit_length())
        magnitude = interpolate_response(
            self.centers_hz, self._gains(values), bins, sample_rate=self.sample_rate
        )
        design = linear_phase_fir if self.phase == "linear" else minimum_phase_fir
        return design(magnitude, self.taps)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Convolve."""
        single = torch.promote_types(x.dtype, torch.float32)  # FFTs know no half precision
        kernel = self.kernel(values).to(single)
        y, memory = convolve_stream(x.to(single), partition_kernel(kernel), memory)
        return y.to(x.dtype), memory


class Crossover(Effect):
    """Split into bands, give each its gain, and add them: flat where all gains are 0 dB.

    Linkwitz-Riley filters with phase compensation,
    :func:`~sonograd.functional.crossovers.crossover_sections`; :meth:`split` gives the bands.
    Splits closer than they are in order are sorted.
    """

    def __init__(self, sample_rate: float, *, bands: int = 2, order: int = 4) -> None:
        """Choose 2 to 5 ``bands`` and the ``order`` 2, 4 or 8: 12, 24 or 48 dB per octave."""
        super().__init__(sample_rate)
        self.bands = bands = check_option(bands, "bands", (2, 3, 4, 5))
        self.order = check_option(order, "order", (2, 4, 8))
        splits = [split_param(k, bands) for k in range(bands - 1)]
        gains = [Param(f"band{k + 1}_gain_db", "dB", -60.0, 12.0, 0.0) for k in range(bands)]
        self.declare([*splits, *gains])

    def split(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Return the bands ``(bands, batch, channels, samples)`` of the next block."""
        return split_bands(x, memory, values, self.bands, self.order, self.sample_rate)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Split, weight and add."""
        parts, memory = self.split(x, memory, values)
        gains = [values[f"band{k + 1}_gain_db"] for k in range(self.bands)]
        weights = torch.stack(torch.broadcast_tensors(*gains))
        return (db_to_amplitude(weights).to(x.dtype) * parts).sum(0), memory


def split_param(k: int, bands: int) -> Param:
    """Declare the frequency between band ``k`` and the next one, from 0.

    The ranges are staggered: splits at the same place of their range are in order.
    """
    start = 120.0 * (6000 / 120) ** ((k + 0.5) / (bands - 1)) if bands > 2 else 1000.0
    low, high = 20.0 * 2.0**k, 20_000.0 / 2.0 ** (bands - 2 - k)
    return Param(f"split{k + 1}_hz", "Hz", low, high, round(start, 1), scale="log")


def split_bands(
    x: Tensor,
    memory: Any,
    values: Mapping[str, Tensor],
    bands: int,
    order: int,
    sample_rate: float,
) -> tuple[Tensor, Any]:
    """Filter a block into bands ``(bands, batch, channels, samples)``."""
    splits = [values[f"split{k + 1}_hz"] for k in range(bands - 1)]
    frequencies = torch.cat(torch.broadcast_tensors(*splits), dim=-1).sort(dim=-1).values
    sections = crossover_sections(frequencies, sample_rate=sample_rate, order=order)
    return sosfilt_stream(x.expand(bands, *x.shape), sections, memory)
