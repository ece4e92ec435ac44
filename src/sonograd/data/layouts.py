"""Find the songs of a data set and the files of their stems.

These layouts are known, each but the list with or without ``train``, ``valid`` (or ``val``) and
``test`` folders around:

* MUSDB18-HQ: a folder per song with ``mixture.wav, drums.wav, bass.wav, other.wav, vocals.wav``
* MUSDB18: one ``.stem.mp4`` per song with these five streams in this order
* a folder per stem with one file per song, of the same name in each
* multitrack, as MoisesDB: a folder per song, in it a folder per stem, in it any number of files
  that sum to the stem; a song need not have every stem
* a list: a ``.csv`` file with a row per song and the columns ``name``, perhaps ``split``, and one
  per stem (and ``mixture``) with paths relative to the list, several of them separated by ``;``;
  ``song.stem.mp4#2`` is the third stream of such a file
* plain audio files, which are mixtures without stems

Files may be of any format that :class:`~sonograd.data.AudioFile` reads.
"""

import csv
import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonograd.data.formats import READ_SUFFIXES
from sonograd.errors import DatasetError

__all__ = [
    "GROUPS",
    "MIXTURE",
    "SPLITS",
    "STEM_STREAMS",
    "SongFiles",
    "StemFile",
    "find_songs",
    "find_splits",
    "to_targets",
]

#: Name of the file or folder that holds whole mixes.
MIXTURE = "mixture"
SPLITS = ("train", "valid", "val", "test")
#: Streams of a ``.stem.mp4``.
STEM_STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")
_STREAM = re.compile(r"(?<=\.mp4)#(\d+)$")
#: Stems of multitrack songs that belong to one of the usual four; what is not named is ``other``.
GROUPS: Mapping[str, str] = {
    "percussion": "drums",
    "lead_vocals": "vocals",
    "backing_vocals": "vocals",
    "bowed_strings": "other",
    "guitar": "other",
    "other_keys": "other",
    "other_plucked": "other",
    "piano": "other",
    "wind": "other",
}


@dataclass(frozen=True)
class StemFile:
    """Where one stem of one song is: a file and the stream in it, perhaps plus further files."""

    path: Path
    stream: int = 0
    added: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the stem."""
        return (self.path, *self.added)


@dataclass(frozen=True)
class SongFiles:
    """One song of a data set.

    Attributes:
        name: Name of its folder or file.
        stems: Its stems, without the mixture, by name.
        mixture: Its mix, if there is one.
        multitrack: Whether a stem that it lacks is silent in it, rather than forgotten.
    """

    name: str
    stems: Mapping[str, StemFile]
    mixture: StemFile | None = None
    multitrack: bool = False

    @property
    def files(self) -> list[StemFile]:
        """All stems, and the mixture."""
        return [*self.stems.values(), *([self.mixture] if self.mixture else [])]


def find_splits(root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return which of :data:`SPLITS` a data set is divided into; nothing for an undivided one."""
    root = Path(root)
    if root.is_file():
        found = {row.get("split") or "" for row in _rows(root)}
        return tuple(name for name in SPLITS if name in found)
    return tuple(name for name in SPLITS if (root / name).is_dir())


def find_songs(
    root: str | os.PathLike[str],
    split: str | None = None,
    *,
    targets: Sequence[str] | None = None,
) -> list[SongFiles]:
    """Return the songs of a data set, sorted by name.

    Args:
        root: The folder of the data set, or a list of songs.
        split: One of :data:`SPLITS` to look in that part of it; None for ``root`` itself.
        targets: Group the stems of multitrack songs into these, see :func:`to_targets`.

    Raises:
        DatasetError: If the folder is missing or holds no song in a known layout.
    """
    root = Path(root)
    if root.is_file():
        songs = _listed(root, split)
        if not songs:
            which = "" if split is None else f" whose split is {split}"
            raise DatasetError(f"{root}: lists no songs{which}.")
    else:
        songs = _in_folder(root if split is None else root / split)
    if targets is not None:
        songs = [to_targets(song, targets) for song in songs]
    return sorted(songs, key=lambda song: song.name)


