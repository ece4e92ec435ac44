"""Exact positions in compressed audio, and several streams in one pass, through FFmpeg."""

import contextlib
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sonograd.data.containers import Kind, last_page_start, mp3_has_length
from sonograd.errors import AudioError

__all__ = ["ACCEPTED", "FFmpegReader", "Frames", "cut_off", "open_container"]

Frames = np.ndarray[Any, np.dtype[np.float32]]

ACCEPTED = "wav, flac, aiff, mp3, ogg (Vorbis, Opus), m4a (AAC, ALAC), w64, rf64 and .stem.mp4"

_PREROLL_SECONDS = 1.0
# In the common form of AAC a frame refers to the one before it alone.
_PREROLL_AAC_LC_SECONDS = 0.2
# Containers that round durations, and mp3 headers that count themselves, promise a little more
# than there is; that much is silence.
_ROUNDING = 1152
_KNOW_THEIR_LENGTH = frozenset({"mp4", "flac", "ogg", "wav", "aiff", "w64", "caf"})
# With so many planes PyAV looks for their end behind the end of their list.
_MAX_PLANES = 8
# After an error the decoders stand nowhere, and the next read seeks.
_LOST = -(1 << 62)
_SCALES = {"int16": 2.0**-15, "int32": 2.0**-31}


def open_container(path: Path) -> Any:
    """Open ``path`` for reading.

    Raises:
        AudioError: If FFmpeg finds nothing it knows.
    """
    import av

    try:
        # With the protocol in front, a colon in the name is only a colon.
        return av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, PermissionError):
            raise AudioError(f"{path}: cannot be read: {error.strerror}.") from None
        raise AudioError(
            f"{path}: holds no audio that can be decoded, or is damaged; expected {ACCEPTED}."
        ) from None


def cut_off(path: Path, got: int, wanted: int) -> AudioError:
    """Return the error for a file that ends, or breaks, at sample ``got`` of ``wanted``."""
    return AudioError(
        f"{path}: it is cut off or damaged: nothing can be decoded after sample {got} of {wanted}; "
        "get a complete copy of the file."
    )


