"""A tiny instance of every separator, for the conformance suite: one line per class."""

from collections.abc import Callable

from sonograd.separators import (
    CenterExtraction,
    HarmonicPercussive,
    RepetitionExtraction,
    Separator,
)

#: Builders of small, untrained separators that run in milliseconds.
TINY: dict[type[Separator], Callable[[], Separator]] = {
    CenterExtraction: lambda: CenterExtraction(sample_rate=1000, channels=2),
    HarmonicPercussive: lambda: HarmonicPercussive(sample_rate=1000, channels=2),
    RepetitionExtraction: lambda: RepetitionExtraction(sample_rate=1000, channels=2),
}
