"""The helper functions of ``nnAudio.utils``, with its signatures and results."""

import math
import sys
import warnings
from collections.abc import Callable
from time import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, fold

from sonograd.compat.nnaudio._windows import Array, Window, get_window, window_filter
from sonograd.compat.nnaudio.librosa_functions import (
    chroma,
    fft2gammatonemx,
    fft_frequencies,
    get_gammatone,
    get_mel,
    hz_to_mel,
    hz_to_octs,
    mel_frequencies,
    mel_to_hz,
    normalize,
    pad_center,
    tiny,
)
from sonograd.errors import ParameterError, ShapeError

# What ``from nnAudio.utils import *`` brings is relied upon, the modules included.
__all__ = [
    "broadcast_dim", "broadcast_dim_conv2d", "chroma", "complex_mul", "conv1d", "conv2d",
    "create_cqt_kernels", "create_fourier_kernels", "create_lowpass_filter", "downsampling_by_2",
    "downsampling_by_n", "early_downsample", "early_downsample_count", "epsilon", "extend_fbins",
    "fft", "fft2gammatonemx", "fft_frequencies", "fold", "get_cqt_complex", "get_cqt_complex2",
    "get_early_downsample_params", "get_gammatone", "get_mel", "get_window",
    "get_window_dispatch", "hz_to_mel", "hz_to_octs", "major_version", "math", "mel_frequencies",
    "mel_to_hz", "minor_version", "nextpow2", "nn", "normalize", "np", "overlap_add",
    "pad_center", "prepow2", "rfft_fn", "split_version", "sys", "sz_float", "time", "tiny",
    "torch", "torch_window_sumsquare", "uniform_distribution", "warnings",
]  # fmt: skip

sz_float = 4
epsilon = 1e-8
split_version = torch.__version__.split(".")
major_version, minor_version = int(split_version[0]), int(split_version[1])


def fft(
    x: Any,
    n: int | None = None,
    axis: int = -1,
    overwrite_x: bool = False,
) -> Array:
    """Return the discrete Fourier transform along ``axis``."""
    x = np.asarray(x)
    spectrum = np.fft.fft(x, n, axis)
    single = x.dtype in {np.dtype(np.float32), np.dtype(np.complex64)}
    return spectrum.astype(np.complex64) if single else spectrum


def rfft_fn(x: Tensor, n: int | None = None, onesided: bool = False) -> Tensor:
    """Return the two-sided transform of the last axis, its parts along a new last axis."""
    return torch.view_as_real(torch.fft.fft(x))


def nextpow2(A: float) -> int:  # noqa: N803
    """Return the smallest ``p`` with ``2**p >= A``."""
    return math.ceil(math.log2(A))


def prepow2(A: float) -> int:  # noqa: N803
    """Return the largest ``p`` with ``2**p <= A``."""
    return math.floor(math.log2(A))


def uniform_distribution(
    r1: float, r2: float, *size: int, device: torch.device | str | None
) -> Tensor:
    """Return random numbers between ``r1`` and ``r2``."""
    return (r1 - r2) * torch.rand(*size, device=device) + r2


def broadcast_dim(x: Tensor) -> Tensor:
    """Return ``(batch, channels, samples)`` from one to three axes."""
    if x.ndim not in {1, 2, 3}:
        raise ShapeError(f"x has shape {tuple(x.shape)}; expected (samples,) or (batch, samples)")
    return x if x.ndim == 3 else x.reshape(-1, 1, x.shape[-1])


def broadcast_dim_conv2d(x: Tensor) -> Tensor:
    """Return ``(batch, 1, bins, frames)`` from ``(batch, bins, frames)``."""
    if x.ndim != 3:
        raise ShapeError(f"x has shape {tuple(x.shape)}; expected (batch, bins, frames)")
    return x.unsqueeze(1)


