r"""The frequency of a tone, as exactly as its noise allows.

The misfit between a tone and its model as a function of frequency has a valley less than one bin
of a Fourier transform wide around the truth, and a ripple of false ones everywhere else: gradient
descent from a guess finds one of those. So the valley is found first, at the peak of a zero-padded
transform, and its floor then by Gauss-Newton steps on the frequency alone, amplitudes and phases
being eliminated in closed form (variable projection; G. Golub and V. Pereyra, SIAM J. Numer. Anal.
10(2), 1973). That is the maximum-likelihood estimate in white noise, and reaches the Cramer-Rao
bound (D. Rife and R. Boorstyn, IEEE Trans. Inf. Theory 20(5), 1974).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import check_range
from sonograd.shapes import check_floating

__all__ = ["HarmonicFit", "estimate_frequency", "frequency_bound_hz", "refine_frequency"]

_RECORDED = 3  # last steps that gradients flow through


class HarmonicFit(NamedTuple):
    r"""A tone that was fitted to a signal.

    Attributes:
        frequency_hz: Of the fundamental, ``(...)``; 0 for silence.
        amplitudes: Of the harmonics, complex ``(..., harmonics)``: the tone is the imaginary part
            of :math:`\sum_k a_k e^{2 \pi i k f t}`, with ``t = 0`` at the first sample. Its
            magnitude is the amplitude of a sine, its angle the phase of it.
    """

    frequency_hz: Tensor
    amplitudes: Tensor


def frequency_bound_hz(samples: int, snr_db: float, *, sample_rate: float) -> float:
    r"""Return the smallest standard deviation that any unbiased estimate can have.

    The Cramer-Rao bound of the frequency of one real sine of unknown amplitude and phase in white
    Gaussian noise (S. Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory*,
    1993, example 3.14):

    .. math:: \frac{f_s}{2 \pi} \sqrt{\frac{12}{\eta N (N^2 - 1)}}, \qquad
              \eta = \frac{A^2}{2 \sigma^2}

    Args:
        samples: :math:`N`.
        snr_db: :math:`10 \log_{10} \eta`, power of the sine over power of the noise.
        sample_rate: In Hz.

    >>> round(frequency_bound_hz(1000, 20.0, sample_rate=16000), 4)
    0.0279
    """
    if samples < 2:
        raise ParameterError(f"samples is {samples}; expected at least 2")
    ratio = 10 ** (snr_db / 10)
    deviation = math.sqrt(12 / (ratio * samples * (samples**2 - 1)))
    return sample_rate / (2 * math.pi) * deviation


def estimate_frequency(
    x: Tensor,
    *,
    sample_rate: float,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    iterations: int = 8,
) -> HarmonicFit:
    """Find the loudest sine: the peak of a zero-padded transform, then Gauss-Newton steps.

    Args:
        x: Signals ``(..., samples)``, at least 4 samples.
        sample_rate: In Hz.
        low_hz: Where to search from.
        high_hz: Where to search to; half the sample rate if not given.
        iterations: Steps.

    Returns:
        The fit, float64 where the device has it; differentiable in ``x``.
    """
    _check(x, sample_rate)
    high_hz = sample_rate / 2 if high_hz is None else high_hz
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise ParameterError(
            f"low_hz is {low_hz} and high_hz {high_hz}; expected 0 <= low_hz < high_hz <= "
            f"{sample_rate / 2}"
        )
    n_fft = 1 << (8 * x.shape[-1] - 1).bit_length()
    with torch.no_grad():
        power = torch.fft.rfft(_wide(x), n_fft).abs()
        bins = torch.arange(power.shape[-1], device=x.device) * (sample_rate / n_fft)
        inside = (bins >= low_hz) & (bins <= high_hz)
        start = torch.where(inside, power, -1.0).argmax(-1).to(power.dtype) * (sample_rate / n_fft)
    return refine_frequency(x, start, sample_rate=sample_rate, iterations=iterations)


def refine_frequency(
    x: Tensor,
    frequency_hz: Tensor,
    *,
    sample_rate: float,
    harmonics: int = 1,
    iterations: int = 8,
) -> HarmonicFit:
    """Improve a frequency that is right within half a bin of the highest harmonic.

    Harmonics above 0.48 of the sample rate are left out.

    Args:
        x: Signals ``(..., samples)``, at least 4 samples.
        frequency_hz: Where to start, ``(...)``.
        sample_rate: In Hz.
        harmonics: How many harmonics the tone has; more of them make the estimate better.
        iterations: Gauss-Newton steps; gradients flow through the last three.

    Returns:
        The fit, float64 where the device has it; differentiable in ``x``.
    """
    _check(x, sample_rate)
    if harmonics < 1 or iterations < 1:
        raise ParameterError(
            f"harmonics is {harmonics} and iterations {iterations}; expected at least 1 of each"
        )
    wide = _wide(x)
    samples = wide.shape[-1]
    omega = (2 * torch.pi / sample_rate * frequency_hz.detach()).to(wide).expand(wide.shape[:-1])
    loud = wide.detach().abs().amax(-1) > 0
    # Around the middle, frequency and phase are nearly independent.
    time = torch.arange(samples, dtype=wide.dtype, device=wide.device) - (samples - 1) / 2
    with torch.no_grad():
        for _ in range(iterations - _RECORDED):
            omega = omega + _step(wide, omega, time, harmonics)[0]
    for _ in range(min(iterations, _RECORDED)):
        omega = omega + _step(wide, omega, time, harmonics)[0]
    amplitudes = _step(wide, omega, time, harmonics)[1]
    number = torch.arange(1, harmonics + 1, dtype=wide.dtype, device=wide.device)
    late = number * omega.unsqueeze(-1) * ((samples - 1) / 2)
    amplitudes = amplitudes * torch.polar(torch.ones_like(late), -late)
    frequency = omega * (sample_rate / (2 * math.pi))
    return HarmonicFit(torch.where(loud, frequency, 0.0), amplitudes)


def _step(x: Tensor, omega: Tensor, time: Tensor, harmonics: int) -> tuple[Tensor, Tensor]:
    """One Gauss-Newton step of ``omega``, and the amplitudes before it."""
    samples = x.shape[-1]
    number = torch.arange(1, harmonics + 1, dtype=x.dtype, device=x.device).unsqueeze(-1)
    basis = _basis(omega, time, harmonics)
    gram = basis @ basis.mT
    # Left-out harmonics have no energy; the ridge keeps the system solvable.
    gram = gram + torch.eye(2 * harmonics, dtype=x.dtype, device=x.device) * (1e-12 * samples)
    weights = torch.linalg.solve(gram, basis @ x.unsqueeze(-1))
    rest = x - (weights.mT @ basis).squeeze(-2)
    cosines, sines = weights.chunk(2, -2)
    slopes = torch.cat([number * sines, -number * cosines], -2)
    direction = time * (slopes.mT @ basis).squeeze(-2)
    inside = torch.linalg.solve(gram, basis @ direction.unsqueeze(-1))
    direction = direction - (inside.mT @ basis).squeeze(-2)
    energy = direction.square().sum(-1)
    floor = 1e-20 * samples**3 * x.detach().square().sum(-1) + 1e-300
    step = (direction * rest).sum(-1) / energy.clamp_min(floor)
    # Not further than half a bin, not out of the range of frequencies.
    step = step.clamp(-torch.pi / samples, torch.pi / samples)
    step = (omega + step).clamp(1e-3 / samples, torch.pi) - omega
    return step, torch.complex(sines, cosines).squeeze(-1)


def _basis(omega: Tensor, time: Tensor, harmonics: int) -> Tensor:
    """Cosines and sines of the harmonics, ``(..., 2 * harmonics, samples)``."""
    angle = omega.unsqueeze(-1) * time
    turn = torch.complex(angle.cos(), angle.sin())
    rows = [turn]
    for k in range(2, harmonics + 1):
        heard = (k * omega.detach() <= 0.96 * torch.pi).to(turn.dtype).unsqueeze(-1)
        rows.append(rows[-1] * turn * heard)
    turning = torch.stack(rows, -2)
    return torch.cat([turning.real, turning.imag], -2)


def _check(x: Tensor, sample_rate: float) -> None:
    check_floating(x)
    check_range(sample_rate, "sample_rate", above=0)
    if not x.ndim or x.shape[-1] < 4:
        raise ShapeError(f"x has shape {tuple(x.shape)}; expected (..., samples) with at least 4")


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.device.type == "mps" else x.double()
