"""Accumulators of loudness and peaks."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sonograd.functional.loudness import loudness_lufs
from sonograd.functional.true_peak import true_peak_dbtp
from sonograd.metrics.base import Accumulator

__all__ = ["LoudnessDifference", "TruePeak"]


class LoudnessDifference(Accumulator):
    """How much louder the estimate is, see :func:`~sonograd.functional.loudness_lufs`.

    NaN where either is silent for the gate.
    """

    name: ClassVar[str] = "loudness_difference"
    value_names: ClassVar[tuple[str, ...]] = ("loudness_difference_lu",)
    unit: ClassVar[str] = "LU"
    higher_is_better: ClassVar[bool | None] = None
    best: ClassVar[float | None] = 0.0

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``loudness_difference_lu``."""
        ours, theirs = (
            loudness_lufs(x.double(), sample_rate=self.sample_rate) for x in (estimate, reference)
        )
        value = (ours - theirs).where(ours.isfinite() & theirs.isfinite(), torch.nan)
        return {"loudness_difference_lu": value}


class TruePeak(Accumulator):
    """True peak of the estimate, see :func:`~sonograd.functional.true_peak_dbtp`."""

    name: ClassVar[str] = "true_peak"
    value_names: ClassVar[tuple[str, ...]] = ("true_peak_dbtp",)
    unit: ClassVar[str] = "dBTP"
    higher_is_better: ClassVar[bool | None] = None

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``true_peak_dbtp``, ``-inf`` for silence."""
        del reference
        peak = true_peak_dbtp(estimate, sample_rate=self.sample_rate).amax(-1)
        return {"true_peak_dbtp": peak.double()}
