"""Two ways to encode: libsndfile for uncompressed audio and Vorbis, FFmpeg for the rest.

An encoder takes frames ``(samples, channels)``: int16 for 16 bits, int32 with the value in the
upper 24 bits for 24, float32 for floating point and lossy formats.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sonograd.config.output import Bits
from sonograd.data.containers import set_mp3_length
from sonograd.data.formats import AudioFormat
from sonograd.data.metadata import cover_kind
from sonograd.data.readers import VORBIS_ORDER
from sonograd.errors import ParameterError

__all__ = ["Encoder", "EncoderSettings", "check_cover", "open_encoder"]

Samples = np.ndarray[Any, np.dtype[Any]]

# The most sound a plain wav can hold, with room for its header and tags, in bytes.
WAV_LIMIT = (1 << 32) - (1 << 20)
# Frames per call; libsndfile's Vorbis encoder keeps a whole call on the stack.
_BLOCK = 1 << 14
# libsndfile's switch for "write RF64, and make it a plain wav on closing if it is small enough".
_RF64_AUTO_DOWNGRADE = 0x1210
_SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
_BYTES = {"16": 2, "24": 3, "32f": 4}
_SOUNDFILE_TAGS = {"track": "tracknumber"} | {
    name: name for name in ("title", "artist", "album", "date", "genre", "comment", "copyright")
}
# Nominal kbit/s of stereo Vorbis at qualities 0, 1, ... 10.
_VORBIS_KBPS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)
_LAYOUTS = ("", "mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
_MP3_HIGHEST_KBPS = {8000: 64, 11025: 64, 12000: 64, 16000: 160, 22050: 160, 24000: 160}


@dataclass(frozen=True)
class EncoderSettings:
    """What to write and how."""

    format: AudioFormat
    sample_rate: int
    channels: int
    bits: Bits | None
    bitrate_kbps: int
    tags: Mapping[str, str] = field(default_factory=dict)
    cover: bytes | None = None
    samples: int | None = None


class Encoder(Protocol):
    """What :class:`~sonograd.data.AudioWriter` needs."""

    def write(self, frames: Samples) -> None:
        """Append ``(samples, channels)``."""
        ...

    def close(self) -> None:
        """Write what is left and close the file."""
        ...


def open_encoder(path: Path, settings: EncoderSettings) -> Encoder:
    """Start to write ``path`` with the library that does the format best."""
    if settings.format.name in _RECIPES:
        return _FFmpegEncoder(path, settings)
    return _SoundFileEncoder(path, settings)


class _SoundFileEncoder:
    def __init__(self, path: Path, settings: EncoderSettings) -> None:
        import soundfile

        kind, subtype, options = _soundfile_format(settings)
        self._vorbis = kind == "OGG"
        self._order = VORBIS_ORDER.get(settings.channels) if self._vorbis else None
        self._rest: Samples = np.zeros((0, settings.channels), np.float32)
        self._file = soundfile.SoundFile(
            path, "w", settings.sample_rate, settings.channels, subtype, None, kind, **options
        )
        if kind == "RF64" and settings.samples is None:
            soundfile._snd.sf_command(
                self._file._file, _RF64_AUTO_DOWNGRADE, soundfile._ffi.NULL, 1
            )
        if settings.format.tags:
            for name, text in settings.tags.items():
                if name in _SOUNDFILE_TAGS:
                    setattr(self._file, _SOUNDFILE_TAGS[name], text)

    def write(self, frames: Samples) -> None:
        if self._order is not None:
            frames = frames[:, list(self._order)]
        if self._vorbis:
            # Its encoder looks at a call at a time: always the same size, always the same file.
            frames = np.concatenate([self._rest, frames])
            whole = len(frames) - len(frames) % _BLOCK
            frames, self._rest = frames[:whole], frames[whole:]
        self._store(frames)

    def _store(self, frames: Samples) -> None:
        for start in range(0, len(frames), _BLOCK):
            self._file.write(np.ascontiguousarray(frames[start : start + _BLOCK]))

    def close(self) -> None:
        try:
            self._store(self._rest)
        finally:
            self._file.close()


def _soundfile_format(settings: EncoderSettings) -> tuple[str, str, dict[str, Any]]:
    """Return libsndfile's format, subtype and further options."""
    if settings.format.name == "ogg":
        quality = np.interp(settings.bitrate_kbps, _VORBIS_KBPS, np.linspace(0.0, 1.0, 11))
        return "OGG", "VORBIS", {"compression_level": float(1.0 - quality)}
    assert settings.bits is not None
    subtype = _SUBTYPES[settings.bits]
    if settings.format.name != "wav":
        return settings.format.name.upper(), subtype, {}
    if settings.samples is None:
        return "RF64", subtype, {}
    size = settings.samples * settings.channels * _BYTES[settings.bits]
    if size > WAV_LIMIT:
        return "RF64", subtype, {}
    return ("WAVEX" if settings.channels > 2 else "WAV"), subtype, {}


@dataclass(frozen=True)
class _Recipe:
    """How FFmpeg writes a format."""

    container: str
    codec: str
    options: Mapping[str, str] = field(default_factory=dict)


