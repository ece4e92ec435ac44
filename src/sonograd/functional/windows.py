"""Windows, designed in float64 and cast once."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._settings import check_count, check_flag, check_number
from sonograd.functional._values import any_true

__all__ = [
    "WindowLike",
    "blackman",
    "blackman_harris",
    "gaussian",
    "get_window",
    "hamming",
    "hann",
    "kaiser",
    "sine",
]

WindowLike: TypeAlias = str | tuple[str, float] | Tensor
"""A name, a name with its parameter (``("kaiser", 8.0)``), or the window itself."""


def _positions(length: int, *, periodic: bool) -> tuple[Tensor, int]:
    """Return sample numbers in float64, and the period of the window."""
    check_count("length", length, least=0)
    check_flag("periodic", periodic)
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
    check_number("beta", beta)
    if beta < 0:
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


def gaussian(
    length: int,
    *,
    sigma: float,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Gaussian window; ``sigma`` > 0 is its standard deviation in samples.

    The other arguments are those of :func:`hann`.

    >>> gaussian(3, sigma=1.0, periodic=False)
    tensor([0.6065, 1.0000, 0.6065])
    """
    check_number("sigma", sigma, positive=True, unit="samples")
    position, period = _positions(length, periodic=periodic)
    if length == 1:
        return torch.ones(1, dtype=dtype, device=device)
    window = torch.exp(-0.5 * ((position - period / 2) / sigma).square())
    return window.to(dtype=dtype or torch.get_default_dtype(), device=device)


def get_window(
    window: WindowLike,
    length: int,
    *,
    periodic: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Window by name, with the names and values of :func:`scipy.signal.get_window`.

    Args:
        window: ``"hann"``, ``"hamming"``, ``"blackman"``, ``"blackmanharris"``, ``"nuttall"``,
            ``"flattop"``, ``"boxcar"``, ``"bartlett"``, ``"triang"``, ``"cosine"``, or one with
            its parameter: ``("kaiser", beta)``, ``("gaussian", sigma)``, ``("tukey", alpha)``. A
            tensor ``(length,)`` is returned as it is, with ``dtype`` and ``device``.
        length: Samples.
        periodic: See :func:`hann`.
        dtype: Floating-point type of the result; torch's default if None.
        device: Where the result lies.

    Returns:
        Shape ``(length,)``.

    Raises:
        ParameterError: If nothing has that name, or its parameter is missing or out of range.
        ShapeError: If ``window`` is a tensor of another shape.

    >>> get_window(("tukey", 0.5), 8)
    tensor([0.0000, 0.5000, 1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 0.5000])
    """
    if isinstance(window, Tensor):
        if window.shape != (length,):
            raise ShapeError(f"window has shape {tuple(window.shape)}; expected ({length},)")
        if window.is_complex():
            raise ShapeError(f"window has dtype {window.dtype}; expected real numbers")
        if any_true(~window.detach().isfinite()):
            raise ParameterError("window holds values that are NaN or infinite; expected finite")
        return window.to(dtype=dtype or window.dtype, device=device)
    parts = (window,) if isinstance(window, str) else window
    name, *values = parts if isinstance(parts, (tuple, list)) and parts else (None,)
    name = name if isinstance(name, str) else None
    if values and name in _SHAPED:
        check_number(f"the parameter of window {name!r}", values[0])
    if name in _PLAIN and not values:
        made = _PLAIN[name](length, periodic)
    elif name in _SHAPED and len(values) == 1:
        made = _SHAPED[name](length, periodic, float(values[0]))
    elif name in _SHAPED or name in _PLAIN:
        wanted = f"({name!r}, number)" if name in _SHAPED else repr(name)
        raise ParameterError(f"window is {window!r}; expected {wanted}")
    else:
        raise ParameterError(
            f"window is {window!r}; expected a tensor, one of {', '.join(sorted(_PLAIN))}, "
            f"or one of {', '.join(sorted(_SHAPED))} with its parameter"
        )
    return made.to(dtype=dtype or torch.get_default_dtype(), device=device)


def _cosines(*coefficients: float) -> Callable[[int, bool], Tensor]:
    return lambda length, periodic: _cosine_sum(coefficients, length, periodic, torch.float64, None)


def _triangle(length: int, periodic: bool, foot: int) -> Tensor:
    """Triangle that would be zero ``foot`` samples outside its ends."""
    position, period = _positions(length, periodic=periodic)
    if length == 1:
        return torch.ones(1, dtype=torch.float64)
    half = period / 2
    # scipy's triangle of an odd number of points ends one sample outside, of an even one half.
    width = half if not foot else half + (1.0 if period % 2 == 0 else 0.5)
    return 1 - (position - half).abs() / width


def _tukey(length: int, periodic: bool, alpha: float) -> Tensor:
    if not 0 <= alpha <= 1:
        raise ParameterError(f"alpha of the tukey window is {alpha}; expected 0 to 1")
    position, period = _positions(length, periodic=periodic)
    if alpha == 0 or length == 1:
        return torch.ones(length, dtype=torch.float64)
    distance = torch.minimum(position, period - position) / (alpha * period / 2)
    return 0.5 - 0.5 * torch.cos(math.pi * distance.clamp(max=1.0))


_PLAIN: dict[str, Callable[[int, bool], Tensor]] = {
    "hann": _cosines(0.5, 0.5),
    "hamming": _cosines(0.54, 0.46),
    "blackman": _cosines(0.42, 0.5, 0.08),
    "blackmanharris": _cosines(0.35875, 0.48829, 0.14128, 0.01168),
    "nuttall": _cosines(0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "flattop": _cosines(0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
    "boxcar": _cosines(1.0),
    "bartlett": lambda length, periodic: _triangle(length, periodic, 0),
    "triang": lambda length, periodic: _triangle(length, periodic, 1),
    "cosine": lambda length, periodic: sine(length, periodic=periodic, dtype=torch.float64),
}
_SHAPED: dict[str, Callable[[int, bool, float], Tensor]] = {
    "gaussian": lambda n, periodic, sigma: gaussian(
        n, sigma=sigma, periodic=periodic, dtype=torch.float64
    ),
    "kaiser": lambda n, periodic, beta: kaiser(
        n, beta=beta, periodic=periodic, dtype=torch.float64
    ),
    "tukey": _tukey,
}
