"""Graphic equalizers: bells at fixed frequencies whose overlap is solved for."""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.biquads import peak_biquad

__all__ = ["graphic_eq_centers", "graphic_eq_sections"]

_STEPS = 12  # Newton's; each doubles the digits once it is close


def graphic_eq_centers(bands: int, *, sample_rate: float) -> Tensor:
    """Return the center frequencies in Hz of 10 octave or 31 third-octave bands (ISO 266).

    Bands above 0.48 of the sample rate are left out.
    """
    if bands not in {10, 31}:
        raise ParameterError(f"bands is {bands}; expected 10 or 31")
    steps = range(-15, 15, 3) if bands == 10 else range(-17, 14)
    centers = torch.tensor([1000 * 10 ** (k / 10) for k in steps], dtype=torch.float64)
    return centers[centers <= 0.48 * sample_rate]


def graphic_eq_sections(
    gains_db: Tensor, centers_hz: Tensor, q: float, *, sample_rate: float
) -> Tensor:
    r"""Design bells whose product has ``gains_db`` at the centers exactly.

    The response in dB of the bell at :math:`f_j` is, with :math:`u = \tan(\pi f_i / f_s) /
    \tan(\pi f_j / f_s)`, :math:`p = (1 - u^2)^2` and :math:`r = u^2 / Q^2`,
    :math:`10 \log_{10} \frac{p + r A^2}{p + r / A^2}`; Newton's method finds the gains of the bells
    for which these add up to what was asked for. (V. Välimäki and J. Reiss, *All About Audio
    Equalization*, Applied Sciences 6(5), 2016, section 4, solves it once, in the least squares
    sense.)

    Args:
        gains_db: What the equalizer shall do at the centers, ``(..., bands)``.
        centers_hz: ``(bands,)``.
        q: Of all bells; the square root of 2 for octaves, 4.318 for thirds.
        sample_rate: In Hz.

    Returns:
        Sections ``(..., bands, 6)``, float64; first and second derivatives are exact.
    """
    if centers_hz.ndim != 1 or gains_db.shape[-1:] != centers_hz.shape:
        raise ShapeError(
            f"gains_db has shape {tuple(gains_db.shape)} and centers_hz "
            f"{tuple(centers_hz.shape)}; expected (..., bands) and (bands,)"
        )
    target = gains_db.to(torch.float64)
    centers = centers_hz.to(target)
    warped = torch.tan(math.pi / sample_rate * centers)
    squared = (warped[:, None] / warped).square()
    numbers = ((1 - squared).square(), squared / q**2)
    gains = target.detach()
    for _ in range(_STEPS):
        gains = _newton(gains, target.detach(), *numbers)
    for _ in range(2):  # at the solution, a step has the derivatives of the solution
        gains = _newton(gains, target, *numbers)
    return peak_biquad(centers, gains, q, sample_rate=sample_rate)


def _newton(gains: Tensor, target: Tensor, p: Tensor, r: Tensor) -> Tensor:
    power = torch.pow(10.0, gains / 20).unsqueeze(-2)  # A^2
    above, below = p + r * power, p + r / power
    response = 10 * torch.log10(above / below)
    slope = 0.5 * (r * power / above + r / power / below)
    step: Tensor = torch.linalg.solve(slope, (target - response.sum(-1)).unsqueeze(-1))
    return gains + step.squeeze(-1).clamp(-6.0, 6.0)
