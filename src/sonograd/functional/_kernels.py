"""Sequential recursions compiled with numba, where it is installed.

Every kernel has a pure-torch twin with the same numbers beside the function that calls it; this
module only makes the recursion faster. numba is imported at the first call and the machine code
is cached on disk. No kernel uses ``prange``: threads belong to the program, not to the library.
"""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["ballistics", "has_fast_kernels", "state_variable"]


@lru_cache(maxsize=1)
def has_fast_kernels() -> bool:
    """Tell whether compiled kernels are available (``pip install 'sonograd[fast]'``)."""
    return importlib.util.find_spec("numba") is not None


@lru_cache(maxsize=8)
def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    import numba  # noqa: PLC0415

    try:
        compiled: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place on disk for the cache
        compiled = numba.njit(nogil=True)(function)
    result: Callable[..., None] = compiled
    return result


def ballistics(
    level: np.ndarray, attack: np.ndarray, release: np.ndarray, state: np.ndarray, out: np.ndarray
) -> None:
    """Follow ``level (rows, samples)`` into ``out``; ``state (rows,)`` is read and replaced."""
    _compiled(_ballistics)(level, attack, release, state, out)


def state_variable(
    x: np.ndarray, g: np.ndarray, damping: np.ndarray, mix: np.ndarray, out: np.ndarray
) -> None:
    """Filter ``x (rows, samples)`` into ``out``; ``mix (3,)`` weighs input, band and low."""
    _compiled(_state_variable)(x, g, damping, mix, out)


def _ballistics(level, attack, release, state, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(level.shape[0]):
        follow = state[row]
        rise = attack[row]
        fall = release[row]
        for n in range(level.shape[1]):
            now = float(level[row, n])
            keep = rise if now > follow else fall
            follow = now + keep * (follow - now)
            out[row, n] = follow
        state[row] = follow


def _state_variable(x, g, damping, mix, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(x.shape[0]):
        first = 0.0
        second = 0.0
        for n in range(x.shape[1]):
            now = float(x[row, n])
            gain = g[row, n]
            k = damping[row, n]
            band = (first + gain * (now - second)) / (1.0 + gain * (gain + k))
            low = second + gain * band
            first = 2.0 * band - first
            second = 2.0 * low - second
            out[row, n] = mix[0] * now + (mix[1] + k * mix[2]) * band + mix[3] * low
