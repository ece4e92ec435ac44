"""Filters without feedback, designed from a magnitude response."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.convolution import fast_length
from sonograd.functional.windows import hann

__all__ = ["interpolate_response", "linear_phase_fir", "minimum_phase_fir"]


def linear_phase_fir(magnitude: Tensor, taps: int) -> Tensor:
    """Design a symmetric filter: a pure delay of ``(taps - 1) / 2`` samples and the magnitude.

    The response is sampled, brought to the time domain, centered and windowed (Hann), as
    :func:`scipy.signal.firwin2` does it.

    Args:
        magnitude: Gain at ``bins`` even steps from 0 to half the sample rate, ``(..., bins)``.
        taps: Length, odd, below ``2 * bins``.

    Returns:
        ``(..., taps)``, dtype of ``magnitude``; differentiable.
    """
    n_fft = _check(magnitude, taps)
    if taps % 2 == 0:
        raise ParameterError(f"taps is {taps}; expected an odd number, so that the delay is whole")
    half = taps // 2
    zero_phase = torch.fft.irfft(magnitude.to(torch.float64), n_fft)
    # Both ends of a Hann window of this length would be zeros: it is two taps longer.
    window = hann(taps + 2, periodic=False, dtype=torch.float64, device=magnitude.device)[1:-1]
    kernel = torch.cat([zero_phase[..., n_fft - half :], zero_phase[..., : half + 1]], dim=-1)
    return (kernel * window).to(magnitude.dtype)


def minimum_phase_fir(magnitude: Tensor, taps: int) -> Tensor:
    """Design the filter of a given magnitude whose energy comes first, without delay.

    The real cepstrum is folded onto positive time (A. Oppenheim and R. Schafer, *Discrete-Time
    Signal Processing*, section 13.5), on a grid eight times as fine, and the tail faded out.

    Args:
        magnitude: As in :func:`linear_phase_fir`; zeros are lifted to -160 dB of the largest.
        taps: Length, below ``2 * bins``.

    Returns:
        ``(..., taps)``, dtype of ``magnitude``; differentiable.
    """
    bins = magnitude.shape[-1]
    _check(magnitude, taps)
    wide = magnitude.to(torch.float64)
    floor = 1e-8 * wide.detach().amax(-1, keepdim=True).clamp_min(1e-30)
    fine = fast_length(16 * (bins - 1)) // 2
    log = _stretch(torch.maximum(wide, floor).log(), fine + 1)
    cepstrum = torch.fft.irfft(log, 2 * fine)
    folded = torch.cat(
        [cepstrum[..., :1], 2 * cepstrum[..., 1:fine], cepstrum[..., fine : fine + 1]], dim=-1
    )
    kernel = torch.fft.irfft(torch.exp(torch.fft.rfft(folded, 2 * fine)), 2 * fine)[..., :taps]
    quarter = taps // 4
    fade = hann(2 * quarter + 1, periodic=False, dtype=torch.float64, device=kernel.device)
    flat = fade.new_ones(taps - quarter)
    faded: Tensor = kernel * torch.cat([flat, fade[quarter + 1 :]])
    return faded.to(magnitude.dtype)


def interpolate_response(
    frequencies_hz: Tensor, gains_db: Tensor, bins: int, *, sample_rate: float
) -> Tensor:
    """Draw a curve through points: smooth over the logarithm of frequency, level outside.

    Between neighbors the gain in dB follows a half period of a cosine, so it never overshoots.

    Args:
        frequencies_hz: Rising, ``(points,)``.
        gains_db: ``(..., points)``.
        bins: How many even steps from 0 to half the sample rate.
        sample_rate: In Hz.

    Returns:
        Linear gains ``(..., bins)``, float64; differentiable in ``gains_db``.
    """
    if frequencies_hz.ndim != 1 or gains_db.shape[-1:] != frequencies_hz.shape:
        raise ShapeError(
            f"frequencies_hz has shape {tuple(frequencies_hz.shape)} and gains_db "
            f"{tuple(gains_db.shape)}; expected (points,) and (..., points)"
        )
    points = frequencies_hz.to(gains_db.device, torch.float64)
    grid = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64, device=gains_db.device)
    grid = grid.clamp(float(points[0]), float(points[-1])).log()
    points = points.log()
    right = torch.searchsorted(points, grid).clamp(1, max(len(points) - 1, 1))
    left, right = right - 1, right.clamp_max(len(points) - 1)
    width = (points[right] - points[left]).clamp_min(1e-9)
    place = ((grid - points[left]) / width).clamp(0, 1)
    weight = 0.5 - 0.5 * torch.cos(torch.pi * place)
    gains = gains_db.to(torch.float64)
    curve = gains[..., left] * (1 - weight) + gains[..., right] * weight
    return torch.pow(10.0, curve / 20)


def _check(magnitude: Tensor, taps: int) -> int:
    if not magnitude.ndim or magnitude.shape[-1] < 2 or magnitude.is_complex():
        raise ShapeError(
            f"magnitude has shape {tuple(magnitude.shape)}; expected real (..., bins), 2 or more"
        )
    n_fft = 2 * (magnitude.shape[-1] - 1)
    if not 1 <= taps <= n_fft:
        raise ParameterError(
            f"taps is {taps}; expected 1 to {n_fft}, which {magnitude.shape[-1]} bins describe"
        )
    return n_fft


def _stretch(values: Tensor, count: int) -> Tensor:
    """Interpolate ``(..., n)`` linearly to ``count`` points with the same ends."""
    place = torch.linspace(0, values.shape[-1] - 1, count, dtype=values.dtype, device=values.device)
    left = place.long().clamp_max(values.shape[-1] - 2)
    weight = place - left
    return values[..., left] * (1 - weight) + values[..., left + 1] * weight
