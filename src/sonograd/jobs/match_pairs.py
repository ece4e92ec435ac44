"""Pairs of files in work, one after the other or in processes, and what became of each."""

import csv
import io
import json
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from sonograd.atomic import AtomicFile
from sonograd.config.output import Bits
from sonograd.errors import SonogradError
from sonograd.jobs.match_results import RECORD
from sonograd.jobs.outcome import SeparationEvent
from sonograd.jobs.pairs import Pair
from sonograd.jobs.workers import shared_cores
from sonograd.matching import MatchResult
from sonograd.processes import told_when_killed

__all__ = [
    "Event",
    "Job",
    "MatchOutcome",
    "MatchReport",
    "Progress",
    "Share",
    "Task",
    "Work",
    "part_of",
]

Progress: TypeAlias = Callable[[float, float], None]
Event: TypeAlias = Callable[[SeparationEvent], None]


@dataclass(frozen=True)
class MatchOutcome:
    """What became of one pair.

    Attributes:
        pair: The files.
        folder: Where the results lie, or would have.
        files: What was written; for a skipped pair, what was there before.
        summary: Everything that was found, as in ``match.json``.
        result: The match itself, if it was made in this process.
        message: One line for people.
    """

    pair: Pair
    folder: Path
    files: tuple[Path, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    result: MatchResult | None = None
    message: str = ""


@dataclass(frozen=True)
class MatchReport:
    """What became of all pairs.

    Attributes:
        done: Pairs whose settings were found.
        skipped: Pairs whose results were there before.
        failed: Pairs, and files without a partner, with the reason in ``message``.
        table: The table of all pairs, where there were several.
    """

    done: tuple[MatchOutcome, ...] = ()
    skipped: tuple[MatchOutcome, ...] = ()
    failed: tuple[MatchOutcome, ...] = ()
    table: Path | None = None

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 1 some failed, 2 nothing was done."""
        if not self.failed:
            return 0
        return 1 if self.done or self.skipped else 2


@dataclass(frozen=True)
class Task:
    """What is to be done for a pair.

    Attributes:
        pair: The files.
        folder: Where the results go.
        options: Of the match.
        bits: Sample format of the audio.
        sounds: Put players into the report.
        threads: That seek the settings.
    """

    pair: Pair
    folder: Path
    options: Mapping[str, Any]
    bits: Bits
    sounds: bool
    threads: int = 1


Share: TypeAlias = Callable[[float], None]
Work: TypeAlias = Callable[[Task, Share | None], MatchOutcome]


class Job:
    """One run over several pairs."""

    def __init__(self, on_progress: Progress | None, on_event: Event | None) -> None:
        """Start with nothing done."""
        self._on_progress = on_progress
        self._on_event = on_event
        self._total = 0
        self.done: list[MatchOutcome] = []
        self.skipped: list[MatchOutcome] = []
        self.failed: list[MatchOutcome] = []

    def skip_existing(self, tasks: Iterable[Task], *, overwrite: bool) -> list[Task]:
        """Return the tasks that have no results yet."""
        todo = []
        for task in tasks:
            self._total += 1
            record = task.folder / RECORD
            if not record.exists() or overwrite:
                todo.append(task)
                continue
            message = f"skipped, {record} exists; --overwrite replaces it"
            files = tuple(sorted(path for path in task.folder.iterdir() if path.is_file()))
            self.skipped.append(
                MatchOutcome(task.pair, task.folder, files, _read(record), message=message)
            )
            self._tell("skipped", task.pair.wet, message)
        return todo

    def run(self, tasks: Sequence[Task], work: Work, *, workers: int = 1) -> None:
        """Work on all pairs, here or in processes of their own."""
        if workers == 1:
            for task in tasks:
                self._tell("started", task.pair.wet)
                self._keep(_attempt(task, self._progress, work))
            return
        context = multiprocessing.get_context("spawn")
        with shared_cores(workers), ProcessPoolExecutor(workers, context) as pool:
            try:
                with told_when_killed("matched a pair"):
                    running = [pool.submit(_attempt_apart, task, work) for task in tasks]
                    for future in as_completed(running):
                        self._keep(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def fail(self, outcome: MatchOutcome) -> None:
        """Keep what did not work."""
        self.failed.append(outcome)
        self._tell("failed", outcome.pair.wet, outcome.message)

    def write_table(self, path: Path) -> Path:
        """Write a row for each pair."""
        rows = [_row(item) for item in (*self.skipped, *self.done) if item.summary]
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: str(row["name"])))
        path.parent.mkdir(parents=True, exist_ok=True)
        with AtomicFile(path) as file:
            file.path.write_text(text.getvalue(), encoding="utf-8")
        return path

    def _keep(self, outcome: MatchOutcome) -> None:
        if not outcome.files:
            self.fail(outcome)
        else:
            self.done.append(outcome)
            self._tell("done", outcome.pair.wet, outcome.message)
        if outcome.files or self._total > 1:  # what failed was not brought to its end
            self._progress(0.0)

    def _progress(self, share: float) -> None:
        if self._on_progress is not None:
            behind = len(self.done) + len(self.failed) + len(self.skipped)
            self._on_progress(min(behind + share, self._total), self._total)

    def _tell(self, kind: Any, source: Path, message: str = "") -> None:
        if self._on_event is not None:
            self._on_event(SeparationEvent(kind, source, message))


def _attempt_apart(task: Task, work: Work) -> MatchOutcome:
    """Work on a pair in a process of its own; the audio of the result stays there."""
    return replace(_attempt(task, None, work), result=None)


def _attempt(task: Task, on_share: Share | None, work: Work) -> MatchOutcome:
    """Work on a pair; what goes wrong is told, not raised."""
    try:
        return work(task, on_share)
    except (SonogradError, OSError) as error:
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        names = str(task.pair.dry) in text or str(task.pair.wet) in text
        message = text if names else f"{task.pair.wet}: {text}"
        return MatchOutcome(task.pair, task.folder, message=" ".join(message.split()))


def part_of(on_share: Share | None, base: float, width: float) -> Progress:
    """Return a callback that tells a part of the work as a share of the whole."""

    def on_progress(done: float, total: float) -> None:
        if on_share is not None:
            on_share(base + width * done / max(total, 1e-9))

    return on_progress


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _row(item: MatchOutcome) -> dict[str, Any]:
    """Return a row of the table."""
    summary = item.summary
    row: dict[str, Any] = {"name": item.pair.name, "dry": item.pair.dry, "wet": item.pair.wet}
    row["chain"] = " ".join(summary.get("chain", ()))
    for name in ("null_db", "whole_null_db", "explained", "delay_samples", "polarity"):
        row[name] = summary.get(name)
    for entry in summary.get("parameters", ()):
        known = entry["identifiable"]
        row[f"{entry['stage']}.{entry['parameter']}"] = entry["value"] if known else None
    return row