def torch_window_sumsquare(
    w: Tensor, n_frames: int, stride: int, n_fft: int, power: float = 2
) -> Tensor:
    """Return the overlap-added powers of a window, ``(1, 1, 1, samples)``."""
    frames = (w**power).reshape(1, -1, 1).expand(1, -1, n_frames)
    size = (1, n_fft + stride * (n_frames - 1))
    return fold(frames, size, kernel_size=(1, n_fft), stride=stride)


def overlap_add(X: Tensor, stride: int) -> Tensor:  # noqa: N803
    """Add frames ``(batch, n_fft, frames)`` that start every ``stride`` samples."""
    n_fft, frames = X.shape[1:]
    size = (1, n_fft + stride * (frames - 1))
    return fold(X, size, kernel_size=(1, n_fft), stride=stride).flatten(1)


def extend_fbins(X: Tensor) -> Tensor:  # noqa: N803
    """Return the two-sided spectrum of a one-sided one, ``(batch, bins, frames, 2)``."""
    upper = X[:, 1:-1].flip(1) * X.new_tensor([1.0, -1.0])
    return torch.cat([X, upper], 1)


def complex_mul(
    cqt_filter: tuple[Tensor, Tensor], stft: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the complex matrix product of two pairs of real and imaginary part."""
    (a, b), (c, d) = cqt_filter, stft
    return a @ c - b @ d, a @ d + b @ c


def downsampling_by_n(x: Tensor, filterKernel: Tensor, n: int) -> Tensor:  # noqa: N803
    """Filter ``(batch, 1, samples)`` and keep every ``n``-th sample.

    A kernel of even length delays by half a sample.
    """
    return conv1d(x, filterKernel, stride=n, padding=(filterKernel.shape[-1] - 1) // 2)


def downsampling_by_2(x: Tensor, filterKernel: Tensor) -> Tensor:  # noqa: N803
    """Filter ``(batch, 1, samples)`` and keep every other sample."""
    return downsampling_by_n(x, filterKernel, 2)


def create_lowpass_filter(
    band_center: float = 0.5,
    kernelLength: int = 256,  # noqa: N803
    transitionBandwidth: float = 0.03,  # noqa: N803
) -> Array:
    """Design a low-pass filter; ``band_center`` is relative to the Nyquist frequency."""
    passband = band_center / (1 + transitionBandwidth)
    stopband = band_center * (1 + transitionBandwidth)
    gains = np.array([1.0, 1.0, 0.0, 0.0])
    kernel = window_filter(kernelLength, np.array([0.0, passband, stopband, 1.0]), gains)
    return kernel.astype(np.float32)


def early_downsample_count(
    nyquist: float, filter_cutoff: float, hop_length: int, n_octaves: int
) -> int:
    """Return how often the rate can be halved before the transform starts."""
    by_rate = math.ceil(math.log2(0.85 * nyquist / filter_cutoff)) - 2
    by_hop = nextpow2(hop_length) - n_octaves + 1
    return min(max(0, by_rate), max(0, by_hop))


def early_downsample(
    sr: float, hop_length: int, n_octaves: int, nyquist: float, filter_cutoff: float
) -> tuple[float, int, int]:
    """Return the rate, the hop and the factor after :func:`early_downsample_count` halvings."""
    factor = 2 ** early_downsample_count(nyquist, filter_cutoff, hop_length, n_octaves)
    return sr / float(factor), hop_length // factor, factor


def get_early_downsample_params(
    sr: float,
    hop_length: int,
    fmax_t: float,
    Q: float,  # noqa: N803
    n_octaves: int,
    verbose: bool,
) -> tuple[float, int, int, Tensor | None, bool]:
    """Return rate, hop, factor and filter of the early decimation, and whether there is one."""
    cutoff = fmax_t * (1 + 0.75 / Q)
    sr, hop_length, factor = early_downsample(sr, hop_length, n_octaves, sr // 2, cutoff)
    if factor == 1:
        return sr, hop_length, factor, None, False
    kernel = create_lowpass_filter(1 / factor, kernelLength=256, transitionBandwidth=0.03)
    return sr, hop_length, factor, torch.tensor(kernel)[None, None], True


def get_window_dispatch(window: Window, N: int, fftbins: bool = True) -> Array:  # noqa: N803
    """Return a window; ``("gaussian", dB)`` is given by its attenuation at the edges."""
    if isinstance(window, tuple) and window[0] == "gaussian":
        if len(window) != 2 or window[1] <= 0:
            raise ParameterError(f"window is {window!r}; expected ('gaussian', dB > 0)")
        sigma = math.ceil(N / 2 / math.sqrt(-2 * math.log(10 ** (-window[1] / 20))))
        return get_window(("gaussian", sigma), N, fftbins=fftbins)
    return get_window(window, N, fftbins=fftbins)


def create_fourier_kernels(
    n_fft: int,
    win_length: int | None = None,
    freq_bins: int | None = None,
    fmin: float = 50,
    fmax: float = 6000,
    sr: float = 44100,
    freq_scale: str = "linear",
    window: Window = "hann",
    verbose: bool = True,
) -> tuple[Array, Array, list[float], list[float], Array]:
    """Return sines and cosines ``(freq_bins, 1, n_fft)``, and where their bins lie.

    Returns:
        Sines, cosines, the frequencies in Hz, the same in bins of the FFT, and the window,
        centered in ``n_fft`` samples.

    Raises:
        ParameterError: If ``freq_scale`` is not ``no``, ``linear``, ``log`` or ``log2``.
    """
    count = n_fft // 2 + 1 if freq_bins is None else freq_bins
    bins = fourier_bins(freq_scale, count, n_fft=n_fft, fmin=fmin, fmax=fmax, sr=sr)
    phase = 2 * np.pi * (np.outer(bins, np.arange(n_fft)) % n_fft)[:, None] / n_fft
    mask = pad_center(get_window(window, int(win_length or n_fft)), n_fft)
    frequencies = [float(hz) for hz in bins * sr / n_fft]
    sines, cosines = np.sin(phase), np.cos(phase)
    return (
        sines.astype(np.float32),
        cosines.astype(np.float32),
        frequencies,
        bins.tolist(),
        mask.astype(np.float32),
    )


def fourier_bins(
    freq_scale: str, count: int, *, n_fft: int, fmin: float, fmax: float, sr: float
) -> Array:
    """Return where the bins lie, in units of ``sr / n_fft``; ``fmax`` itself is left out."""
    position = np.arange(count)
    if freq_scale == "no":
        return position
    if freq_scale == "linear":
        return np.asarray(n_fft / sr * (fmin + position * (fmax - fmin) / count))
    if freq_scale in ("log", "log2"):
        return np.asarray(n_fft / sr * fmin * (fmax / fmin) ** (position / count))
    raise ParameterError(f"freq_scale is {freq_scale!r}; expected 'no', 'linear', 'log' or 'log2'")


def cqt_frequencies(
    fmin: float, fmax: float | None, n_bins: int | None, bins_per_octave: int
) -> Array:
    """Return the frequencies of the bins in Hz; ``fmax``, if given, decides how many."""
    if fmax is not None:
        if n_bins is not None:
            warnings.warn("fmax is given, so n_bins is ignored", SyntaxWarning, stacklevel=3)
        n_bins = math.ceil(bins_per_octave * math.log2(fmax / fmin))
    if n_bins is None or n_bins < 1:
        raise ParameterError(f"n_bins is {n_bins} and fmax {fmax}; expected at least one bin")
    return np.asarray(fmin * 2.0 ** (np.arange(n_bins) / bins_per_octave))


def bins_that_fit(fs: float, fmin: float, bins_per_octave: int) -> str:
    """Say what to do where a bin lies above the Nyquist frequency."""
    if not 0 < fmin <= fs / 2:
        return f"use an fmin above 0 Hz and at most {fs / 2:.1f} Hz"
    most = math.floor(bins_per_octave * math.log2(fs / 2 / fmin)) + 1
    return f"use at most {most} n_bins, or a lower fmin"


def create_cqt_kernels(
    Q: float,  # noqa: N803
    fs: float,
    fmin: float,
    n_bins: int | None = 84,
    bins_per_octave: int = 12,
    norm: float | None = 1,
    window: Window = "hann",
    fmax: float | None = None,
    topbin_check: bool = True,
    gamma: float = 0,
    pad_fft: bool = True,
) -> tuple[Array, int, Tensor, Array]:
    """Return the atoms of a constant-Q transform, centered in ``2**p`` samples.

    Returns:
        Kernels ``(n_bins, kernel_width)``, ``kernel_width``, the lengths of the atoms in samples,
        and their frequencies in Hz.

    Raises:
        ParameterError: If a bin lies above the Nyquist frequency.
    """
    frequencies = cqt_frequencies(fmin, fmax, n_bins, bins_per_octave)
    if topbin_check and frequencies.max() > fs / 2:
        raise ParameterError(
            f"the top bin, {frequencies.max():.1f} Hz, lies above the Nyquist frequency, "
            f"{fs / 2:.1f} Hz; {bins_that_fit(fs, fmin, bins_per_octave)}"
        )
    alpha = 2.0 ** (1.0 / bins_per_octave) - 1.0
    lengths = np.ceil(Q * fs / (frequencies + gamma / alpha))
    width = 2 ** math.ceil(math.log2(lengths.max()))
    kernels = np.zeros((len(frequencies), width), dtype=np.complex64)
    for row, (frequency, length) in enumerate(zip(frequencies, lengths.astype(int), strict=True)):
        position = np.arange(length) - (length + 1) // 2
        atom = get_window_dispatch(window, int(length)) / length
        atom = atom * np.exp(2j * np.pi * frequency / fs * position)
        if norm:
            atom = atom / np.linalg.norm(atom, norm)
        kernels[row, width // 2 + position] = atom
    return kernels, width, torch.tensor(lengths, dtype=torch.float32), frequencies


def _padded(x: Tensor, padding: Callable[[Tensor], Tensor], width: int) -> Tensor:
    """Pad ``x``; a signal too short to be mirrored is continued by silence."""
    if x.shape[-1] > width // 2 or not isinstance(padding, nn.ReflectionPad1d):
        return padding(x)
    return nn.functional.pad(x, (width // 2, width // 2))


def get_cqt_complex(
    x: Tensor,
    cqt_kernels_real: Tensor,
    cqt_kernels_imag: Tensor,
    hop_length: int,
    padding: Callable[[Tensor], Tensor],
) -> Tensor:
    """Convolve ``(batch, 1, samples)`` with kernels; returns ``(batch, bins, frames, 2)``."""
    x = _padded(x, padding, cqt_kernels_real.shape[-1])
    real = conv1d(x, cqt_kernels_real, stride=hop_length)
    imaginary = conv1d(x, cqt_kernels_imag, stride=hop_length)
    return torch.stack([real, -imaginary], -1)


def get_cqt_complex2(
    x: Tensor,
    cqt_kernels_real: Tensor,
    cqt_kernels_imag: Tensor,
    hop_length: int,
    padding: Callable[[Tensor], Tensor],
    wcos: Tensor | None = None,
    wsin: Tensor | None = None,
) -> Tensor:
    """Do as :func:`get_cqt_complex`, with kernels in the frequency domain if there are sines."""
    if wcos is None or wsin is None:
        return get_cqt_complex(x, cqt_kernels_real, cqt_kernels_imag, hop_length, padding)
    x = _padded(x, padding, wcos.shape[-1])
    spectrum = conv1d(x, wcos, stride=hop_length), conv1d(x, wsin, stride=hop_length)
    real, imaginary = complex_mul((cqt_kernels_real, cqt_kernels_imag), spectrum)
    return torch.stack([real, imaginary], -1)
