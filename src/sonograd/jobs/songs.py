"""Write folders of synthetic songs in the layout of MUSDB18-HQ."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from threading import Thread
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch

from sonograd.config import suggest
from sonograd.errors import OutputError, ParameterError
from sonograd.jobs.outputs import StagedFolder, remove_abandoned
from sonograd.jobs.resources import check_space, check_writable
from sonograd.processes import told_when_killed

__all__ = ["SongsReport", "Source", "describe_songs", "write_songs"]

Source: TypeAlias = Literal["synthesis", "sampled", "both"]
_REQUEST = "songs.json"


@dataclass(frozen=True, slots=True)
class SongsReport:
    """What was written.

    Attributes:
        folder: Where ``train/`` and ``test/`` are.
        written: Folders of the songs made now.
        skipped: Folders of the songs that were there already.
    """

    folder: Path
    written: tuple[Path, ...]
    skipped: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Request:
    """What decides the sound of the songs of a folder; their number does not."""

    seconds: float
    seed: int
    sample_rate: int
    genre: str | None
    source: Source


@dataclass(frozen=True, slots=True)
class _Job:
    folder: Path
    index: int
    request: _Request

    @property
    def seed(self) -> int:
        return song_seed(self.request.seed, self.index)


def song_seed(seed: int, index: int) -> int:
    """Return the seed of one song of a folder."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def _split(index: int) -> str:
    """Every fifth song is for testing, the second one first, whatever the number of songs."""
    return "test" if index % 5 == 1 else "train"


def _plan(
    out: Path,
    count: int,
    seconds: float,
    seed: int,
    sample_rate: int,
    genre: str | None,
    source: Source,
) -> Iterator[_Job]:
    """Check everything, then return an iterator over the songs of a folder."""
    from sonograd.data.songs import GENRES, check_genre, check_request

    if count < 2:
        raise ParameterError(f"count is {count}; expected at least 2: one to train, one to test.")
    if source not in get_args(Source):
        hint = suggest(source, get_args(Source))
        raise ParameterError(
            f"source is {source!r}; expected one of {', '.join(get_args(Source))}.{hint}"
        )
    if genre is not None and genre not in GENRES:
        check_genre(genre)
    check_request(seed=seed, seconds=seconds, sample_rate=sample_rate)
    request = _Request(seconds, seed, sample_rate, genre, source)
    return (
        _Job(out / _split(index) / f"song-{seed}-{index:05d}", index, request)
        for index in range(count)
    )


def write_songs(
    out: Path,
    *,
    count: int,
    seconds: float = 180.0,
    seed: int = 0,
    sample_rate: int = 44100,
    genre: str | None = None,
    source: Source = "synthesis",
    workers: int = 1,
    on_progress: Callable[[float, float], None] | None = None,
) -> SongsReport:
    """Write ``count`` songs: ``train/`` and ``test/``, ``SONG/{mixture,drums,...}.wav``.

    Files are 16-bit; the mixture is the exact sum of the stems as written. A song appears
    complete or not at all. Songs that are there already are kept, so that an interrupted run can
    be continued and a folder can grow.

    Args:
        out: The folder.
        count: Number of songs, at least 2; every fifth goes to ``test/``.
        seconds: Length of each.
        seed: Another seed, other songs.
        sample_rate: In Hz.
        genre: Only songs of this genre.
        source: ``synthesis`` needs nothing else; ``sampled`` plays a General MIDI SoundFont and
            sings resynthesized speech, for which FluidSynth, eSpeak NG and pyworld must be
            installed; ``both`` draws one of them for each song.
        workers: Processes that work side by side.
        on_progress: Called with the seconds of audio done and in all.

    Raises:
        ParameterError: For a value out of range or a genre that is not known.
        OutputError: If the folder cannot be written to, lacks the space, or holds songs made with
            other settings; known before anything is made.
        ConfigError: If programs that ``source`` needs are not installed.
        SonogradError: If one of these programs fails, or a process that makes songs was killed.
    """
    out = Path(out)
    if workers < 1:
        raise ParameterError(f"workers is {workers}; expected at least 1.")
    plan = _plan(out, count, seconds, seed, sample_rate, genre, source)
    if source != "synthesis":
        from sonograd.data.songs.sampled import check_programs

        check_programs()
    check_writable(out)
    song_bytes = 5 * (round(seconds * sample_rate) * 4 + 4096)
    there = sum(1 for _ in out.glob("t*/song-*"))
    check_space(out, max(count - there, 0) * song_bytes)  # before any number of jobs is planned
    jobs = list(plan)
    remove_abandoned([out.parent, *(job.folder.parent for job in jobs)])
    skipped = [job for job in jobs if job.folder.is_dir()]
    todo = [job for job in jobs if not job.folder.is_dir()]
    check_space(out, len(todo) * song_bytes)
    _check_request(out, jobs[0].request)
    for position, _ in enumerate(_run(todo, workers)):
        if on_progress is not None:
            on_progress((position + 1) * seconds, len(todo) * seconds)
    return SongsReport(out, tuple(job.folder for job in todo), tuple(job.folder for job in skipped))


