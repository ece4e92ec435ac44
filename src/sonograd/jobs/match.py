"""Find the settings between dry and processed files, and write down everything about them."""

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from sonograd.atomic import AtomicFile
from sonograd.config.output import Bits
from sonograd.data import find_audio
from sonograd.errors import ConfigError, DatasetError, SonogradError
from sonograd.jobs.match_audio import render_match
from sonograd.jobs.match_pictures import load_drawing
from sonograd.jobs.match_reference import resemble
from sonograd.jobs.match_results import RECORD, write_results
from sonograd.jobs.match_words import chain_words, decibels
from sonograd.jobs.outcome import SeparationEvent
from sonograd.jobs.outputs import StagedFolder
from sonograd.jobs.pairs import Pair, find_pairs
from sonograd.jobs.resources import check_writable, free_cores
from sonograd.jobs.workers import shared_cores
from sonograd.matching import MatchResult, match
from sonograd.matching.chains import build_chain, parse_fix
from sonograd.matching.gradient import Method

__all__ = ["MatchOutcome", "MatchReport", "match_files"]

Progress: TypeAlias = Callable[[float, float], None]
Event: TypeAlias = Callable[[SeparationEvent], None]

_TABLE = "matches.csv"
#: Part of the work that is over when the settings are found.
_FITTED = 0.8
#: At which names are looked up before a file is opened.
_ANY_RATE = 44_100


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


def match_files(
    dry: str | os.PathLike[str],
    wet: str | os.PathLike[str] | None = None,
    *,
    chain: str = "auto",
    save: str | os.PathLike[str] | None = None,
    fix: Sequence[str] = (),
    start: str | os.PathLike[str] | None = None,
    method: Method = "lm",
    loss: str = "waveform",
    steps: int = 300,
    learning_rate: float = 0.03,
    reference: Sequence[str | os.PathLike[str]] = (),
    bits: Bits = "32f",
    sounds: bool = True,
    workers: int | None = None,
    overwrite: bool = False,
    on_progress: Progress | None = None,
    on_event: Event | None = None,
) -> MatchReport:
    """Find the settings that turn dry files into processed ones.

    For each pair a folder is filled: ``report.html``, ``preset.json`` and the chain in other
    languages, ``matched.wav`` and ``residual.wav`` (whole, aligned with wet), ``match.json`` and
    the pictures of the report. It appears when everything is there.

    Args:
        dry: A file; or a folder of them; or a folder of pairs, see
            :func:`~sonograd.jobs.pairs.find_pairs`.
        wet: The processed file or folder.
        chain: ``"auto"``, or effects joined by commas, like ``"eq,compressor,gain"``.
        save: Folder for the results, ``WET-match`` by default. Of several pairs each gets one in
            it.
        fix: Values to hold, as ``"attack_ms=5"`` or ``"compressor.attack_ms=5"``.
        start: A preset to start from; it says what the chain is.
        method: ``"lm"``, ``"lbfgs"``, ``"adam"`` or ``"sgd"``, see
            :func:`sonograd.matching.match`.
        loss: What the last three minimize: ``"waveform"``, ``"l1"`` or ``"mrstft"``.
        steps: How many steps they take.
        learning_rate: Of theirs.
        reference: Files of other material that ``dry`` shall come closer to, instead of ``wet``;
            see :func:`sonograd.matching.match_reference`.
        bits: Sample format of the audio.
        sounds: Put players into the report.
        workers: Pairs in work at a time; the number of free cores if None.
        overwrite: Replace existing results; otherwise they are kept and the pair is skipped.
        on_progress: Called with what is done and the whole, in pairs.
        on_event: Told about every pair as it starts and ends.

    Returns:
        What became of each pair.

    Raises:
        ConfigError: If an option is wrong.
        DatasetError: If there is no pair.
        OutputError: If ``save`` cannot be written to.
    """
    options = _options(chain, fix, start, workers)
    first, second = Path(dry), None if wet is None else Path(wet)
    if reference:
        _check_alone(wet, options, method)
        return _resemble_all(
            first, tuple(map(Path, reference)), save, bits, overwrite, _Job(on_progress, on_event)
        )
    _check_asked(options, method, loss)
    options.update(method=method, loss=loss, steps=steps, learning_rate=learning_rate)
    pairs, alone = find_pairs(first, second)
    several = first.is_dir()
    name = (second or first).stem if not several else (second or first).name
    place = Path(f"{name}-match") if save is None else Path(save)
    check_writable(place)
    tasks = [
        _Task(pair, place / pair.name if several else place, options, bits, sounds)
        for pair in pairs
    ]
    job = _Job(on_progress, on_event)
    for line in alone:
        job.fail(MatchOutcome(Pair("", Path(line.partition(": ")[0]), place), place, message=line))
    todo = job.skip_existing(tasks, overwrite=overwrite)
    count = min(workers or (free_cores() if len(todo) > 1 else 1), max(len(todo), 1))
    job.run(todo, workers=count)
    table = job.write_table(place / _TABLE) if several and (job.done or job.skipped) else None
    return MatchReport(tuple(job.done), tuple(job.skipped), tuple(job.failed), table)


