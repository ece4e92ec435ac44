"""Find the songs of a data set and the files of their stems.

Three layouts are known, each with or without ``train``, ``valid`` and ``test`` folders around:

* MUSDB18-HQ: a folder per song with ``mixture.wav, drums.wav, bass.wav, other.wav, vocals.wav``
* MUSDB18: one ``.stem.mp4`` per song with these five streams in this order
* a folder per stem with one file per song, of the same name in each

Files may be of any format that :class:`~sonograd.data.AudioFile` reads.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sonograd.data.formats import READ_SUFFIXES
from sonograd.errors import DatasetError

__all__ = ["MIXTURE", "SPLITS", "STEM_STREAMS", "SongFiles", "StemFile", "find_songs"]

#: Name of the file or folder that holds whole mixes.
MIXTURE = "mixture"
SPLITS = ("train", "valid", "test")
#: Streams of a ``.stem.mp4``.
STEM_STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")


@dataclass(frozen=True)
class StemFile:
    """Where one stem of one song is: a file, and the stream in it."""

    path: Path
    stream: int = 0


@dataclass(frozen=True)
class SongFiles:
    """One song of a data set.

    Attributes:
        name: Name of its folder or file.
        stems: Its stems, without the mixture, by name.
        mixture: Its mix, if there is one.
    """

    name: str
    stems: Mapping[str, StemFile]
    mixture: StemFile | None = None


def find_songs(root: str | os.PathLike[str], split: str | None = None) -> list[SongFiles]:
    """Return the songs of a data set, sorted by name.

    Args:
        root: The folder of the data set.
        split: One of :data:`SPLITS` to look in that folder of it; None for ``root`` itself.

    Raises:
        DatasetError: If the folder is missing or holds no song in a known layout.
    """
    folder = Path(root) if split is None else Path(root, split)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected one with a folder per song.")
    songs = _song_folders(folder) or _stem_files(folder) or _stem_folders(folder)
    if not songs:
        inside = [name for name in SPLITS if (folder / name).is_dir()]
        hint = f" There is {folder / inside[0]}: is that meant?" if inside else ""
        raise DatasetError(
            f"{folder}: no songs; expected SONG/drums.wav and so on, or SONG.stem.mp4, "
            f"or drums/SONG.wav and so on.{hint}"
        )
    return sorted(songs, key=lambda song: song.name)


def _audio(folder: Path) -> dict[str, Path]:
    """Return the audio files of a folder by their names without suffix."""
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")
    }


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _song_folders(folder: Path) -> list[SongFiles]:
    songs = []
    for path in _folders(folder):
        files = _audio(path)
        if MIXTURE in files or len(files.keys() & set(STEM_STREAMS)) > 1:
            songs.append(_song(path.name, files))
    return songs


def _song(name: str, files: Mapping[str, Path]) -> SongFiles:
    found = {stem: StemFile(path) for stem, path in files.items()}
    mixture = found.pop(MIXTURE, None)
    return SongFiles(name, found, mixture)


def _stem_files(folder: Path) -> list[SongFiles]:
    songs = []
    for path in folder.glob("*.stem.mp4"):
        if path.name.startswith("."):
            continue
        stems = {name: StemFile(path, stream) for stream, name in enumerate(STEM_STREAMS)}
        mixture = stems.pop(MIXTURE)
        songs.append(SongFiles(path.name.removesuffix(".stem.mp4"), stems, mixture))
    return songs


def _stem_folders(folder: Path) -> list[SongFiles]:
    by_stem = {path.name: _audio(path) for path in _folders(folder) if path.name not in SPLITS}
    by_stem = {stem: files for stem, files in by_stem.items() if files}
    names: Iterable[str] = sorted(set().union(*by_stem.values()))
    if len(by_stem) < 2:
        return []
    return [
        _song(name, {stem: files[name] for stem, files in by_stem.items() if name in files})
        for name in names
    ]
