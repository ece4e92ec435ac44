r"""Noise that is a function of a seed and the number of the sample.

A generator that must be asked for one value after the other gives other noise when a sound is cut
into other blocks, and on another device. Here sample ``n`` is a hash of the seed and ``n``: any
stretch can be computed alone, on any device, and each item of a batch has a seed of its own.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.time_varying import time_varying_filter
from sonograd.functional.windows import hann

__all__ = ["draw_seeds", "filtered_noise", "seeded_noise"]

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)
_HALF = 1 << 32


def draw_seeds(
    batch: int, generator: torch.Generator | Sequence[torch.Generator] | int | None = None
) -> Tensor:
    """Draw one seed per item for :func:`seeded_noise`.

    Args:
        batch: Number of items.
        generator: Where from: one generator, one for each item, or a number, which changes no
            generator at all; torch's own if None.

    Returns:
        ``(batch,)``, int64, on the CPU.
    """
    if isinstance(generator, int):
        return _mix(torch.tensor(generator) + torch.arange(batch) * _GOLDEN)
    if isinstance(generator, Sequence):
        if len(generator) != batch:
            raise ParameterError(
                f"{len(generator)} generators were given for {batch} items; expected one for each"
            )
        drawn = [draw_seeds(1, one) for one in generator]
        return torch.cat(drawn) if drawn else torch.zeros(0, dtype=torch.int64)
    device = "cpu" if generator is None else generator.device
    return torch.randint(1 << 62, (batch,), generator=generator, device=device).cpu()


def seeded_noise(
    seed: Tensor, samples: int, *, start: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return white Gaussian noise of variance 1, samples ``start`` to ``start + samples``.

    The hash is the output function of SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, *Fast
    splittable pseudorandom number generators*, OOPSLA 2014); its two halves make one normal value
    (G. E. P. Box and M. E. Muller, *Annals of Mathematical Statistics* 29(2), 1958).

    Args:
        seed: ``(...)``, int64; the noise lies on its device.
        samples: How many.
        start: Number of the first.
        dtype: Of the result. Other precisions and devices give the same noise, rounded.

    Returns:
        ``(..., samples)``.
    """
    if seed.dtype != torch.int64:
        raise ParameterError(f"seed has dtype {seed.dtype}; expected torch.int64")
    if samples < 0:
        raise ParameterError(f"samples is {samples}; expected at least 0")
    number = torch.arange(start + 1, start + 1 + samples, device=seed.device)
    bits = _mix(_mix(seed).unsqueeze(-1) + number * _GOLDEN)
    first = _shift(bits, 32).to(dtype).add(0.5).div(_HALF).clamp_max(1.0)
    second = (bits & (_HALF - 1)).to(dtype).div(_HALF)
    return (-2 * first.log()).sqrt() * torch.cos(2 * torch.pi * second)


def filtered_noise(
    seed: Tensor,
    magnitudes: Tensor,
    samples: int,
    *,
    hop_length: int,
    start: int = 0,
    first_frame: int = 0,
) -> Tensor:
    """Filter noise with a response that changes from frame to frame.

    Each frame is a filter without delay, ``2 * (bands - 1)`` taps long under a Hann window;
    neighbors are crossfaded (J. Engel et al., *DDSP: differentiable digital signal processing*,
    ICLR 2020, section 3.4, filters by convolution of frames in the same way).

    Args:
        seed: ``(...)``, int64.
        magnitudes: ``(..., frames, bands)``: gains at ``bands`` frequencies from 0 to half the
            sample rate, evenly spaced, at samples 0, ``hop_length``, ...; the last is held. A
            gain of 1 everywhere leaves the white noise as it is.
        samples: Length of the result.
        hop_length: Samples between frames.
        start: Number of the first sample.
        first_frame: Number of the first frame given, if earlier ones are of no use any more.

    Returns:
        ``(..., samples)``, dtype of ``magnitudes``.
    """
    bands = magnitudes.shape[-1] if magnitudes.ndim >= 2 else 0
    if bands < 2 or not magnitudes.shape[-2]:
        raise ShapeError(
            f"magnitudes has shape {tuple(magnitudes.shape)}; expected (..., frames, bands) with "
            "at least one frame and two bands"
        )
    if hop_length < 1:
        raise ParameterError(f"hop_length is {hop_length}; expected at least 1")
    reach = bands - 1
    first = max((start - reach) // hop_length - 2, 0)
    last = (start + samples + reach) // hop_length + 2
    frames = torch.arange(first, last + 1) - first_frame
    frames = frames.clamp(0, magnitudes.shape[-2] - 1)
    response = _frame_responses(magnitudes[..., frames.to(magnitudes.device), :], hop_length)
    begin = first * hop_length
    noise = seeded_noise(seed, (last - first) * hop_length, start=begin, dtype=magnitudes.dtype)
    y = time_varying_filter(noise, response, hop_length=hop_length)
    return y[..., start - begin : start - begin + samples]


def _frame_responses(magnitudes: Tensor, hop_length: int) -> Tensor:
    """Window the impulse responses and evaluate them on a grid fine enough for the frames."""
    reach = magnitudes.shape[-1] - 1
    taps = torch.fft.irfft(
        magnitudes.to(torch.complex64 if magnitudes.dtype != torch.float64 else torch.complex128),
        2 * reach,
    )
    window = hann(2 * reach, dtype=magnitudes.dtype, device=magnitudes.device)
    taps = torch.fft.fftshift(taps, dim=-1) * window
    n_fft = 1 << (2 * (hop_length + reach) - 1).bit_length()
    padded = torch.roll(pad(taps, (0, n_fft - 2 * reach)), -reach, dims=-1)
    response: Tensor = torch.fft.rfft(padded).real
    return response


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift(bits, 30)) * _FIRST
    bits = (bits ^ _shift(bits, 27)) * _SECOND
    return bits ^ _shift(bits, 31)


def _shift(bits: Tensor, by: int) -> Tensor:
    """Shift to the right, zeros coming in: int64 keeps its sign otherwise."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
