"""Find the settings of processors and instruments from sound.

:func:`match` takes a dry and a processed signal and returns the chain between them.
"""

from sonograd.matching.api import match
from sonograd.matching.result import (
    Alignment,
    Candidate,
    Excerpt,
    GainTrace,
    Landscape,
    MatchResult,
    Score,
    StaticCurve,
    TransferFunction,
)

__all__ = [
    "Alignment",
    "Candidate",
    "Excerpt",
    "GainTrace",
    "Landscape",
    "MatchResult",
    "Score",
    "StaticCurve",
    "TransferFunction",
    "match",
]
