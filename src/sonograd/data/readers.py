"""Choose the decoder that is exact for a file: libsndfile, or FFmpeg for what it cannot do.

libsndfile has uncompressed audio and FLAC. FFmpeg has mp3, Vorbis and Opus, whose seeks are not
exact in libsndfile, and everything in mp4. Both give float32 frames at exact positions: reading
from any position equals, to the bit, the same range of a decode from the start. Where a decoder
needs some audio before a position to give that, it is decoded and dropped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sonograd.data.containers import Kind, sniff, truncation
from sonograd.data.ffmpeg import ACCEPTED, FFmpegReader, Frames, cut_off
from sonograd.errors import AudioError

__all__ = ["VORBIS_ORDER", "Reader", "SoundFileReader", "open_reader", "open_streams"]

# Ogg files this short may lie in one page, whose only time stamp says where it ends.
_SHORT_VORBIS = 1 << 20
# Order of channels in Vorbis, as indices into the order of wav (and of FFmpeg).
VORBIS_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}


class Reader(Protocol):
    """What :class:`~sonograd.data.AudioFile` needs from a decoder."""

    sample_rate: int
    channels: int
    samples: int
    container: str
    codec: str
    streams: int

    def read(self, start: int, samples: int) -> Frames:
        """Return ``(samples, channels)`` from ``start``; the range lies inside the file."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def open_reader(path: Path, stream: int = 0) -> Reader:
    """Open ``path`` with the decoder that is exact for it.

    Raises:
        AudioError: If the file is missing, empty, cut off, or not audio.
    """
    kind = _check_file(path)
    # Of what it does not know, libsndfile would guess that it is mp3, and print about it.
    if kind in ("pcm", "flac", "vorbis", "rare"):
        reader = SoundFileReader.open(path, kind)
        if reader is not None:
            if stream != 0:
                reader.close()
                raise AudioError(f"{path}: has 1 audio stream; stream {stream} does not exist.")
            return reader
    return SingleStream(FFmpegReader(path, kind, [stream]))


def open_streams(path: Path) -> FFmpegReader:
    """Open every audio stream of ``path`` for reading in one pass.

    Raises:
        AudioError: As :func:`open_reader`.
    """
    return FFmpegReader(path, _check_file(path), None)


def _check_file(path: Path) -> Kind:
    """Raise :class:`~sonograd.errors.AudioError` unless ``path`` can be a complete audio file."""
    try:
        if path.is_dir():
            raise AudioError(f"{path}: is a folder; expected an audio file ({ACCEPTED}).")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: is empty (0 bytes); expected an audio file ({ACCEPTED}).")
        kind = sniff(path)
        problem = truncation(path, kind)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; expected an audio file ({ACCEPTED}).") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioError(f"{path}: cannot be read: {reason}.") from None
    if problem is not None:
        raise AudioError(f"{path}: {problem}; get a complete copy of the file.")
    return kind


class SingleStream:
    """The only chosen stream of a :class:`~sonograd.data.ffmpeg.FFmpegReader`."""

    def __init__(self, reader: FFmpegReader) -> None:
        """Take over ``reader``."""
        self._reader = reader
        self.sample_rate = reader.sample_rate
        self.channels = reader.channels
        self.samples = reader.samples
        self.container = reader.container
        self.codec = reader.codec
        self.streams = reader.streams

    def read(self, start: int, samples: int) -> Frames:
        """See :class:`Reader`."""
        return self._reader.read(start, samples)[0]

    def close(self) -> None:
        """Release the file."""
        self._reader.close()


class SoundFileReader:
    """Frames of one file through libsndfile."""

    streams = 1

    def __init__(self, path: Path, file: Any, kind: Kind) -> None:
        """Take over the open ``file``."""
        self.path = path
        self._file = file
        self.sample_rate: int = file.samplerate
        self.channels: int = file.channels
        self.samples: int = file.frames
        self.codec = {"vorbis": "vorbis", "flac": "flac"}.get(kind, file.subtype.lower())
        self.container = file.format.lower().replace("wavex", "wav")
        self._order = VORBIS_ORDER.get(self.channels) if kind == "vorbis" else None
        self._whole = self._decode_whole() if kind == "vorbis" else None
        self._position = 0

    @classmethod
    def open(cls, path: Path, kind: Kind) -> "SoundFileReader | None":
        """Return a reader, or ``None`` if FFmpeg should have the file."""
        import soundfile

        try:
            file = soundfile.SoundFile(path)
        except (soundfile.SoundFileError, TypeError):
            return None
        long_vorbis = kind == "vorbis" and file.frames > _SHORT_VORBIS
        if (
            long_vorbis
            or file.subtype.startswith("MPEG")
            or not 0 <= file.frames < 1 << 60
            or not file.seekable()
        ):
            file.close()
            return None
        return cls(path, file, kind)

    def read(self, start: int, samples: int) -> Frames:
        """See :class:`Reader`."""
        if self._whole is not None:
            return self._whole[start : start + samples].copy()
        if start != self._position:
            self._file.seek(start)
        frames = self._decode(samples)
        self._position = start + len(frames)
        if len(frames) < samples:
            raise cut_off(self.path, self._position, self.samples)
        return frames

    def _decode(self, samples: int) -> Frames:
        import soundfile

        try:
            frames: Frames = self._file.read(samples, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            self._position = -1
            raise cut_off(self.path, self._file.tell(), self.samples) from None
        return frames

    def _decode_whole(self) -> Frames:
        # libsndfile is right about the length of short files and wrong after seeks.
        frames = self._decode(self.samples)
        if len(frames) < self.samples:
            raise cut_off(self.path, len(frames), self.samples)
        return frames if self._order is None else _to_wav_order(frames, self._order)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _to_wav_order(frames: Frames, order: Sequence[int]) -> Frames:
    result = np.empty_like(frames)
    result[:, list(order)] = frames
    return result