def to_targets(song: SongFiles, targets: Sequence[str]) -> SongFiles:
    """Group the stems of a multitrack song; other songs are returned as they are.

    A target gets the stem of its name and those that :data:`GROUPS` gives to it, unless they are
    targets themselves; ``other`` gets what no target has.

    >>> guitar, strings = StemFile(Path("g.wav")), StemFile(Path("s.wav"))
    >>> song = SongFiles("a", {"guitar": guitar, "bowed_strings": strings}, multitrack=True)
    >>> to_targets(song, ["guitar", "other"]).stems["other"].path.name
    's.wav'
    """
    if not song.multitrack:
        return song
    groups: dict[str, list[StemFile]] = {}
    for name, file in song.stems.items():
        home = name if name in targets else GROUPS.get(name, name)
        if home not in targets:
            home = "other" if "other" in targets else name
        groups.setdefault(home, []).append(file)
    return dataclasses.replace(song, stems={name: _sum(files) for name, files in groups.items()})


def _sum(files: Sequence[StemFile]) -> StemFile:
    paths = [path for file in files for path in file.paths]
    return StemFile(paths[0], files[0].stream, tuple(paths[1:]))


def _in_folder(folder: Path) -> list[SongFiles]:
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected one with a folder per song.")
    songs = (
        _song_folders(folder)
        or _stem_files(folder)
        or _multitrack(folder)
        or _stem_folders(folder)
        or _plain(folder)
    )
    if not songs:
        inside = find_splits(folder)
        hint = f" There is {folder / inside[0]}: is that meant?" if inside else ""
        raise DatasetError(
            f"{folder}: no songs; expected SONG/drums.wav and so on, or SONG.stem.mp4, "
            f"or drums/SONG.wav and so on, or SONG/drums/*.wav and so on.{hint}"
        )
    return songs


def _audio(folder: Path) -> dict[str, Path]:
    """Return the audio files of a folder by their names without suffix."""
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")
    }


def _folders(folder: Path) -> list[Path]:
    """Return the visible folders of a folder, by name."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."]
    return [folder / name for name in sorted(names)]


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


def _multitrack(folder: Path) -> list[SongFiles]:
    known = {*STEM_STREAMS, *GROUPS}
    songs = []
    for path in _folders(folder):
        if path.name in SPLITS:
            continue
        tracks = {_plain_name(part.name): list(_audio(part).values()) for part in _folders(path)}
        stems = {
            name: StemFile(files[0], 0, tuple(files[1:])) for name, files in tracks.items() if files
        }
        if not known & stems.keys():
            continue
        whole = _audio(path).get(MIXTURE)
        mixture = stems.pop(MIXTURE, None) or (StemFile(whole) if whole else None)
        songs.append(SongFiles(path.name, stems, mixture, multitrack=True))
    return songs


def _plain_name(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


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


def _plain(folder: Path) -> list[SongFiles]:
    return [SongFiles(name, {}, StemFile(path)) for name, path in _audio(folder).items()]


def _rows(path: Path) -> list[dict[str, str]]:
    """Read a list of songs."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a list of songs: {error}.") from None
    if "name" not in columns or not set(columns) - {"name", "split"}:
        raise DatasetError(
            f"{path}: has the columns {', '.join(columns) or 'none'}; expected name, perhaps "
            "split, and one for each stem, as in: name,split,mixture,vocals"
        )
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise DatasetError(
                f"{path}: line {number} has not as many values as there are columns."
            )
    return rows


def _listed(path: Path, split: str | None) -> list[SongFiles]:
    songs: dict[str, SongFiles] = {}
    for row in _rows(path):
        name = row.pop("name").strip()
        if row.pop("split", "") != (split or "") and split is not None:
            continue
        stems = {}
        for stem, cell in row.items():
            first, *added = [part.strip() for part in cell.split(";") if part.strip()] or [""]
            if first:
                stream = _STREAM.search(first)
                place = path.parent / (first[: stream.start()] if stream else first)
                files = tuple(path.parent / part for part in added)
                stems[stem] = StemFile(place, int(stream[1]) if stream else 0, files)
        if name in songs:
            raise DatasetError(f"{path}: lists {name!r} twice.")
        songs[name] = SongFiles(name, stems, stems.pop(MIXTURE, None))
    return list(songs.values())
