"""Models that take a mix apart, and the machinery that runs them on audio of any length."""

from sonograd.separators.base import MaskEstimate, Separator
from sonograd.separators.chunking import Chunker, ChunkPlan, OverlapAdd
from sonograd.separators.classical import (
    CenterExtraction,
    HarmonicPercussive,
    RepetitionExtraction,
)
from sonograd.separators.stream import SeparatorStream

__all__ = [
    "CenterExtraction",
    "ChunkPlan",
    "Chunker",
    "HarmonicPercussive",
    "MaskEstimate",
    "OverlapAdd",
    "RepetitionExtraction",
    "Separator",
    "SeparatorStream",
]
