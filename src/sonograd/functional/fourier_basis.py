"""Fourier transforms at any frequencies: explicit kernels, and their computation by FFT."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_count, check_number, check_option
from sonograd.functional.filterbanks import check_band

__all__ = [
    "FrequencyScale",
    "Interpolation",
    "fourier_frequencies",
    "fourier_kernels",
    "interpolate_bins",
    "interpolation",
]

FrequencyScale: TypeAlias = Literal["none", "linear", "log", "log2"]

_TAPS = 16  # fine bins under the interpolating kernel: an error of 1e-13
_GROUP = 16  # frequencies that share one matrix


def fourier_frequencies(
    *,
    sample_rate: float,
    n_fft: int,
    freq_scale: FrequencyScale = "none",
    freq_bins: int | None = None,
    fmin: float = 50.0,
    fmax: float | None = 6000.0,
) -> Tensor:
    r"""Frequencies of a Fourier transform whose bins need not be equally spaced.

    With :math:`K` bins: ``"none"``: :math:`f_k = k s / N`, the first ``freq_bins`` of them;
    ``"linear"``: :math:`f_k = f_0 + k (f_1 - f_0) / K`; ``"log"`` and ``"log2"``, which are the
    same: :math:`f_k = f_0 (f_1 / f_0)^{k / K}`. The upper end :math:`f_1` is not reached.

    Args:
        sample_rate: In Hz.
        n_fft: Length of the transform.
        freq_scale: ``"none"``, ``"linear"``, ``"log"`` or ``"log2"``.
        freq_bins: Number of bins; ``n_fft // 2 + 1`` if None.
        fmin: :math:`f_0` in Hz; not used for ``"none"``.
        fmax: :math:`f_1` in Hz; half the sample rate if None; not used for ``"none"``.

    Returns:
        ``(freq_bins,)`` in Hz, float64.

    Raises:
        ParameterError: If an argument is out of range.

    >>> fourier_frequencies(sample_rate=8, n_fft=4)
    tensor([0., 2., 4.], dtype=torch.float64)
    """
    check_option(freq_scale, "freq_scale", ("none", "linear", "log", "log2"))
    check_count("n_fft", n_fft)
    check_number("fmin", fmin, unit="Hz")
    if fmax is not None:
        check_number("fmax", fmax, unit="Hz")
    whole = n_fft // 2 + 1
    bins = whole if freq_bins is None else freq_bins
    if freq_bins is not None:
        check_count("freq_bins", freq_bins, least=0)
    if bins < 1 or (freq_scale == "none" and bins > whole):
        limit = f"1 to {whole} (n_fft // 2 + 1)" if freq_scale == "none" else "at least 1"
        raise ParameterError(f"freq_bins is {bins}; expected {limit}")
    if freq_scale == "none":
        check_band(sample_rate, n_fft, 0.0, None)
        return torch.arange(bins, dtype=torch.float64) * (sample_rate / n_fft)
    fmax = check_band(sample_rate, n_fft, fmin, fmax)
    share = torch.arange(bins, dtype=torch.float64) / bins
    if freq_scale == "linear":
        return fmin + (fmax - fmin) * share
    if fmin <= 0:
        raise ParameterError(f"fmin is {fmin} Hz; expected more than 0 for a logarithmic scale")
    return fmin * (fmax / fmin) ** share


def fourier_kernels(frequencies_hz: Tensor, *, sample_rate: float, n_fft: int) -> Tensor:
    r"""Real and imaginary part of :math:`e^{-2 \pi i f_k n / s}`, without a window.

    Args:
        frequencies_hz: ``(bins,)`` in Hz.
        sample_rate: In Hz.
        n_fft: Length of the kernels.

    Returns:
        ``(2, bins, n_fft)``, float64.
    """
    cycles = frequencies_hz.cpu().to(torch.float64)[:, None] / sample_rate
    position = torch.arange(n_fft, dtype=torch.float64)
    angle = 2 * math.pi * torch.remainder(cycles * position, 1.0)
    return torch.stack([angle.cos(), -angle.sin()])


@dataclass(frozen=True)
class Interpolation:
    """How to get a transform at given frequencies from an FFT with half its bin spacing.

    Attributes:
        n_fft: Length of that FFT.
        weight: What frames are multiplied with in advance, ``(frame_length,)``.
        matrices: The numbers of all matrices, one after the other, ``(numbers,)``. Each takes
            the real and imaginary parts of successive bins to those of successive frequencies.
        spans: Per matrix: its first bin, one after its last, its first frequency, one after its
            last.
    """

    n_fft: int
    weight: Tensor
    matrices: Tensor
    spans: tuple[tuple[int, int, int, int], ...]


def interpolation(frequencies_hz: Tensor, *, sample_rate: float, n_fft: int) -> Interpolation:
    r"""Design the computation of :math:`\sum_n x_n e^{-2 \pi i f_k n / s}` for frames.

    Frames are divided by the transform of a Kaiser-Bessel kernel and transformed at twice their
    length; the kernel then interpolates between bins. Fourmont, *Non-equispaced fast Fourier
    transforms with applications to tomography*, doi:10.1007/s00041-003-0021-1.

    Args:
        frequencies_hz: ``(bins,)`` in Hz, 0 to half the sample rate, rising or falling slowly.
        sample_rate: In Hz.
        n_fft: Length of the frames.

    Returns:
        Tables in float64.
    """
    fine = 2 * n_fft
    position = frequencies_hz.to(torch.float64) * (fine / sample_rate)
    beta = 0.98 * math.pi * _TAPS * 0.75  # Kaiser-Bessel kernel for twice the length
    center = n_fft / 2
    shift = (torch.arange(n_fft, dtype=torch.float64) - center) / fine
    root = (beta**2 - (math.pi * _TAPS * shift).square()).sqrt()
    # Both the kernel and its transform are scaled by exp(-beta).
    response = _TAPS * (torch.exp(root - beta) - torch.exp(-root - beta)) / (2 * root)
    matrices, spans = [], []
    for first in range(0, len(position), _GROUP):
        group = position[first : first + _GROUP]
        low = math.floor(float(group.min())) - _TAPS // 2 + 1
        high = math.floor(float(group.max())) + _TAPS // 2 + 1
        bins = torch.arange(low, high, dtype=torch.float64)
        offset = group[:, None] - bins
        inside = (1 - (2 * offset / _TAPS).square()).clamp(min=0.0)
        kernel = torch.special.i0e(beta * inside.sqrt()) * torch.exp(beta * (inside.sqrt() - 1))
        kernel = kernel * (offset.abs() <= _TAPS / 2)
        angle = -2 * math.pi * center / fine * offset
        start, matrix = _folded(kernel * angle.cos(), kernel * angle.sin(), low, n_fft)
        spans.append((start, start + matrix.shape[0] // 2, first, first + len(group)))
        matrices.append(matrix.flatten())
    return Interpolation(fine, 1 / response, torch.cat(matrices), tuple(spans))


def _folded(real: Tensor, imag: Tensor, low: int, half: int) -> tuple[int, Tensor]:
    """Write complex weights as a real matrix, on the bins ``0`` to ``half`` of a real signal.

    Bins outside are the conjugates of bins inside.
    """
    outputs, count = real.shape
    index = torch.arange(low, low + count)
    mirrored = (index < 0) | (index > half)
    inside = torch.where(index < 0, -index, torch.where(index > half, 2 * half - index, index))
    sign = 1.0 - 2.0 * mirrored.to(torch.float64)
    start, stop = int(inside.min()), int(inside.max()) + 1
    matrix = torch.zeros(stop - start, 2, outputs, 2, dtype=torch.float64)
    for column, row in enumerate((inside - start).tolist()):
        a, b, s = real[:, column], imag[:, column], sign[column]
        matrix[row, 0, :, 0] += a
        matrix[row, 0, :, 1] += b
        matrix[row, 1, :, 0] -= s * b
        matrix[row, 1, :, 1] += s * a
    return start, matrix.reshape(2 * (stop - start), 2 * outputs)


def interpolate_bins(
    spectrum: Tensor,
    matrices: Tensor,
    spans: Sequence[tuple[int, int, int, int]],
    out: Tensor | None = None,
) -> Tensor:
    """Get spectra at the frequencies of an :func:`interpolation`.

    Args:
        spectrum: FFT of frames, complex ``(..., bins)``.
        matrices: :attr:`Interpolation.matrices`, in the precision of ``spectrum``.
        spans: :attr:`Interpolation.spans`.
        out: Where the result goes, ``(rows, frequencies)``, if anywhere.

    Returns:
        Complex ``(..., frequencies)``.
    """
    pairs = torch.view_as_real(spectrum)
    parts, begin = [], 0
    target = None if out is None else torch.view_as_real(out).flatten(-2)
    for low, high, first, last in spans:
        size = 4 * (high - low) * (last - first)
        matrix = matrices[begin : begin + size].view(2 * (high - low), 2 * (last - first))
        begin += size
        rows = pairs[..., low:high, :].flatten(-2)
        if target is None:
            parts.append(rows @ matrix)
        else:
            torch.mm(rows, matrix, out=target[:, 2 * first : 2 * last])
    if out is not None:
        return out
    return torch.view_as_complex(torch.cat(parts, dim=-1).unflatten(-1, (-1, 2)))