_RECIPES = {
    "flac": _Recipe("flac", "flac"),
    "alac": _Recipe("mp4", "alac"),
    # Noise substitution would make every decode a little different.
    "m4a": _Recipe("mp4", "aac", {"aac_pns": "0"}),
    "mp3": _Recipe("mp3", "libmp3lame"),
    "opus": _Recipe("ogg", "libopus"),
}


class _FFmpegEncoder:
    def __init__(self, path: Path, settings: EncoderSettings) -> None:
        import av

        recipe = _RECIPES[settings.format.name]
        self._path = path
        self._settings = settings
        self._layout = _LAYOUTS[settings.channels]
        self._written = 0
        in_mp4 = recipe.container == "mp4"
        # With times in samples instead of milliseconds the length is exact.
        extra = {"movie_timescale": str(settings.sample_rate), "brand": "M4A "} if in_mp4 else {}
        # With the protocol in front, a colon in the name is only a colon.
        self._container: Any = av.open(
            f"file:{path}", "w", format=recipe.container, container_options=extra
        )
        options = dict(recipe.options)
        if settings.bits == "24":
            options["bits_per_raw_sample"] = "24"
        stream: Any = self._container.add_stream(
            recipe.codec, rate=settings.sample_rate, options=options, layout=self._layout
        )
        self._stream = stream
        self._input_format = {"16": "s16", "24": "s32"}.get(settings.bits or "", "flt")
        self._stream.format = _codec_format(settings)
        if settings.format.lossy:
            self._stream.bit_rate = 1000 * _bitrate_kbps(settings)
        self._container.metadata.update(settings.tags)
        self._start(settings.cover)

    def _start(self, cover: bytes | None) -> None:
        """Write the header, with the picture where there is one."""
        import av
        from av.stream import Disposition

        picture = None
        if cover is not None and self._settings.format.name == "opus":
            block = base64.b64encode(picture_block(cover)).decode("ascii")
            self._container.metadata["METADATA_BLOCK_PICTURE"] = block
        elif cover is not None:
            with av.open(BytesIO(cover)) as source:
                picture = self._container.add_stream_from_template(source.streams.video[0])
            picture.disposition = Disposition.attached_pic
        self._container.start_encoding()
        if picture is not None and cover is not None:
            packet: Any = av.Packet(cover)
            packet.stream = picture
            packet.pts = packet.dts = 0
            packet.time_base = Fraction(1, 90_000)
            packet.is_keyframe = True
            self._container.mux(packet)

    def write(self, frames: Samples) -> None:
        import av

        for start in range(0, len(frames), _BLOCK):
            block = np.ascontiguousarray(frames[start : start + _BLOCK]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                block, format=self._input_format, layout=self._layout
            )
            frame.sample_rate = self._settings.sample_rate
            frame.pts = self._written
            frame.time_base = Fraction(1, self._settings.sample_rate)
            self._written += frame.samples
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        length = self._written
        # Without any sample these containers have no valid file; one of silence is the shortest.
        if not self._written and self._settings.format.name != "flac":
            kind = {"s16": np.int16, "s32": np.int32, "flt": np.float32}[self._input_format]
            self.write(np.zeros((1, self._settings.channels), kind))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._settings.format.name == "mp3":
            set_mp3_length(self._path, length)


def _codec_format(settings: EncoderSettings) -> str:
    """Return the sample format that the encoder of FFmpeg wants."""
    if settings.format.name in ("m4a", "mp3"):
        return "fltp"
    if settings.format.name == "opus":
        return "flt"
    name = "s16" if settings.bits == "16" else "s32"
    return name if settings.format.name == "flac" else f"{name}p"


def _bitrate_kbps(settings: EncoderSettings) -> int:
    """Return the bit rate, at most what the standard has for the sample rate."""
    if settings.format.name == "mp3":
        return min(settings.bitrate_kbps, _MP3_HIGHEST_KBPS.get(settings.sample_rate, 320))
    if settings.format.name == "m4a":
        # At most 6144 bits per channel and frame of 1024 samples.
        return min(settings.bitrate_kbps, 6 * settings.sample_rate * settings.channels // 1024)
    return min(settings.bitrate_kbps, 256 * settings.channels)


def check_cover(cover: bytes) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless ``cover`` is a JPEG or PNG file."""
    import av

    try:
        with av.open(BytesIO(cover)) as source:
            known = cover_kind(cover) is not None and source.streams.video[0].width > 0
    except (av.FFmpegError, IndexError):
        known = False
    if not known:
        raise ParameterError(
            f"cover starts with {cover[:8]!r}; expected the bytes of a whole JPEG or PNG file."
        )


def picture_block(cover: bytes) -> bytes:
    """Return the picture block that Ogg files carry, for a front cover.

    Source: RFC 9639, section 8.8.
    """
    mime = b"image/png" if cover_kind(cover) == "png" else b"image/jpeg"
    head = struct.pack(">II", 3, len(mime)) + mime + struct.pack(">I", 0)
    return head + struct.pack(">5I", 0, 0, 0, 0, len(cover)) + cover