class FFmpegReader:
    """Frames of one or several streams of one file, decoded in one pass."""

    def __init__(self, path: Path, kind: Kind, streams: Sequence[int] | None) -> None:
        """Open ``path``; ``streams`` are numbers of audio streams, ``None`` for all."""
        self.path = path
        self._container = open_container(path)
        try:
            self._choose(kind, streams)
        except BaseException:
            self.close()
            raise

    def _choose(self, kind: Kind, streams: Sequence[int] | None) -> None:
        available = self._container.streams.audio
        self.streams = len(available)
        if not self.streams:
            raise AudioError(f"{self.path}: holds no audio; expected {ACCEPTED}.")
        self._chosen = list(range(self.streams)) if streams is None else list(streams)
        for number in self._chosen:
            if not 0 <= number < self.streams:
                count = f"{self.streams} audio stream{'s' if self.streams > 1 else ''}"
                raise AudioError(f"{self.path}: has {count}; stream {number} does not exist.")
        first = available[self._chosen[0]]
        self.sample_rate = int(first.sample_rate or 0)
        self.channels = int(first.channels or 0)
        if not self.sample_rate or not self.channels:
            raise AudioError(f"{self.path}: cannot be decoded; expected {ACCEPTED}.")
        for number in self._chosen:
            self._check_layout(available[number])
        self.codec = str(first.codec_context.name).removesuffix("float")
        self.container = _container_name(self._container.format.name)
        self._preroll = int(_preroll_seconds(first) * self.sample_rate)
        self._exact_times = first.time_base <= Fraction(1, self.sample_rate)
        self._origin = self._in_samples(first.start_time or 0, first.time_base)
        self._counted = False
        self._lengths = [self._count(kind, available[number]) for number in self._chosen]
        self.samples = max(self._lengths)
        # The only time stamp of an Ogg page is its end, and the last one's need not be where its
        # packets end: decoding must not start there.
        start = last_page_start(self.path) if kind in ("vorbis", "opus") else None
        self._last_start = self.samples if start is None else start
        if self._counted:
            self._restart()
        else:
            self._streams = [available[number] for number in self._chosen]
            _discard_others(self._container, self._streams)
            self._begin(0)

    def _check_layout(self, item: Any) -> None:
        """Raise unless a stream, or a decoded frame, has the rate and channels of the file."""
        channels = item.layout.nb_channels
        if item.sample_rate != self.sample_rate or channels != self.channels:
            raise AudioError(
                f"{self.path}: changes from {self.sample_rate} Hz, {self.channels} channels to "
                f"{item.sample_rate} Hz, {channels} channels; expected one of each."
            )

    def _in_samples(self, time: int, time_base: Fraction) -> int:
        numerator, denominator = time_base.numerator * self.sample_rate, time_base.denominator
        if numerator == denominator:
            return time
        return round(Fraction(time * numerator, denominator))

    def _count(self, kind: Kind, stream: Any) -> int:
        """Return the number of samples, from the header if it knows and by counting if not."""
        names = self._container.format.name.split(",")
        by_packets = kind == "mp3" or "aac" in names
        known = bool(_KNOW_THEIR_LENGTH.intersection(names))
        known = known or (kind == "mp3" and mp3_has_length(self.path))
        if known and stream.duration is not None:
            length = self._in_samples(stream.duration, stream.time_base)
            return max(0, length - _skipped(kind, stream))
        self._counted = True
        if by_packets:
            ends = [
                packet.pts + packet.duration
                for packet in self._container.demux(stream)
                if packet.pts is not None and packet.duration is not None
            ]
            return self._in_samples(max(ends, default=0), stream.time_base) - self._origin
        return self._count_by_decoding()

    def _count_by_decoding(self) -> int:
        self._lengths = [1 << 62] * len(self._chosen)
        self._restart()
        stop = 1 << 16
        while True:
            self._fill(stop)
            if self._ended:
                return max(queue.end for queue in self._queues.values())
            for queue in self._queues.values():
                queue.take(1 << 16)
            stop += 1 << 16

    def _restart(self) -> None:
        """Go back to the very start, with new decoders."""
        self._container.close()
        self._container = open_container(self.path)
        self._streams = [self._container.streams.audio[number] for number in self._chosen]
        _discard_others(self._container, self._streams)
        self._begin(0)

    def _begin(self, position: int) -> None:
        self._packets = self._container.demux(self._streams)
        self._queues = {stream.index: _Queue(position, self.channels) for stream in self._streams}
        self._position = position
        self._ended = False

    def _seek(self, start: int) -> None:
        """Stand at ``start`` with decoders that have seen enough of what lies before it."""
        preroll = self._preroll
        if self._position <= start < self._position + 2 * _PREROLL_SECONDS * self.sample_rate:
            self._skip_to(start)
            return
        before = min(start, self._last_start) - preroll
        if before > 0 and self._exact_times:
            stream = self._streams[0]
            time = Fraction(before + self._origin, self.sample_rate) / stream.time_base
            self._container.seek(int(time), stream=stream)
            self._begin(before)
            self._fill(start, lenient=True)
            if all(queue.first <= start - preroll // 4 for queue in self._queues.values()):
                self._skip_to(start)
                return
        self._restart()
        self._skip_to(start)

    def _skip_to(self, start: int) -> None:
        while self._position < start:
            stop = min(start, self._position + (1 << 16))
            self._fill(stop)
            self._check_reached(stop)
            for queue in self._queues.values():
                queue.take(stop - self._position)
            self._position = stop

    def _check_reached(self, stop: int) -> None:
        """Raise if the file ended before ``stop``, by more than rounding explains."""
        for queue, length in zip(self._queues.values(), self._lengths, strict=True):
            if queue.end < min(stop, length) - _ROUNDING:
                raise cut_off(self.path, queue.end, length)

    def read(self, start: int, samples: int) -> list[Frames]:
        """Return ``(samples, channels)`` of every chosen stream from ``start``.

        The range must lie inside the file; streams that end earlier continue with silence.
        """
        stop = start + samples
        try:
            if start != self._position:
                self._seek(start)
            self._fill(stop)
            self._check_reached(stop)
        except AudioError:
            self._position = _LOST
            raise
        result = []
        for queue, length in zip(self._queues.values(), self._lengths, strict=True):
            frames = queue.take(samples)
            frames[max(0, length - start) :] = 0.0
            result.append(frames)
        self._position = stop
        return result

    def _fill(self, stop: int, *, lenient: bool = False) -> None:
        """Decode until every chosen stream reaches ``stop`` or the file ends."""
        import av

        while not self._ended and any(queue.end < stop for queue in self._queues.values()):
            try:
                packet = next(self._packets, None)
                if packet is None:
                    self._ended = True
                    break
                for frame in packet.decode():
                    self._push(packet.stream.index, frame)
            except av.FFmpegError:
                # Right after a seek a decoder may miss what it refers to.
                if not lenient:
                    end = min(queue.end for queue in self._queues.values())
                    raise cut_off(self.path, end, max(self._lengths)) from None

    def _push(self, index: int, frame: Any) -> None:
        self._check_layout(frame)
        if self.channels < _MAX_PLANES and frame.format.name == "fltp":
            count = frame.samples
            planes = [np.frombuffer(plane, np.float32, count) for plane in frame.planes]
            frames = np.array(planes).T
        elif self.channels < _MAX_PLANES and frame.format.is_planar:
            frames = frame.to_ndarray().T
        else:
            frames = _interleaved(frame).to_ndarray().reshape(-1, self.channels)
        if frames.dtype != np.float32:
            frames = _as_float32(frames)
        position = None
        if frame.pts is not None and self._exact_times:
            position = self._in_samples(frame.pts, frame.time_base) - self._origin
        self._queues[index].push(position, frames)

    def close(self) -> None:
        """Release the file."""
        self._container.close()


class _Queue:
    """Decoded frames of one stream, in order, without gaps or overlaps."""

    def __init__(self, position: int, channels: int) -> None:
        self.start = self.end = self.first = position
        self._channels = channels
        self._blocks: deque[Frames] = deque()
        self._empty = True

    def push(self, position: int | None, frames: Frames) -> None:
        """Append ``frames`` that belong at ``position``; a hole before them becomes silence."""
        if position is None:
            position = self.end
        if self._empty:
            self.first, self._empty = position, False
        if position > self.end:
            silence = np.broadcast_to(np.float32(0.0), (position - self.end, self._channels))
            self._blocks.append(silence)
            self.end = position
        frames = frames[self.end - position :]
        if len(frames):
            self._blocks.append(frames)
            self.end += len(frames)

    def take(self, samples: int) -> Frames:
        """Remove and return the first ``samples``; what is not there is silence."""
        # Channel by channel in memory, as decoders and tensors have it.
        result = np.empty((self._channels, samples), np.float32).T
        done = 0
        while done < samples and self._blocks:
            block = self._blocks[0]
            used = min(len(block), samples - done)
            result[done : done + used] = block[:used]
            done += used
            if used < len(block):
                self._blocks[0] = block[used:]
            else:
                self._blocks.popleft()
        result[done:] = 0.0
        self.start += samples
        self.end = max(self.end, self.start)
        return result


def _skipped(kind: Kind, stream: Any) -> int:
    """Return how many samples of the given duration a decoder drops at the start."""
    if kind != "opus":
        return 0
    header = bytes(stream.codec_context.extradata or b"")
    return int.from_bytes(header[10:12], "little")


def _preroll_seconds(stream: Any) -> float:
    """Return how long before a position decoding starts, so that what is read there is exact."""
    context = stream.codec_context
    plain = context.name == "aac" and context.profile == "LC"
    return _PREROLL_AAC_LC_SECONDS if plain else _PREROLL_SECONDS


def _discard_others(container: Any, chosen: Sequence[Any]) -> None:
    """Keep what is not wanted from being read."""
    kept = {stream.index for stream in chosen}
    for stream in container.streams:
        if stream.index not in kept:
            with contextlib.suppress(AttributeError):  # older versions of PyAV read it in vain
                stream.discard = type(stream.discard).all


def _as_float32(frames: np.ndarray[Any, Any]) -> Frames:
    """Scale integers to [-1, 1)."""
    result: Frames = frames.astype(np.float32)
    if frames.dtype.name in _SCALES:
        result *= np.float32(_SCALES[frames.dtype.name])
    elif frames.dtype == np.uint8:
        result = (result - 128.0) / np.float32(128.0)
    return result


def _interleaved(frame: Any) -> Any:
    """Return ``frame`` with its channels side by side instead of one after the other."""
    import av

    if not frame.format.is_planar:
        return frame
    packer = av.AudioResampler(frame.format.packed.name, frame.layout, frame.sample_rate)
    return packer.resample(frame)[0]


def _container_name(names: str) -> str:
    """Return our name for a container that FFmpeg calls ``names``."""
    if "mp4" in names.split(","):
        return "m4a"
    return names.split(",", maxsplit=1)[0]
