"""Result folders that appear complete or not at all, and stems that share one gain."""

import math
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import torch
from torch import Tensor

from sonograd.data import AudioWriter
from sonograd.errors import OutputError

__all__ = ["StagedFolder", "StemWriters", "remove_abandoned"]

#: Samples per channel that are encoded at a time.
_BLOCK = 1 << 16
#: A hidden folder that was touched this recently may be about to be locked.
_YOUNG_SECONDS = 2.0


class StagedFolder:
    """A folder that is filled under a hidden name beside its place, then moved there.

    If something goes wrong, or Ctrl-C is pressed, nothing is left behind. Files of a folder that
    exists are replaced one by one; others in it are not touched.
    """

    def __init__(self, folder: Path, *, parent: Path | None = None) -> None:
        """Choose the hidden name.

        Args:
            folder: Where the files shall be.
            parent: Where the hidden folder is made, on the same disk; beside ``folder`` if None.
        """
        self.folder = folder
        self.path = (parent or folder.parent) / f"{_prefix()}{secrets.token_hex(6)}"
        self._lock: int | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        """Make the hidden folder."""
        try:
            for parent in reversed(self.path.parents):
                if not parent.exists():
                    parent.mkdir(exist_ok=True)
                    self._made.append(parent)
            self.path.mkdir()
            self._lock = _lock(self.path)
        except OSError as error:
            self._remove()
            raise OutputError(f"{self.folder}: cannot be made: {error.strerror}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove what was not moved into place; errors name the place, not the hidden folder."""
        self._remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if isinstance(error, OutputError):
            raise OutputError(str(error).replace(str(self.path), str(self.folder))) from None

    def publish(self) -> None:
        """Move the files into place.

        Raises:
            OutputError: If that fails.
        """
        try:
            try:
                self.path.rename(self.folder)
            except OSError:
                # It exists, with something in it.
                self.folder.mkdir(exist_ok=True)
                for file in sorted(self.path.iterdir()):
                    file.replace(self.folder / file.name)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from None
        self._made.clear()

    def _remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in reversed(self._made):
            try:
                parent.rmdir()
            except OSError:
                break


def remove_abandoned(parents: Iterable[Path]) -> list[Path]:
    """Remove the hidden folders in ``parents`` whose processes were killed; return them.

    Each process holds a lock on its folder, which ends with it. Folders of other machines stay,
    and so do all where the file system has no locks.
    """
    removed = []
    for parent in sorted(set(parents)):
        for folder in sorted(parent.glob(f"{_prefix()}*")):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:
                    continue
                lock = _lock(folder)
                if lock is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(lock)
                    removed.append(folder)
    return removed


def _prefix() -> str:
    """Return what the names of hidden folders start with on this machine."""
    return f".sonograd-{re.sub(r'[^0-9A-Za-z-]', '-', platform.node())[:40]}-"


def _lock(folder: Path) -> int | None:
    """Lock ``folder`` until the returned descriptor is closed; None if that is not possible."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another process, or not known to the file system
        os.close(descriptor)
        return None
    return descriptor


class StemWriters:
    """Write several stems at once; where a format could clip, with one gain for all of them.

    Floating-point files are written as the samples come. Other formats need the peak of all stems
    first: samples wait in files of raw numbers, which :meth:`finish` encodes.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        sample_rate: int,
        channels: int,
        suffix: str,
        spool: bool,
        **options: Any,
    ) -> None:
        """Open one file per name.

        Args:
            folder: Where the files go; it exists.
            names: Stems, in the order of :meth:`write`.
            sample_rate: Rate of the files in Hz.
            channels: Channels of each file.
            suffix: Ending of the files, with its dot.
            spool: Wait for the peak before encoding.
            **options: Passed on to :class:`~sonograd.data.AudioWriter`.
        """
        self.folder = folder
        self.names = tuple(names)
        self.channels = channels
        self.gain_db = 0.0
        self.peak = 0.0
        self._suffix = suffix
        self._options = {"sample_rate": sample_rate, "channels": channels, **options}
        self._spools: list[IO[bytes]] = []
        self._writers: list[AudioWriter] = []
        self._stack = ExitStack()
        self._spool = spool

    def __enter__(self) -> Self:
        """Open the files."""
        with ExitStack() as stack:
            for name in self.names:
                if self._spool:
                    path = self.folder / f".{name}.raw"
                    stack.callback(path.unlink, missing_ok=True)
                    self._spools.append(stack.enter_context(path.open("w+b")))
                else:
                    self._writers.append(stack.enter_context(self._open(name)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the files; without an error they are complete."""
        self._stack.__exit__(kind, error, traceback)

    def write(self, stems: Tensor) -> None:
        """Append ``(stems, channels, samples)``."""
        if stems.numel():
            self.peak = max(self.peak, float(stems.abs().amax()))
        if self._spool:
            for spool, stem in zip(self._spools, stems, strict=True):
                spool.write(stem.mT.contiguous().numpy().tobytes())
        else:
            for writer, stem in zip(self._writers, stems, strict=True):
                writer.write(stem)

    def finish(self) -> None:
        """Encode what waits, at the gain that keeps the highest peak inside full scale."""
        gain = 1.0
        if self._spools and self.peak > 1:
            gain = (1 - 2**-15) / self.peak
            self.gain_db = 20 * math.log10(gain)
        for name, spool in zip(self.names if self._spool else (), self._spools, strict=True):
            spool.seek(0)
            with self._open(name) as writer:
                for block in _read_raw(spool, self.channels):
                    writer.write(block * gain)
            spool.truncate(0)

    def _open(self, name: str) -> AudioWriter:
        return AudioWriter(self.folder / f"{name}{self._suffix}", **self._options)


def _read_raw(file: IO[bytes], channels: int) -> Iterator[Tensor]:
    while data := file.read(4 * channels * _BLOCK):
        frames = np.frombuffer(data, dtype=np.float32).reshape(-1, channels)
        yield torch.from_numpy(frames.T.copy())
