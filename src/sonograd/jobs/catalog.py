"""Which songs are meant by a list of files and folders, and where their stems go."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sonograd.data import FORMATS, find_audio
from sonograd.errors import SonogradError
from sonograd.jobs.outcome import SongOutcome

__all__ = ["RECORD_NAME", "RESIDUAL", "Song", "find_songs", "recorded_files"]

#: The file that marks a folder of stems.
RECORD_NAME = "separation.json"
#: What the mix minus the stems is called.
RESIDUAL = "residual"


@dataclass(frozen=True)
class Song:
    """A song and the folder for its stems."""

    source: Path
    folder: Path


def find_songs(
    audio: Iterable[str | os.PathLike[str]], save: Path
) -> tuple[list[Song], list[SongOutcome]]:
    """Return the songs among ``audio``, in order, and what is wrong with the other arguments.

    A file's stems go to ``save/NAME``, those of a file in a given folder to the same place below
    ``save``. NAME has no ending, unless two songs would then meet: both keep theirs
    (``song.mp3/``, ``song.wav/``). Songs that still meet, from different folders, are numbered.
    A song that is meant twice is taken once. Results that a record names are passed over.
    """
    found: dict[Path, Path] = {}  # resolved file: where its stems go, below save, with its ending
    sources: dict[Path, Path] = {}
    failures: list[SongOutcome] = []
    for item in map(Path, audio):
        try:
            files = [item] if item.is_file() else _search(item)
        except (SonogradError, OSError) as error:
            failures.append(SongOutcome(item, save, message=_with_path(item, error)))
            continue
        for file in files:
            key = file.resolve()
            if key not in found:
                found[key] = Path(file.name) if file == item else file.relative_to(item)
                sources[key] = file
    names = _unique_names(found)
    return [Song(sources[key], save / names[key]) for key in found], failures


def _search(folder: Path) -> list[Path]:
    results: dict[Path, frozenset[str]] = {}
    files = []
    for file in find_audio(folder):
        if file.parent not in results:
            results[file.parent] = recorded_files(file.parent)
        if file.name not in results[file.parent]:
            files.append(file)
    if not files:
        raise SonogradError("there is no audio in this folder, apart from earlier results")
    return files


def recorded_files(folder: Path) -> frozenset[str]:
    """Return the names of the stems that the record in ``folder`` speaks of.

    Records of other versions count as well; what is no record names nothing.
    """
    try:
        settings = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))["settings"]
        suffix = FORMATS[settings["format"]].suffix
        stems = list(settings["stems"])
        if settings.get("residual"):
            stems.append(settings.get("residual_name", RESIDUAL))
        return frozenset(Path(f"{name}{suffix}").name for name in stems)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return frozenset()


def _with_path(path: Path, error: Exception) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"


def _unique_names(files: dict[Path, Path]) -> dict[Path, Path]:
    """Return a folder name for each file; letter case does not tell two folders apart."""
    plain = {key: _without_ending(name) for key, name in files.items()}
    counts: dict[str, int] = {}
    for name in plain.values():
        counts[_folded(name)] = counts.get(_folded(name), 0) + 1
    taken: set[str] = set()
    unique: dict[Path, Path] = {}
    for key, name in plain.items():
        wanted = files[key] if counts[_folded(name)] > 1 else name
        candidate, number = wanted, 2
        while _folded(candidate) in taken:
            candidate = wanted.with_name(f"{wanted.name} ({number})")
            number += 1
        taken.add(_folded(candidate))
        unique[key] = candidate
    return unique


def _without_ending(name: Path) -> Path:
    """Return ``name`` without its ending, ``.stem.mp4`` being one."""
    plain = name.with_suffix("")
    is_stem_file = name.suffix.lower() == ".mp4" and plain.suffix.lower() == ".stem"
    return plain.with_suffix("") if is_stem_file else plain


def _folded(name: Path) -> str:
    return str(name).casefold()
