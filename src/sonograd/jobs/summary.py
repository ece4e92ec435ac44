"""Scores of many tracks as tables: statistics, a CSV file, and lines to read."""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sonograd.jobs.scoring import TrackScores
from sonograd.metrics import Accumulator

__all__ = ["Summary", "format_table", "summarize", "to_csv"]

#: Values that are in the files, but too much to read.
_DETAILS = ("_silent_frames", "_residual_dbfs")
_RESAMPLES = 2000
_SEED = 20140501


@dataclass(frozen=True)
class Summary:
    """One value of one target over all tracks.

    Attributes:
        target: Name of the target; ``""`` where tracks have one only.
        name: Name of the value.
        median: Over the tracks that have it.
        mean: Over the same.
        low: Lower end of the 95 % confidence interval of the mean by bootstrap over tracks.
        high: Upper end.
        mixture: Median of the mix taken as the estimate; NaN where there is none.
        improvement: Median of how much better than the mix it is; positive is better, whatever the
            direction of the value, and NaN where the mix says nothing about it.
        tracks: How many tracks have it.
        missing: How many do not.
        reason: Why none has it; ``""`` where some have.
    """

    target: str
    name: str
    median: float
    mean: float
    low: float
    high: float
    mixture: float
    improvement: float
    tracks: int
    missing: int
    reason: str = ""


def summarize(
    tracks: Iterable[TrackScores], kinds: Mapping[str, type[Accumulator]]
) -> list[Summary]:
    """Return a summary for each target and value, the targets in the order in which they came.

    Args:
        tracks: What was scored.
        kinds: The metric behind the name of every value.
    """
    scored = [track for track in tracks if not track.error]
    targets = list(dict.fromkeys(target for track in scored for target in track.values))
    return [
        _summary(scored, target, name, kind) for target in targets for name, kind in kinds.items()
    ]


def _summary(
    tracks: Sequence[TrackScores], target: str, name: str, kind: type[Accumulator]
) -> Summary:
    rows = [track for track in tracks if target in track.values]
    values = [track.values[target].get(name, math.nan) for track in rows]
    mixture = [track.mixture.get(target, {}).get(name, math.nan) for track in rows]
    pairs = zip(values, mixture, strict=True)
    gains = [kind.improvement(name, ours, theirs) for ours, theirs in pairs]
    low, high = _confidence(_kept(values))
    return Summary(
        target,
        name,
        median=_median(values),
        mean=_mean(values),
        low=low,
        high=high,
        mixture=_median(mixture) if _kept(gains) else math.nan,
        improvement=_median(gains),
        tracks=len(_kept(values)),
        missing=len(values) - len(_kept(values)),
        reason="" if _kept(values) else _reason(rows, target, name),
    )


def _reason(tracks: Sequence[TrackScores], target: str, name: str) -> str:
    """Return the first reason that is given for the lack of a value."""
    told = (part for track in tracks for part in track.reasons.get(target, "").split("; "))
    return next((part for part in told if name in part.partition(" not ")[0].split(", ")), "")


def _kept(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _median(values: Iterable[float]) -> float:
    kept = _kept(values)
    return statistics.median(kept) if kept else math.nan


def _mean(values: Iterable[float]) -> float:
    kept = _kept(values)
    if not kept:
        return math.nan
    return math.fsum(kept) / len(kept) if all(map(math.isfinite, kept)) else sum(kept)


def _confidence(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean; NaN for fewer than two finite values."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    draws = np.random.default_rng(_SEED).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.percentile(np.asarray(values)[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def to_csv(tracks: Iterable[TrackScores], kinds: Mapping[str, type[Accumulator]]) -> str:
    """Return a table: track, target, every value, the same of the mix, and the improvement.

    Tracks that could not be scored have an empty row. The last two rows are mean and median over
    everything above.

    Args:
        tracks: What was scored.
        kinds: The metric behind the name of every value.
    """
    rows: list[tuple[str, str, dict[str, float]]] = []
    for track in tracks:
        for target, values in track.values.items():
            row = dict(values)
            for name, theirs in track.mixture.get(target, {}).items():
                gain = kinds[name].improvement(name, values.get(name, math.nan), theirs)
                row |= {f"{name}_mixture": theirs, f"{name}_improvement": gain}
            rows.append((track.track, target, row))
        if track.error:
            rows.append((track.track, "", {}))
    known = {name for _, _, row in rows for name in row if not math.isnan(row[name])}
    extra = [f"{name}{kind}" for kind in ("_mixture", "_improvement") for name in kinds]
    columns = [*kinds, *(name for name in extra if name in known)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["track", "target", *columns])
    for title, target, row in rows:
        writer.writerow([title, target, *(_cell(row.get(name, math.nan)) for name in columns)])
    for title, average in (("mean", _mean), ("median", _median)):
        cells = [average([row.get(name, math.nan) for _, _, row in rows]) for name in columns]
        writer.writerow([title, "", *map(_cell, cells)])
    return table.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def format_table(summaries: Sequence[Summary], versions: Mapping[str, str]) -> str:
    """Return lines to read: one for each target and value, with the version of its definition.

    A value that no track has is left out; below the table stands why.
    """
    head = ["target", "metric", "median", "mean", "95 % of the mean", "mixture", "gain", "tracks"]
    rows = [head]
    for entry in summaries:
        if entry.name.endswith(_DETAILS) or entry.reason:
            continue
        interval = "" if math.isnan(entry.low) else f"{entry.low:.2f} to {entry.high:.2f}"
        missing = f" ({entry.missing} without)" if entry.missing else ""
        rows.append(
            [
                entry.target or "-",
                f"{entry.name} (v{versions.get(entry.name, '1')})",
                *(_number(value) for value in (entry.median, entry.mean)),
                interval,
                _number(entry.mixture),
                _number(entry.improvement, signed=True),
                f"{entry.tracks}{missing}",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join([*left, *right]).rstrip())
    lines += [
        f"{entry.target or '-'}: {entry.reason}"
        for entry in summaries
        if entry.reason and not entry.name.endswith(_DETAILS)
    ]
    return "\n".join(lines)


def _number(value: float, *, signed: bool = False) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:+.2f}" if signed else f"{value:.2f}"
