"""Stems as 16-bit wav files at one rate, so that any range of them is one small read.

A stem that already is such a file is read where it lies, without decoding. Any other (compressed,
24-bit, at another rate, a sum of files) is converted once, into a folder that later runs find
again; all workers share it through the page cache of the system. The folder has a size that it
does not exceed: what finds no room there is decoded again each time.
"""

import contextlib
import hashlib
import math
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.data.audio import check_finite
from sonograd.data.layouts import StemFile
from sonograd.data.resample import StreamResampler, resample_audio, resampled_length
from sonograd.data.tracks import StemAudio
from sonograd.errors import AudioError, DatasetError, OutputError

__all__ = [
    "CachedFile",
    "DecodedFile",
    "PcmFile",
    "StemReader",
    "cached_stem",
    "open_pcm",
    "open_stems",
    "stem_cache",
]

_PCM, _EXTENSIBLE = 1, 0xFFFE


@dataclass(frozen=True, slots=True)
class PcmFile:
    """The 16-bit samples inside a wav file.

    Attributes:
        path: The file.
        offset: Bytes before the first sample.
        samples: Samples per channel.
        channels: Channels, interleaved.
        sample_rate: In Hz.
    """

    path: Path
    offset: int
    samples: int
    channels: int
    sample_rate: int

    def read(self, start: int, samples: int) -> NDArray[np.int16]:
        """Return ``(samples, channels)`` from ``start`` on, fewer where the file ends."""
        count = max(min(samples, self.samples - start), 0) * self.channels
        at = self.offset + 2 * start * self.channels
        data: NDArray[np.int16] = np.fromfile(self.path, dtype="<i2", count=count, offset=at)
        if data.size != count:
            raise DatasetError(f"{self.path}: ended early; it has changed since it was opened.")
        return data.reshape(-1, self.channels)

    def read_audio(self, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` in [-1, 1) from ``start`` on."""
        data = self.read(start, samples).T
        result = np.empty(data.shape, np.float32)
        return np.multiply(data, np.float32(1 / 32768), out=result)


#: Input samples beside a range that resampling needs to be exact in it.
_MARGIN = 4096


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """A stem that is decoded, and resampled, each time it is read.

    Attributes:
        stem: Its files.
        samples: Samples per channel at ``sample_rate``.
        channels: Channels.
        sample_rate: Of what is read, in Hz.
        file_rate: Of the file, in Hz.
    """

    stem: StemFile
    samples: int
    channels: int
    sample_rate: int
    file_rate: int

    def read_audio(self, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` from ``start`` on, fewer where the file ends."""
        samples = max(min(samples, self.samples - start), 0)
        audio = _opened(self.stem, os.getpid(), threading.get_ident())
        if self.file_rate == self.sample_rate:
            whole: NDArray[np.float32] = audio.read(start, samples).numpy()
            return whole
        # Positions that are whole numbers at both rates keep the phase of the resampler.
        divisor = math.gcd(self.file_rate, self.sample_rate)
        up, down = self.sample_rate // divisor, self.file_rate // divisor
        margin = math.ceil(_MARGIN / down)
        first = max(start // up - margin, 0)
        last = -(-(start + samples) // up) + margin
        part = audio.read(first * down, (last - first) * down)
        missing = (last - first) * down - part.shape[-1]
        part = torch.nn.functional.pad(part, (0, missing))
        part = resample_audio(part, self.file_rate, self.sample_rate)
        result: NDArray[np.float32] = part.numpy()[:, start - first * up :]
        return result[:, :samples]


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A converted stem; if its file vanishes from the cache, the original is decoded instead."""

    converted: PcmFile
    original: DecodedFile

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return self.converted.samples

    @property
    def channels(self) -> int:
        """Channels."""
        return self.converted.channels

    def read_audio(self, start: int, samples: int) -> NDArray[np.float32]:
        """Return ``(channels, samples)`` from ``start`` on, fewer where the file ends."""
        try:
            return self.converted.read_audio(start, samples)
        except (FileNotFoundError, DatasetError):
            return self.original.read_audio(start, samples)


StemReader = PcmFile | DecodedFile | CachedFile


@lru_cache(maxsize=64)
def _opened(stem: StemFile, process: int, thread: int) -> StemAudio:
    """Open a stem once per thread; forked processes must not share the position in a file."""
    return StemAudio(stem)


def open_pcm(path: str | os.PathLike[str]) -> PcmFile | None:
    """Look into a wav file of 16-bit integers; None if it is anything else or damaged."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:] != b"WAVE":
                return None
            channels = sample_rate = 0
            while len(chunk := file.read(8)) == 8:
                kind, length = struct.unpack("<4sI", chunk)
                if kind == b"fmt ":
                    form = file.read(length + length % 2)
                    code, channels, sample_rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
                    if code == _EXTENSIBLE and length >= 26:
                        (code,) = struct.unpack("<H", form[24:26])
                    if code != _PCM or bits != 16 or channels < 1:
                        return None
                elif kind == b"data":
                    offset = file.tell()
                    if not channels or offset + length > size:
                        return None
                    samples = length // (2 * channels)
                    return PcmFile(path, offset, samples, channels, sample_rate)
                else:
                    file.seek(length + length % 2, os.SEEK_CUR)
    except (OSError, struct.error):
        return None
    return None


def stem_cache() -> Path:
    """Return the folder for converted stems: ``$SONOGRAD_CACHE`` or the user's cache."""
    base = os.environ.get("SONOGRAD_CACHE")
    if base:
        return Path(base, "stems")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sonograd", "stems")


def open_stems(
    stems: Sequence[StemFile],
    sample_rate: int,
    *,
    folder: str | os.PathLike[str] | None = None,
    limit_gb: float = math.inf,
    on_message: Callable[[str], None] | None = None,
) -> "list[StemReader | AudioError]":
    """Open many stems, and convert those that need it, several at a time.

    Args:
        stems: Their files.
        sample_rate: In Hz.
        folder: Where converted files are kept; :func:`stem_cache` if None.
        limit_gb: Size of that folder, in gigabytes; 0 converts nothing. To make room, files go
            that nobody has used for two days, the oldest first.
        on_message: Is told what is converted before it is.

    Returns:
        For each stem what reads it, or why that is impossible.
    """
    folder = stem_cache() if folder is None else Path(folder)
    result: list[StemReader | AudioError] = []
    pending: list[tuple[int, DecodedFile, Path]] = []
    for stem in stems:
        direct = None if stem.added else open_pcm(stem.path)
        if direct is not None and direct.sample_rate == sample_rate:
            result.append(direct)
            continue
        try:
            decoded = _look_into(stem, sample_rate)
            target = _place(stem, sample_rate, folder)
        except AudioError as error:
            result.append(error)
            continue
        found = open_pcm(target) if limit_gb > 0 else None
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(target)  # what is used stays in the cache
            result.append(CachedFile(found, decoded))
        else:
            pending.append((len(result), decoded, target))
            result.append(decoded)
    pending = pending[
        : _room(folder, [2 * f.channels * f.samples for _, f, _ in pending], limit_gb)
    ]
    if pending and on_message is not None:
        size = sum(2 * file.channels * file.samples for _, file, _ in pending) / 1e9
        on_message(f"decoding {len(pending)} stems once, {size:.1f} GB in {folder}")
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        jobs = [(row, pool.submit(_converted, file, target)) for row, file, target in pending]
        try:
            for row, job in jobs:
                result[row] = job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return result


def cached_stem(
    stem: StemFile, sample_rate: int, *, folder: str | os.PathLike[str] | None = None
) -> PcmFile:
    """Return a stem as 16-bit samples at ``sample_rate``, converted once if it is not yet so.

    Converted files are named by the path, size and time of change of the original. Values outside
    [-1, 1) are clipped.

    Args:
        stem: The file and the stream in it.
        sample_rate: In Hz.
        folder: Where converted files are kept; :func:`stem_cache` if None.

    Raises:
        AudioError: If the original cannot be read or holds samples that are no numbers.
        OutputError: If the converted file cannot be written.
    """
    (opened,) = open_stems([stem], sample_rate, folder=folder)
    if isinstance(opened, AudioError):
        raise opened
    if isinstance(opened, DecodedFile):
        raise OutputError(f"{stem_cache() if folder is None else folder}: the disk is full.")
    return opened if isinstance(opened, PcmFile) else opened.converted


def _look_into(stem: StemFile, sample_rate: int) -> DecodedFile:
    with StemAudio(stem) as audio:
        samples = resampled_length(audio.samples, audio.sample_rate, sample_rate)
        return DecodedFile(stem, samples, audio.channels, sample_rate, audio.sample_rate)


def _place(stem: StemFile, sample_rate: int, folder: Path) -> Path:
    """Return where the converted file of a stem is, or will be."""
    identity: list[object] = [sample_rate, stem.stream]
    for path in stem.paths:
        try:
            status = path.stat()
        except OSError as error:
            raise AudioError(f"{path}: cannot be read: {error.strerror}.") from None
        identity += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    return folder / digest[:2] / f"{digest}.wav"


def _room(folder: Path, sizes: Sequence[int], limit_gb: float) -> int:
    """Make room for files in the cache; return how many of them, from the first on, fit."""
    if not sizes or limit_gb <= 0:
        return 0
    entries = []
    for path in folder.glob("??/*.wav"):
        try:
            status = path.stat()
        except OSError:
            continue
        entries.append((status.st_mtime, status.st_size, path))
    used, wanted = sum(size for _, size, _ in entries), sum(sizes)
    old = time.time() - 2 * 86400
    for stamp, size, path in sorted(entries):
        if used + wanted <= 1e9 * limit_gb or stamp > old:
            break
        path.unlink(missing_ok=True)
        used -= size
    existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free * 0.9
    fits = np.cumsum(sizes) <= min(1e9 * limit_gb - used, free)
    return int(fits.sum())


def _converted(file: DecodedFile, target: Path) -> "StemReader | AudioError":
    try:
        _convert(file.stem, target, file.sample_rate)
    except AudioError as error:
        return error
    converted = open_pcm(target)
    if converted is None:
        raise OutputError(f"{target}: was written but cannot be read back.")
    return CachedFile(converted, file)


def _convert(stem: StemFile, target: Path, sample_rate: int) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            AtomicFile(target) as file,
            file.path.open("wb") as out,
            StemAudio(stem) as source,
        ):
            out.write(_header(0, source.channels, sample_rate))
            resampler = StreamResampler(source.sample_rate, sample_rate, source.channels)
            position = written = 0
            for block in source.blocks():
                check_finite(
                    block, start=position, sample_rate=source.sample_rate, name=str(stem.path)
                )
                position += block.shape[-1]
                written += out.write(_pcm(resampler.push(block)))
            written += out.write(_pcm(resampler.finish()))
            out.seek(0)
            out.write(_header(written, source.channels, sample_rate))
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}.") from None


def _pcm(block: Tensor) -> bytes:
    scaled = (block.T * 32768).round().clamp(-32768, 32767).to(torch.int16)
    data: NDArray[np.int16] = scaled.contiguous().numpy()
    return data.astype("<i2").tobytes()


def _header(size: int, channels: int, sample_rate: int) -> bytes:
    form = struct.pack("<HHIIHH", _PCM, channels, sample_rate, 2 * channels * sample_rate,
                       2 * channels, 16)  # fmt: skip
    size = min(size, 0xFFFFFFFF - 36)
    return (
        b"RIFF"
        + struct.pack("<I", size + 36)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + (b"data" + struct.pack("<I", size))
    )
