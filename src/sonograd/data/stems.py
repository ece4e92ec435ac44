"""Songs as sets of stems: what is trained and validated on."""

import copy
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonograd.data.cache import StemReader, open_stems
from sonograd.data.layouts import SongFiles, StemFile, find_songs
from sonograd.errors import AudioError, DatasetError

__all__ = ["REST", "EndlessSongs", "Example", "StemFolder", "StemSource"]

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
        stems: Names of the stems, in order; the mix is their sum.
        sample_rate: In Hz.
        channels: Audio channels.
        samples: Length of all songs together.
    """

    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    samples: int

    def draw(self, index: int, generator: np.random.Generator) -> int:
        """Choose a song for training chunk ``index``."""
        ...

    def name(self, song: int) -> str:
        """Return the name of a song."""
        ...

    def length(self, song: int) -> int:
        """Return the length of a song in samples."""
        ...

    def read(self, song: int, stem: int, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` of one stem, zeros past its end."""
        ...


class StemFolder(Sequence[Example]):
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
        cache_gb: float = 50.0,
        skip_unreadable: bool = False,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        """Look at every file once; those that are not 16-bit wav at the rate are converted.

        Args:
            root: The folder of the data set, or a list of songs.
            stems: Names of the stems that are needed, in order.
            split: ``train``, ``valid`` or ``test`` to look in that part of it.
            sample_rate: Rate of what is read, in Hz.
            channels: Channels of what is read; mono is repeated, and others averaged to mono.
            complete: Whether ``stems`` make up the whole mix; if None, they do when no song has
                another one.
            only: Names of the songs to take; all if None.
            cache: Folder for converted files; a common one if None.
            cache_gb: Its size, in gigabytes. What finds no room in it is decoded each time it is
                read; 0 to convert nothing.
            skip_unreadable: Leave songs out whose files cannot be read; :attr:`skipped` has them.
            on_message: Is told what is converted.

        Raises:
            DatasetError: If songs lack stems (all of them are named), or none can be read.
            AudioError: If a file cannot be read.
        """
        songs = find_songs(root, split, targets=stems)
        if only is not None:
            wanted = set(only)
            songs = [song for song in songs if song.name in wanted]
            if not songs:
                raise DatasetError(f"{root}: none of the {len(wanted)} songs that were asked for.")
        _check_stems(songs, stems, str(root))
        if complete is None:
            complete = not any(set(song.stems) - set(stems) for song in songs)
        self.stems = (*stems, *(() if complete else (REST,)))
        self.sample_rate = sample_rate
        self.channels = channels
        self.skipped: dict[str, str] = {}
        self._files: list[list[list[tuple[StemReader, int]]]] = []
        needed = [_needed(song, stems, complete=complete) for song in songs]
        flat = [file for parts in needed for part in parts for file, _ in part]
        opened = iter(
            open_stems(flat, sample_rate, folder=cache, limit_gb=cache_gb, on_message=on_message)
        )
        for song, parts in zip(songs, needed, strict=True):
            found = [[(next(opened), sign) for _, sign in part] for part in parts]
            errors = [file for part in found for file, _ in part if isinstance(file, AudioError)]
            if errors and not skip_unreadable:
                raise errors[0]
            if errors:
                self.skipped[song.name] = str(errors[0])
            else:
                self._files.append(cast("list[list[tuple[StemReader, int]]]", found))
        if not self._files:
            reasons = "; ".join(list(self.skipped.values())[:3])
            raise DatasetError(f"{root}: none of {len(songs)} songs can be read: {reasons}")
        self.names = tuple(song.name for song in songs if song.name not in self.skipped)
        self._keep(range(len(self.names)))

    def subset(self, names: Collection[str]) -> "StemFolder":
        """Return some of the songs; what has been opened is shared."""
        result = copy.copy(self)
        rows = [row for row, name in enumerate(self.names) if name in names]
        result._keep(rows)
        return result

    def _keep(self, rows: Sequence[int]) -> None:
        self.names = tuple(self.names[row] for row in rows)
        self._files = [self._files[row] for row in rows]
        self._lengths = [
            max((f.samples for parts in files for f, _ in parts), default=0)
            for files in self._files
        ]
        self.samples = sum(self._lengths)
        self._cumulative = np.cumsum(self._lengths) / max(self.samples, 1)

    def __len__(self) -> int:
        """Return the number of songs."""
        return len(self.names)

    @overload
    def __getitem__(self, song: int) -> Example: ...
    @overload
    def __getitem__(self, song: slice) -> list[Example]: ...
    def __getitem__(self, song: int | slice) -> Example | list[Example]:
        """Return a whole song."""
        if isinstance(song, slice):
            return [self[k] for k in range(len(self))[song]]
        song = range(len(self))[song]
        parts = [self.read(song, k, 0, self._lengths[song]) for k in range(len(self.stems))]
        return Example(self.names[song], torch.from_numpy(np.stack(parts)))

    def draw(self, index: int, generator: np.random.Generator) -> int:
        """Choose a song, with a probability proportional to its length."""
        song = int(np.searchsorted(self._cumulative, generator.random(), "right"))
        return min(song, len(self) - 1)

    def name(self, song: int) -> str:
        """Return the name of a song."""
        return self.names[song]

    def length(self, song: int) -> int:
        """Return the length of a song in samples."""
        return self._lengths[song]

    def read(self, song: int, stem: int, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` of one stem, zeros past its end."""
        files = self._files[song][stem]
        result = None if len(files) == 1 else np.zeros((self.channels, samples), np.float32)
        for file, sign in files:
            data = file.read_audio(start, samples)
            if file.channels != self.channels:
                data = _to_channels(data, self.channels)
            if result is None:
                if sign > 0 and data.shape[-1] == samples:
                    return data
                result = np.zeros((self.channels, samples), np.float32)
            if sign > 0:
                result[:, : data.shape[-1]] += data
            else:
                result[:, : data.shape[-1]] -= data
        assert result is not None
        return result


class EndlessSongs:
    """Synthetic songs that are made up while they are needed.

    Chunks that follow each other draw from a small pool of songs; after every
    :data:`CHUNKS_PER_SONG` chunks the oldest song leaves it for a new one. The same seed gives the
    same songs at the same chunks. Making songs takes longer than reading them: for a long training
    on few cores, write a folder with ``sonograd songs`` first.
    """

    #: Songs that chunks are drawn from at a time.
    POOL = 8
    #: Chunks after which a song is replaced.
    CHUNKS_PER_SONG = 4
    #: Length of a song in seconds.
    SECONDS = 12.0
    #: An epoch is as long as so many songs.
    SONGS_PER_EPOCH = 500

    def __init__(
        self, stems: Sequence[str], *, sample_rate: int = 44100, channels: int = 2, seed: int = 0
    ) -> None:
        """Make no song yet.

        Args:
            stems: Names of the stems that are needed, in order.
            sample_rate: In Hz, from 8000 on.
            channels: 2, or 1 for their average.
            seed: Of all songs.

        Raises:
            DatasetError: If synthetic songs have no such stem.
        """
        from sonograd.data.songs import STEMS

        missing = [stem for stem in stems if stem not in STEMS]
        if missing:
            raise DatasetError(
                f"synthetic songs have no {', '.join(missing)}; they have {', '.join(STEMS)}"
            )
        self._order = [STEMS.index(stem) for stem in stems]
        self._others = [k for k in range(len(STEMS)) if k not in self._order]
        self.stems = (*stems, *((REST,) if self._others else ()))
        self.sample_rate = sample_rate
        self.channels = channels
        self._length = round(self.SECONDS * sample_rate)
        self.samples = self.SONGS_PER_EPOCH * self._length
        self._first = seed * 1_000_000_000
        self._made: OrderedDict[int, NDArray[np.float32]] = OrderedDict()

    def draw(self, index: int, generator: np.random.Generator) -> int:
        """Choose one of the songs that are in the pool at training chunk ``index``."""
        return index // self.CHUNKS_PER_SONG + int(generator.integers(self.POOL))

    def name(self, song: int) -> str:
        """Return the name of a song."""
        return f"synthetic song {self._seed(song)}"

    def length(self, song: int) -> int:
        """Return the length of a song in samples."""
        return self._length

    def read(self, song: int, stem: int, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` of one stem, zeros past its end."""
        stems = self._song(song)
        result = np.zeros((self.channels, samples), np.float32)
        part = stems[stem, :, start : start + samples]
        result[:, : part.shape[-1]] = part
        return result

    def held_out(self, count: int) -> list[Example]:
        """Return songs that no chunk ever comes from."""
        return [
            Example(self.name(-k), torch.from_numpy(self._make(-k))) for k in range(1, count + 1)
        ]

    def _seed(self, song: int) -> int:
        """Number the held-out songs, -1, -2, ..., from the end of the seed's range."""
        return self._first + song % 1_000_000_000

    def _song(self, song: int) -> NDArray[np.float32]:
        if song not in self._made:
            self._made[song] = self._make(song)
            while len(self._made) > self.POOL + 1:
                self._made.popitem(last=False)
        self._made.move_to_end(song)
        return self._made[song]

    def _make(self, song: int) -> NDArray[np.float32]:
        from sonograd.data.songs import make_song

        made = make_song(self._seed(song), seconds=self.SECONDS, sample_rate=self.sample_rate)
        stems = made.stems[self._order]
        if self._others:
            stems = torch.cat((stems, made.stems[self._others].sum(dim=0, keepdim=True)))
        if self.channels == 1:
            stems = stems.mean(dim=1, keepdim=True)
        result: NDArray[np.float32] = stems.numpy()
        return result


def _to_channels(data: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    if channels == 1 or data.shape[0] > channels:
        data = data.mean(axis=0, keepdims=True)
    return np.broadcast_to(data, (channels, data.shape[-1]))


def _check_stems(songs: Sequence[SongFiles], stems: Sequence[str], root: str) -> None:
    lacking = [
        f"{song.name} ({', '.join(missing)})"
        for song in songs
        if (missing := [stem for stem in stems if stem not in song.stems]) and not song.multitrack
    ]
    nowhere = [stem for stem in stems if all(stem not in song.stems for song in songs)]
    if songs and nowhere and not lacking:
        lacking = [f"all ({', '.join(nowhere)})"]
    if lacking:
        shown = "; ".join(lacking[:5]) + ("; ..." if len(lacking) > 5 else "")
        have = sorted(set().union(*(song.stems for song in songs)))
        raise DatasetError(
            f"{root}: {len(lacking)} of {len(songs)} songs lack stems: {shown}. "
            f"The data set has {', '.join(have) or 'none'}."
        )


def _needed(
    song: SongFiles, stems: Sequence[str], *, complete: bool
) -> list[list[tuple[StemFile, int]]]:
    """Return, per stem, the files whose signed sum it is."""
    own = [[(song.stems[stem], 1)] if stem in song.stems else [] for stem in stems]
    if complete:
        return own
    others = [name for name in song.stems if name not in stems]
    if others:
        return [*own, [(song.stems[name], 1) for name in others]]
    if song.mixture is not None:
        return [*own, [(song.mixture, 1), *((file, -1) for part in own for file, _ in part)]]
    if song.multitrack:
        return [*own, []]
    raise DatasetError(
        f"{song.name}: has no stem besides {', '.join(stems)} and no mixture; "
        "there is nothing to separate from."
    )
