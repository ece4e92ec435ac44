"""Songs as sets of stems: what is trained and validated on."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonograd.data.cache import PcmFile, cached_stem
from sonograd.data.layouts import SongFiles, find_songs
from sonograd.errors import DatasetError

__all__ = ["REST", "Example", "StemFolder", "StemSource"]

#: Name of the stem that holds what belongs to none of the others.
REST = "rest"


@dataclass(frozen=True)
class Example:
    """A song, or a piece of one.

    Attributes:
        name: The song, and where in it.
        stems: ``(stems, channels, samples)``; the mix is their sum.
    """

    name: str
    stems: Tensor


class StemSource(Protocol):
    """Songs of which any stem can be read at any place.

    Attributes:
        stems: Names of the stems, in order.
        names: Names of the songs.
        lengths: Their lengths in samples.
        sample_rate: In Hz.
        channels: Audio channels.
    """

    stems: tuple[str, ...]
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    sample_rate: int
    channels: int

    def read(self, song: int, stem: int, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` of one stem, zeros past its end."""
        ...


class StemFolder:
    """The songs of a folder, see :mod:`sonograd.data.layouts`, one stem and range at a time.

    Songs may lack the mixture. Where songs have more stems than were asked for, one more stem,
    :data:`REST`, is what remains of the mix, so that the stems always sum to it.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        stems: Sequence[str],
        *,
        split: str | None = None,
        sample_rate: int = 44100,
        channels: int = 2,
        complete: bool | None = None,
        only: Sequence[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """Look at every file once; those that are not 16-bit wav at the rate are converted.

        Args:
            root: The folder of the data set.
            stems: Names of the stems that are needed, in order.
            split: ``train``, ``valid`` or ``test`` to look in that folder of it.
            sample_rate: Rate of what is read, in Hz.
            channels: Channels of what is read; mono is repeated, and others averaged to mono.
            complete: Whether ``stems`` make up the whole mix; if None, they do when no song has
                another one.
            only: Names of the songs to take; all if None.
            cache: Folder for converted files; a common one if None.

        Raises:
            DatasetError: If songs lack stems; all of them are named.
            AudioError: If a file cannot be read.
        """
        songs = find_songs(root, split)
        if only is not None:
            wanted = set(only)
            songs = [song for song in songs if song.name in wanted]
            if not songs:
                raise DatasetError(f"{root}: none of the {len(wanted)} songs that were asked for.")
        _check_stems(songs, stems, str(root))
        if complete is None:
            complete = not any(set(song.stems) - set(stems) for song in songs)
        self.stems = (*stems, *(() if complete else (REST,)))
        self.names = tuple(song.name for song in songs)
        self.sample_rate = sample_rate
        self.channels = channels
        self._files = [
            _open(song, stems, complete=complete, rate=sample_rate, cache=cache) for song in songs
        ]
        self.lengths = tuple(max(file.samples for file, _ in files[-1]) for files in self._files)

    def __len__(self) -> int:
        """Return the number of songs."""
        return len(self.names)

    def __iter__(self) -> Iterator[Example]:
        """Iterate over whole songs."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, song: int) -> Example:
        """Return a whole song."""
        parts = [self.read(song, k, 0, self.lengths[song]) for k in range(len(self.stems))]
        return Example(self.names[song], torch.from_numpy(np.stack(parts)))

    def read(self, song: int, stem: int, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` of one stem, zeros past its end."""
        result = np.zeros((self.channels, samples), np.float32)
        for file, sign in self._files[song][stem]:
            data = file.read(start, samples).T
            if file.channels != self.channels:
                data = _to_channels(data, self.channels)
            result[:, : data.shape[-1]] += data * np.float32(sign / 32768)
        return result


def _to_channels(data: NDArray[np.int16], channels: int) -> NDArray[np.float32]:
    if channels == 1 or data.shape[0] > channels:
        data = data.mean(axis=0, keepdims=True, dtype=np.float32)
    return np.broadcast_to(data, (channels, data.shape[-1])).astype(np.float32)


def _check_stems(songs: Sequence[SongFiles], stems: Sequence[str], root: str) -> None:
    lacking = [
        f"{song.name} ({', '.join(missing)})"
        for song in songs
        if (missing := [stem for stem in stems if stem not in song.stems])
    ]
    if lacking:
        shown = "; ".join(lacking[:5]) + ("; ..." if len(lacking) > 5 else "")
        have = sorted(set().union(*(song.stems for song in songs)))
        raise DatasetError(
            f"{root}: {len(lacking)} of {len(songs)} songs lack stems: {shown}. "
            f"The data set has {', '.join(have) or 'none'}."
        )


def _open(
    song: SongFiles,
    stems: Sequence[str],
    *,
    complete: bool,
    rate: int,
    cache: str | os.PathLike[str] | None,
) -> list[list[tuple[PcmFile, int]]]:
    """Return, per stem, the files whose signed sum it is."""
    opened = [(cached_stem(song.stems[stem], rate, folder=cache), 1) for stem in stems]
    files = [[entry] for entry in opened]
    if not complete:
        others = [name for name in song.stems if name not in stems]
        if others:
            rest = [(cached_stem(song.stems[name], rate, folder=cache), 1) for name in others]
        elif song.mixture is not None:
            mixture = (cached_stem(song.mixture, rate, folder=cache), 1)
            rest = [mixture, *((file, -1) for file, _ in opened)]
        else:
            raise DatasetError(
                f"{song.name}: has no stem besides {', '.join(stems)} and no mixture; "
                "there is nothing to separate from."
            )
        files.append(rest)
    return files
