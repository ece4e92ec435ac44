"""``sonograd separate``: songs in, one folder of stems per song out."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sonograd.config import SeparationRecord, write_config
from sonograd.config.output import Bits, Precision
from sonograd.data import AudioFile, check_finite, check_format, resampled_length
from sonograd.errors import TRACEBACK, AudioError, OutputError, SonogradError
from sonograd.jobs.catalog import RECORD_NAME, Song, find_songs
from sonograd.jobs.download import ensure_model
from sonograd.jobs.existing import has_results, remove_replaced
from sonograd.jobs.outcome import EventKind, SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.outputs import StagedFolder, StemWriters, remove_abandoned
from sonograd.jobs.pipeline import separate_blocks
from sonograd.jobs.request import Request, check_request
from sonograd.jobs.resources import check_space, check_writable
from sonograd.jobs.workers import ChunkRunner
from sonograd.precision import bf16_is_faster
from sonograd.separators import ChunkPlan, Separator
from sonograd.separators.base import Progress

__all__ = ["Progress", "separate_files"]

#: Samples per channel that are read at a time.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class _Task:
    """A song whose header was read; ``samples`` of it are wanted."""

    song: Song
    sample_rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


def separate_files(
    model: str | os.PathLike[str],
    audio: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    save: str | os.PathLike[str] = Path(),
    residual: bool = False,
    duration: float | None = None,
    sample_rate: int | None = None,
    overlap: float | None = None,
    padding: int | None = None,
    stems: Sequence[str] | None = None,
    two_stems: str | None = None,
    ensemble: Sequence[str | os.PathLike[str]] | None = None,
    weights: Sequence[float] | None = None,
    shifts: int = 0,
    swap_channels: bool = False,
    invert: bool = False,
    format: str = "wav",
    bits: Bits | None = None,
    device: str = "auto",
    batch_size: int = 1,
    overwrite: bool = False,
    repair: bool = False,
    workers: int | None = None,
    precision: Precision = "32",
    offline: bool = False,
    on_progress: Progress | None = None,
    on_event: Callable[[SeparationEvent], None] | None = None,
) -> SeparationReport:
    """Take songs apart: one folder per song, one file per stem.

    Each stem has the song's channels and length, and its rate unless ``sample_rate`` is given.
    With floating-point files, stems and residual sum to the mix up to rounding. Other formats
    get one common gain for all files of a song if any of them would clip. A result folder
    appears complete or not at all; memory does not depend on the length of a song.

    The whole song is separated (auralflow, whose options these are, stopped after 30 seconds). A
    song that cannot be separated does not keep the others from being separated.

    Args:
        model: A session folder, a checkpoint file, or the name of a model.
        audio: Audio files, and folders that are searched for them; one, or several.
        save: Folder for the results, see :func:`~sonograd.jobs.catalog.find_songs`.
        residual: Also write the mix minus the written stems.
        duration: Seconds to take from the start of each song; all of it if None.
        sample_rate: Rate of the results in Hz; that of each song if None.
        overlap: Fraction of a chunk that neighbors share, in [0, 1); the model's own if None.
        padding: The same in samples at the model's rate, instead of ``overlap``.
        stems: Names of the stems to write; all if None.
        two_stems: Write this stem, and all the rest as ``no_`` and its name.
        ensemble: Further models, whose stems are averaged with those of ``model``.
        weights: How much each of these models counts, ``model`` first; all alike if None.
        shifts: Average over so many copies of the song that begin after up to half a second of
            silence; a little better, and slower by that factor.
        swap_channels: Average with a copy whose channels are exchanged.
        invert: Average with a copy of the other sign.
        format: File format of the results, a key of :data:`sonograd.data.FORMATS`.
        bits: Sample format; the file format's own if None.
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Chunks that run through the model together.
        overwrite: Replace existing results; otherwise a song is skipped if exactly these results
            exist, and fails if others are in their place.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        workers: Chunks in work at a time on the CPU; the number of free cores if None.
        precision: Arithmetic of the model, ``32`` or ``bf16``.
        offline: Download nothing; a published model that is not here yet is an error.
        on_progress: Called with ``(done, total)`` in seconds of audio, over all songs.
        on_event: Told about every song as it starts and ends.

    Returns:
        What became of each song.

    Raises:
        ConfigError: If options are wrong, with all problems at once.
        DownloadError: If a published model cannot be fetched.
        OutputError: If ``save`` cannot be written to or has too little space.
    """
    for name in (model, *(ensemble or ())):
        ensure_model(name, offline=offline or None)
    request = check_request(
        model, save=Path(save), residual=residual, duration=duration, sample_rate=sample_rate,
        overlap=overlap, padding=padding, stems=stems, format=format, bits=bits, device=device,
        batch_size=batch_size, overwrite=overwrite, repair=repair, workers=workers,
        precision=precision, two_stems=two_stems, ensemble=ensemble or (),
        weights=weights or (),
        shifts=shifts, swap_channels=swap_channels, invert=invert,
    )  # fmt: skip
    check_writable(request.save)
    runner = ChunkRunner(
        request.device, workers=workers, batch_size=batch_size, precision=precision
    )
    job = _Job(request, runner, on_progress, on_event)
    tasks = job.prepare([audio] if isinstance(audio, str | os.PathLike) else audio)
    if tasks:
        check_space(request.save, _bytes_needed(tasks, request))
        with runner:
            for task in tasks:
                job.run(task)
    return job.report()


class _Job:
    """One run: the songs behind it and the song in work."""

    def __init__(
        self,
        request: Request,
        runner: ChunkRunner,
        on_progress: Progress | None,
        on_event: Callable[[SeparationEvent], None] | None,
    ) -> None:
        self.request = request
        self.runner = runner
        self._on_progress = on_progress
        self._on_event = on_event
        self._done: list[SongOutcome] = []
        self._skipped: list[SongOutcome] = []
        self._failed: list[SongOutcome] = []
        self._started = 0
        self._seconds_total = 0.0
        self._seconds_behind = 0.0
        self._separator: Separator | None = None
        self._repaired: set[Path] = set()

    def report(self) -> SeparationReport:
        return SeparationReport(
            tuple(self._done), tuple(self._skipped), tuple(self._failed), self._started
        )

    def prepare(self, audio: Iterable[str | os.PathLike[str]]) -> list[_Task]:
        """Read the headers of all songs; report what is wrong, and what exists already."""
        songs, failures = find_songs(audio, self.request.save)
        for failure in failures:
            self._fail(failure)
        if self.request.model.note:
            self._tell("warning", Path(self.request.model.name), self.request.model.note)
        if self.request.precision == "bf16" and not bf16_is_faster(self.request.device):
            message = f"bf16 is not faster than float32 on this {self.request.device.type}"
            self._tell("warning", Path(self.request.model.name), message)
        for folder in remove_abandoned(song.folder.parent for song in songs):
            self._tell("warning", folder, "was left by a run that was killed, and is removed")
        tasks = []
        for song in songs:
            try:
                task = self._look_at(song)
            except Exception as error:
                self._fail_for(song, error)
                continue
            if task is not None:
                tasks.append(task)
        self._seconds_total = sum(task.seconds for task in tasks)
        return tasks

    def _look_at(self, song: Song) -> _Task | None:
        """Return what there is to do for a song, or None if it is done."""
        request = self.request
        if not (_is_text(song.source) and _is_text(song.folder)):
            raise AudioError(f"{song.source}: its name is no valid text; rename the file.")
        with AudioFile(song.source) as file:
            samples = file.samples
            if request.duration is not None:
                samples = min(samples, round(request.duration * file.sample_rate))
            task = _Task(song, file.sample_rate, file.channels, samples)
        rate = request.sample_rate or task.sample_rate
        check_format(request.format, sample_rate=rate, channels=task.channels, bits=request.bits)
        if not request.overwrite and self._is_done(task):
            message = f"skipped, its stems are in {song.folder}; --overwrite replaces them"
            files = _files(song, request)
            self._skipped.append(SongOutcome(song.source, song.folder, files, message=message))
            self._tell("skipped", song.source, message)
            return None
        check_writable(song.folder)
        return task

    def _is_done(self, task: _Task) -> bool:
        """Tell whether there are these results already; raise if there are others."""
        separator = self.request.load(task.sample_rate, task.channels)
        return has_results(
            task.song,
            _files(task.song, self.request),
            self._record(task, self.request.plan(separator)),
        )

    def _record(self, task: _Task, plan: ChunkPlan, gain_db: float = 0.0) -> SeparationRecord:
        return self.request.record(
            task.song, plan, sample_rate=task.sample_rate, channels=task.channels, gain_db=gain_db
        )

    def run(self, task: _Task) -> None:
        """Separate one song; what goes wrong is reported, not raised."""
        self._started += 1
        self._tell("started", task.song.source)
        begin = time.perf_counter()
        try:
            self._tell_channels(task)
            check_space(self.request.save, _bytes_needed([task], self.request))
            gain_db = self._separate(task)
        except Exception as error:
            self._fail_for(task.song, error)
        else:
            elapsed = time.perf_counter() - begin
            self._finish(task, elapsed, gain_db)
        self._seconds_behind += task.seconds

    def _tell_channels(self, task: _Task) -> None:
        """Say how channels go through a model that has not as many."""
        model = self._separator_for(task).channels
        if task.channels > max(model, 1) and task.channels > 2:
            how = "in pairs" if model == 2 else "one by one"
            message = f"{task.channels} channels go through the model {how}, and keep their places"
            self._tell("warning", task.song.source, message)

    def _finish(self, task: _Task, elapsed: float, gain_db: float) -> None:
        files = _files(task.song, self.request)
        speed = f", {task.seconds / elapsed:.1f} times real time" if task.seconds else ""
        message = f"{len(files)} file{'s' * (len(files) != 1)} in {elapsed:.1f} s{speed}"
        if gain_db:
            message += f"; all at {gain_db:.2f} dB, so that none clips"
        self._done.append(
            SongOutcome(
                task.song.source, task.song.folder, files, task.seconds, elapsed, gain_db, message
            )
        )
        self._tell("done", task.song.source, message)

    def _separate(self, task: _Task) -> float:
        """Write the stems of one song and return their gain in dB."""
        request = self.request
        separator = self._separator_for(task)
        plan = request.plan(separator)
        rate = request.sample_rate or task.sample_rate
        with StagedFolder(task.song.folder) as staged, AudioFile(task.song.source) as file:
            with StemWriters(
                staged.path, request.outputs, sample_rate=rate, channels=task.channels,
                suffix=request.suffix, spool=request.spool, format=request.format,
                bits=request.bits, tags=file.info.tags, cover=file.info.cover,
                samples=resampled_length(task.samples, task.sample_rate, rate),
            ) as writers:  # fmt: skip
                separated = separate_blocks(
                    self.runner, separator, lambda: self._blocks(task, file), plan=plan,
                    channels=task.channels, sample_rate=task.sample_rate, output_rate=rate,
                )  # fmt: skip
                done = 0
                for mix, stems in separated:
                    writers.write(_with_residual(mix, stems) if request.residual else stems)
                    done += mix.shape[-1]
                    self._progress(done / rate)
                writers.finish()
            write_config(self._record(task, plan, writers.gain_db), staged.path / RECORD_NAME)
            self._publish(task, staged)
        return writers.gain_db

    def _separator_for(self, task: _Task) -> Separator:
        """Return the model; one without weights is made for the song's rate and channels."""
        if self._separator is None or self.request.takes_any_rate:
            separator = self.request.load(task.sample_rate, task.channels)
            self._separator = separator.to(self.request.device).eval()
        return self._separator

    def _blocks(self, task: _Task, file: AudioFile) -> Iterator[Tensor]:
        """Yield the song, refusing or repairing what is no number."""
        position = repaired = 0
        name = str(task.song.source)
        for block in file.blocks(_BLOCK, stop=task.samples):
            checked = check_finite(
                block,
                start=position,
                sample_rate=task.sample_rate,
                name=name,
                repair=self.request.repair,
            )
            if checked is not block:
                repaired += int((~block.isfinite()).sum())
            yield checked
            position += block.shape[-1]
        if repaired and task.song.source not in self._repaired:  # some models read twice
            self._repaired.add(task.song.source)
            message = f"{repaired} samples were no finite numbers and are silent now"
            self._tell("warning", task.song.source, message)

    def _publish(self, task: _Task, staged: StagedFolder) -> None:
        """Move the results into place; what they replace goes as a whole."""
        folder = task.song.folder
        if self.request.overwrite:
            remove_replaced(folder, _files(task.song, self.request))
        elif self._is_done(task):
            raise OutputError(f"{folder}: results appeared there meanwhile and were kept")
        staged.publish()

    def _progress(self, seconds: float) -> None:
        if self._on_progress is not None:
            done = min(self._seconds_behind + seconds, self._seconds_total)
            self._on_progress(done, self._seconds_total)

    def _fail_for(self, song: Song, error: Exception) -> None:
        """Report a song that failed; a mistake of ours, too, must not cost the other songs."""
        if os.environ.get(TRACEBACK) and not isinstance(error, SonogradError | OSError):
            raise error
        self._fail(SongOutcome(song.source, song.folder, message=_line(song, error)))

    def _fail(self, outcome: SongOutcome) -> None:
        self._failed.append(outcome)
        self._tell("failed", outcome.source, outcome.message)

    def _tell(self, kind: EventKind, source: Path, message: str = "") -> None:
        if self._on_event is not None:
            self._on_event(SeparationEvent(kind, source, message))


