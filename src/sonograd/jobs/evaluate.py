"""Score estimates that are there as files against their references."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from sonograd.data import find_audio
from sonograd.data.layouts import SongFiles, StemFile, find_songs
from sonograd.data.tracks import StemAudio
from sonograd.errors import AudioError, DatasetError, OutputError, ParameterError
from sonograd.jobs.scoring import (
    DEFAULT_METRICS,
    Sheet,
    Track,
    TrackScores,
    score_track,
    stack_blocks,
    write_text,
)
from sonograd.jobs.summary import Summary, summarize, to_csv
from sonograd.metrics import accumulator_classes

__all__ = ["EvaluationReport", "evaluate"]

Progress: TypeAlias = Callable[[float, float], None]
_BLOCK = 1 << 18


@dataclass(frozen=True)
class EvaluationReport:
    """What came out.

    Attributes:
        csv: The table, ``eval.csv``.
        json: Everything, frames included, ``eval.json``.
        picture: Box plots, or None.
        tracks: Scores of the tracks, also of those that an earlier run had scored.
        summaries: Statistics by target and value.
        versions: Version of the definition of every value.
        failed: What is wrong with the tracks that could not be scored, or not all of it, by name.
        kept: Tracks whose scores an earlier run had written.
    """

    csv: Path
    json: Path
    picture: Path | None
    tracks: tuple[TrackScores, ...]
    summaries: tuple[Summary, ...]
    versions: Mapping[str, str]
    failed: Mapping[str, str]
    kept: int = 0

    @property
    def status(self) -> int:
        """0 if every track was scored, 1 if some were, 2 if none was."""
        if not self.failed:
            return 0
        return 1 if any(not track.error for track in self.tracks) else 2


@dataclass(frozen=True)
class _Pair:
    """Files of one track."""

    name: str
    estimates: Mapping[str, StemFile]
    references: Mapping[str, StemFile]
    mixture: StemFile | None = None
    missing: str = ""

    @property
    def stamp(self) -> str:
        """What the files are recognized by."""
        mixture = [] if self.mixture is None else [self.mixture]
        return stamp([*self.estimates.values(), *self.references.values(), *mixture])


def evaluate(
    estimates: str | os.PathLike[str],
    references: str | os.PathLike[str],
    *,
    save: str | os.PathLike[str] = "eval.csv",
    metrics: Sequence[str] = DEFAULT_METRICS,
    max_tracks: int | None = None,
    duration: float | None = None,
    baseline: bool = True,
    plot: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    on_progress: Progress | None = None,
    on_track: Callable[[str, str], None] | None = None,
) -> EvaluationReport:
    """Compare files with files.

    Two folders, either with a folder per song (as ``sonograd separate`` writes and MUSDB18-HQ has),
    or with audio files of equal names. Targets are the stems that both sides have.

    Args:
        estimates: A folder.
        references: A folder, or a data set with a ``test`` folder.
        save: The table, or a folder for ``eval.csv``; ``eval.json`` is written beside it.
        metrics: Names, see :func:`sonograd.metrics.make_accumulators`.
        max_tracks: Score so many tracks at most.
        duration: Only the first seconds of each.
        baseline: Score the mix as an estimate, too, where there is one.
        plot: Draw box plots, ``eval.png``.
        overwrite: Start anew, whatever an earlier run wrote.
        workers: Tracks that are scored at a time, each in a process of its own.
        on_progress: Called with ``(done, total)`` tracks.
        on_track: Called with the name of a track and what is to be said about it.

    Raises:
        ParameterError: If a metric does not exist, or a number is out of range.
        DatasetError: If nothing fits together.
        OutputError: If results cannot be written, or others are there.
    """
    check_counts(max_tracks=max_tracks, workers=workers)
    pairs = _pairs(Path(estimates), Path(references))[:max_tracks]
    settings = {
        "estimates": str(Path(estimates).resolve()),
        "references": str(Path(references).resolve()),
    }
    report = Evaluation(
        settings, save, metrics=metrics, duration=duration, baseline=baseline, overwrite=overwrite
    )
    for pair in pairs:
        if pair.missing:
            report.fail(pair.name, pair.missing, on_track)
    pairs = report.left([(pair.name, pair.stamp, pair) for pair in pairs if pair.references])
    score = partial(_score_pair, metrics=tuple(metrics), duration=duration, baseline=baseline)
    with _Runner(workers) as run:
        report.collect(run(score, pairs), len(pairs), on_progress, on_track)
    return report.finish(plot=plot)


class Evaluation:
    """One run of ``test`` or ``evaluate``: where results go, and what is left to do."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        save: str | os.PathLike[str],
        *,
        metrics: Sequence[str],
        duration: float | None,
        baseline: bool,
        overwrite: bool,
    ) -> None:
        """Check the request, and open the file of an earlier run.

        Raises:
            ParameterError: If a metric does not exist, or ``duration`` is not positive.
            OutputError: If other results are there.
        """
        if duration is not None and not duration > 0:
            raise ParameterError(f"duration is {duration}; expected a positive number of seconds")
        if not metrics:
            raise ParameterError("got no metrics; expected at least one")
        known = accumulator_classes(metrics)
        self.kinds = {name: kind for kind in known for name in kind.value_names}
        path = Path(save)
        self.csv = path if path.suffix == ".csv" else path / "eval.csv"
        if self.csv.is_dir() or (path.suffix != ".csv" and path.is_file()):
            raise OutputError(f"{save}: expected a file ending in .csv, or a folder.")
        try:
            self.csv.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.csv.parent}: cannot be made: {error.strerror}.") from None
        named = {acc.name: acc.version for acc in known}
        full = {**settings, "metrics": named, "duration": duration, "baseline": baseline}
        self.sheet = Sheet(self.csv.with_suffix(".json"), full, overwrite=overwrite)
        if self.csv.exists() and not self.sheet.tracks and not overwrite:
            raise OutputError(
                f"{self.csv}: exists and is kept; choose another --save, or --overwrite."
            )
        self.failed: dict[str, str] = {}
        self.kept = 0
        self._names: list[str] = []

    def left(self, items: Sequence[tuple[str, str, Any]]) -> list[Any]:
        """Return what is still to be scored of ``(track, stamp of its files, anything)``."""
        self._names = [name for name, _, _ in items]
        done = {name for name, seal, _ in items if self.sheet.has(name, seal)}
        self.kept = len(done)
        return [item for name, _, item in items if name not in done]

    def fail(self, name: str, reason: str, on_track: Callable[[str, str], None] | None) -> None:
        """Remember what is wrong with a track, and tell it."""
        self.failed[name] = f"{self.failed[name]}; {reason}" if name in self.failed else reason
        if on_track is not None:
            on_track(name, reason)

    def collect(
        self,
        results: Iterable[TrackScores],
        count: int,
        on_progress: Progress | None,
        on_track: Callable[[str, str], None] | None,
    ) -> None:
        """Keep scores as they come."""
        for done, scores in enumerate(results, 1):
            self.sheet.add(scores)
            if scores.error:
                self.fail(scores.track, scores.error, on_track)
            elif on_track is not None:
                on_track(scores.track, "")
            if on_progress is not None:
                on_progress(self.kept + done, self.kept + count)

    def finish(self, *, plot: bool) -> EvaluationReport:
        """Write the table, and the picture if it is wanted."""
        tracks = [self.sheet.tracks[name] for name in self._names if name in self.sheet.tracks]
        scored = [track for track in tracks if not track.error]
        if tracks:
            write_text(self.csv, to_csv(tracks, self.kinds))
        picture = None
        if plot and scored:
            from sonograd.plotting import score_boxes

            picture = self.csv.with_suffix(".png")
            values = [(track.values, track.track) for track in scored]
            score_boxes(values, list(self.kinds)).savefig(picture)
        return EvaluationReport(
            self.csv,
            self.sheet.path,
            picture,
            tuple(tracks),
            tuple(summarize(scored, self.kinds)),
            {name: kind.version for name, kind in self.kinds.items()},
            self.failed,
            self.kept,
        )


