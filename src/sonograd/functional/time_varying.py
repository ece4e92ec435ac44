"""Filters whose response changes over time, by short spectra."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ShapeError
from sonograd.functional.spectral import overlap_add
from sonograd.functional.windows import hann
from sonograd.shapes import check_floating

__all__ = ["time_varying_filter"]


def time_varying_filter(x: Tensor, response: Tensor, *, hop_length: int) -> Tensor:
    """Filter with one response per frame, crossfaded from frame to frame.

    Pieces of ``2 * hop_length`` samples under Hann windows, which add up to one, are convolved
    with the response of their frame and added: with equal responses this is that one filter.
    Responses ring for up to ``n_fft - 2 * hop_length`` samples; what rings longer wraps around.

    Args:
        x: Signals ``(..., samples)``.
        response: ``(..., frames, bins)``, real (no delay) or complex, at the frequencies of an
            FFT of ``n_fft = 2 * (bins - 1)``; frame ``i`` is centered on sample
            ``i * hop_length``. The last frame is held if the signal is longer.
        hop_length: Samples between frames, at most ``n_fft / 2``.

    Returns:
        ``(..., samples)``, dtype of ``x``.
    """
    check_floating(x)
    n_fft = 2 * (response.shape[-1] - 1) if response.ndim >= 2 else 0
    if n_fft < 2 * hop_length or hop_length < 1:
        raise ShapeError(
            f"response has shape {tuple(response.shape)} and hop_length is {hop_length}; "
            "expected (..., frames, bins) with bins - 1 >= hop_length >= 1"
        )
    samples = x.shape[-1]
    if not samples:
        return x
    frames = -(-samples // hop_length) + 1
    given = min(response.shape[-2], frames)
    response = response[..., :given, :]
    if given < frames:
        last = response[..., -1:, :]
        response = torch.cat((response, last.expand(*last.shape[:-2], frames - given, -1)), -2)
    width = 2 * hop_length
    padded = pad(x, (hop_length, (frames + 1) * hop_length - hop_length - samples))
    pieces = padded.unfold(-1, width, hop_length) * hann(width, dtype=x.dtype, device=x.device)
    ring = (n_fft - width) // 2 if not response.is_complex() else 0
    spectrum = torch.fft.rfft(pad(pieces, (ring, 0)), n_fft)
    y = overlap_add(torch.fft.irfft(spectrum * response, n_fft), hop_length=hop_length)
    start = hop_length + ring
    return y[..., start : start + samples]
