"""Sequential recursions compiled with numba, where it is installed.

Every kernel has a twin in torch with the same numbers beside the function that calls it; this
module only makes the recursion faster. numba is imported at the first use and the machine code is
cached on disk. No kernel uses ``prange``: threads belong to the program, not to the library.

All arrays are contiguous, rows first; what is recursive is float64, signals are float32 or float64
and each kernel is compiled once for either. ``state`` is read and replaced, ``out`` is written.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = [
    "all_pass",
    "ballistics",
    "ballistics_adjoint",
    "bend",
    "bend_adjoint",
    "cascade",
    "freeverb",
    "has_fast_kernels",
    "latch",
    "state_variable",
]


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
    level: np.ndarray,
    keep: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    rising: np.ndarray,
) -> None:
    """Follow ``level (rows, samples)`` from ``state (rows,)`` with ``keep (rows, 2)``: up, down.

    ``rising`` tells where the level was above the state before.
    """
    _compiled(_ballistics)(level, keep, state, out, rising)


def ballistics_adjoint(
    grad: np.ndarray,
    level: np.ndarray,
    follow: np.ndarray,
    rising: np.ndarray,
    keep: np.ndarray,
    start: np.ndarray,
    grad_end: np.ndarray,
    grad_level: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Run :func:`ballistics` backward; ``sums (rows, 3)`` belong to both factors and the start."""
    _compiled(_ballistics_adjoint, reorder=True)(
        grad, level, follow, rising, keep, start, grad_end, grad_level, sums
    )