class _Runner:
    """Maps a function over items, in this process or in several; use it as a context manager."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Callable[[Callable[[Any], TrackScores], Sequence[Any]], Iterable[Any]]:
        if self._workers == 1:
            return map
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._workers, context, initializer=_one_thread)
        return self._pool.map

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _pairs(estimates: Path, references: Path) -> list[_Pair]:
    """Find out which estimate belongs to which reference."""
    for folder in (estimates, references):
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder.")
    found = _song_pairs(estimates, references) or _file_pairs(estimates, references)
    if not found:
        raise DatasetError(
            f"{estimates} and {references}: no track is in both; expected SONG/STEM.wav in each, "
            "or audio files of equal names."
        )
    return found


def _song_pairs(estimates: Path, references: Path) -> list[_Pair]:
    split = "test" if (references / "test").is_dir() else None
    try:
        songs = find_songs(references, split)
    except DatasetError:
        return []
    found = [estimated_stems(estimates / song.name) for song in songs]
    if not any(found):
        return []
    expected = {name for song, ours in zip(songs, found, strict=True) for name in ours} & {
        name for song in songs for name in song.stems
    }
    pairs = []
    for song, ours in zip(songs, found, strict=True):
        both = {name: file for name, file in song.stems.items() if name in ours}
        lacking = sorted((expected & song.stems.keys()) - both.keys())
        missing = f"no estimate of {', '.join(lacking)}" if lacking else ""
        pairs.append(
            _Pair(song.name, {name: ours[name] for name in both}, both, song.mixture, missing)
        )
    return pairs if any(pair.references for pair in pairs) else []


def estimated_stems(folder: Path) -> dict[str, StemFile]:
    """Return the audio files of a folder by name."""
    return {path.stem: StemFile(path) for path in find_audio(folder)} if folder.is_dir() else {}


def _file_pairs(estimates: Path, references: Path) -> list[_Pair]:
    ours, theirs = (
        {str(path.relative_to(root).with_suffix("")): StemFile(path) for path in find_audio(root)}
        for root in (estimates, references)
    )
    if not ours.keys() & theirs.keys():
        return []
    pairs = [
        _Pair(name, {"": ours[name]}, {"": theirs[name]})
        for name in sorted(ours.keys() & theirs.keys())
    ]
    pairs += [_Pair(n, {}, {}, missing="no estimate") for n in sorted(theirs.keys() - ours.keys())]
    pairs += [_Pair(n, {}, {}, missing="no reference") for n in sorted(ours.keys() - theirs.keys())]
    return pairs


def _score_pair(
    pair: _Pair, *, metrics: Sequence[str], duration: float | None, baseline: bool
) -> TrackScores:
    try:
        track = _open(pair, duration, baseline=baseline)
    except (AudioError, OSError) as error:
        return TrackScores(pair.name, error=str(error))
    return dataclasses.replace(score_track(track, metrics), stamp=pair.stamp)


def _open(pair: _Pair, duration: float | None, *, baseline: bool) -> Track:
    targets = tuple(pair.references)
    rate, _ = same_format([*pair.references.values(), *pair.estimates.values()])
    stop = None if duration is None else round(duration * rate)
    references = [file_blocks(pair.references[target], stop) for target in targets]
    estimates = [file_blocks(pair.estimates[target], stop) for target in targets]
    mixture = None
    if baseline and pair.mixture is not None:
        same_format([pair.mixture, *pair.references.values()])
        mixture = stack_blocks([file_blocks(pair.mixture, stop)] * len(targets), references)
    return Track(pair.name, targets, rate, stack_blocks(estimates, references), mixture)


def stamp(files: Sequence[StemFile]) -> str:
    """Return a short text that changes when one of the files does."""
    facts = [(str(p), f.stream, *_size_and_time(p)) for f in files for p in f.paths]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def check_counts(*, max_tracks: int | None, workers: int | None) -> None:
    """Refuse numbers below 1.

    Raises:
        ParameterError: If one is.
    """
    for name, value in (("max_tracks", max_tracks), ("workers", workers)):
        if value is not None and value < 1:
            raise ParameterError(f"{name} is {value}; expected at least 1")


def same_format(files: Sequence[StemFile]) -> tuple[int, int]:
    """Return the rate and length that files share.

    Raises:
        AudioError: If they differ in rate, channels or length; names the first that does.
    """
    first, *others = [(file, _format(file)) for file in files]
    for file, form in others:
        for what, ours, theirs in zip(
            ("sample rate (Hz)", "channels", "samples"), first[1], form, strict=True
        ):
            if ours != theirs:
                raise AudioError(
                    f"{what}: {ours} in {first[0].path}, but {theirs} in {file.path}; they must be "
                    "equal"
                )
    return first[1][0], first[1][2]


def _format(file: StemFile) -> tuple[int, int, int]:
    with StemAudio(file) as audio:
        return audio.sample_rate, audio.channels, audio.samples


def file_blocks(file: StemFile, stop: int | None) -> Callable[[], Iterator[Tensor]]:
    """Return a function that reads a file block by block."""

    def blocks() -> Iterator[Tensor]:
        with StemAudio(file) as audio:
            yield from audio.blocks(_BLOCK, stop=stop)

    return blocks


def song_mix(song: SongFiles, stop: int | None) -> Callable[[], Iterator[Tensor]]:
    """Return a function that reads the mix of a song, or the sum of its stems."""
    if song.mixture is not None:
        return file_blocks(song.mixture, stop)
    stems = [file_blocks(file, stop) for file in song.stems.values()]

    def blocks() -> Iterator[Tensor]:
        for parts in zip(*(open_() for open_ in stems), strict=True):
            yield sum(parts[1:], start=parts[0])

    return blocks
