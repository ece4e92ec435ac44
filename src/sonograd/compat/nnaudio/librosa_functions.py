"""The functions that nnAudio offers beside its layers: scales and filter banks, in numpy.

Signatures and results are those of ``nnAudio.librosa_functions``; the mathematics is that of
librosa's functions of the same names.
"""

import warnings
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonograd.errors import ParameterError

__all__ = [
    "chroma",
    "fft2gammatonemx",
    "fft_frequencies",
    "get_gammatone",
    "get_mel",
    "hz_to_mel",
    "hz_to_octs",
    "mel_frequencies",
    "mel_to_hz",
    "normalize",
    "pad_center",
    "tiny",
]

Array: TypeAlias = NDArray[Any]

# Slaney's scale: linear below 1 kHz, 27 logarithmic steps per factor of 6.4 above.
_HZ_PER_MEL = 200.0 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_STEP = np.log(6.4) / 27.0
# Glasberg and Moore's auditory filters, as Slaney's gammatone filter bank uses them.
_EAR_Q = 9.26449
_MIN_BANDWIDTH = 24.7


def hz_to_mel(frequencies: ArrayLike, htk: bool = False) -> Array:
    """Convert Hz to mels, on Slaney's scale or that of HTK."""
    hz = np.asanyarray(frequencies, dtype=float)
    if htk:
        return np.asanyarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = _KNEE_MEL + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _STEP
    return np.where(hz >= _KNEE_HZ, above, hz / _HZ_PER_MEL)[()]


