"""Change the sample rate of audio of any length, in one piece or block by block."""

from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.shapes import check_audio

__all__ = ["StreamResampler", "resample_audio", "resampled_length"]

Quality = Literal["HQ", "VHQ"]
_BLOCK = 1 << 16


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Return the number of samples that ``samples`` become: ``round(samples * to / from)``.

    >>> resampled_length(44100, 44100, 48000)
    48000
    """
    return round(Fraction(samples * to_rate, from_rate))


class StreamResampler:
    """Resample audio that arrives in blocks of any size.

    The concatenated output has zero delay, is exactly
    :func:`resampled_length` samples long and does not depend, to the bit, on how the input was
    cut into blocks. The filter is soxr's: linear phase, flat to 0.95 of the smaller Nyquist
    frequency, aliases below -130 dB (``HQ``) or -150 dB (``VHQ``).

    >>> resampler = StreamResampler(44100, 48000, channels=2)
    >>> blocks = [resampler.push(torch.zeros(2, 441)) for _ in range(10)]
    >>> blocks.append(resampler.finish())
    >>> torch.cat(blocks, dim=-1).shape
    torch.Size([2, 4800])
    """

    def __init__(
        self, from_rate: int, to_rate: int, channels: int, quality: Quality = "VHQ"
    ) -> None:
        """Start before the first sample.

        Args:
            from_rate: Sample rate of the input in Hz.
            to_rate: Sample rate of the output in Hz.
            channels: Channels of the input and output.
            quality: ``"VHQ"``, or ``"HQ"`` for a filter that is a little faster.

        Raises:
            ParameterError: If a rate or the number of channels is below 1.
        """
        for name, value in (("from_rate", from_rate), ("to_rate", to_rate), ("channels", channels)):
            if value < 1:
                raise ParameterError(f"{name} is {value}; expected at least 1")
        if quality not in ("HQ", "VHQ"):
            raise ParameterError(f"quality is {quality!r}; expected 'HQ' or 'VHQ'")
        self.from_rate = from_rate
        self.to_rate = to_rate
        self.channels = channels
        self._stream = None
        if from_rate != to_rate:
            import soxr

            self._stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype="float32", quality=quality
            )
        self._taken = 0
        self._given = 0
        self._finished = False

    def push(self, block: Tensor) -> Tensor:
        """Take the next ``(channels, samples)``, any number of samples.

        Returns:
            What is final by now, ``(channels, samples)`` in float32 on the CPU, perhaps 0 samples.

        Raises:
            ShapeError: If ``block`` has another layout.
            ParameterError: After :meth:`finish`.
        """
        check_audio(block, name="block")
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ShapeError(
                f"block has shape {tuple(block.shape)}; expected ({self.channels}, samples)"
            )
        if self._finished:
            raise ParameterError("push was called after finish; make a new StreamResampler.")
        self._taken += block.shape[-1]
        block = block.detach().to("cpu", torch.float32)
        if self._stream is None:
            return block.clone()
        frames = block.T.contiguous().numpy()
        pieces = [
            self._process(frames[start : start + _BLOCK], last=False)
            for start in range(0, len(frames), _BLOCK)
        ]
        return torch.cat([torch.zeros(self.channels, 0), *pieces], dim=-1)

    def finish(self) -> Tensor:
        """End the input and return the rest of the output, ``(channels, samples)``."""
        if self._finished:
            raise ParameterError("finish was called twice; make a new StreamResampler.")
        self._finished = True
        if self._stream is None or self._taken == 0:
            return torch.zeros(self.channels, 0)
        given = self._given
        tail = self._process(np.zeros((0, self.channels), np.float32), last=True)
        wanted = resampled_length(self._taken, self.from_rate, self.to_rate) - given
        return torch.nn.functional.pad(tail, (0, wanted - tail.shape[-1]))

    def _process(self, frames: "np.ndarray[Any, np.dtype[np.float32]]", *, last: bool) -> Tensor:
        assert self._stream is not None
        result = self._stream.resample_chunk(frames, last=last)
        self._given += len(result)
        return torch.from_numpy(np.ascontiguousarray(result.T))


def resample_audio(x: Tensor, from_rate: int, to_rate: int, quality: Quality = "VHQ") -> Tensor:
    """Resample a whole signal; equal, to the bit, to :class:`StreamResampler`.

    Args:
        x: Audio, ``(channels, samples)``.
        from_rate: Its sample rate in Hz.
        to_rate: The wanted sample rate in Hz.
        quality: See :class:`StreamResampler`.

    Returns:
        ``(channels, resampled_length(samples, from_rate, to_rate))``, float32 on the CPU.
        For gradients or another device use :func:`sonograd.functional.resample`.
    """
    check_audio(x)
    stream = StreamResampler(from_rate, to_rate, channels=x.shape[0], quality=quality)
    return torch.cat([stream.push(x), stream.finish()], dim=-1)
