"""All accumulators, and how to choose among them by name."""

from collections.abc import Iterable

from sonograd.config import suggest
from sonograd.errors import ParameterError
from sonograd.metrics.base import Accumulator
from sonograd.metrics.bss import CSDR, BSSEvalV3, BSSEvalV4
from sonograd.metrics.loudness import LoudnessDifference, TruePeak
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
from sonograd.metrics.rvm import RVM
from sonograd.metrics.spectral import (
    BleedlessFullnessScore,
    L1Frequency,
    LogSpectralDistance,
    MRSTFTDistance,
)
from sonograd.metrics.speech import PESQ, STOI

__all__ = ["ACCUMULATORS", "accumulator_classes", "make_accumulators"]

ACCUMULATORS: tuple[type[Accumulator], ...] = (
    USDR,
    CSDR,
    SISDR,
    SISNR,
    SNR,
    SDSDR,
    SASDR,
    ThresholdedSNR,
    MSSTSDR,
    SIBSS,
    BSSEvalV4,
    BSSEvalV3,
    BleedlessFullnessScore,
    L1Frequency,
    LogSpectralDistance,
    MRSTFTDistance,
    RVM,
    LoudnessDifference,
    TruePeak,
    PESQ,
    STOI,
)
"""Every accumulator, those that most papers report first."""


def accumulator_classes(names: Iterable[str]) -> list[type[Accumulator]]:
    """Return the classes of metrics by name, without a sample rate: for names and versions.

    Args:
        names: As in :func:`make_accumulators`.

    Returns:
        One class for each metric, in the order of the names.

    Raises:
        ParameterError: No metric has such a name.

    >>> [cls.version for cls in accumulator_classes(["pesq", "bss-v4-sir"])]
    ['1', '1']
    """
    known = {value: cls for cls in ACCUMULATORS for value in (*cls.value_names, cls.name)}
    chosen: dict[type[Accumulator], None] = {}
    for name in names:
        cls = known.get(name.replace("-", "_").lower())
        if cls is None:
            raise ParameterError(
                f"there is no metric {name!r}.{suggest(name, known)} "
                f"Choose from {', '.join(cls.name for cls in ACCUMULATORS)}."
            )
        chosen[cls] = None
    return list(chosen)


def make_accumulators(names: Iterable[str], *, sample_rate: int) -> list[Accumulator]:
    """Make accumulators by name.

    Args:
        names: Names of metrics (``"bss_v4"``) or of their values (``"bss_v4_sir"``), with ``-`` or
            ``_``; a metric that is named twice is made once.
        sample_rate: Of everything that will be scored, in Hz.

    Returns:
        One accumulator for each metric, in the order of the names.

    Raises:
        ParameterError: No metric has such a name.

    >>> [metric.name for metric in make_accumulators(["usdr", "bss-v4-sir"], sample_rate=44100)]
    ['usdr', 'bss_v4']
    """
    return [cls(sample_rate=sample_rate) for cls in accumulator_classes(names)]