def mel_to_hz(mels: ArrayLike, htk: bool = False) -> Array:
    """Convert mels to Hz, from Slaney's scale or that of HTK."""
    mel = np.asanyarray(mels, dtype=float)
    if htk:
        return np.asanyarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    above = _KNEE_HZ * np.exp(_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    return np.where(mel >= _KNEE_MEL, above, mel * _HZ_PER_MEL)[()]


def hz_to_octs(frequencies: ArrayLike, tuning: float = 0.0, bins_per_octave: int = 12) -> Array:
    """Convert Hz to octaves above A0; ``tuning`` is in bins."""
    lowest = 440.0 * 2.0 ** (tuning / bins_per_octave) / 16
    return np.asanyarray(np.log2(np.asanyarray(frequencies) / lowest))


def fft_frequencies(sr: float = 22050, n_fft: int = 2048) -> Array:
    """Return the frequencies of the bins of a one-sided transform in Hz."""
    return np.linspace(0, float(sr) / 2, 1 + n_fft // 2)


def mel_frequencies(
    n_mels: int = 128, fmin: float = 0.0, fmax: float = 11025.0, htk: bool = False
) -> Array:
    """Return ``n_mels`` frequencies in Hz, evenly spaced in mels."""
    edges = hz_to_mel([fmin, fmax], htk=htk)
    return mel_to_hz(np.linspace(edges[0], edges[1], n_mels), htk=htk)


def get_mel(
    sr: float,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: float | None = 1,
    dtype: Any = np.float32,
) -> Array:
    """Return triangular mel filters, ``(n_mels, n_fft // 2 + 1)``; of area 1 if ``norm`` is 1."""
    if norm not in {None, 1, np.inf}:
        raise ParameterError(f"norm is {norm!r}; expected 1, None or inf")
    centers = mel_frequencies(
        int(n_mels) + 2, fmin=fmin, fmax=sr / 2 if fmax is None else fmax, htk=htk
    )
    width = np.diff(centers)[:, None]
    distance = centers[:, None] - fft_frequencies(sr=sr, n_fft=n_fft)
    rising, falling = -distance[:-2] / width[:-1], distance[2:] / width[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if norm == 1:
        weights *= 2.0 / (centers[2:] - centers[:-2])[:, None]
    if not np.all((centers[:-2] == 0) | (weights.max(axis=1) > 0)):
        warnings.warn(
            f"some of {n_mels} mel filters are empty at n_fft {n_fft}; use fewer mels, or a "
            "longer transform",
            stacklevel=2,
        )
    return weights.astype(dtype)


def fft2gammatonemx(
    sr: float = 20000,
    n_fft: int = 2048,
    n_bins: int = 64,
    width: float = 1.0,
    fmin: float = 0.0,
    fmax: float = 11025,
    maxlen: int = 1024,
) -> tuple[Array, Array]:
    """Return the magnitude responses of gammatone filters at the bins of an FFT.

    M. Slaney, *An efficient implementation of the Patterson-Holdsworth auditory filter bank*,
    Apple technical report 35, 1993; sampled as D. Ellis does.

    Returns:
        Weights ``(n_bins, maxlen)`` and the center frequencies in Hz, lowest first.
    """
    corner = _EAR_Q * _MIN_BANDWIDTH
    step = np.arange(n_bins, 0, -1) * np.log((fmin + corner) / (fmax + corner)) / n_bins
    centers = (fmax + corner) * np.exp(step) - corner
    decay = np.exp(-1.019 * 2 * np.pi * width * (centers / _EAR_Q + _MIN_BANDWIDTH) / sr)
    theta = 2 * np.pi * centers / sr
    pole = decay * np.exp(1j * theta)
    slope = np.sqrt(3 + 2**1.5), -np.sqrt(3 + 2**1.5), np.sqrt(3 - 2**1.5), -np.sqrt(3 - 2**1.5)
    zeros = [decay * (np.cos(theta) + factor * np.sin(theta)) for factor in slope]

    def response(z: Array) -> Array:
        """Return the unscaled gain of each filter, ``(n_bins, points)``, at points ``z``."""
        above = np.prod([np.abs(z - zero[:, None]) for zero in zeros], axis=0)
        below = np.abs((pole[:, None] - z) * (pole.conj()[:, None] - z))
        return np.asarray(above / below**4)

    circle = np.exp(2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)
    peak = response(np.exp(1j * theta)[:, None])
    weights = np.zeros((n_bins, n_fft), dtype=np.float32)
    weights[:, : circle.size] = response(circle[None]) / peak
    return weights[:, :maxlen], centers


def get_gammatone(
    sr: float,
    n_fft: int,
    n_bins: int = 64,
    fmin: float = 20.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: float = 1,
    dtype: Any = np.float32,
) -> Array:
    """Return gammatone weights ``(n_bins, n_fft // 2 + 1)``, divided by ``n_fft``."""
    top = sr / 2 if fmax is None else fmax
    weights, _ = fft2gammatonemx(
        sr=sr, n_fft=n_fft, n_bins=int(n_bins), fmin=fmin, fmax=top, maxlen=n_fft // 2 + 1
    )
    return (weights / n_fft).astype(dtype)


def chroma(
    sr: float,
    n_fft: int,
    n_chroma: int = 12,
    tuning: float = 0.0,
    ctroct: float = 5.0,
    octwidth: float | None = 2,
    norm: float | None = 2,
    base_c: bool = True,
    dtype: Any = np.float32,
) -> Array:
    """Return a chroma filter bank, ``(n_chroma, n_fft // 2 + 1)``, after D. Ellis."""
    hz = np.linspace(0, sr, n_fft, endpoint=False)[1:]
    bins = n_chroma * hz_to_octs(hz, tuning=tuning, bins_per_octave=n_chroma)
    bins = np.concatenate([[bins[0] - 1.5 * n_chroma], bins])
    width = np.append(np.maximum(np.diff(bins), 1.0), 1.0)
    half = np.round(n_chroma / 2)
    distance = bins[None] - np.arange(n_chroma, dtype=float)[:, None]
    distance = np.remainder(distance + half + 10 * n_chroma, n_chroma) - half
    weights = normalize(np.exp(-0.5 * (2 * distance / width) ** 2), norm=norm, axis=0)
    if octwidth is not None:
        weights = weights * np.exp(-0.5 * ((bins / n_chroma - ctroct) / octwidth) ** 2)
    if base_c:
        weights = np.roll(weights, -3 * (n_chroma // 12), axis=0)
    return np.ascontiguousarray(weights[:, : 1 + n_fft // 2], dtype=dtype)


def pad_center(data: Array, size: int, axis: int = -1, **kwargs: Any) -> Array:
    """Pad ``data`` on both sides of ``axis`` to ``size``; options are those of ``numpy.pad``."""
    extra = size - data.shape[axis]
    if extra < 0:
        raise ParameterError(f"size is {size}; expected at least {data.shape[axis]}, that of data")
    widths = [(0, 0)] * data.ndim
    widths[axis] = (extra // 2, extra - extra // 2)
    return np.asarray(np.pad(data, widths, **{"mode": "constant", **kwargs}))


def tiny(x: ArrayLike) -> Any:
    """Return the smallest normal number of the type of ``x`` (float32 for integers)."""
    dtype = np.asarray(x).dtype
    return np.finfo(dtype if np.issubdtype(dtype, np.inexact) else np.float32).tiny


def normalize(
    S: Array,  # noqa: N803 - of the signature
    norm: float | None = np.inf,
    axis: int | None = 0,
    threshold: float | None = None,
    fill: bool | None = None,
) -> Array:
    """Scale ``S`` to a norm of 1 along ``axis``.

    Args:
        S: Real or complex.
        norm: Order of the norm; 0 counts, None changes nothing.
        axis: The axis, or None for all of it.
        threshold: Norms below this one are not divided by; the smallest normal number if None.
        fill: What becomes of those: None leaves them, False gives 0, True gives an even vector
            of norm 1.

    Raises:
        ParameterError: If an argument is out of its range or ``S`` is not finite.
    """
    if threshold is not None and threshold <= 0:
        raise ParameterError(f"threshold is {threshold}; expected a positive number")
    if fill not in {None, False, True}:
        raise ParameterError(f"fill is {fill!r}; expected None, True or False")
    if not np.all(np.isfinite(S)):
        raise ParameterError("S has values that are no finite numbers; expected finite ones")
    if norm is None:
        return S
    if norm == 0 and fill:
        raise ParameterError("norm is 0 and fill is True; a count of values cannot be filled")
    length = _norm(np.abs(S).astype(np.float64), norm, axis)
    small = length < (tiny(S) if threshold is None else threshold)
    scaled = S / np.where(small, 1.0, length)
    if fill is not None:
        count = S.size if axis is None else S.shape[axis]
        even = 1.0 if np.isinf(norm) else count ** (-1.0 / norm) if norm else 1.0
        scaled = np.where(small, even if fill else 0.0, scaled)
    return np.asarray(scaled.astype(S.dtype) if np.issubdtype(S.dtype, np.inexact) else scaled)


def _norm(magnitude: Array, norm: float, axis: int | None) -> Array:
    if norm == 0:
        return np.asarray(np.sum(magnitude > 0, axis=axis, keepdims=True, dtype=np.float64))
    if np.isinf(norm):
        reduce = np.max if norm > 0 else np.min
        return np.asarray(reduce(magnitude, axis=axis, keepdims=True))
    if isinstance(norm, int | float | np.number) and norm > 0:
        return np.asarray(np.sum(magnitude**norm, axis=axis, keepdims=True) ** (1.0 / norm))
    raise ParameterError(f"norm is {norm!r}; expected None, 0, a positive number, inf or -inf")