def _with_residual(mix: Tensor, stems: Tensor) -> Tensor:
    return torch.cat([stems, (mix - stems.sum(dim=0)).unsqueeze(0)])


def _files(song: Song, request: Request) -> tuple[Path, ...]:
    return tuple(song.folder / f"{name}{request.suffix}" for name in request.outputs)


def _bytes_needed(tasks: Sequence[_Task], request: Request) -> int:
    """Return about how much disk the results need, and what waits to be encoded with them."""
    results, largest = 0.0, 0.0
    for task in tasks:
        rate = request.sample_rate or task.sample_rate
        values = task.seconds * rate * task.channels * len(request.outputs)
        results += values * request.bytes_per_sample
        largest = max(largest, 4 * values)
    return round(results + (largest if request.spool else 0))


def _is_text(path: Path) -> bool:
    """Tell whether a path can be written as text, for records and other programs."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _line(song: Song, error: Exception) -> str:
    """Return an error as one line that names the song."""
    if isinstance(error, OSError):
        text = error.strerror or str(error)
    elif isinstance(error, SonogradError):
        text = str(error)
    else:  # nothing that was foreseen
        lines = str(error).splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        text = f"{reason} (with {TRACEBACK}=1 it stops here and shows where)"
    return text if str(song.source) in text else f"{song.source}: {text}"
