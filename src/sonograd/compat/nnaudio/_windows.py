"""Windows by name, in numpy and float64: those of ``scipy.signal.get_window``."""

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from sonograd.errors import ParameterError
from sonograd.functional import windows
from sonograd.functional.windows import WindowLike

__all__ = ["Array", "Window", "get_window", "named", "window_filter"]

Array: TypeAlias = NDArray[Any]
#: A name, a name with its parameter, or the beta of a Kaiser window.
Window: TypeAlias = str | tuple[str, float] | float

_ALIASES = {
    "ones": "boxcar", "rect": "boxcar", "rectangular": "boxcar", "box": "boxcar", "han": "hann",
    "hanning": "hann", "ham": "hamming", "hamm": "hamming", "black": "blackman", "blk": "blackman",
    "nut": "nuttall", "blackharr": "blackmanharris", "bkh": "blackmanharris", "flat": "flattop",
    "flt": "flattop", "bart": "bartlett", "brt": "bartlett", "tri": "triang",
    "triangle": "triang", "sine": "cosine", "halfcosine": "cosine", "tuk": "tukey",
    "gauss": "gaussian", "gss": "gaussian", "ksr": "kaiser",
}  # fmt: skip


def named(window: Window) -> WindowLike:
    """Return the name that :func:`sonograd.functional.get_window` knows a window by."""
    if isinstance(window, int | float) and not isinstance(window, bool):
        return ("kaiser", float(window))
    if isinstance(window, str):
        return ("tukey", 0.5) if window in {"tukey", "tuk"} else _ALIASES.get(window, window)
    if not isinstance(window, tuple) or len(window) != 2:
        raise ParameterError(
            f"window is {window!r}; expected a name, a name with its parameter, or a number"
        )
    return (_ALIASES.get(window[0], window[0]), float(window[1]))


def get_window(window: Window, Nx: int, fftbins: bool = True) -> Array:  # noqa: N803
    """Return a window.

    Args:
        window: A name such as ``"hann"``; a name with its parameter, ``("kaiser", beta)``,
            ``("gaussian", sigma)``, ``("tukey", alpha)``; or a number, the beta of a Kaiser
            window.
        Nx: Samples.
        fftbins: One period without its last point; False gives the symmetric window.

    Raises:
        ParameterError: If there is no such window, or it needs another parameter.
    """
    with torch.device("cpu"):
        made = windows.get_window(named(window), int(Nx), periodic=fftbins, dtype=torch.float64)
    return np.asarray(made.numpy())


def window_filter(taps: int, frequencies: Array, gains: Array) -> Array:
    """Design a linear-phase filter by sampling a response, with a Hamming window.

    ``frequencies`` run from 0 to 1, the Nyquist frequency; between them the gain is interpolated
    on a grid of ``1 + 2**ceil(log2(taps))`` points, as ``scipy.signal.firwin2`` does.
    """
    grid = np.linspace(0.0, 1.0, 1 + 2 ** math.ceil(math.log2(taps)))
    response = np.interp(grid, frequencies, gains)
    delayed = response * np.exp(-0.5j * np.pi * (taps - 1) * grid)
    return np.asarray(np.fft.irfft(delayed)[:taps] * get_window("hamming", taps, fftbins=False))
