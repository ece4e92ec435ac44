"""Sequential recursions compiled with numba, where it is installed.

Every kernel has a twin in torch with the same numbers beside the function that calls it; this
module only makes the recursion faster. numba is imported at the first use and the machine code is
cached on disk. No kernel uses ``prange``: threads belong to the program, not to the library.

All arrays are contiguous float64 with two dimensions (rows first), so that each kernel is
compiled once; ``state`` is read and replaced, ``out`` is written.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["ballistics", "has_fast_kernels", "state_variable"]


@lru_cache(maxsize=1)
def has_fast_kernels() -> bool:
    """Tell whether compiled kernels are available (``pip install 'sonograd[fast]'``).

    Without them, recursions that cannot be expressed as matrix products, such as
    :func:`envelope_follower`, give the same numbers more slowly.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return False
    try:
        import numba  # noqa: F401, PLC0415
    except ImportError:  # not installed, or not made for the installed numpy
        return False
    return True


def ballistics(
    level: np.ndarray, attack: np.ndarray, release: np.ndarray, state: np.ndarray, out: np.ndarray
) -> None:
    """Follow ``level (rows, samples)``; the other arrays are ``(rows, 1)``."""
    _compiled(_ballistics)(level, attack, release, state, out)


def state_variable(
    x: np.ndarray, g: np.ndarray, damping: np.ndarray, state: np.ndarray, out: np.ndarray
) -> None:
    """Filter ``x (rows, samples)`` from ``state (rows, 2)`` to ``out (2 * rows, samples)``.

    The first half of ``out`` is the band output, the second half the low output.
    """
    _compiled(_state_variable)(x, g, damping, state, out)


@lru_cache(maxsize=8)
def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    import numba  # noqa: PLC0415

    compiled: Any
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no place on disk for the cache
        compiled = numba.njit(nogil=True)(function)
    result: Callable[..., None] = compiled
    return result


def _ballistics(level, attack, release, state, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(level.shape[0]):
        follow = state[row, 0]
        rise = attack[row, 0]
        fall = release[row, 0]
        for n in range(level.shape[1]):
            now = level[row, n]
            keep = rise if now > follow else fall
            follow = now + keep * (follow - now)
            out[row, n] = follow
        state[row, 0] = follow


def _state_variable(x, g, damping, state, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows = x.shape[0]
    for row in range(rows):
        first = state[row, 0]
        second = state[row, 1]
        for n in range(x.shape[1]):
            gain = g[row, n]
            feedback = 1.0 + gain * (gain + damping[row, n])
            band = (first + gain * (x[row, n] - second)) / feedback
            low = second + gain * band
            first = 2.0 * band - first
            second = 2.0 * low - second
            out[row, n] = band
            out[rows + row, n] = low
        state[row, 0] = first
        state[row, 1] = second
