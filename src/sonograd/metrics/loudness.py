"""Accumulators of loudness and peaks."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sonograd.functional._pairs import wide
from sonograd.functional.loudness import loudness_lufs, loudness_lufs_blocks
from sonograd.functional.true_peak import true_peak_dbtp, true_peak_dbtp_blocks
from sonograd.metrics.base import Accumulator, Blocks

__all__ = ["LoudnessDifference", "TruePeak"]


class LoudnessDifference(Accumulator):
    """How much louder the estimate is, see :func:`~sonograd.functional.loudness_lufs`.

    NaN where either is silent for the gate.
    """

    name: ClassVar[str] = "loudness_difference"
    value_names: ClassVar[tuple[str, ...]] = ("loudness_difference_lu",)
    streams: ClassVar[bool] = True
    unit: ClassVar[str] = "LU"
    higher_is_better: ClassVar[bool | None] = None
    best: ClassVar[float | None] = 0.0

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``loudness_difference_lu``."""
        ours, theirs = (
            loudness_lufs(x.double(), sample_rate=self.sample_rate) for x in (estimate, reference)
        )
        return self._difference(ours, theirs)

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return ``loudness_difference_lu``, of a track in blocks."""
        pairs = (torch.stack([wide(x) for x in pair]) for pair in blocks())
        return self._difference(*loudness_lufs_blocks(pairs, sample_rate=self.sample_rate))

    def _difference(self, ours: Tensor, theirs: Tensor) -> Mapping[str, Tensor]:
        value = (ours - theirs).where(ours.isfinite() & theirs.isfinite(), torch.nan)
        return {"loudness_difference_lu": value}


class TruePeak(Accumulator):
    """True peak of the estimate, see :func:`~sonograd.functional.true_peak_dbtp`."""

    name: ClassVar[str] = "true_peak"
    value_names: ClassVar[tuple[str, ...]] = ("true_peak_dbtp",)
    streams: ClassVar[bool] = True
    compares: ClassVar[bool] = False
    unit: ClassVar[str] = "dBTP"
    higher_is_better: ClassVar[bool | None] = None

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``true_peak_dbtp``, ``-inf`` for silence."""
        del reference
        peak = true_peak_dbtp(wide(estimate), sample_rate=self.sample_rate)
        return {"true_peak_dbtp": peak.amax(-1).double()}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return ``true_peak_dbtp``, of a track in blocks."""
        ours = (estimate for estimate, _ in blocks())
        peak = true_peak_dbtp_blocks(ours, sample_rate=self.sample_rate)
        return {"true_peak_dbtp": peak.amax(-1).double()}
