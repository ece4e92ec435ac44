"""Levels in bands and frames: what two sounds share whose phases differ."""

import math

import torch
from torch import Tensor

from sonograd.matching.duals import Dual

__all__ = ["Levels"]

_WINDOW_S = 0.046
_BANDS = 48
_LOW_HZ = 40.0
_FLOOR = 1e-7  # of the strongest cell
_NEPER = 10 / math.log(10)


class Levels:
    """Measures levels of parts of an octave in frames, where a reference is heard.

    Attributes:
        reference: Levels of the reference in dB, ``(cells,)``.
    """

    def __init__(self, reference: Tensor, sample_rate: float) -> None:
        """Choose bands and frames.

        Args:
            reference: ``(segments, channels, samples)``.
            sample_rate: In Hz.
        """
        size = 1 << round(math.log2(_WINDOW_S * sample_rate))
        self.size = max(64, min(size, reference.shape[-1]))
        self.window = torch.hann_window(self.size, dtype=torch.float64)
        hz = torch.fft.rfftfreq(self.size, 1 / sample_rate, dtype=torch.float64)
        top = min(18_000.0, 0.46 * sample_rate)
        spread = math.log(max(top / _LOW_HZ, 2.0))
        place = (hz.clamp_min(1e-9) / _LOW_HZ).log() / spread * _BANDS
        band = place.floor().long()
        inside = (band >= 0) & (band < _BANDS)
        used = band[inside].unique()
        self.bins = inside.nonzero()[:, 0]
        self.row = torch.searchsorted(used, band[inside])
        self.count = int(used.numel())
        power = self._summed(self._frames(reference).abs().square())
        self.floor = _FLOOR * float(power.max()) + 1e-30
        # What lies 50 dB under the loudest moment of its band is somebody's noise.
        loudest = power.amax(1, keepdim=True)
        self.heard = (power > 10 * self.floor) & (power > 1e-5 * loudest)
        self.reference = self._in_db(power)[self.heard]

    def of(self, x: Tensor) -> Tensor:
        """Return the levels of a signal in dB, ``(cells,)``."""
        return self._in_db(self._summed(self._frames(x).abs().square()))[self.heard]

    def linearize(self, x: Dual) -> tuple[Tensor, Tensor]:
        """Return the levels and their derivatives, ``(cells,)`` and ``(cells, parameters)``."""
        frames = self._frames(x.value)
        power = self._summed(frames.abs().square())
        rows = [
            (self._summed(2 * (frames.conj() * self._frames(t)).real) / (power + self.floor))[
                self.heard
            ]
            for t in x.tangent
        ]
        levels = self._in_db(power)[self.heard]
        slopes = torch.stack(rows, 1) if rows else levels.new_zeros(levels.numel(), 0)
        return levels, _NEPER * slopes

    def distance(self, x: Tensor) -> float:
        """Return by how many dB a signal misses the reference in the mean, whatever its gain."""
        missing = self.of(x) - self.reference
        if not missing.numel():
            return 0.0
        return float((missing - missing.median()).abs().mean())

    def _frames(self, x: Tensor) -> Tensor:
        parts = x.double().flatten(0, 1).unfold(-1, self.size, self.size // 2)
        spectra: Tensor = torch.fft.rfft(parts * self.window)
        return spectra[..., self.bins]

    def _summed(self, power: Tensor) -> Tensor:
        total = power.new_zeros(*power.shape[:-1], self.count)
        return total.index_add_(-1, self.row, power)

    def _in_db(self, power: Tensor) -> Tensor:
        return 10 * (power + self.floor).log10()