@dataclass(frozen=True)
class _Task:
    pair: Pair
    folder: Path
    options: Mapping[str, Any]
    bits: Bits
    sounds: bool


class _Job:
    """One run over several pairs."""

    def __init__(self, on_progress: Progress | None, on_event: Event | None) -> None:
        self._on_progress = on_progress
        self._on_event = on_event
        self._total = 0
        self.done: list[MatchOutcome] = []
        self.skipped: list[MatchOutcome] = []
        self.failed: list[MatchOutcome] = []

    def skip_existing(self, tasks: Iterable[_Task], *, overwrite: bool) -> list[_Task]:
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

    def run(self, tasks: Sequence[_Task], *, workers: int, work: "_Work | None" = None) -> None:
        """Match all pairs, here or in processes of their own."""
        if workers == 1:
            for task in tasks:
                self._tell("started", task.pair.wet)
                self._keep(_attempt(task, self._progress, work or _match))
            return
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        with shared_cores(workers), ProcessPoolExecutor(workers, context) as pool:
            try:
                for future in as_completed([pool.submit(_attempt_apart, task) for task in tasks]):
                    self._keep(future.result())
            except BrokenProcessPool:
                raise SonogradError(
                    "a process that matched a pair was killed, perhaps for want of memory; what "
                    "is done stays: run this again, with fewer --workers."
                ) from None
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


_Share: TypeAlias = Callable[[float], None]
_Work: TypeAlias = Callable[[_Task, _Share | None], MatchOutcome]


def _attempt_apart(task: _Task) -> MatchOutcome:
    """Match a pair in a process of its own; the audio of the result stays there."""
    return replace(_attempt(task, None, _match), result=None)


def _attempt(task: _Task, on_share: _Share | None, work: _Work) -> MatchOutcome:
    """Work on a pair; what goes wrong is told, not raised."""
    try:
        return work(task, on_share)
    except (SonogradError, OSError) as error:
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        names = str(task.pair.dry) in text or str(task.pair.wet) in text
        message = text if names else f"{task.pair.wet}: {text}"
        return MatchOutcome(task.pair, task.folder, message=" ".join(message.split()))


def _part(on_share: _Share | None, base: float, width: float) -> Progress:
    """Return a callback that tells a part of the work as a share of the whole."""

    def on_progress(done: float, total: float) -> None:
        if on_share is not None:
            on_share(base + width * done / max(total, 1e-9))

    return on_progress