def describe_songs(
    *,
    count: int,
    seconds: float = 180.0,
    seed: int = 0,
    sample_rate: int = 44100,
    genre: str | None = None,
    source: Source = "synthesis",
) -> Iterator[dict[str, Any]]:
    """Yield the parameters of the songs that :func:`write_songs` would make, without making them.

    Raises:
        ParameterError: As :func:`write_songs`.
    """
    from sonograd.data.songs import compose, describe

    for job in _plan(Path(), count, seconds, seed, sample_rate, genre, source):
        score = compose(job.seed, seconds=seconds, genre=genre)
        yield {"song": job.folder.as_posix(), **describe(score), "source": _source_of(job)}


def _check_request(out: Path, request: _Request) -> None:
    """Note what the folder holds; refuse to mix settings in one folder."""
    path = out / _REQUEST
    wanted = asdict(request)
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        different = [key for key, value in wanted.items() if found.get(key) != value]
        if different and any(out.glob("t*/song-*")):
            key = different[0]
            raise OutputError(
                f"{out}: holds songs made with {key} {found.get(key)!r}, and {wanted[key]!r} is "
                "asked for; choose another folder."
            )
    with StagedFolder(out) as staged:
        (staged.path / _REQUEST).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        staged.publish()


def _run(jobs: list[_Job], workers: int) -> Iterator[None]:
    """Make the songs, in this process or in several; yield once per song done."""
    if workers == 1 or len(jobs) < 2:
        before = torch.get_num_threads()
        _one_thread()
        try:
            for job in jobs:
                _make(job)
                yield
        finally:
            torch.set_num_threads(before)
        return
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        with told_when_killed("made songs"):
            waiting = {pool.submit(_make, job) for job in jobs}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    """Use one thread: songs are made side by side, and sums round in one way only."""
    torch.set_num_threads(1)


def _start_worker() -> None:
    """Prepare a process that makes songs: it ends with the one that started it."""
    _one_thread()
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    """Wait for the end of the parent, then end this process: nobody takes its songs any more."""
    wait_for([sentinel])
    os._exit(1)


def _source_of(job: _Job) -> str:
    if job.request.source != "both":
        return job.request.source
    return "sampled" if job.seed % 2 else "synthesis"


def _make(job: _Job) -> None:
    """Render one song and move it into place."""
    import soundfile

    from sonograd.data.songs import make_song

    request = job.request
    source = _source_of(job)
    song = make_song(
        job.seed,
        seconds=request.seconds,
        sample_rate=request.sample_rate,
        genre=request.genre,
        source="sampled" if source == "sampled" else "synthesis",
    )
    stems = (song.stems * 32767.0).round().to(torch.int32)
    mixture = stems.sum(0)
    if int(mixture.abs().max()) > 32767:  # four roundings can add up to two steps
        raise AssertionError("the mixture exceeds 16 bits")
    tracks = dict(zip(("mixture", *song.names), (mixture, *stems), strict=True))
    with StagedFolder(job.folder) as staged:
        for name, track in tracks.items():
            try:
                soundfile.write(
                    staged.path / f"{name}.wav",
                    track.to(torch.int16).T.contiguous().numpy(),
                    request.sample_rate,
                    subtype="PCM_16",
                )
            except soundfile.SoundFileError as error:
                raise OutputError(
                    f"{job.folder / name}.wav: cannot be written, is the disk full? {error}"
                ) from None
        text = json.dumps({**song.description, "source": source}, indent=2) + "\n"
        (staged.path / "song.json").write_text(text, encoding="utf-8")
        staged.publish()
