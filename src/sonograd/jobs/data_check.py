"""Check the songs of a data set, and write repaired copies."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonograd.data.check import Finding, SongCheck, check_song, compare_songs
from sonograd.data.layouts import MIXTURE, SongFiles, StemFile, find_songs, find_splits
from sonograd.data.repair import LIST_NAME, remedy, repair_song, write_list
from sonograd.errors import OutputError, ParameterError, SonogradError
from sonograd.jobs.resources import usable_cores

__all__ = ["DatasetReport", "check_dataset"]


@dataclass(frozen=True)
class DatasetReport:
    """What is known about a data set.

    Attributes:
        dataset: Where it is.
        songs: All songs, in the order of their splits and names.
        repaired: Songs of which a repaired copy was written, with what was done.
        left_out: Songs that are not in the list of usable songs, with the reasons.
        list_path: That list, if copies were asked for.
    """

    dataset: Path
    songs: tuple[SongCheck, ...]
    repaired: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    list_path: Path | None = None

    @property
    def faulty(self) -> tuple[SongCheck, ...]:
        """Songs with something wrong."""
        return tuple(song for song in self.songs if song.errors)

    @property
    def status(self) -> int:
        """Exit status: 0 if nothing is wrong, or all of it was repaired, else 1."""
        if self.list_path is not None:
            return 1 if self.left_out else 0
        return 1 if self.faulty else 0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {
            "dataset": str(self.dataset),
            "songs": [_as_dict(song) for song in self.songs],
            "faulty": len(self.faulty),
            "repaired": {name: list(done) for name, done in self.repaired.items()},
            "left_out": dict(self.left_out),
            "list": None if self.list_path is None else str(self.list_path),
        }


def check_dataset(
    dataset: str | os.PathLike[str],
    *,
    split: str | None = None,
    max_tracks: int | None = None,
    fix: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    on_progress: Callable[[float, float], None] | None = None,
    on_song: Callable[[SongCheck], None] | None = None,
) -> DatasetReport:
    """Listen to all songs of a data set, several at a time.

    Args:
        dataset: A folder or a list, see :mod:`sonograd.data.layouts`.
        split: Only this part of it; all parts if None.
        max_tracks: So many songs at most, of each part.
        fix: A folder for repaired copies of the songs that can be repaired, and a list of all
            usable songs, ``songs.csv``, which can be trained on. Originals stay as they are.
        workers: Songs read at a time; as many as there are cores if None.
        on_progress: Called with ``(done, total)`` songs.
        on_song: Called with what a song alone shows.

    Raises:
        DatasetError: If there is no data set.
        OutputError: If ``fix`` holds a list already, or cannot be written to.
    """
    for name, value in (("max_tracks", max_tracks), ("workers", workers)):
        if value is not None and value < 1:
            raise ParameterError(f"{name} is {value}; expected at least 1")
    root = Path(dataset)
    if fix is not None and Path(fix, LIST_NAME).exists():
        raise OutputError(f"{Path(fix, LIST_NAME)}: exists and is kept; choose another folder.")
    parts: Sequence[str | None] = [split] if split is not None else find_splits(root) or [None]
    songs = [(part or "", song) for part in parts for song in find_songs(root, part)[:max_tracks]]
    found: list[SongCheck | None] = [None] * len(songs)
    jobs = workers or usable_cores()
    for done, (row, check) in enumerate(_checked(songs, jobs), 1):
        found[row] = check
        if on_song is not None:
            on_song(check)
        if on_progress is not None:
            on_progress(done, len(songs))
    checks = compare_songs([check for check in found if check is not None])
    if fix is None:
        return DatasetReport(root, tuple(checks))
    return _repair(root, [song for _, song in songs], checks, Path(fix))


def _checked(
    songs: Sequence[tuple[str, SongFiles]], workers: int
) -> Iterator[tuple[int, SongCheck]]:
    """Check songs in threads (decoders run beside each other there), a few ahead at most."""
    left = iter(enumerate(songs))
    with ThreadPoolExecutor(workers) as pool:
        running: dict[Future[SongCheck], int] = {}
        try:
            while True:
                while len(running) < 2 * workers and (entry := next(left, None)) is not None:
                    row, (split, song) = entry
                    running[pool.submit(check_song, song, split=split)] = row
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for job in finished:
                    yield running.pop(job), job.result()
        finally:
            for job in running:
                job.cancel()


def _repair(
    root: Path, songs: Sequence[SongFiles], checks: Sequence[SongCheck], out: Path
) -> DatasetReport:
    repaired: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    usable: list[tuple[str, str, Mapping[str, StemFile]]] = []
    for song, check in zip(songs, checks, strict=True):
        name = f"{check.split}/{check.name}" if check.split else check.name
        files = dict(song.stems) | ({MIXTURE: song.mixture} if song.mixture else {})
        hopeless = [finding for finding in check.errors if not remedy(finding, check)]
        if hopeless:
            left_out[name] = "; ".join(describe(finding) for finding in hopeless)
            continue
        if check.errors:
            try:
                files = repair_song(song, check, Path(out, check.split, check.name))
            except OutputError:
                raise
            except SonogradError as error:
                left_out[name] = str(error)
                continue
            repaired[name] = tuple(
                f"{finding.stem or 'song'}: {remedy(finding, check)}" for finding in check.errors
            )
        usable.append((check.name, check.split, files))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made: {error.strerror}.") from None
    write_list(out / LIST_NAME, usable)
    return DatasetReport(root, tuple(checks), repaired, left_out, out / LIST_NAME)


def describe(finding: Finding) -> str:
    """Return a finding as one line.

    >>> describe(Finding("silence", "is silent throughout", "bass"))
    'bass is silent throughout'
    """
    return f"{finding.stem} {finding.message}".strip()


def _as_dict(song: SongCheck) -> dict[str, Any]:
    missing = song.missing_db
    return {
        "name": song.name,
        "split": song.split,
        "seconds": round(song.seconds, 3),
        "sample_rate": song.sample_rate,
        "channels": song.channels,
        "stems": list(song.stems),
        "missing_db": None if missing != missing else round(missing, 2),  # noqa: PLR0124 - NaN
        "findings": [
            {
                "kind": finding.kind,
                "stem": finding.stem,
                "message": finding.message,
                "error": finding.error,
                "remedy": remedy(finding, song),
            }
            for finding in song.findings
        ],
    }
