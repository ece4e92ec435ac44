"""One set of kernels for all octaves: the signal is decimated instead.

That is what CQT2010 and VQT do. :func:`nnaudio_octaves` does it as nnAudio did, with its errors;
:func:`octaves` does it with an exact decimation, at any hop.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from sonograd.compat.nnaudio.utils import downsampling_by_2, downsampling_by_n
from sonograd.functional.convolution import fast_length
from sonograd.functional.framing import PadMode, extend

__all__ = ["Apply", "nnaudio_octaves", "octaves"]

#: Takes ``(batch, 1, samples)`` and a hop to complex ``(batch, bins, frames)``.
Apply: TypeAlias = Callable[[Tensor, int], Tensor]

#: Where the gain of the decimation begins to fall, relative to the new Nyquist frequency.
_PASSBAND = 0.94


def octaves(
    x: Tensor,
    kernels: Sequence[Apply],
    widths: Sequence[int],
    *,
    hop_length: int,
    factor: int,
    pad_mode: PadMode,
) -> Tensor:
    """Transform octave by octave, the highest first, each at half the rate of the one above.

    Args:
        x: Signals ``(batch, samples)``.
        kernels: What is done in each octave.
        widths: Length of the kernels of each octave in samples, even.
        hop_length: Samples between frames, any number.
        factor: Decimation in the top octave.
        pad_mode: How the signal goes on outside.

    Returns:
        Complex ``(batch, bins, frames)``, lowest octave first.
    """
    rates = [factor * 2**octave for octave in range(len(kernels))]
    margin = max(rate * width // 2 for rate, width in zip(rates, widths, strict=True))
    frames = 1 + x.shape[-1] // hop_length
    # Frames of every octave lie inside; the rest is room for the decimation to fade.
    total = x.shape[-1] + 2 * margin + hop_length
    total = rates[-1] * fast_length(math.ceil(total / rates[-1]) + 64)
    padded = extend(x, -margin, x.shape[-1] + margin, pad_mode=pad_mode)
    spectrum = torch.fft.rfft(padded, total)
    parts = []
    for rate, width, apply in zip(rates, widths, kernels, strict=True):
        classes = rate // math.gcd(hop_length, rate)  # frames that lie alike between the samples
        rows = []
        for first in range(min(classes, frames)):
            position = margin + first * hop_length - rate * width // 2
            signal = _decimate(spectrum, total, rate, shift=position % rate)
            step = classes * hop_length // rate
            rows.append(apply(signal[:, None, position // rate :], step))
        parts.append(_interleave(rows, frames))
    return torch.cat(parts[::-1], 1)


def _decimate(spectrum: Tensor, total: int, rate: int, *, shift: int) -> Tensor:
    """Return every ``rate``-th sample from ``shift`` on, free of aliases."""
    if rate == 1:
        same: Tensor = torch.fft.irfft(spectrum, total)
        return same
    size = total // rate
    bins = size // 2 + 1
    position = torch.arange(bins, device=spectrum.device, dtype=spectrum.real.dtype)
    edge = ((position / (bins - 1) - _PASSBAND) / (1 - _PASSBAND)).clamp(min=0.0)
    gain = 0.5 * (1 + torch.cos(math.pi * edge)) / rate
    turn = torch.polar(gain, position * (2 * math.pi * shift / total))
    fewer: Tensor = torch.fft.irfft(spectrum[..., :bins] * turn, size)
    return fewer


def _interleave(rows: Sequence[Tensor], frames: int) -> Tensor:
    """Put frames ``c, c + n, c + 2 n, ...`` of ``n`` tensors in order."""
    length = math.ceil(frames / len(rows))
    return torch.stack([row[..., :length] for row in rows], -1).flatten(-2)[..., :frames]


def nnaudio_octaves(
    x: Tensor,
    kernels: Sequence[Apply],
    widths: Sequence[int],
    *,
    hop_length: int,
    factor: int,
    early_filter: Tensor | None,
    lowpass: Tensor,
    pad_mode: PadMode,
) -> Tensor:
    """Do as nnAudio did: filters of even length, and hops that are halved by integer division."""
    y = x.unsqueeze(1)
    if early_filter is not None:
        y = downsampling_by_n(y, early_filter.to(y), factor)
    parts = []
    for octave, (apply, width) in enumerate(zip(kernels, widths, strict=True)):
        if octave:
            y = downsampling_by_2(y, lowpass.to(y))
            hop_length //= 2
        parts.append(apply(_pad(y, width // 2, pad_mode), hop_length))
    if len({part.shape[-1] for part in parts}) > 1:
        parts = _stretch(parts)
    return torch.cat(parts[::-1], 1)


def _pad(y: Tensor, amount: int, pad_mode: PadMode) -> Tensor:
    """Mirror a signal, or continue it by silence where it is too short for that."""
    if pad_mode == "reflect" and y.shape[-1] > amount:
        return nn.functional.pad(y, (amount, amount), mode="reflect")
    return nn.functional.pad(y, (amount, amount))


def _stretch(parts: Sequence[Tensor]) -> list[Tensor]:
    """Interpolate all octaves to the fewest frames."""
    frames = min(part.shape[-1] for part in parts)
    return [
        torch.view_as_complex(
            nn.functional.interpolate(
                torch.view_as_real(part).contiguous(), size=(frames, 2), mode="bilinear"
            ).contiguous()
        )
        for part in parts
    ]
