"""Accumulators of measures that compare spectrograms."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from sonograd.functional.spectral_measures import (
    bleedless_fullness,
    l1_frequency,
    log_spectral_distance,
    multi_resolution_stft_distance,
)
from sonograd.metrics.base import Accumulator

__all__ = ["BleedlessFullnessScore", "L1Frequency", "LogSpectralDistance", "MRSTFTDistance"]


class BleedlessFullnessScore(Accumulator):
    """Bleedless and fullness, see :func:`~sonograd.functional.bleedless_fullness`."""

    name: ClassVar[str] = "bleedless_fullness"
    value_names: ClassVar[tuple[str, ...]] = ("bleedless", "fullness")
    improvable: ClassVar[frozenset[str] | None] = frozenset({"bleedless"})
    unit: ClassVar[str] = "%"

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``bleedless`` and ``fullness``."""
        scores = bleedless_fullness(
            estimate.double(), reference.double(), sample_rate=self.sample_rate
        )
        return {"bleedless": scores.bleedless, "fullness": scores.fullness}


class L1Frequency(Accumulator):
    """MSST's "l1_freq", see :func:`~sonograd.functional.l1_frequency`."""

    name: ClassVar[str] = "l1_freq"
    value_names: ClassVar[tuple[str, ...]] = ("l1_freq",)
    unit: ClassVar[str] = "%"

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``l1_freq``."""
        return {"l1_freq": l1_frequency(estimate.double(), reference.double())}


class LogSpectralDistance(Accumulator):
    """Log-spectral distance, see :func:`~sonograd.functional.log_spectral_distance`.

    The mean over channels.
    """

    name: ClassVar[str] = "log_spectral_distance"
    value_names: ClassVar[tuple[str, ...]] = ("log_spectral_distance",)
    higher_is_better: ClassVar[bool | None] = False

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``log_spectral_distance``."""
        value = log_spectral_distance(estimate.double(), reference.double())
        return {"log_spectral_distance": value.mean(-1)}


class MRSTFTDistance(Accumulator):
    """See :func:`~sonograd.functional.multi_resolution_stft_distance`.

    The mean over channels.
    """

    name: ClassVar[str] = "mrstft_distance"
    value_names: ClassVar[tuple[str, ...]] = ("mrstft_distance",)
    unit: ClassVar[str] = "1"
    higher_is_better: ClassVar[bool | None] = False

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``mrstft_distance``."""
        value = multi_resolution_stft_distance(estimate.double(), reference.double())
        return {"mrstft_distance": value.mean(-1)}
