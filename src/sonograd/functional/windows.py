"""Windows, designed in float64 and cast once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["blackman", "blackman_harris", "hamming", "hann", "kaiser", "sine"]


def _positions(length: int, *, periodic: bool) -> tuple[Tensor, int]:
    """Return sample numbers in float64, and the period of the window."""
    if length < 0:
        raise ParameterError(f"a window of {length} samples was asked for; expected at least 0")
    return torch.arange(length, dtype=torch.float64), max(length if periodic else length - 1, 1)


def _cosine_sum(
    coefficients: Sequence[float],
    length: int,
    periodic: bool,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    position, period = _positions(length, periodic=periodic)
    if length == 1:
        return torch.ones(1, dtype=dtype, device=device)
    window = torch.zeros(length, dtype=torch.float64)
    for order, coefficient in enumerate(coefficients):
        window += (-1) ** order * coefficient * torch.cos(2 * math.pi * order * position / period)
    return window.to(dtype=dtype or torch.get_default_dtype(), device=device)


def hann(
    length: int,
    *,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Hann window, one minus a cosine.

    Args:
        length: Samples; a window of one sample is 1.
        periodic: One period without its last point, for short-time transforms; False gives the
            symmetric window, for filters.
        dtype: Floating-point type of the result; torch's default if None.
        device: Where the result lies.

    Returns:
        Shape ``(length,)``.

    >>> hann(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _cosine_sum((0.5, 0.5), length, periodic, dtype, device)


def hamming(
    length: int,
    *,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Hamming window, a Hann window on a pedestal of 0.08; arguments as in :func:`hann`."""
    return _cosine_sum((0.54, 0.46), length, periodic, dtype, device)


def blackman(
    length: int,
    *,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Blackman window of three cosine terms; arguments as in :func:`hann`."""
    return _cosine_sum((0.42, 0.5, 0.08), length, periodic, dtype, device)


def blackman_harris(
    length: int,
    *,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Blackman-Harris window, four terms, side lobes at -92 dB; arguments as in :func:`hann`.

    Harris, *On the use of windows for harmonic analysis with the discrete Fourier transform*,
    doi:10.1109/PROC.1978.10837.
    """
    return _cosine_sum((0.35875, 0.48829, 0.14128, 0.01168), length, periodic, dtype, device)


def kaiser(
    length: int,
    *,
    beta: float,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Kaiser window; ``beta`` >= 0 trades width (0: a rectangle) for side lobes.

    The other arguments are those of :func:`hann`.
    """
    if not beta >= 0:
        raise ParameterError(f"beta is {beta}; expected a number >= 0")
    position, period = _positions(length, periodic=periodic)
    if length == 1:
        return torch.ones(1, dtype=dtype, device=device)
    shape = (1 - (2 * position / period - 1).square()).clamp(min=0.0).sqrt()
    # Scaled Bessel functions do not overflow, whatever beta is.
    window: Tensor = torch.special.i0e(beta * shape) * torch.exp(beta * (shape - 1))
    window /= torch.special.i0e(torch.tensor(beta, dtype=torch.float64))
    return window.to(dtype=dtype or torch.get_default_dtype(), device=device)


def sine(
    length: int,
    *,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Half a period of a sine, with points half a sample off its zeros.

    Without ``periodic``, and for an even length, the squares of two windows that overlap by half
    sum to one; ``periodic`` drops the last point of a window that is one sample longer. The other
    arguments are those of :func:`hann`.

    >>> sine(3, periodic=False)
    tensor([0.5000, 1.0000, 0.5000])
    """
    position, _ = _positions(length, periodic=periodic)
    if length == 1:
        return torch.ones(1, dtype=dtype, device=device)
    window = torch.sin(math.pi * (position + 0.5) / (length + periodic))
    return window.to(dtype=dtype or torch.get_default_dtype(), device=device)
