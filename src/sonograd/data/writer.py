"""Write audio files, of any length, completely or not at all."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.config.output import Bits
from sonograd.data.audio import check_finite
from sonograd.data.encoders import Encoder, EncoderSettings, check_cover, open_encoder
from sonograd.data.formats import check_format, format_from_path
from sonograd.errors import OutputError, ParameterError, ShapeError
from sonograd.shapes import check_audio

__all__ = ["AudioWriter", "write_audio"]

_DITHER_SEED = 0x50A0
_BLOCK = 1 << 16


class AudioWriter:
    """Write one audio file block by block; use it in a ``with`` statement.

    The file is written under a temporary name in the same folder and moved into place when the
    ``with`` block ends; when it ends with an exception, nothing is left behind.

    Floating-point files keep every value, however large. Integer files saturate: values outside
    [-1, 1) become the nearest one there is, and are counted in :attr:`clipped`.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "tone.flac")
    >>> with AudioWriter(path, sample_rate=8000, channels=1, bits="16") as writer:
    ...     writer.write(torch.linspace(-1, 1, 1000)[None])
    >>> writer.peak, writer.clipped
    (1.0, 1)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample_rate: int,
        channels: int,
        format: str | None = None,
        bits: Bits | None = None,
        bitrate_kbps: int = 256,
        dither: bool = False,
        tags: Mapping[str, str] | None = None,
        cover: bytes | None = None,
        samples: int | None = None,
        overwrite: bool = False,
    ) -> None:
        """Check everything and open the temporary file.

        Args:
            path: Where the file will be.
            sample_rate: In Hz.
            channels: Channels of every block.
            format: A name in :data:`~sonograd.data.FORMATS`; ``None`` lets the ending of ``path``
                decide.
            bits: Depth of a sample; ``None`` for the format's default. Lossy formats ignore it.
            bitrate_kbps: For lossy formats, in kbit/s. More than the standard has for the sample
                rate (mp3: 160 to 24 kHz, 64 to 12 kHz) becomes the most it has.
            dither: Add triangular noise of two steps' width before rounding to integers; the same
                noise every time, however the signal is cut into blocks.
            tags: Texts such as ``title`` and ``artist``; what the format cannot hold is left out.
            cover: The bytes of a JPEG or PNG file; left out where the format cannot hold it.
            samples: The length that is expected. With it, wav becomes RF64 exactly if it passes
                4 GB; without it, a header with room for either is written.
            overwrite: Replace an existing file.

        Raises:
            ParameterError: If the format cannot hold such audio.
            OutputError: If the file exists or cannot be written there.
        """
        self.path = Path(path)
        self.format = check_format(
            format_from_path(path) if format is None else format,
            sample_rate=sample_rate,
            channels=channels,
            bits=bits,
            bitrate_kbps=bitrate_kbps,
        )
        self.sample_rate = sample_rate
        self.channels = channels
        self.bits = (bits or self.format.default_bits) if self.format.bits else None
        self.samples = 0
        self.peak = 0.0
        self.clipped = 0
        self._overwrite = overwrite
        self._noise = np.random.default_rng(_DITHER_SEED) if dither else None
        if cover is not None:
            check_cover(cover)
        self._check_place()
        settings = EncoderSettings(
            self.format,
            sample_rate,
            channels,
            self.bits,
            bitrate_kbps,
            dict(tags or {}),
            cover if self.format.cover else None,
            samples,
        )
        self._file = self._make_file()
        self._encoder: Encoder | None = None
        self._encoder = self._attempt(lambda: open_encoder(self._file.path, settings))

    def _check_place(self) -> None:
        if self.path.is_dir():
            raise OutputError(f"{self.path}: is a folder; expected the name of a file.")
        if self.path.exists() and not self._overwrite:
            raise OutputError(f"{self.path}: exists already; pass overwrite to replace it.")

    def _make_file(self) -> AtomicFile:
        try:
            return AtomicFile(self.path)
        except FileNotFoundError:
            raise OutputError(
                f"{self.path}: cannot be written: there is no folder {self.path.parent}."
            ) from None
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}.") from None

    def _attempt(self, action: Callable[[], Any]) -> Any:
        """Run ``action``; if it fails, remove the temporary file and say why in one line."""
        import av
        import soundfile

        try:
            return action()
        except (OSError, av.FFmpegError, soundfile.SoundFileError, AssertionError) as error:
            self.abort()
            reason = getattr(error, "strerror", None) or "not all was stored; is the disk full?"
            raise OutputError(f"{self.path}: cannot be written: {reason}") from None
        except BaseException:
            self.abort()
            raise

    def write(self, block: Tensor) -> None:
        """Append ``(channels, samples)``, any number of samples.

        Raises:
            ShapeError: If the layout is another one.
            AudioError: If a sample is not a finite number and the format is not floating point.
            OutputError: If it cannot be written, for example when there is no space left.
        """
        if self._encoder is None:
            raise ParameterError(f"{self.path}: write was called after the file was closed.")
        check_audio(block, name="block")
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ShapeError(
                f"block has shape {tuple(block.shape)}; expected ({self.channels}, samples)"
            )
        for part in block.detach().to("cpu", torch.float32).split(_BLOCK, dim=-1):
            self._write(part)

    def _write(self, part: Tensor) -> None:
        if not part.shape[-1]:
            return
        if self.bits != "32f":
            check_finite(
                part, start=self.samples, sample_rate=self.sample_rate, name=str(self.path)
            )
        self.peak = max(self.peak, float(part.abs().max()))
        frames = part.T.numpy()
        if self.bits in ("16", "24"):
            frames = self._round(frames, int(self.bits))
        encoder = self._encoder
        assert encoder is not None
        self._attempt(lambda: encoder.write(frames))
        self.samples += part.shape[-1]

    def _round(self, frames: "np.ndarray[Any, Any]", bits: int) -> "np.ndarray[Any, Any]":
        """Return integers: ``bits`` wide, in the upper part of the type."""
        self.clipped += int(np.count_nonzero((frames < -1.0) | (frames >= 1.0)))
        limit = 1 << (bits - 1)
        scaled = frames.astype(np.float64) * limit
        if self._noise is not None:
            both = self._noise.random((*frames.shape, 2))
            scaled += both[..., 0] - both[..., 1]
        whole: np.ndarray[Any, np.dtype[np.float64]] = np.clip(np.rint(scaled), -limit, limit - 1)
        result: np.ndarray[Any, Any] = whole.astype(np.int16 if bits == 16 else np.int32)
        return result if bits == 16 else np.left_shift(result, 8)

    def close(self) -> None:
        """Finish the file and move it into place; called at the end of a ``with`` block."""
        if self._encoder is None:
            return
        self._attempt(self._encoder.close)
        self._encoder = None
        self._attempt(self._move)

    def _move(self) -> None:
        self._check_place()
        self._file.commit()

    def abort(self) -> None:
        """Give up: remove the temporary file and leave whatever was at ``path``."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with contextlib.suppress(Exception):
                encoder.close()
        self._file.discard()

    def __enter__(self) -> "AudioWriter":
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it if the block raised."""
        if kind is None:
            self.close()
        else:
            self.abort()


def write_audio(
    path: str | os.PathLike[str],
    audio: Tensor,
    sample_rate: int,
    *,
    format: str | None = None,
    bits: Bits | None = None,
    bitrate_kbps: int = 256,
    dither: bool = False,
    tags: Mapping[str, str] | None = None,
    cover: bytes | None = None,
    overwrite: bool = False,
) -> None:
    """Write a whole signal, ``(channels, samples)``; options as in :class:`AudioWriter`.

    Raises:
        ShapeError: If ``audio`` has another layout.
        ParameterError: If the format cannot hold such audio.
        AudioError: If a sample is not a finite number and the format is not floating point.
        OutputError: If the file exists or cannot be written there.
    """
    check_audio(audio, name="audio")
    if audio.ndim != 2:
        raise ShapeError(f"audio has shape {tuple(audio.shape)}; expected (channels, samples)")
    with AudioWriter(
        path,
        sample_rate=sample_rate,
        channels=audio.shape[0],
        format=format,
        bits=bits,
        bitrate_kbps=bitrate_kbps,
        dither=dither,
        tags=tags,
        cover=cover,
        samples=audio.shape[-1],
        overwrite=overwrite,
    ) as writer:
        writer.write(audio)
