"""Metrics with state: accumulators that score track after track.

:mod:`sonograd.metrics.base` shows how to use them. The measures themselves are functions of
:mod:`sonograd.functional`.
"""

from sonograd.metrics.base import (
    Accumulator,
    Blocks,
)
from sonograd.metrics.bss import (
    CSDR,
    BSSEvalV3,
    BSSEvalV4,
)
from sonograd.metrics.catalog import (
    ACCUMULATORS,
    accumulator_classes,
    make_accumulators,
)
from sonograd.metrics.loudness import (
    LoudnessDifference,
    TruePeak,
)
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
from sonograd.metrics.rvm import (
    RVM,
    RelativeVolumeMel,
)
from sonograd.metrics.scores import (
    Score,
    Statistic,
)
from sonograd.metrics.spectral import (
    BleedlessFullnessScore,
    L1Frequency,
    LogSpectralDistance,
    MRSTFTDistance,
)
from sonograd.metrics.speech import (
    PESQ,
    STOI,
)

__all__ = [
    "ACCUMULATORS",
    "CSDR",
    "MSSTSDR",
    "PESQ",
    "RVM",
    "SASDR",
    "SDSDR",
    "SIBSS",
    "SISDR",
    "SISNR",
    "SNR",
    "STOI",
    "USDR",
    "Accumulator",
    "BSSEvalV3",
    "BSSEvalV4",
    "BleedlessFullnessScore",
    "Blocks",
    "L1Frequency",
    "LogSpectralDistance",
    "LoudnessDifference",
    "MRSTFTDistance",
    "RelativeVolumeMel",
    "Score",
    "Statistic",
    "ThresholdedSNR",
    "TruePeak",
    "accumulator_classes",
    "make_accumulators",
]
