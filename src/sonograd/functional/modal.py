"""Bodies that ring: sums of decaying sines, struck or driven by any sound."""

import math

import torch
from torch import Tensor

from sonograd.errors import ShapeError
from sonograd.functional._values import check_range
from sonograd.functional.recursion import sosfilt
from sonograd.shapes import check_floating

__all__ = ["modal_biquad", "modal_decay", "modal_filter"]

_FADE = 0.025  # of the sample rate: where modes fade out below half of it


def modal_decay(
    frequencies_hz: Tensor,
    decays_s: Tensor,
    gains: Tensor,
    samples: int,
    *,
    sample_rate: float,
    start: int = 0,
) -> Tensor:
    r"""Strike a body once.

    .. math:: y_n = \sum_k g_k\, 10^{-3 n / (T_k f_s)} \sin(2 \pi f_k n / f_s)

    Modes from 0.475 of the sample rate on fade out; those above half of it are silent.

    Args:
        frequencies_hz: ``(..., modes)``.
        decays_s: Times :math:`T` in which each falls by 60 dB, as ``frequencies_hz``.
        gains: As ``frequencies_hz``.
        samples: Length of the result.
        sample_rate: In Hz.
        start: Number of the first sample.

    Returns:
        ``(..., samples)``, dtype of ``gains``; the phase is computed in float64.
    """
    check_range(sample_rate, "sample_rate", above=0)
    _check(frequencies_hz, decays_s, gains)
    wide = torch.float32 if frequencies_hz.device.type == "mps" else torch.float64
    n = torch.arange(start, start + samples, dtype=wide, device=frequencies_hz.device)
    turns = torch.remainder(frequencies_hz.to(wide).unsqueeze(-1) / sample_rate * n, 1.0)
    rate = -3 * math.log(10) / (decays_s.to(wide) * sample_rate)
    fall = (rate.unsqueeze(-1) * n).to(gains.dtype).exp()
    heard = (gains * _mask(frequencies_hz, sample_rate).to(gains.dtype)).unsqueeze(-1)
    return (heard * fall * (2 * torch.pi * turns).to(gains.dtype).sin()).sum(-2)


def modal_biquad(
    frequencies_hz: Tensor, decays_s: Tensor, gains: Tensor, *, sample_rate: float
) -> Tensor:
    r"""Design one resonator for each mode, whose impulse response is that of :func:`modal_decay`.

    With :math:`r = 10^{-3 / (T f_s)}` and :math:`\theta = 2 \pi f / f_s`

    .. math:: H(z) = \frac{g\, r \sin\theta\, z^{-1}}{1 - 2 r \cos\theta\, z^{-1} + r^2 z^{-2}}.

    Args:
        frequencies_hz: ``(..., modes)``.
        decays_s: As ``frequencies_hz``.
        gains: As ``frequencies_hz``.
        sample_rate: In Hz.

    Returns:
        Sections ``(..., modes, 6)``, float64; they add up, they do not follow one another.
    """
    check_range(sample_rate, "sample_rate", above=0)
    _check(frequencies_hz, decays_s, gains)
    wide = torch.float32 if frequencies_hz.device.type == "mps" else torch.float64
    frequencies, gain = frequencies_hz.to(wide), gains.to(wide) * _mask(frequencies_hz, sample_rate)
    radius = (-3 * math.log(10) / (decays_s.to(wide) * sample_rate)).exp()
    angle = 2 * torch.pi / sample_rate * frequencies
    gain, radius, angle = torch.broadcast_tensors(gain, radius, angle)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rise, turn = gain * radius * angle.sin(), -2 * radius * angle.cos()
    return torch.stack([zero, rise, zero, one, turn, radius.square()], -1)


def modal_filter(
    x: Tensor, frequencies_hz: Tensor, decays_s: Tensor, gains: Tensor, *, sample_rate: float
) -> Tensor:
    """Drive a body by any sound: a bow, a brush, another instrument.

    Args:
        x: Signals ``(..., samples)``.
        frequencies_hz: ``(..., modes)``; leading dimensions broadcast with those of ``x``.
        decays_s: As ``frequencies_hz``.
        gains: As ``frequencies_hz``.
        sample_rate: In Hz.

    Returns:
        ``(..., samples)``, dtype of ``x``; the sum of what the modes answer, exactly.
    """
    check_floating(x)
    sos = modal_biquad(frequencies_hz, decays_s, gains, sample_rate=sample_rate)
    return sosfilt(x.unsqueeze(-2), sos.unsqueeze(-2)).sum(-2)


def _mask(frequencies_hz: Tensor, sample_rate: float) -> Tensor:
    return ((0.5 - frequencies_hz.abs() / sample_rate) / _FADE).clamp(0, 1)


def _check(frequencies_hz: Tensor, decays_s: Tensor, gains: Tensor) -> None:
    sizes = {v.shape[-1] if v.ndim else 0 for v in (frequencies_hz, decays_s, gains)}
    if len(sizes) != 1 or 0 in sizes:
        raise ShapeError(
            f"frequencies_hz, decays_s and gains have shapes {tuple(frequencies_hz.shape)}, "
            f"{tuple(decays_s.shape)} and {tuple(gains.shape)}; expected (..., modes), as many in "
            "each"
        )
