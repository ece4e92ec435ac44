"""Separate the test songs of a data set, and score what came out."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sonograd.data.layouts import SongFiles, StemFile, find_songs, find_splits
from sonograd.errors import DatasetError, SonogradError
from sonograd.jobs.download import ensure_model
from sonograd.jobs.evaluate import (
    Evaluation,
    EvaluationReport,
    Progress,
    check_counts,
    file_blocks,
    same_format,
    song_mix,
    stamp,
)
from sonograd.jobs.pipeline import separate_blocks
from sonograd.jobs.resources import check_space, choose_device
from sonograd.jobs.scoring import DEFAULT_METRICS, Track, TrackScores, score_track, stack_blocks
from sonograd.jobs.workers import ChunkRunner
from sonograd.separators import Separator
from sonograd.zoo.lookup import ResolvedModel, resolve

__all__ = ["test"]

_BLOCK = 1 << 18


def test(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str],
    *,
    save: str | os.PathLike[str] | None = None,
    split: str = "test",
    metrics: Sequence[str] = DEFAULT_METRICS,
    max_tracks: int | None = None,
    duration: float | None = None,
    baseline: bool = True,
    plot: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    workers: int | None = None,
    on_progress: Progress | None = None,
    on_track: Callable[[str, str], None] | None = None,
) -> EvaluationReport:
    """Score a separator on a data set, one song at a time.

    Every song is separated as ``sonograd separate`` does it, at its own rate and channels; the
    estimates wait in a temporary file. An interrupted run goes on where it stopped.

    Args:
        model: A session folder, a ``.safetensors`` file, or a name from the zoo.
        dataset: A folder of songs, see :mod:`sonograd.data.layouts`.
        save: The table, or a folder for ``eval.csv``; the session folder if None, or a folder
            ``MODEL-eval`` for other models.
        split: Folder of the data set to look in; the data set itself if it has no such folder.
        metrics: Names, see :func:`sonograd.metrics.make_accumulators`.
        max_tracks: Score so many songs at most.
        duration: Only the first seconds of each.
        baseline: Score the mix as an estimate, too.
        plot: Draw box plots, ``eval.png``.
        overwrite: Start anew, whatever an earlier run wrote.
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``mps``.
        workers: Chunks in work at a time on the CPU; the number of free cores if None.
        on_progress: Called with ``(done, total)`` songs.
        on_track: Called with the name of a song and what is to be said about it.

    Raises:
        ModelNotFoundError: If there is no such model.
        ParameterError: If a metric does not exist, or a number is out of range.
        DatasetError: If the data set has no song, or none of the model's stems.
        OutputError: If results cannot be written, or others are there.
    """
    check_counts(max_tracks=max_tracks, workers=workers)
    ensure_model(model)
    found = resolve(model)
    root = Path(dataset)
    known = found.load().stems
    songs = find_songs(root, split if split in find_splits(root) else None, targets=known)
    if not any(set(known) & song.stems.keys() for song in songs):
        have = ", ".join(sorted(set().union(*(song.stems for song in songs))))
        raise DatasetError(
            f"{root}: none of its songs has {', '.join(known)}, which {found.name} estimates; they "
            f"have {have or 'no stems'}."
        )
    settings = {
        "model": found.name,
        "model_sha256": found.sha256,
        "dataset": str(root.resolve()),
        "split": split,
    }
    evaluation = Evaluation(
        settings,
        _place(found) if save is None else save,
        metrics=metrics,
        duration=duration,
        baseline=baseline,
        overwrite=overwrite,
    )
    songs = songs[:max_tracks]
    expected = set(known) & set().union(*(song.stems for song in songs))
    for song in songs:
        if lacking := sorted(expected - song.stems.keys()):
            evaluation.fail(song.name, f"the data set has no {', '.join(lacking)}", on_track)
    usable = [song for song in songs if expected & song.stems.keys()]
    songs = evaluation.left([(song.name, _stamp(song), song) for song in usable])
    if songs:
        with ChunkRunner(choose_device(device), workers=workers) as runner:
            score = partial(
                _Tester(found, runner).score, metrics=metrics, duration=duration, baseline=baseline
            )
            evaluation.collect(map(score, songs), len(songs), on_progress, on_track)
    return evaluation.finish(plot=plot)


def _stamp(song: SongFiles) -> str:
    return stamp(song.files)


def _place(model: ResolvedModel) -> Path:
    """Return the session folder of a model, or a folder named after it."""
    if model.config_path is not None:
        return model.config_path.parent
    return Path(f"{model.name}-eval")


class _Tester:
    """Separates and scores songs with one model."""

    def __init__(self, model: ResolvedModel, runner: ChunkRunner) -> None:
        self._model = model
        self._runner = runner
        self._separator: Separator | None = None

    def score(
        self, song: SongFiles, *, metrics: Sequence[str], duration: float | None, baseline: bool
    ) -> TrackScores:
        """Score one song; what goes wrong is in the result."""
        try:
            with tempfile.TemporaryDirectory(prefix="sonograd-test-") as folder:
                track = self._separate(song, Path(folder), duration, baseline=baseline)
                return dataclasses.replace(score_track(track, metrics), stamp=_stamp(song))
        except (SonogradError, OSError) as error:
            return TrackScores(song.name, error=str(error))

    def _separate(
        self, song: SongFiles, folder: Path, duration: float | None, *, baseline: bool
    ) -> Track:
        files = song.files
        rate, samples = same_format(files)
        channels = _channels(files[0])
        stop = None if duration is None else round(duration * rate)
        samples = samples if stop is None else min(samples, stop)
        separator = self._separator_for(rate, channels)
        targets = tuple(name for name in separator.stems if name in song.stems)
        if not targets:
            raise DatasetError(f"{song.name}: has none of the stems {', '.join(separator.stems)}")
        shape = (len(targets), channels, samples)
        check_space(folder, 4 * int(np.prod(shape)))
        estimates = np.memmap(folder / "estimates", np.float32, "w+", shape=shape)
        mix = song_mix(song, stop)
        self._fill(estimates, separator, targets, mix, rate)
        references = [file_blocks(song.stems[target], stop) for target in targets]
        ours = [partial(_memory_blocks, estimates[index]) for index in range(len(targets))]
        blocks = stack_blocks(ours, references)
        mixture = stack_blocks([mix] * len(targets), references) if baseline else None
        return Track(song.name, targets, rate, blocks, mixture)

    def _separator_for(self, rate: int, channels: int) -> Separator:
        """Return the model; one without weights is made for the song's rate and channels."""
        if self._model.path is None:
            separator = self._model.load(sample_rate=rate, channels=channels)
            return separator.to(self._runner.device).eval()
        if self._separator is None:
            self._separator = self._model.load().to(self._runner.device).eval()
        return self._separator

    def _fill(
        self,
        estimates: "np.memmap[tuple[int, ...], np.dtype[np.float32]]",
        separator: Separator,
        targets: Sequence[str],
        mix: Callable[[], Iterator[Tensor]],
        rate: int,
    ) -> None:
        rows = [separator.stems.index(target) for target in targets]
        done = 0
        for _, stems in separate_blocks(
            self._runner,
            separator,
            mix,
            plan=separator.plan,
            channels=estimates.shape[1],
            sample_rate=rate,
            output_rate=rate,
        ):
            count = min(stems.shape[-1], estimates.shape[-1] - done)
            estimates[..., done : done + count] = stems[rows, :, :count].numpy()
            done += count


def _channels(file: StemFile) -> int:
    from sonograd.data.tracks import StemAudio

    with StemAudio(file) as audio:
        return audio.channels


def _memory_blocks(
    signal: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
) -> Iterator[Tensor]:
    for begin in range(0, signal.shape[-1], _BLOCK):
        yield torch.from_numpy(np.array(signal[..., begin : begin + _BLOCK]))
