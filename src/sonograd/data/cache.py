"""Stems as 16-bit wav files at one rate, so that any range of them is one small read.

A stem that already is such a file is read where it lies, without decoding. Any other (compressed,
24-bit, at another rate) is converted once, into a folder that later runs find again.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.data.audio import AudioFile, check_finite
from sonograd.data.layouts import StemFile
from sonograd.data.resample import StreamResampler
from sonograd.errors import DatasetError, OutputError

__all__ = ["PcmFile", "cached_stem", "open_pcm", "stem_cache"]

_PCM, _EXTENSIBLE = 1, 0xFFFE


@dataclass(frozen=True)
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
    direct = open_pcm(stem.path)
    if direct is not None and direct.sample_rate == sample_rate:
        return direct
    folder = stem_cache() if folder is None else Path(folder)
    try:
        status = stem.path.stat()
    except OSError as error:
        raise DatasetError(f"{stem.path}: cannot be read: {error.strerror}.") from None
    identity = (str(stem.path.resolve()), stem.stream, status.st_size, status.st_mtime_ns)
    digest = hashlib.sha256(repr((*identity, sample_rate)).encode()).hexdigest()[:32]
    target = folder / digest[:2] / f"{digest}.wav"
    found = open_pcm(target)
    if found is not None:
        return found
    _convert(stem, target, sample_rate)
    converted = open_pcm(target)
    if converted is None:
        raise OutputError(f"{target}: was written but cannot be read back.")
    return converted


def _convert(stem: StemFile, target: Path, sample_rate: int) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            AtomicFile(target) as file,
            file.path.open("wb") as out,
            AudioFile(stem.path, stream=stem.stream) as source,
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
