"""Convolution by FFT, of any lengths, in blocks where that is faster."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import broadcast_shapes
from sonograd.shapes import check_floating

__all__ = [
    "ConvolutionState",
    "PartitionedKernel",
    "convolve_stream",
    "fast_length",
    "fft_convolve",
    "partition_kernel",
]


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
    lead = broadcast_shapes(x.shape[:-1], kernel.shape[:-1])
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


@dataclass(frozen=True)
class PartitionedKernel:
    """An impulse response, ready for :func:`convolve_stream`.

    Attributes:
        taps: The response itself, ``(..., taps)``.
        size: Samples per part.
        spectra: One per part, ``(..., parts, size + 1)``.
    """

    taps: Tensor
    size: int
    spectra: Tensor


@dataclass(frozen=True)
class ConvolutionState:
    """What a streaming convolution remembers.

    Attributes:
        history: The last input: all of the complete parts that are still heard, then ``fill``
            samples of the part that is not complete.
        fill: Samples in the incomplete part.
        spectra: Of the complete parts, oldest first, ``(..., parts, size + 1)``.
        future: What the complete parts add to the ``size`` outputs from the start of the
            incomplete part.
    """

    history: Tensor
    fill: int
    spectra: Tensor
    future: Tensor


def partition_kernel(kernel: Tensor, size: int | None = None) -> PartitionedKernel:
    """Cut an impulse response into equal parts and transform each.

    Args:
        kernel: ``(..., taps)``.
        size: Samples per part, a power of two; by default about the square root of
            ``32 * taps``, within 64 and 8192, which balances the work of both stages.
    """
    check_floating(kernel, name="kernel")
    if not kernel.ndim or not kernel.shape[-1]:
        raise ShapeError(f"kernel has shape {tuple(kernel.shape)}; expected (..., taps)")
    taps = kernel.shape[-1]
    if size is None:
        size = min(max(1 << round(math.log2(math.sqrt(32 * taps))), 64), 8192)
    if size < 1 or size & (size - 1):
        raise ParameterError(f"size is {size}; expected a power of two")
    parts = -(-taps // size)
    cut = pad(kernel, (0, parts * size - taps)).unflatten(-1, (parts, size))
    return PartitionedKernel(kernel, size, torch.fft.rfft(cut, 2 * size))


def convolve_stream(
    x: Tensor, kernel: PartitionedKernel, state: ConvolutionState | None
) -> tuple[Tensor, ConvolutionState]:
    """Convolve the next block, of any length, without delay.

    The blocks joined equal ``fft_convolve(x, kernel.taps, "causal")`` of the whole. Work per sample
    is bounded for short blocks too (uniformly partitioned convolution, T. Stockham, 1966): only
    the first part of the response acts on the newest samples, the others on spectra of complete
    parts that are kept. Long blocks are convolved at once.

    Args:
        x: The next samples ``(..., samples)``.
        kernel: See :func:`partition_kernel`; leading dimensions broadcast with those of ``x``.
            From block to block it may change its values but not its length.
        state: What the call before returned; ``None`` at the start.

    Returns:
        ``(..., samples)`` and the next state.
    """
    check_floating(x)
    lead = broadcast_shapes(x.shape[:-1], kernel.taps.shape[:-1])
    x = x.expand(*lead, x.shape[-1])
    state = _silent(x, kernel) if state is None else state
    if x.shape[-1] >= 4 * kernel.taps.shape[-1]:
        heard = torch.cat([state.history, x], dim=-1)
        y = fft_convolve(heard, kernel.taps, "causal")[..., state.history.shape[-1] :]
        return y, _listen(heard, kernel)
    outputs = []
    begin = 0
    while begin < x.shape[-1]:
        end = min(begin + kernel.size - state.fill, x.shape[-1])
        y, state = _within_part(x[..., begin:end], kernel, state)
        outputs.append(y)
        begin = end
    return (torch.cat(outputs, dim=-1) if outputs else x.clone()), state


def _silent(x: Tensor, kernel: PartitionedKernel) -> ConvolutionState:
    parts = kernel.spectra.shape[-2]
    return _listen(x.new_zeros(*x.shape[:-1], parts * kernel.size), kernel)


def _listen(heard: Tensor, kernel: PartitionedKernel) -> ConvolutionState:
    """Return the state after ``heard``, which holds at least all that the kernel covers."""
    parts, size = kernel.spectra.shape[-2], kernel.size
    fill = heard.shape[-1] % size
    history = heard[..., heard.shape[-1] - fill - parts * size :]
    whole = history[..., : parts * size].unflatten(-1, (parts, size))
    spectra = torch.fft.rfft(whole, 2 * size)
    return ConvolutionState(history, fill, spectra, _add_parts(spectra, kernel))


def _add_parts(spectra: Tensor, kernel: PartitionedKernel) -> Tensor:
    """Sum what complete parts of the input give in the part that follows them.

    Part ``j`` of the kernel reaches two parts, ``j`` and ``j + 1`` further: the newest input has
    its second half of part 0 still to come, and so on for the older ones.
    """
    size = kernel.size
    newest_first = spectra.flip(-2)
    here = (newest_first * kernel.spectra).sum(-2)
    ahead = (newest_first[..., :-1, :] * kernel.spectra[..., 1:, :]).sum(-2)
    late = torch.fft.irfft(here, 2 * size)[..., size:]
    result: Tensor = late + torch.fft.irfft(ahead, 2 * size)[..., :size]
    return result


def _within_part(
    x: Tensor, kernel: PartitionedKernel, state: ConvolutionState
) -> tuple[Tensor, ConvolutionState]:
    """Process samples that do not pass the end of the incomplete part."""
    size, fill, samples = kernel.size, state.fill, x.shape[-1]
    history = torch.cat([state.history, x], dim=-1)
    current = history[..., history.shape[-1] - fill - samples :]
    head = kernel.taps[..., :size]
    y = state.future[..., fill : fill + samples]
    y = y + fft_convolve(current, head, "causal")[..., fill:]
    if fill + samples < size:
        return y, ConvolutionState(history, fill + samples, state.spectra, state.future)
    return y, _listen_one(history[..., size:], kernel, state)


def _listen_one(
    history: Tensor, kernel: PartitionedKernel, state: ConvolutionState
) -> ConvolutionState:
    newest = history[..., history.shape[-1] - kernel.size :]
    spectrum = torch.fft.rfft(newest, 2 * kernel.size).unsqueeze(-2)
    spectra = torch.cat([state.spectra[..., 1:, :], spectrum], dim=-2)
    return ConvolutionState(history, 0, spectra, _add_parts(spectra, kernel))
