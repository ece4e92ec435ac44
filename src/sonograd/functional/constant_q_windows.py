r"""Windows of any real length, and their spectra: what constant-Q atoms are made of.

A window is a function :math:`w(u)` of the position :math:`u` in it, from -1/2 to 1/2, one in the
middle; sampled at :math:`u = n / \ell` it has the length :math:`\ell`, whole or not.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["AtomWindow", "WindowSpectrum", "window_shape", "window_spectrum"]

AtomWindow: TypeAlias = str | tuple[str, float] | Callable[[Tensor], Tensor]
"""A name, a name with its parameter, or a function of positions in [-1/2, 1/2]."""

_COSINES = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "blackman_harris": (0.35875, 0.48829, 0.14128, 0.01168),
    "rectangular": (1.0,),
}
_ALIASES = {
    "hanning": "hann",
    "blackmanharris": "blackman_harris",
    "boxcar": "rectangular",
    "ones": "rectangular",
    "cosine": "sine",
    "triang": "triangular",
    "bartlett": "triangular",
}
_NAMES = (*_COSINES, "sine", "triangular")
_PARAMETRIC = ("gaussian", "kaiser")
_DENSITY = 32


def window_shape(window: AtomWindow) -> Callable[[Tensor], Tensor]:
    """Return the window as a function of positions, which is differentiable inside.

    Args:
        window: ``"hann"``, ``"hamming"``, ``"blackman"``, ``"blackman_harris"``,
            ``"rectangular"``, ``"sine"`` or ``"triangular"``; ``("gaussian", edge_db)``, which
            falls to ``-edge_db`` dB at its ends; ``("kaiser", beta)``; or a function that takes
            positions from -1/2 to 1/2 to values.

    Returns:
        A function of a tensor of positions; it is only asked for positions in [-1/2, 1/2].

    Raises:
        ParameterError: If no window has that name, or its parameter is out of range.

    >>> window_shape("hann")(torch.tensor([-0.5, 0.0, 0.25]))
    tensor([0.0000, 1.0000, 0.5000])
    """
    if callable(window):
        return window
    name, value = (window, None) if isinstance(window, str) else _parametric(window)
    name = _ALIASES.get(name, name)
    if name in _COSINES and value is None:
        coefficients = _COSINES[name]
        return lambda u: sum(
            (c * torch.cos(2 * math.pi * j * u) for j, c in enumerate(coefficients)),
            start=torch.zeros_like(u),
        )
    if name == "sine" and value is None:
        return lambda u: torch.cos(math.pi * u)
    if name == "triangular" and value is None:
        return lambda u: 1 - 2 * u.abs()
    if name == "gaussian" and value is not None and 0 < value < math.inf:
        exponent = 4 * math.log(10) / 20 * value
        return lambda u: torch.exp(-exponent * u.square())
    if name == "kaiser" and value is not None and 0 <= value < math.inf:
        return lambda u: _kaiser(u, value)
    raise ParameterError(
        f"window is {window!r}; expected one of {', '.join(map(repr, _NAMES))}, "
        "('gaussian', edge_db > 0), ('kaiser', beta >= 0) or a function of positions"
    )


def _parametric(window: tuple[str, float]) -> tuple[str, float | None]:
    if isinstance(window, tuple | list) and len(window) == 2 and window[0] in _PARAMETRIC:
        return window[0], float(window[1])
    return "", None


def _kaiser(u: Tensor, beta: float) -> Tensor:
    shape = (1 - (2 * u).square()).clamp(min=1e-30).sqrt()
    peak = torch.special.i0e(torch.tensor(beta, dtype=torch.float64, device="cpu"))
    value: Tensor = torch.special.i0e(beta * shape) * torch.exp(beta * (shape - 1)) / float(peak)
    return value


class WindowSpectrum(NamedTuple):
    r"""The Fourier transform of a window, as cubic pieces.

    .. math:: \hat w(\nu) = \int_{-1/2}^{1/2} w(u) \cos(2 \pi \nu u) \, du
    """

    pieces: Tensor
    """Coefficients of ``1, t, t^2, t^3``, ``(pieces, 4)``, in float64."""
    reach: float
    """Beyond this frequency, in lobes, lies less than the tolerated part of the energy."""
    continuous: bool
    """Whether the window vanishes at its ends, so that samples of it behave as the window does."""


def window_spectrum(window: AtomWindow, *, tolerance: float, longest: float) -> WindowSpectrum:
    """Tabulate the spectrum of a window.

    Args:
        window: As in :func:`window_shape`.
        tolerance: Root of the part of the energy that may lie beyond ``reach``.
        longest: The longest atom in samples: lobes beyond it are never asked for.

    Returns:
        The table; its ``reach`` is infinite if a thousand lobes are not enough.
    """
    shape = window_shape(window)
    lobes = 256.0
    while True:
        values, pieces = _table(shape, lobes)
        energy = values.square()
        energy[0] *= 0.5
        steps = 1 << 14
        u = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps - 0.5
        total = 0.5 * torch.trapezoid(_sampled(shape, u).square(), dx=1 / steps)
        beyond = 1 - energy.cumsum(0) / _DENSITY / total
        found = (beyond < tolerance**2).nonzero()
        if len(found) or lobes > min(longest, 1000.0):
            break
        lobes *= 4
    reach = float(found[0]) / _DENSITY if len(found) else math.inf
    ends = float(_sampled(shape, u[[0, -1]]).abs().max())
    return WindowSpectrum(pieces, reach, ends < 1e-4)


def _sampled(shape: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    values = shape(u)
    if not isinstance(values, Tensor) or values.shape != u.shape or not values.isfinite().all():
        raise ParameterError("window returned no finite value for each position that it was given")
    return values.to(torch.float64)


def _table(shape: Callable[[Tensor], Tensor], lobes: float) -> tuple[Tensor, Tensor]:
    """Return values at ``1 / 32`` lobes, and the cubic pieces between them."""
    steps = 1 << math.ceil(math.log2(16 * lobes))
    u = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps - 0.5
    w = _sampled(shape, u) / steps
    w[[0, -1]] *= 0.5
    count = int(lobes * _DENSITY)
    values = _transform(w, count).real
    slopes = 2 * math.pi / _DENSITY * _transform(u * w, count).imag
    low, high, rise, fall = values[:-1], values[1:], slopes[:-1], slopes[1:]
    pieces = torch.stack(
        [low, rise, 3 * (high - low) - 2 * rise - fall, 2 * (low - high) + rise + fall], -1
    )
    pieces[-1] = 0  # What lies beyond the table is taken from its last piece.
    return values[:-1], pieces


def _transform(w: Tensor, count: int) -> Tensor:
    """Return ``sum_n w[n] exp(-2 pi i u_n nu)`` at the first ``count + 1`` frequencies."""
    steps = len(w) - 1
    padded = torch.zeros(steps * _DENSITY, dtype=torch.float64, device="cpu")
    padded[: steps // 2 + 1] = w[steps // 2 :]
    padded[-(steps // 2) :] += w[: steps // 2]
    spectrum: Tensor = torch.fft.rfft(padded)
    return spectrum[: count + 1]
