"""Which files belong together as dry and wet."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sonograd.data import find_audio
from sonograd.errors import DatasetError

__all__ = ["Pair", "find_pairs"]

_APART = re.compile(r"[\s._\-/]+")
_WORDS = {"dry": ("dry",), "wet": ("wet", "processed")}


@dataclass(frozen=True)
class Pair:
    """A dry and a processed file.

    Attributes:
        name: What they have in common; where results go below a folder.
        dry: The dry file.
        wet: The processed file.
    """

    name: str
    dry: Path
    wet: Path


def find_pairs(dry: Path, wet: Path | None) -> tuple[list[Pair], list[str]]:
    """Return the pairs among files and folders, and what has no partner.

    Two files are a pair. In two folders, files of equal names are (endings do not matter). In one
    folder, names are which differ in the words ``dry`` and ``wet`` alone: ``dry/a.wav`` and
    ``wet/a.flac``, ``a/dry.wav`` and ``a/wet.wav``, or ``a-dry.wav`` and ``a_wet.wav``.

    Raises:
        DatasetError: If there is no pair at all, or a file stands against a folder.
    """
    if wet is not None and not (dry.is_dir() and wet.is_dir()):
        if dry.is_dir() != wet.is_dir():
            raise DatasetError(
                f"{dry} and {wet}: one is a folder and the other is not; expected two files, or "
                "two folders of files with equal names"
            )
        return [Pair(wet.stem, dry, wet)], []
    if wet is not None:
        dries, wets = _by_name(dry), _by_name(wet)
    else:
        if not dry.is_dir():
            raise DatasetError(
                f"{dry}: is not a folder of pairs; name the processed file, too, or --reference"
            )
        dries, wets = (_by_word(dry, words) for words in _WORDS.values())
    pairs = [Pair(name, dries[name], wets[name]) for name in sorted(dries.keys() & wets.keys())]
    alone = [f"{dries[name]}: has no wet partner" for name in sorted(dries.keys() - wets.keys())]
    alone += [f"{wets[name]}: has no dry partner" for name in sorted(wets.keys() - dries.keys())]
    if not pairs:
        where = f"{dry} and {wet}" if wet is not None else f"{dry}"
        raise DatasetError(
            f"{where}: no pairs found; expected files of equal names in two folders, or names "
            "that differ in the words dry and wet, as in song-dry.wav and song-wet.wav"
        )
    return pairs, alone


def _by_name(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in find_audio(folder)
    }


def _by_word(folder: Path, words: Iterable[str]) -> dict[str, Path]:
    """Return the files whose names hold one of the words, by the rest of their names."""
    found = {}
    for path in find_audio(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        parts = [part for part in _APART.split(name) if part]
        rest = [part for part in parts if part.lower() not in words]
        if len(rest) < len(parts):
            found["-".join(rest) or folder.name] = path
    return found
