"""True peak: the largest value of a signal between its samples."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._pairs import Lengths, check_finite, lengths_tensor, result_dtype, wide
from sonograd.shapes import check_audio

__all__ = ["true_peak_dbtp", "true_peak_dbtp_blocks"]

_REACH = 32  # samples on either side that an interpolated value depends on
_BLOCK = 1 << 18
_RATE = 192_000


def true_peak_dbtp(
    x: Tensor,
    *,
    sample_rate: float,
    oversampling: int | None = None,
    lengths: Lengths | None = None,
) -> Tensor:
    """Largest absolute value after oversampling, in dB relative to full scale.

    Interpolated by a windowed sinc of 64 samples, longer than that of ITU-R BS.1770-5, annex 2.
    Values between the points of the finer grid can be higher by at most 0.7 dB for a sine at half
    the sample rate, 0.17 dB at a quarter.

    Args:
        x: ``(..., channels, samples)``.
        sample_rate: In Hz.
        oversampling: Points per sample; if None, as many as reach 192 kHz: 4 at 48 kHz, at least 1.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        ``(..., channels)`` in dBTP; ``-inf`` for silence.

    Raises:
        ShapeError: ``x`` is no audio or holds no samples.
        AudioError: A sample is NaN or infinite.

    >>> true_peak_dbtp(torch.tensor([[0.0, 0.5, 0.0, 0.0]]), sample_rate=48000).round(decimals=1)
    tensor([-6.])
    """
    check_audio(x)
    if not x.numel():
        raise ShapeError(f"x has shape {tuple(x.shape)}, which holds no samples")
    factor = _factor(sample_rate, oversampling)
    dtype = result_dtype(x)
    x = x.detach().to(dtype)
    if lengths is not None:
        counts = lengths_tensor(lengths, x.shape, keep=2)
        counts = counts.reshape(*counts.shape, *[1] * (x.ndim - counts.ndim)).to(x.device)
        # The signal ends there; what an interpolation finds after the end belongs to it too.
        x = x.where(torch.arange(x.shape[-1], device=x.device) < counts, 0.0)
    check_finite(x, name="x")
    rows = x.reshape(-1, 1, x.shape[-1])
    peak = rows.abs().amax(-1).squeeze(-1)
    if factor > 1:
        kernel = _interpolators(factor).to(x)
        padded = pad(rows, (_REACH, _REACH))
        for start in range(0, rows.shape[-1] + 1, _BLOCK):
            part = padded[..., start : start + _BLOCK + 2 * _REACH - 1]
            if part.shape[-1] >= kernel.shape[-1]:
                between = conv1d(part, kernel)
                peak = torch.maximum(peak, between.abs().amax((-2, -1)))
    return (20 * torch.log10(peak)).reshape(x.shape[:-1])


def true_peak_dbtp_blocks(
    blocks: Iterable[Tensor], *, sample_rate: float, oversampling: int | None = None
) -> Tensor:
    """Find the true peak of a sound that comes in blocks, for example from a file.

    Args:
        blocks: ``(..., channels, any number of samples)``.
        sample_rate: In Hz.
        oversampling: As in :func:`true_peak_dbtp`.

    Returns:
        ``(..., channels)`` in float64, as :func:`true_peak_dbtp` of everything.

    Raises:
        ShapeError: There are no samples.
        AudioError: A sample is NaN or infinite.

    >>> blocks = torch.tensor([[0.0, 0.5]]), torch.tensor([[0.0, 0.0]])
    >>> true_peak_dbtp_blocks(blocks, sample_rate=48000).round(decimals=1)
    tensor([-6.], dtype=torch.float64)
    """
    factor = _factor(sample_rate, oversampling)
    kernel = _interpolators(factor) if factor > 1 else torch.ones(1, 1, 1)
    reach = kernel.shape[-1] // 2
    peak = held = None
    for block in blocks:
        check_audio(block)
        check_finite(block, name="x")
        x = wide(block.detach())
        if held is None or peak is None:
            kernel, peak = kernel.to(x), x.new_zeros(x.shape[:-1])
            held = x.new_zeros(*x.shape[:-1], reach)
        for part in x.split(_BLOCK, dim=-1):
            peak, held = _feed(peak, torch.cat([held, part], dim=-1), kernel)
    if held is None or peak is None:
        raise ShapeError("blocks hold no samples; expected at least one")
    peak, _ = _feed(peak, pad(held, (0, reach)), kernel)
    return 20 * torch.log10(peak)


def _feed(peak: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Raise ``peak`` to that of ``x``; return what the next samples need of it, too."""
    taps = kernel.shape[-1]
    if x.shape[-1]:
        peak = torch.maximum(peak, x.abs().amax(-1))
    if taps > 1 and x.shape[-1] >= taps:
        between = conv1d(x.reshape(-1, 1, x.shape[-1]), kernel)
        peak = torch.maximum(peak, between.abs().amax((-2, -1)).reshape(peak.shape))
    return peak, x[..., max(0, x.shape[-1] - taps + 1) :]


def _factor(sample_rate: float, oversampling: int | None) -> int:
    if not (sample_rate > 0 and math.isfinite(sample_rate)):
        raise ParameterError(f"sample_rate is {sample_rate}; expected a positive number of Hz")
    factor = max(1, math.ceil(_RATE / sample_rate)) if oversampling is None else oversampling
    if factor < 1:
        raise ParameterError(f"oversampling is {factor}; expected at least 1")
    return factor


def _interpolators(factor: int) -> Tensor:
    """Filters for the points between two samples, ``(factor - 1, 1, taps)``."""
    offsets = torch.arange(1, factor, dtype=torch.float64) / factor
    taps = torch.arange(1 - _REACH, _REACH + 1, dtype=torch.float64)
    distance = offsets[:, None] - taps
    span = (1 - (distance / _REACH).square()).clamp(min=0).sqrt()
    beta = 8.0
    window = torch.special.i0(beta * span) / torch.special.i0(torch.tensor(beta).double())
    weights: Tensor = torch.sinc(distance) * window
    weights = weights / weights.sum(-1, keepdim=True)
    return weights.unsqueeze(1)
