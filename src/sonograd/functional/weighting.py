r"""How loud frequencies seem: A- and K-weighting, and pre-emphasis.

The weighting curves are applied to the spectrum of the whole signal, as they are defined, without
phase: exact up to half the sample rate, at every sample rate, where bilinear designs and short
filters bend away from the standard.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.functional.biquads import frequency_response
from sonograd.functional.convolution import fast_length
from sonograd.functional.loudness import k_weighting_sos
from sonograd.shapes import check_floating

__all__ = [
    "EmphasisKind",
    "a_weighting",
    "a_weighting_gain",
    "k_weighting",
    "k_weighting_gain",
    "pre_emphasis",
]

EmphasisKind: TypeAlias = Literal["high_pass", "folded"]

#: Seconds after which the response of either curve has died away by 100 dB.
_TAIL = 0.2


def a_weighting_gain(frequency_hz: Tensor) -> Tensor:
    r"""A-weighting as a factor of amplitude, 1 at 1 kHz.

    .. math::
        A(f) = \frac{c \, f_4^2 f^4}{(f^2 + f_1^2) (f^2 + f_4^2) \sqrt{(f^2 + f_2^2)(f^2 + f_3^2)}}

    IEC 61672-1:2013, annex E, with :math:`f_1 \ldots f_4` = 20.60, 107.7, 737.9 and 12194 Hz.

    Args:
        frequency_hz: Any shape.

    Returns:
        The same shape, in float64.

    >>> a_weighting_gain(torch.tensor([1000.0, 100.0])).log10().mul(20).round(decimals=1)
    tensor([  0.0000, -19.1000], dtype=torch.float64)
    """
    one_khz = torch.tensor(1000.0, dtype=torch.float64)
    gain: Tensor = _a_curve(frequency_hz.double()) / _a_curve(one_khz)
    return gain


def k_weighting_gain(frequency_hz: Tensor) -> Tensor:
    r"""K-weighting as a factor of amplitude.

    The magnitude of the two filters of ITU-R BS.1770-5, annex 1, at 48 kHz, for which they are
    published (:func:`k_weighting_sos`): equal frequencies are weighted equally at every sample
    rate. Above 24 kHz it stays what it is there.

    Args:
        frequency_hz: Any shape.

    Returns:
        The same shape, in float64.

    >>> k_weighting_gain(torch.tensor([997.0])).log10().mul(20).round(decimals=2)
    tensor([0.6900], dtype=torch.float64)
    """
    inside = frequency_hz.double().clamp(max=24_000.0)
    response = frequency_response(
        k_weighting_sos(sample_rate=48_000), inside.flatten(), sample_rate=48_000
    )
    gain: Tensor = response.abs().reshape(frequency_hz.shape)
    return gain


def a_weighting(x: Tensor, *, sample_rate: float) -> Tensor:
    """Apply A-weighting without phase, see :func:`a_weighting_gain`.

    Args:
        x: ``(..., samples)``, silent outside.
        sample_rate: In Hz.

    Returns:
        The same shape; half precision comes back as float32.
    """
    return _apply(x, a_weighting_gain, sample_rate)


def k_weighting(x: Tensor, *, sample_rate: float) -> Tensor:
    """Apply K-weighting without phase, see :func:`k_weighting_gain`.

    Args:
        x: ``(..., samples)``, silent outside.
        sample_rate: In Hz.

    Returns:
        The same shape; half precision comes back as float32.
    """
    return _apply(x, k_weighting_gain, sample_rate)


def pre_emphasis(
    x: Tensor, *, coefficient: float = 0.85, kind: EmphasisKind = "high_pass"
) -> Tensor:
    r"""Emphasize high frequencies by one tap: :math:`y_n = x_n - c \, x_{n-d}`.

    Wright and Välimäki, *Perceptual loss function for neural modeling of audio systems*,
    doi:10.1109/ICASSP40776.2020.9052944.

    Args:
        x: ``(..., samples)``, silent before its start.
        coefficient: :math:`c`, in [0, 1].
        kind: ``"high_pass"`` with :math:`d = 1`; ``"folded"`` with :math:`d = 2`, which is
            highest in the middle and falls towards half the sample rate.

    Returns:
        The same shape.

    >>> pre_emphasis(torch.ones(3), coefficient=0.5)
    tensor([1.0000, 0.5000, 0.5000])
    """
    check_floating(x)
    if not 0 <= coefficient <= 1:
        raise ParameterError(f"coefficient is {coefficient}; expected a number in [0, 1]")
    if kind not in {"high_pass", "folded"}:
        raise ParameterError(f"kind is {kind!r}; expected 'high_pass' or 'folded'")
    delay = min(1 if kind == "high_pass" else 2, x.shape[-1])
    return x - coefficient * nnf.pad(x[..., : x.shape[-1] - delay], (delay, 0))


def _apply(x: Tensor, gain: Callable[[Tensor], Tensor], sample_rate: float) -> Tensor:
    check_floating(x)
    if not 0 < sample_rate < float("inf"):
        raise ParameterError(f"sample_rate is {sample_rate}; expected a positive number of Hz")
    if x.dtype in {torch.float16, torch.bfloat16}:
        x = x.float()
    samples = x.shape[-1]
    if not x.numel():
        return x
    n_fft = fast_length(samples + 2 * round(_TAIL * sample_rate))
    frequency = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    spectrum = torch.fft.rfft(x, n_fft) * gain(frequency).to(x)
    y: Tensor = torch.fft.irfft(spectrum, n_fft)[..., :samples]
    return y


def _a_curve(f: Tensor) -> Tensor:
    square = f.square()
    low, middle, high, top = (value**2 for value in (20.598997, 107.65265, 737.86223, 12194.217))
    below = (square + low) * (square + top) * ((square + middle) * (square + high)).sqrt()
    return top * square.square() / below
