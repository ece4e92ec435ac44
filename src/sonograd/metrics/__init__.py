"""Metrics with state: accumulators that score track after track.

:mod:`sonograd.metrics.base` shows how to use them. The measures themselves are functions of
:mod:`sonograd.functional`.
"""

from sonograd.metrics.base import Accumulator, Blocks, Score, Statistic
from sonograd.metrics.ratios import (
    MSSTSDR,
    SASDR,
    SDSDR,
    SIBSS,
    SISDR,
    SISNR,
    SNR,
    USDR,
    ThresholdedSNR,
)

__all__ = [
    "MSSTSDR",
    "SASDR",
    "SDSDR",
    "SIBSS",
    "SISDR",
    "SISNR",
    "SNR",
    "USDR",
    "Accumulator",
    "Blocks",
    "Score",
    "Statistic",
    "ThresholdedSNR",
]
