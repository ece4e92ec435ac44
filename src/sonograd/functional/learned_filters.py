"""Kernels made of a center frequency and a bandwidth per filter, differentiable in both."""

import math

import torch
from torch import Tensor

from sonograd.functional.windows import hamming

__all__ = ["gabor_kernels", "sinc_kernels"]


def _time(taps: int, sample_rate: float, like: Tensor) -> Tensor:
    """Seconds from the middle tap."""
    position = torch.arange(taps, dtype=like.dtype, device=like.device) - taps // 2
    return position / sample_rate


def gabor_kernels(
    center_hz: Tensor, bandwidth_hz: Tensor, *, sample_rate: float, taps: int
) -> Tensor:
    r"""Gaussians times complex exponentials, with the gain one at their centers.

    .. math::
        g[n] = \frac{1}{\sqrt{2 \pi} \, \sigma s} e^{-t^2 / 2 \sigma^2} e^{-2 \pi i f t},
        \qquad \sigma = \frac{\sqrt{2 \ln 2}}{\pi b}

    with :math:`t = (n - \lfloor N / 2 \rfloor) / s`; the response is halved (-6 dB) at
    :math:`f \pm b / 2`. Zeghidour et al., *LEAF: a learnable frontend for audio classification*,
    arXiv:2101.08596.

    Args:
        center_hz: :math:`f`, ``(filters,)``.
        bandwidth_hz: :math:`b`, ``(filters,)``, positive.
        sample_rate: In Hz.
        taps: :math:`N`.

    Returns:
        ``(2, filters, taps)``: real and imaginary part, to be multiplied with frames.
    """
    time = _time(taps, sample_rate, center_hz)
    sigma = (math.sqrt(2 * math.log(2)) / math.pi) / bandwidth_hz[:, None]
    height = 1 / (math.sqrt(2 * math.pi) * sample_rate * sigma)
    envelope = height * torch.exp(-0.5 * (time / sigma).square())
    angle = 2 * math.pi * center_hz[:, None] * time
    return torch.stack([envelope * angle.cos(), -envelope * angle.sin()])


def sinc_kernels(
    center_hz: Tensor, bandwidth_hz: Tensor, *, sample_rate: float, taps: int
) -> Tensor:
    r"""Band passes: the difference of two windowed sincs, with the gain one inside.

    .. math::
        g[n] = w[n] \, \frac{2}{s} \Big( f_2 \, \mathrm{sinc}(2 f_2 t)
        - f_1 \, \mathrm{sinc}(2 f_1 t) \Big), \qquad f_{1, 2} = f \mp b / 2

    with a Hamming window; cutoffs stay between 0 and half the sample rate. Ravanelli and Bengio,
    *Speaker recognition from raw waveform with SincNet*, arXiv:1808.00158.

    Args:
        center_hz: :math:`f`, ``(filters,)``.
        bandwidth_hz: :math:`b`, ``(filters,)``, positive.
        sample_rate: In Hz.
        taps: Number of taps :math:`N`, odd for a delay of whole samples.

    Returns:
        ``(filters, taps)``.
    """
    time = _time(taps, sample_rate, center_hz)
    low = (center_hz - bandwidth_hz / 2).clamp(min=0.0)[:, None]
    high = (center_hz + bandwidth_hz / 2).clamp(max=sample_rate / 2)[:, None]
    window = hamming(taps, periodic=taps % 2 == 0, dtype=time.dtype, device=time.device)
    band = high * torch.sinc(2 * high * time) - low * torch.sinc(2 * low * time)
    kernels: Tensor = window * (2 / sample_rate) * band
    return kernels
