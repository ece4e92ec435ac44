"""Convolution by FFT, of any lengths, in blocks where that is faster."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.shapes import check_floating

__all__ = ["fast_length", "fft_convolve"]


def fast_length(minimum: int) -> int:
    """Return the smallest ``2^a 3^b 5^c`` that is not below ``minimum``: a length for fast FFTs.

    >>> fast_length(1021)
    1024
    """
    best = 1 << max(minimum - 1, 0).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            quotient = -(-minimum // three)
            best = min(best, three << max(quotient - 1, 0).bit_length())
            three *= 3
        five *= 5
    return best


def fft_convolve(
    x: Tensor, kernel: Tensor, mode: Literal["full", "same", "causal"] = "full"
) -> Tensor:
    """Convolve along the last axis; leading dimensions broadcast.

    Args:
        x: Signals ``(..., samples)``.
        kernel: Impulse responses ``(..., taps)``, of the dtype and device of ``x``.
        mode: ``"full"``: all ``samples + taps - 1`` values; ``"same"``: the middle ``samples`` of
            them, as :func:`scipy.signal.fftconvolve`; ``"causal"``: the first ``samples``, as a
            filter or a reverb.

    Returns:
        ``(..., length)``, dtype of ``x``. The error is that of an FFT: absolute, relative to the
        loudest part of a block.

    >>> fft_convolve(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0, 1.0])).round()
    tensor([1., 2., 1., 2.])
    """
    check_floating(x)
    check_floating(kernel, name="kernel")
    if mode not in {"full", "same", "causal"}:
        raise ParameterError(f"mode is {mode!r}; expected 'full', 'same' or 'causal'")
    if not x.ndim or not kernel.ndim or not kernel.shape[-1]:
        raise ShapeError(
            f"x has shape {tuple(x.shape)} and kernel {tuple(kernel.shape)}; "
            "expected (..., samples) and (..., taps) with at least one tap"
        )
    samples, taps = x.shape[-1], kernel.shape[-1]
    lead = torch.broadcast_shapes(x.shape[:-1], kernel.shape[:-1])
    if not samples or 0 in lead:
        return x.new_zeros(*lead, samples + taps - 1 if mode == "full" and samples else samples)
    start, length = 0, samples + taps - 1
    if mode != "full":
        start, length = (taps - 1) // 2 if mode == "same" else 0, samples
    if mode == "causal":
        kernel = kernel[..., :samples]
    short, long = (kernel, x) if kernel.shape[-1] <= samples else (x, kernel)
    y: Tensor
    n_fft = _block_length(short.shape[-1], long.shape[-1])
    if n_fft >= short.shape[-1] + long.shape[-1] - 1:
        y = torch.fft.irfft(torch.fft.rfft(long, n_fft) * torch.fft.rfft(short, n_fft), n_fft)
    else:
        y = _overlap_add(long, short, n_fft)
    return y[..., start : start + length]


def _block_length(short: int, long: int) -> int:
    """FFT length with the fewest operations per sample: one for everything, or blocks."""
    whole = fast_length(short + long - 1)
    best, least = whole, whole * math.log2(whole + 1)
    n_fft = 1 << (2 * short - 1).bit_length()
    while n_fft < whole:
        cost = n_fft * math.log2(n_fft) * -(-long // (n_fft - short + 1))
        if cost < 0.9 * least:
            best, least = n_fft, cost
        n_fft *= 2
    return best


def _overlap_add(long: Tensor, short: Tensor, n_fft: int) -> Tensor:
    """Convolve blocks of ``long``; each tail is at most as long as the block that follows."""
    tail = short.shape[-1] - 1
    step = n_fft - tail
    blocks = -(-long.shape[-1] // step)
    total = long.shape[-1] + tail
    framed = pad(long, (0, blocks * step - long.shape[-1])).unflatten(-1, (blocks, step))
    spectrum = torch.fft.rfft(short, n_fft).unsqueeze(-2)
    y = torch.fft.irfft(torch.fft.rfft(framed, n_fft) * spectrum, n_fft)
    body = pad(y[..., :step].flatten(-2), (0, step))
    tails = pad(y[..., step:], (0, step - tail)).flatten(-2)
    return (body + pad(tails, (step, 0)))[..., :total]