def bend(log_level: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """Write ``slope * overshoot + makeup``; ``values (rows, 4)``: threshold, slope, knee, makeup.

    All are in neper. ``out`` may be ``log_level``.
    """
    _compiled(_bend)(log_level, values, out)


def bend_adjoint(
    total: np.ndarray,
    level: np.ndarray,
    log_level: np.ndarray,
    values: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Run :func:`bend` backward.

    ``total``, the gradient of the exponent, is replaced by that of ``level``, 0 below the level
    of silence; ``sums (rows, 4)`` are those of ``values``.
    """
    _compiled(_bend_adjoint, reorder=True)(total, level, log_level, values, sums)


def cascade(x: np.ndarray, sections: np.ndarray, out: np.ndarray) -> None:
    """Filter ``x (rows, samples)`` from rest with ``sections (sections, 6)``, their ``a0`` 1.

    Twin of :func:`~sonograd.functional.sosfilt` where no gradient is asked for: for short signals,
    of which there must be many before compiling pays.
    """
    _compiled(_cascade)(x, sections, out)


def freeverb(
    x: np.ndarray,
    delays: np.ndarray,
    values: np.ndarray,
    last: np.ndarray,
    lines: np.ndarray,
    out: np.ndarray,
) -> None:
    """Run damped combs over ``x (samples,)`` and add ``delays (channels, combs)`` of them up.

    ``values``: feedback and damping. ``last``, as ``delays``, is what the damping holds.
    ``lines (channels, combs, longest + samples)`` begin with the last inputs of each comb and are
    filled; ``out (channels, samples)``.
    """
    _compiled(_freeverb)(x, delays, values, last, lines, out)


def all_pass(x: np.ndarray, delay: int, line: np.ndarray, out: np.ndarray) -> None:
    """Run ``w[n] = x[n] + w[n - N] / 2, y[n] = w[n - N] - x[n]`` over ``x (rows, samples)``.

    ``line (rows, delay + samples)`` begins with the last ``w`` and is filled.
    """
    _compiled(_all_pass)(x, delay, line, out)


def latch(
    level: np.ndarray,
    limits: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Open and close a gate; ``limits (rows, 3)``: to open, to close, hold in samples.

    ``state (rows, 2)``: 1 if open, and samples since the level was last above the lower limit.
    """
    _compiled(_latch)(level, limits, state, out)


def state_variable(
    x: np.ndarray, g: np.ndarray, damping: np.ndarray, state: np.ndarray, out: np.ndarray
) -> None:
    """Filter ``x (rows, samples)`` from ``state (rows, 2)`` to ``out (2 * rows, samples)``.

    The first half of ``out`` is the band output, the second half the low output.
    """
    _compiled(_state_variable)(x, g, damping, state, out)


@lru_cache(maxsize=32)
def _compiled(function: Callable[..., None], *, reorder: bool = False) -> Callable[..., None]:
    """Compile; ``reorder`` lets sums be added in any order, in vectors."""
    import numba  # noqa: PLC0415

    compiled: Any
    options: dict[str, Any] = {"nogil": True}
    if reorder:
        options["fastmath"] = {"reassoc", "contract", "nsz"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place on disk for the cache
        compiled = numba.njit(**options)(function)
    result: Callable[..., None] = compiled
    return result


def _ballistics(level, keep, state, out, rising):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    rows, samples = level.shape
    row = 0
    while row + 4 <= rows:  # four at a time: each waits for its own last value only
        a, b, c, d = state[row], state[row + 1], state[row + 2], state[row + 3]
        for n in range(samples):
            p = np.float64(level[row, n])
            q = np.float64(level[row + 1, n])
            r = np.float64(level[row + 2, n])
            s = np.float64(level[row + 3, n])
            rising[row, n] = p > a
            rising[row + 1, n] = q > b
            rising[row + 2, n] = r > c
            rising[row + 3, n] = s > d
            a = p + (keep[row, 0] if p > a else keep[row, 1]) * (a - p)
            b = q + (keep[row + 1, 0] if q > b else keep[row + 1, 1]) * (b - q)
            c = r + (keep[row + 2, 0] if r > c else keep[row + 2, 1]) * (c - r)
            d = s + (keep[row + 3, 0] if s > d else keep[row + 3, 1]) * (d - s)
            out[row, n] = a
            out[row + 1, n] = b
            out[row + 2, n] = c
            out[row + 3, n] = d
        state[row], state[row + 1], state[row + 2], state[row + 3] = a, b, c, d
        row += 4
    while row < rows:
        follow = state[row]
        for n in range(samples):
            now = np.float64(level[row, n])
            rising[row, n] = now > follow
            follow = now + (keep[row, 0] if now > follow else keep[row, 1]) * (follow - now)
            out[row, n] = follow
        state[row] = follow
        row += 1


def _ballistics_adjoint(grad, level, follow, rising, keep, start, grad_end, grad_level, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    samples = level.shape[1]
    for row in range(level.shape[0]):
        rise, fall = keep[row, 0], keep[row, 1]
        carried = grad_end[row]
        of_rise = 0.0
        of_both = 0.0
        for n in range(samples - 1, -1, -1):
            up = rising[row, n]
            factor = rise if up else fall
            before = np.float64(follow[row, n - 1]) if n else start[row]
            total = np.float64(grad[row, n]) + carried
            change = (before - np.float64(level[row, n])) * total
            of_both += change
            of_rise += change if up else 0.0
            grad_level[row, n] = total - factor * total
            carried = factor * total
        sums[row, 0] = of_rise
        sums[row, 1] = of_both - of_rise
        sums[row, 2] = carried


def _bend(log_level, values, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(log_level.shape[0]):
        threshold, slope, knee, makeup = values[row]
        half = 0.5 * knee
        inverse = 1.0 / max(knee, 1e-9)
        for n in range(log_level.shape[1]):
            over = log_level[row, n] - threshold
            bent = min(max((over + half) * inverse, 0.0), 1.0)
            out[row, n] = slope * (half * bent * bent + max(over - half, 0.0)) + makeup


def _bend_adjoint(total, level, log_level, values, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(total.shape[0]):
        threshold, slope, knee, _ = values[row]
        half = 0.5 * knee
        inverse = 1.0 / max(knee, 1e-9)
        of_threshold = of_slope = of_knee = of_makeup = 0.0
        for n in range(total.shape[1]):
            over = log_level[row, n] - threshold
            bent = min(max((over + half) * inverse, 0.0), 1.0)
            now = np.float64(total[row, n])
            moved = slope * now * bent
            of_threshold -= moved
            of_slope += now * (half * bent * bent + max(over - half, 0.0))
            of_knee += 0.5 * moved * (1.0 - bent)
            of_makeup += now
            total[row, n] = moved / level[row, n] if level[row, n] > 1e-12 else 0.0
        sums[row, 0], sums[row, 1] = of_threshold, of_slope
        sums[row, 2], sums[row, 3] = of_knee, of_makeup


def _cascade(x, sections, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    count = sections.shape[0]
    state = np.empty((count, 2))
    for row in range(x.shape[0]):
        state[:] = 0.0
        for n in range(x.shape[1]):
            value = np.float64(x[row, n])
            for k in range(count):
                passed = sections[k, 0] * value + state[k, 0]
                state[k, 0] = sections[k, 1] * value - sections[k, 4] * passed + state[k, 1]
                state[k, 1] = sections[k, 2] * value - sections[k, 5] * passed
                value = passed
            out[row, n] = value


def _freeverb(x, delays, values, last, lines, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    feedback, damping = values[0], values[1]
    channels, combs = delays.shape
    samples = x.shape[0]
    longest = lines.shape[2] - samples
    for channel in range(channels):
        out[channel, :] = 0.0
        for comb in range(combs):
            line = lines[channel, comb]
            start = longest - delays[channel, comb]
            held = last[channel, comb]
            for n in range(samples):
                now = line[start + n]
                held = now + damping * (held - now)
                line[longest + n] = x[n] + feedback * held
                out[channel, n] += now
            last[channel, comb] = held


def _all_pass(x, delay, line, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(x.shape[0]):
        for n in range(x.shape[1]):
            before = line[row, n]
            line[row, delay + n] = x[row, n] + 0.5 * before
            out[row, n] = before - x[row, n]


def _latch(level, limits, state, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for row in range(level.shape[0]):
        upper, lower, hold = limits[row, 0], limits[row, 1], limits[row, 2]
        is_open = state[row, 0] > 0
        age = state[row, 1]
        for n in range(level.shape[1]):
            now = np.float64(level[row, n])
            age = 0.0 if now >= lower else age + 1.0
            is_open = now > upper or (is_open and age <= hold)
            out[row, n] = is_open
        state[row, 0] = 1.0 if is_open else 0.0
        state[row, 1] = age


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
