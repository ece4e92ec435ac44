"""The parts of a voice: glottal pulses and the resonances of the vocal tract."""

import torch
from torch import Tensor

from sonograd.errors import ShapeError
from sonograd.functional._values import check_range
from sonograd.functional.oscillators import running_phase

__all__ = ["formant_response", "pulse_train"]


def pulse_train(
    frequency_hz: Tensor, *, sample_rate: float, phase: float | Tensor = 0.0, top: float = 0.45
) -> Tensor:
    r"""Play band-limited pulses, all harmonics equally loud, in closed form.

    With :math:`M = 2 \lfloor t f_s / f \rfloor + 1` the sum of :math:`(M - 1) / 2` cosines is

    .. math:: \frac{1}{2} \left(\frac{\sin \pi M \varphi}{\sin \pi \varphi} - 1\right)

    (J. A. Moorer, *The synthesis of complex audio spectra by means of discrete summation
    formulas*, JAES 1976). Each harmonic has the amplitude :math:`\sqrt{2 f / f_s}`, so the power
    does not depend on the pitch.

    Args:
        frequency_hz: ``(..., samples)``, in Hz, positive.
        sample_rate: In Hz.
        phase: Turns at the first sample.
        top: Highest harmonic as a share of the sample rate, below 0.5.

    Returns:
        ``(..., samples)``, dtype of ``frequency_hz``.
    """
    check_range(top, "top", above=0, below=0.5)
    turns = running_phase(frequency_hz, sample_rate=sample_rate, phase=phase).to(frequency_hz)
    count = 2 * torch.floor(top * sample_rate / frequency_hz.detach().clamp_min(1.0)) + 1
    below = torch.sin(torch.pi * turns)
    near = below.abs() < 1e-4
    ratio = torch.sin(torch.pi * count * turns) / torch.where(near, torch.ones_like(below), below)
    sum_of_cosines = (torch.where(near, count, ratio) - 1) / 2
    return sum_of_cosines * torch.sqrt(2 * frequency_hz / sample_rate)


def formant_response(
    frequencies_hz: Tensor, formants_hz: Tensor, bandwidths_hz: Tensor, gains: Tensor
) -> Tensor:
    r"""Add resonances in parallel, with alternating signs.

    The first is a resonant low-pass filter, so that the fundamental below it survives; the others
    are band-pass filters. Each has its gain at its peak.

    .. math:: H(f) = \sum_k (-1)^k g_k \frac{j f B_k}{F_k^2 - f^2 + j f B_k}

    Args:
        frequencies_hz: Where to evaluate, ``(bins,)``.
        formants_hz: :math:`F`, ``(..., formants)``.
        bandwidths_hz: :math:`B`, as ``formants_hz``.
        gains: :math:`g`, as ``formants_hz``.

    Returns:
        Complex ``(..., bins)``.
    """
    if formants_hz.shape != gains.shape or formants_hz.shape != bandwidths_hz.shape:
        raise ShapeError(
            f"formants_hz, bandwidths_hz and gains have shapes {tuple(formants_hz.shape)}, "
            f"{tuple(bandwidths_hz.shape)} and {tuple(gains.shape)}; they must be equal"
        )
    f = frequencies_hz
    square = f.square()
    total = torch.zeros(*formants_hz.shape[:-1], f.shape[0], dtype=torch.complex64, device=f.device)
    for index in range(formants_hz.shape[-1]):
        center = formants_hz[..., index, None]
        width = bandwidths_hz[..., index, None]
        gain = gains[..., index, None]
        real, imaginary = center.square() - square, f * width
        scale = (-1) ** index * gain / (real.square() + imaginary.square())
        if index == 0:
            top = center * width
            total = total + torch.complex(real * top * scale, -imaginary * top * scale)
        else:
            total = total + torch.complex(imaginary.square() * scale, imaginary * real * scale)
    return total