def _match(task: _Task, on_share: _Share | None) -> MatchOutcome:
    begin = time.perf_counter()
    pair = task.pair
    with ThreadPoolExecutor(1) as beside:
        beside.submit(load_drawing)
        result = match(
            pair.dry, pair.wet, on_progress=_part(on_share, 0.0, _FITTED), **task.options
        )
        with StagedFolder(task.folder) as stage:
            rendering = render_match(
                result, pair.dry, pair.wet, stage.path,
                bits=task.bits, on_progress=_part(on_share, _FITTED, 0.95 - _FITTED),
            )  # fmt: skip
            summary = write_results(
                result, rendering, pair, stage.path, sounds=task.sounds, beside=beside
            )
            names = sorted(path.name for path in stage.path.iterdir())
            stage.publish()
    words = f"{chain_words(result.chain)}, null depth {decibels(result.score.null_db)}"
    message = f"{words}, in {time.perf_counter() - begin:.1f} s"
    files = tuple(task.folder / name for name in names)
    return MatchOutcome(pair, task.folder, files, summary, result, message)


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


def _check_asked(options: Mapping[str, Any], method: Method, loss: str) -> None:
    """Refuse before any file is read what no pair can be matched with."""
    if method == "lm" and loss != "waveform":
        raise ConfigError(
            "match", [f"loss: {loss} needs a method that goes down its gradient, as --method adam"]
        )
    if options["chain"] != "auto":
        parse_fix(build_chain(options["chain"], _ANY_RATE), options["fix"])


def _check_alone(
    wet: str | os.PathLike[str] | None, options: Mapping[str, Any], method: Method
) -> None:
    """Refuse what makes no sense with references."""
    given = {"wet": wet, "fix": options["fix"], "start": options["start"]}
    names = [name for name, value in given.items() if value is not None]
    names += ["chain"] * (options["chain"] != "auto") + ["method"] * (method != "lm")
    if names:
        raise ConfigError(
            "match",
            [f"reference: is other material, of which no settings can be found; leave out {name}"
             for name in names],
        )  # fmt: skip


def _resemble_all(
    source: Path,
    references: tuple[Path, ...],
    save: str | os.PathLike[str] | None,
    bits: Bits,
    overwrite: bool,
    job: _Job,
) -> MatchReport:
    """Bring a file, or each of a folder, closer to the references."""
    files = find_audio(source)
    if not files:
        raise DatasetError(f"{source}: holds no audio")
    place = Path(f"{source.stem}-match") if save is None else Path(save)
    check_writable(place)
    several = source.is_dir()
    tasks = []
    for path in files:
        name = path.relative_to(source).with_suffix("").as_posix() if several else path.stem
        folder = place / name if several else place
        tasks.append(_Task(Pair(name, path, path), folder, {}, bits, sounds=False))

    def work(task: _Task, on_share: _Share | None) -> MatchOutcome:
        written, summary = resemble(
            task.pair.dry, references, task.folder, bits=task.bits,
            on_progress=_part(on_share, 0.0, 0.95),
        )  # fmt: skip
        message = f"{task.folder}: closer to the reference"
        return MatchOutcome(task.pair, task.folder, written, summary, message=message)

    job.run(job.skip_existing(tasks, overwrite=overwrite), workers=1, work=work)
    return MatchReport(tuple(job.done), tuple(job.skipped), tuple(job.failed))


def _options(
    chain: str,
    fix: Sequence[str],
    start: str | os.PathLike[str] | None,
    workers: int | None,
) -> dict[str, Any]:
    """Return the arguments for :func:`sonograd.matching.match`.

    Raises:
        ConfigError: With everything that is wrong.
    """
    problems = []
    held: dict[str, float] = {}
    for item in fix:
        name, _, text = item.partition("=")
        try:
            held[name.strip().replace("-", "_")] = float(text)
        except ValueError:
            problems.append(f"fix: got {item!r}; expected name=number, like attack_ms=5")
    if workers is not None and workers < 1:
        problems.append(f"workers: got {workers}; expected at least 1")
    if start is not None and chain != "auto":
        problems.append("start: a preset says what the chain is; give one of start and chain")
    if problems:
        raise ConfigError("match", problems)
    return {"chain": chain, "fix": held or None, "start": start}
