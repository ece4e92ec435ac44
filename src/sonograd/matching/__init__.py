"""Find the settings of processors and instruments from sound.

:func:`match` takes a dry and a processed recording and returns the chain between them, with
standard errors; :func:`match_batch` does so for many pairs. :func:`match_reference` brings one
recording closer to another one of different material. :func:`match_synth` finds what an instrument
has to play.
"""

from sonograd.matching.api import match
from sonograd.matching.batch import BatchItem, match_batch
from sonograd.matching.reference import Distance, ReferenceResult, match_reference
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
from sonograd.matching.synth import SynthMatch, match_synth

__all__ = [
    "Alignment",
    "BatchItem",
    "Candidate",
    "Distance",
    "Excerpt",
    "GainTrace",
    "Landscape",
    "MatchResult",
    "ReferenceResult",
    "Score",
    "StaticCurve",
    "SynthMatch",
    "TransferFunction",
    "match",
    "match_batch",
    "match_reference",
    "match_synth",
]
