"""Metrics with state: accumulators that score track after track.

:mod:`sonograd.metrics.base` shows how to use them. The measures themselves are functions of
:mod:`sonograd.functional`.
"""

from sonograd.metrics.base import Accumulator, Blocks, Score, Statistic
from sonograd.metrics.bss import CSDR, BSSEvalV3, BSSEvalV4
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
from sonograd.metrics.rvm import RVM, RelativeVolumeMel

__all__ = [
    "CSDR",
    "MSSTSDR",
    "RVM",
    "SASDR",
    "SDSDR",
    "SIBSS",
    "SISDR",
    "SISNR",
    "SNR",
    "USDR",
    "Accumulator",
    "BSSEvalV3",
    "BSSEvalV4",
    "Blocks",
    "RelativeVolumeMel",
    "Score",
    "Statistic",
    "ThresholdedSNR",
]
