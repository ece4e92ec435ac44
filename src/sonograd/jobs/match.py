"""Find the settings between dry and processed files, and write down everything about them."""

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonograd.config.output import Bits
from sonograd.data import find_audio
from sonograd.errors import ConfigError, DatasetError
from sonograd.functional import has_fast_kernels
from sonograd.jobs.match_audio import render_match
from sonograd.jobs.match_drawing import open_drawing
from sonograd.jobs.match_pairs import (
    Event,
    Job,
    MatchOutcome,
    MatchReport,
    Progress,
    Share,
    Task,
    part_of,
)
from sonograd.jobs.match_reference import resemble
from sonograd.jobs.match_results import write_results
from sonograd.jobs.match_words import chain_words, decibels
from sonograd.jobs.outputs import StagedFolder
from sonograd.jobs.pairs import Pair, find_pairs
from sonograd.jobs.resources import check_writable, free_cores, usable_cores
from sonograd.jobs.workers import one_thread
from sonograd.matching import match
from sonograd.matching.chains import build_chain, parse_fix
from sonograd.matching.gradient import Method

__all__ = ["MatchOutcome", "MatchReport", "match_files"]

_TABLE = "matches.csv"
#: Part of the work that is over when the settings are found.
_FITTED = 0.8
#: Of one pair, at most: more would wait for each other.
_THREADS = 8
#: At which names are looked up before a file is opened.
_ANY_RATE = 44_100


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
            first, tuple(map(Path, reference)), save, bits, overwrite, Job(on_progress, on_event)
        )
    _check_asked(options, method, loss)
    options.update(method=method, loss=loss, steps=steps, learning_rate=learning_rate)
    pairs, alone = find_pairs(first, second)
    several = first.is_dir()
    name = (second or first).stem if not several else (second or first).name
    place = Path(f"{name}-match") if save is None else Path(save)
    check_writable(place)
    tasks = [
        Task(pair, place / pair.name if several else place, options, bits, sounds) for pair in pairs
    ]
    job = Job(on_progress, on_event)
    for line in alone:
        job.fail(MatchOutcome(Pair("", Path(line.partition(": ")[0]), place), place, message=line))
    todo = job.skip_existing(tasks, overwrite=overwrite)
    count = min(workers or (free_cores() if len(todo) > 1 else 1), max(len(todo), 1))
    threads = min(usable_cores(), _THREADS) if count == 1 else 1
    job.run([replace(task, threads=threads) for task in todo], _match, workers=count)
    table = job.write_table(place / _TABLE) if several and (job.done or job.skipped) else None
    return MatchReport(tuple(job.done), tuple(job.skipped), tuple(job.failed), table)


def _match(task: Task, on_share: Share | None) -> MatchOutcome:
    begin = time.perf_counter()
    pair = task.pair
    with one_thread(), open_drawing() as drawing, ThreadPoolExecutor(1) as beside:
        beside.submit(has_fast_kernels)  # loads the compiler while the files are read and aligned
        result = match(
            pair.dry, pair.wet, threads=task.threads,
            on_progress=part_of(on_share, 0.0, _FITTED), **task.options,
        )  # fmt: skip
        drawing.begin(result)
        with StagedFolder(task.folder) as stage:
            rendering = render_match(
                result, pair.dry, pair.wet, stage.path,
                bits=task.bits, on_progress=part_of(on_share, _FITTED, 0.95 - _FITTED),
            )  # fmt: skip
            summary = write_results(
                result, rendering, pair, stage.path, sounds=task.sounds, drawing=drawing
            )
            names = sorted(path.name for path in stage.path.iterdir())
            stage.publish()
    words = f"{chain_words(result.chain)}, null depth {decibels(result.score.null_db)}"
    message = f"{words}, in {time.perf_counter() - begin:.1f} s"
    files = tuple(task.folder / name for name in names)
    return MatchOutcome(pair, task.folder, files, summary, result, message)


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
    job: Job,
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
        tasks.append(Task(Pair(name, path, path), folder, {}, bits, sounds=False))

    def work(task: Task, on_share: Share | None) -> MatchOutcome:
        written, summary = resemble(
            task.pair.dry, references, task.folder, bits=task.bits,
            on_progress=part_of(on_share, 0.0, 0.95),
        )  # fmt: skip
        message = f"{task.folder}: closer to the reference"
        return MatchOutcome(task.pair, task.folder, written, summary, message=message)

    job.run(job.skip_existing(tasks, overwrite=overwrite), work)
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
