"""Open audio files of any usual format and length, and read any range of them exactly."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType

import torch
from torch import Tensor

from sonograd.data.ffmpeg import Frames
from sonograd.data.formats import READ_SUFFIXES
from sonograd.data.metadata import read_metadata
from sonograd.data.readers import open_reader, open_streams
from sonograd.errors import AudioError, ParameterError

__all__ = [
    "AudioFile",
    "AudioInfo",
    "check_finite",
    "find_audio",
    "read_audio",
    "read_info",
    "read_streams",
]


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says about itself.

    Attributes:
        path: The file.
        sample_rate: In Hz.
        channels: Channels of one stream.
        samples: Samples per channel, exactly as many as reading gives.
        container: ``wav, rf64, w64, aiff, flac, ogg, opus, mp3, m4a`` or another library's name.
        codec: How samples are coded, for example ``pcm_16``, ``float``, ``flac`` or ``aac``.
        streams: Audio streams in the file; 5 in a ``.stem.mp4``.
        tags: Texts such as ``title`` and ``artist``, names in lower case.
        cover: The picture, as the bytes of a JPEG or PNG file, if there is one.
    """

    path: Path
    sample_rate: int
    channels: int
    samples: int
    container: str
    codec: str
    streams: int
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cover: bytes | None = field(default=None, repr=False)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


