"""Scores of tracks, and what becomes of many."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Score", "Statistic", "summarize"]


@dataclass(frozen=True)
class Score:
    """What one target of one track scored.

    Attributes:
        track: Name of the track, or ``""``.
        target: Name of the target, or ``""``.
        values: One number for each name in ``value_names``; NaN where there is none.
        frames: The values of single frames, for the metrics that have them.
        reason: Why values are NaN, or ``""``.
    """

    track: str
    target: str
    values: Mapping[str, float]
    frames: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Statistic:
    """One value over many scores.

    Attributes:
        mean: Mean of the values that are numbers; NaN if none is.
        median: Median of the same.
        count: How many they are.
        missing: How many scores have NaN instead.
    """

    mean: float
    median: float
    count: int
    missing: int


def summarize(values: Sequence[float]) -> Statistic:
    """Mean and median of the values that are numbers, whatever their order."""
    kept = sorted(value for value in values if not math.isnan(value))
    if not kept:
        return Statistic(math.nan, math.nan, 0, len(values))
    infinite = {value for value in kept if math.isinf(value)}
    mean = sum(infinite) if infinite else math.fsum(kept) / len(kept)
    return Statistic(mean, statistics.median(kept), len(kept), len(values) - len(kept))
