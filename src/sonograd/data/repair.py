"""Write repaired copies of songs; originals are never touched."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.data.check import Finding, SongCheck
from sonograd.data.layouts import MIXTURE, SongFiles, StemFile
from sonograd.data.resample import StreamResampler, resampled_length
from sonograd.data.tracks import StemAudio
from sonograd.data.writer import AudioWriter
from sonograd.errors import OutputError

__all__ = ["LIST_NAME", "remedy", "repair_song", "write_list"]

#: The list of usable songs that a repair leaves.
LIST_NAME = "songs.csv"
_BLOCK = 1 << 16
#: Lengths may be made equal up to this difference.
_PADDING_SECONDS = 1.0
#: A mix may be rebuilt if its difference to the sum is below this: it is the same song then.
_SAME_SONG_DB = -6.0


def remedy(finding: Finding, check: SongCheck) -> str:
    """Return how a finding can be repaired without guessing, or nothing.

    Lengths that differ by at most a second (encoders pad) become that of the mix; a stem at another
    rate is resampled to that of the mix; samples that are no numbers become silence; a mix that is
    not the sum of its stems, but close to it, is rebuilt as their sum.
    """
    match finding.kind:
        case "length" if finding.seconds <= _PADDING_SECONDS:
            return "padded or cut to the length of the mix"
        case "rate" if finding.stem:
            return "resampled to the rate of the mix"
        case "not a number":
            return "replaced by silence"
        case "sum" if check.missing_db <= _SAME_SONG_DB:
            return "rebuilt as the sum of the stems"
        case _:
            return ""


def repair_song(song: SongFiles, check: SongCheck, folder: Path) -> dict[str, StemFile]:
    """Write a repaired copy of a song as 24-bit wav files into a new folder.

    Args:
        song: Its files.
        check: What is wrong with it; all of it must have a :func:`remedy`.
        folder: Where the files go; it must not exist.

    Returns:
        The new files, the mixture included. The mixture is the sum of the new stems, or, in a song
        of one stem, its own repaired copy.

    Raises:
        OutputError: If the folder exists, or cannot be written to.
    """
    if folder.exists():
        raise OutputError(
            f"{folder}: exists and is kept; choose another folder for repaired songs."
        )
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}.") from None
    summed = len(song.stems) > 1 and any(
        finding.kind in ("sum", "length", "rate", "not a number") for finding in check.errors
    )
    sources = dict(song.stems)
    if song.mixture is not None and not summed:
        sources[MIXTURE] = song.mixture
    reference = song.mixture or next(iter(song.stems.values()))
    with StemAudio(reference) as audio:
        rate, samples, channels = audio.sample_rate, audio.samples, audio.channels
    if song.mixture is None:
        samples = max(_length(file, rate) for file in song.stems.values())
    names = [*sources, *([MIXTURE] if summed else [])]
    paths = {name: folder / f"{name}.wav" for name in names}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                AudioWriter(path, sample_rate=rate, channels=channels, bits="24", samples=samples)
            )
            for name, path in paths.items()
        }
        readers = [_fitted(file, rate, samples, channels) for file in sources.values()]
        for blocks in zip(*readers, strict=True):
            for name, block in zip(sources, blocks, strict=True):
                writers[name].write(block)
            if summed:
                writers[MIXTURE].write(torch.stack(blocks).sum(dim=0))
    return {name: StemFile(path) for name, path in paths.items()}


def _length(file: StemFile, rate: int) -> int:
    with StemAudio(file) as audio:
        return resampled_length(audio.samples, audio.sample_rate, rate)


def _fitted(file: StemFile, rate: int, samples: int, channels: int) -> Iterator[Tensor]:
    """Read a stem at ``rate`` in equal blocks, ``samples`` in all."""
    left, kept = samples, torch.zeros(channels, 0)
    for block in _resampled(file, rate):
        finite = torch.where(torch.isfinite(block), block, 0.0)
        if finite.shape[0] != channels:
            finite = finite.mean(dim=0, keepdim=True).expand(channels, -1)
        kept = torch.cat((kept, finite), dim=-1)
        while kept.shape[-1] >= _BLOCK and left >= _BLOCK:
            yield kept[:, :_BLOCK]
            kept, left = kept[:, _BLOCK:], left - _BLOCK
        kept = kept[:, :left]
    while left > 0:
        part = kept[:, : min(_BLOCK, left)]
        want = min(_BLOCK, left)
        yield torch.nn.functional.pad(part, (0, want - part.shape[-1]))
        kept, left = kept[:, part.shape[-1] :], left - want


def _resampled(file: StemFile, rate: int) -> Iterator[Tensor]:
    with StemAudio(file) as audio:
        resampler = StreamResampler(audio.sample_rate, rate, audio.channels)
        for block in audio.blocks(_BLOCK):
            yield resampler.push(torch.where(torch.isfinite(block), block, 0.0))
        yield resampler.finish()


def write_list(path: Path, songs: Sequence[tuple[str, str, Mapping[str, StemFile]]]) -> None:
    """Write a list of songs, see :mod:`sonograd.data.layouts`.

    Args:
        path: The list.
        songs: Name, split, and files of each, the mixture included.

    Raises:
        OutputError: If it cannot be written.
    """
    stems = sorted({name for _, _, files in songs for name in files})
    split = ["split"] if any(part for _, part, _ in songs) else []
    try:
        with AtomicFile(path) as file, file.path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, ["name", *split, *stems], restval="")
            writer.writeheader()
            for name, part, files in songs:
                row = {stem: _cell(found, path.parent) for stem, found in files.items()}
                writer.writerow({"name": name, **({"split": part} if split else {}), **row})
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}.") from None


def _cell(file: StemFile, base: Path) -> str:
    first = os.path.relpath(file.path.resolve(), base.resolve())
    if file.stream:
        first += f"#{file.stream}"
    return ";".join([first, *(os.path.relpath(p.resolve(), base.resolve()) for p in file.added)])