class AudioFile:
    """One open audio file; close it, or use it in a ``with`` statement.

    Formats: wav, flac, aiff, mp3, ogg (Vorbis, Opus), m4a (AAC, ALAC), w64, rf64, ``.stem.mp4``.
    The content decides, not the name. In these formats every range is sample-exact: :meth:`read`
    from any position equals, to the bit, that range of the whole file (AAC whose encoder asks the
    decoder for noise has the exact position but other noise each time). Other formats that FFmpeg
    knows can be opened too; there a range can differ from the whole near its start (AC-3 does).

    The length comes from the header, without decoding. Files whose header does not know it are
    gone through once when they are opened: mp3 without a header frame and raw AAC by their
    packets, rare containers by decoding.

    An object belongs to one thread at a time; open the file once per thread or worker.
    """

    def __init__(self, path: str | os.PathLike[str], *, stream: int = 0) -> None:
        """Open a file.

        Args:
            path: The file.
            stream: Which audio stream, for files with several.

        Raises:
            AudioError: If the file is missing, empty, cut off, not audio, or has no such stream.
        """
        self.path = Path(path)
        self.stream = stream
        self._reader = open_reader(self.path, stream)
        self.sample_rate = self._reader.sample_rate
        self.channels = self._reader.channels
        self.samples = self._reader.samples

    @cached_property
    def info(self) -> AudioInfo:
        """Everything the file says about itself; tags and cover are read on first use."""
        reader = self._reader
        tags, cover = read_metadata(self.path, self.stream)
        return AudioInfo(
            path=self.path,
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            samples=reader.samples,
            container=reader.container,
            codec=reader.codec,
            streams=reader.streams,
            tags=MappingProxyType(tags),
            cover=cover,
        )

    def read(self, start: int = 0, samples: int | None = None) -> Tensor:
        """Read a range.

        Args:
            start: First sample.
            samples: How many; ``None`` for all that follow.

        Returns:
            ``(channels, samples)`` in float32, shorter where the file ends. Integer formats give
            values in [-1, 1); floating-point files keep theirs.

        Raises:
            AudioError: If the file breaks off inside the range.
        """
        if start < 0 or (samples is not None and samples < 0):
            raise ParameterError(f"start is {start} and samples is {samples}; expected 0 or more")
        rest = max(0, self.samples - start)
        wanted = rest if samples is None else min(samples, rest)
        if not wanted:
            return torch.zeros(self.channels, 0)
        return _to_tensor(self._reader.read(start, wanted))

    def blocks(
        self, samples: int = 1 << 18, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Read a range block by block, in memory that does not depend on its length.

        Args:
            samples: Samples per block; the last one may be shorter.
            start: First sample.
            stop: The sample after the last one; ``None`` for the end.

        Yields:
            ``(channels, samples)`` in float32, never empty.
        """
        if samples < 1:
            raise ParameterError(f"samples is {samples}; expected at least 1")
        if start < 0:
            raise ParameterError(f"start is {start}; expected 0 or more")
        end = self.samples if stop is None else min(stop, self.samples)
        for position in range(start, end, samples):
            yield self.read(position, min(samples, end - position))

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def __enter__(self) -> "AudioFile":
        """Return the file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


def _to_tensor(frames: Frames) -> Tensor:
    return torch.from_numpy(frames).T.contiguous()


def read_audio(path: str | os.PathLike[str], *, stream: int = 0) -> tuple[Tensor, int]:
    """Read a whole file.

    Returns:
        The audio, ``(channels, samples)`` in float32, and its sample rate in Hz.

    Raises:
        AudioError: If the file cannot be read.
    """
    with AudioFile(path, stream=stream) as file:
        return file.read(), file.sample_rate


def read_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Return what the file says about itself, without decoding it.

    Raises:
        AudioError: If the file cannot be read.
    """
    with AudioFile(path) as file:
        return file.info


def read_streams(
    path: str | os.PathLike[str], start: int = 0, samples: int | None = None
) -> Tensor:
    """Read one range of all streams of a file, such as a ``.stem.mp4``, in one pass.

    Args:
        path: The file.
        start: First sample.
        samples: How many; ``None`` for all that follow.

    Returns:
        ``(streams, channels, samples)`` in float32, shorter where the file ends.

    Raises:
        AudioError: If the file cannot be read, or its streams differ in rate or channels.
    """
    if start < 0 or (samples is not None and samples < 0):
        raise ParameterError(f"start is {start} and samples is {samples}; expected 0 or more")
    reader = open_streams(Path(path))
    try:
        rest = max(0, reader.samples - start)
        wanted = rest if samples is None else min(samples, rest)
        if not wanted:
            return torch.zeros(reader.streams, reader.channels, 0)
        return torch.stack([_to_tensor(frames) for frames in reader.read(start, wanted)])
    finally:
        reader.close()


def find_audio(path: str | os.PathLike[str]) -> list[Path]:
    """Return a file as it is, or all audio files below a folder.

    Files are known by their endings, see :data:`~sonograd.data.formats.READ_SUFFIXES`. Hidden
    files and folders and everything else are skipped; the result is sorted.

    Raises:
        AudioError: If there is no such file or folder.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise AudioError(f"{root}: no such file or folder.")
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(folder, name)
            if not name.startswith(".") and file.suffix.lower() in READ_SUFFIXES:
                found.append(file)
    return sorted(found)


def check_finite(
    block: Tensor,
    *,
    start: int = 0,
    sample_rate: int | None = None,
    name: str = "audio",
    repair: bool = False,
) -> Tensor:
    """Look for samples that are not numbers.

    Args:
        block: ``(..., samples)``.
        start: The position of its first sample in the file.
        sample_rate: In Hz, to give the position in seconds, too.
        name: What to call the signal in the message, usually the file.
        repair: Replace such samples by silence instead of raising.

    Returns:
        ``block`` itself if all is well, else a repaired copy.

    Raises:
        AudioError: Naming the first such sample, unless ``repair``.
    """
    finite = torch.isfinite(block)
    if bool(finite.all()):
        return block
    if repair:
        return torch.where(finite, block, torch.zeros_like(block))
    bad = ~finite.reshape(-1, block.shape[-1]).all(dim=0)
    position = int(bad.nonzero()[0])
    value = block[..., position][~finite[..., position]].flatten()[0]
    at = start + position
    seconds = f" ({at / sample_rate:.3f} s)" if sample_rate else ""
    raise AudioError(
        f"{name}: sample {at}{seconds} is {float(value)}; expected finite "
        "numbers. Replace such samples by silence (repair), or export the file again."
    )
