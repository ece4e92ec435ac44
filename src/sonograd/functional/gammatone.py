"""Gammatone filters: as weights of Fourier bins, and as recursive filters in time."""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_count, check_number
from sonograd.functional.filterbanks import check_band

__all__ = [
    "equivalent_rectangular_bandwidth",
    "gammatone_filterbank",
    "gammatone_frequencies",
    "gammatone_sos",
]

_EAR_Q = 9.26449  # Glasberg and Moore
_MIN_BANDWIDTH = 24.7


def equivalent_rectangular_bandwidth(frequency_hz: Tensor) -> Tensor:
    """Bandwidth of hearing in Hz, ``24.7 + f / 9.26449``.

    Glasberg and Moore, *Derivation of auditory filter shapes from notched-noise data*,
    doi:10.1016/0378-5955(90)90170-T.
    """
    return frequency_hz / _EAR_Q + _MIN_BANDWIDTH


def gammatone_frequencies(count: int, *, fmin: float, fmax: float) -> Tensor:
    """Frequencies that are equally many bandwidths apart, from ``fmin`` to just below ``fmax``.

    Slaney, *An efficient implementation of the Patterson-Holdsworth auditory filter bank*, Apple
    technical report 35, 1993.

    Args:
        count: How many, at least 1.
        fmin: The lowest one in Hz.
        fmax: Where the next one above the last would be, in Hz.

    Returns:
        ``(count,)`` in Hz, rising, float64.

    Raises:
        ParameterError: If an argument is out of range.

    >>> gammatone_frequencies(3, fmin=100, fmax=1000).round().int()
    tensor([100, 281, 563], dtype=torch.int32)
    """
    check_count("count", count)
    if not 0 <= fmin < fmax < math.inf:
        raise ParameterError(f"fmin is {fmin} and fmax {fmax}; expected 0 <= fmin < fmax")
    constant = _EAR_Q * _MIN_BANDWIDTH
    share = torch.arange(count, 0, -1, dtype=torch.float64) / count
    ratio = math.log((fmin + constant) / (fmax + constant))
    return ((fmax + constant) * torch.exp(share * ratio) - constant).clamp(min=fmin)


def gammatone_sos(frequencies_hz: Tensor, *, sample_rate: float, width: float = 1.0) -> Tensor:
    r"""Design gammatone filters of order four as cascades of second-order sections.

    The impulse invariant transform of :math:`t^3 e^{-2 \pi b t} \cos 2 \pi f t` with
    :math:`b = 1.019` times the bandwidth: four sections with one pair of poles
    :math:`e^{(-2 \pi b \pm 2 \pi i f) / s}` each, and one real zero each. The gain at the center
    frequency is one. Slaney (see :func:`gammatone_frequencies`), figure 2.

    Args:
        frequencies_hz: Center frequencies, ``(bands,)``.
        sample_rate: In Hz.
        width: Factor of the bandwidth, positive.

    Returns:
        ``(bands, 4, 6)`` for :func:`~sonograd.functional.sosfilt`, float64.

    Raises:
        ParameterError: If a frequency is not below half the sample rate, or ``width`` not positive.
    """
    check_number("width", width, positive=True)
    f = frequencies_hz.to(torch.float64)
    if not bool(((f >= 0) & (f < sample_rate / 2)).all()):
        raise ParameterError(
            f"frequencies_hz are {float(f.min()):g} to {float(f.max()):g}; expected 0 to below "
            f"half the sample rate ({sample_rate / 2:g})"
        )
    angle = 2 * math.pi * f / sample_rate
    decay = 2 * math.pi * 1.019 * width * equivalent_rectangular_bandwidth(f) / sample_rate
    radius = torch.exp(-decay)
    zeros = torch.stack(
        [
            radius * (angle.cos() + sign * math.sqrt(3 + other * 2**1.5) * angle.sin())
            for other in (1, -1)
            for sign in (1, -1)
        ],
        dim=-1,
    )
    poles = torch.stack([torch.ones_like(f), -2 * radius * angle.cos(), radius.square()], dim=-1)
    numerator = torch.stack([torch.ones_like(zeros), -zeros, torch.zeros_like(zeros)], dim=-1)
    sections = torch.cat([numerator, poles[:, None, :].expand(-1, 4, 3)], dim=-1)
    # Every section gets the gain one at the center, so that none in between overflows.
    z = torch.polar(torch.ones_like(angle), -angle)[:, None]
    gain = _polynomial(sections[..., :3], z) / _polynomial(sections[..., 3:], z)
    numerator = sections[..., :3] / gain.abs()[..., None]
    return torch.cat([numerator, sections[..., 3:]], dim=-1)


def _polynomial(coefficients: Tensor, z: Tensor) -> Tensor:
    c = coefficients.to(z.dtype)
    return c[..., 0] + z * (c[..., 1] + z * c[..., 2])


def gammatone_filterbank(
    *,
    sample_rate: float,
    n_fft: int,
    n_bands: int = 64,
    fmin: float = 20.0,
    fmax: float | None = None,
    width: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Magnitudes of the response of gammatone filters at the bins of a Fourier transform.

    Those of :func:`gammatone_sos`; Ellis, *Gammatone-like spectrograms*, 2009.

    Args:
        sample_rate: In Hz.
        n_fft: Length of the transform.
        n_bands: Number of filters.
        fmin: Center of the lowest filter in Hz.
        fmax: Where the center above the highest one would be, in Hz; half the sample rate if None.
        width: Factor of the bandwidth.
        dtype: Floating-point type of the result; torch's default if None.
        device: Where the result lies.

    Returns:
        ``(n_bands, n_fft // 2 + 1)``, real; the gain is 1 at the centers.

    Raises:
        ParameterError: If an argument is out of range.
    """
    fmax = check_band(sample_rate, n_fft, fmin, fmax)
    check_count("n_bands", n_bands)
    centers = gammatone_frequencies(n_bands, fmin=fmin, fmax=fmax)
    sections = gammatone_sos(centers, sample_rate=sample_rate, width=width)
    angle = 2 * math.pi / n_fft * torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    z = torch.polar(torch.ones_like(angle), -angle)
    response = torch.ones(n_bands, len(angle), dtype=torch.complex128)
    for section in sections.unsqueeze(2).unbind(1):
        response *= _polynomial(section[..., :3], z) / _polynomial(section[..., 3:], z)
    return response.abs().to(dtype=dtype or torch.get_default_dtype(), device=device)
