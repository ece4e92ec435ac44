"""Filter banks that sum the bins of a Fourier transform: mel and chroma."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_count, check_flag, check_number, check_option
from sonograd.functional.scales import MelScale, mel_frequencies

__all__ = [
    "FilterNorm",
    "Span",
    "band_spans",
    "check_band",
    "chroma_filterbank",
    "mel_filterbank",
    "sum_bands",
]

FilterNorm: TypeAlias = Literal["slaney", "none"]
Span: TypeAlias = tuple[int, int, int, int]
"""First filter, one after the last, the first bin that any of them sees, one after the last."""

_GROUP = 16  # filters that are applied together


def mel_filterbank(
    *,
    sample_rate: float,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: MelScale = "slaney",
    norm: FilterNorm = "slaney",
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Triangles between neighboring mel frequencies.

    With :math:`n + 2` frequencies :math:`f_0 \ldots f_{n+1}` that are equally far apart in mel,

    .. math::
        M_{ik} = c_i \max\Big(0, \min\Big(\frac{k s / N - f_i}{f_{i+1} - f_i},
        \frac{f_{i+2} - k s / N}{f_{i+2} - f_{i+1}}\Big)\Big)

    with :math:`c_i = 2 / (f_{i+2} - f_i)` for ``norm="slaney"`` (each filter has the same area),
    else 1. Equal to :func:`librosa.filters.mel`.

    Args:
        sample_rate: In Hz.
        n_fft: Length of the transform.
        n_mels: Number of filters.
        fmin: Where the first triangle begins, in Hz.
        fmax: Where the last triangle ends, in Hz; half the sample rate if None.
        scale: ``"slaney"`` or ``"htk"``, see :func:`hz_to_mel`.
        norm: ``"slaney"`` for equal areas, ``"none"`` for equal peaks.
        dtype: Floating-point type of the result; torch's default if None.
        device: Where the result lies.

    Returns:
        ``(n_mels, n_fft // 2 + 1)``, real. Filters narrower than a bin may be empty.

    Raises:
        ParameterError: If an argument is out of range.

    >>> mel_filterbank(sample_rate=8000, n_fft=512, n_mels=40).shape
    torch.Size([40, 257])
    """
    fmax = check_band(sample_rate, n_fft, fmin, fmax)
    check_count("n_mels", n_mels)
    check_option(norm, "norm", ("slaney", "none"))
    edges = mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax, scale=scale)
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    if norm == "slaney":
        bank *= 2 / (high - low)
    return bank.to(dtype=dtype or torch.get_default_dtype(), device=device)


def chroma_filterbank(
    *,
    sample_rate: float,
    n_fft: int,
    n_chroma: int = 12,
    tuning: float = 0.0,
    center_octave: float | None = 5.0,
    octave_width: float = 2.0,
    base_c: bool = True,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Gaussian bumps around each pitch class, repeated in every octave.

    Bin :math:`k` has the pitch :math:`p_k = n \log_2(f_k / (440 / 16))` in chroma steps and the
    width :math:`d_k = \max(1, p_{k+1} - p_k)`; its share in class :math:`i` is
    :math:`\exp(-2 (\Delta_{ik} / d_k)^2)`, with :math:`\Delta` the distance around the circle of
    ``n_chroma``, scaled to unit length over classes and weighted by a Gaussian over octaves. Ellis,
    *Chroma feature analysis and synthesis*, 2007. Equal to :func:`librosa.filters.chroma`.

    Args:
        sample_rate: In Hz.
        n_fft: Length of the transform.
        n_chroma: Pitch classes per octave.
        tuning: Deviation from A = 440 Hz, in steps of ``n_chroma`` per octave.
        center_octave: Octave (above 27.5 Hz) that counts most; all alike if None.
        octave_width: Standard deviation of the weights, in octaves; positive.
        base_c: The first class is C; otherwise A.
        dtype: Floating-point type of the result; torch's default if None.
        device: Where the result lies.

    Returns:
        ``(n_chroma, n_fft // 2 + 1)``, real.

    Raises:
        ParameterError: If an argument is out of range.
    """
    check_band(sample_rate, n_fft, 0.0, None)
    check_count("n_chroma", n_chroma)
    check_number("tuning", tuning)
    if not abs(tuning) <= n_chroma:
        raise ParameterError(f"tuning is {tuning}; expected {-n_chroma} to {n_chroma}, an octave")
    check_flag("base_c", base_c)
    check_number("octave_width", octave_width, positive=True)
    if center_octave is not None:
        check_number("center_octave", center_octave)
    a440 = 440.0 * 2 ** (tuning / n_chroma)
    hz = torch.arange(1, n_fft, dtype=torch.float64) * (sample_rate / n_fft)
    pitch: Tensor = n_chroma * torch.log2(hz / (a440 / 16))
    # A bin at 0 Hz has no pitch; it is put an octave and a half below the first bin.
    pitch = torch.cat([pitch[:1] - 1.5 * n_chroma, pitch])
    width = torch.cat([pitch.diff().clamp(min=1.0), pitch.new_ones(1)])
    distance = pitch - torch.arange(n_chroma, dtype=torch.float64)[:, None]
    half = round(n_chroma / 2)
    distance = torch.remainder(distance + half + 10 * n_chroma, n_chroma) - half
    bank: Tensor = torch.exp(-0.5 * (2 * distance / width).square())
    bank = bank / bank.norm(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
    if center_octave is not None:
        octaves = (pitch / n_chroma - center_octave) / octave_width
        bank = bank * torch.exp(-0.5 * octaves.square())
    if base_c:
        bank = bank.roll(-3 * (n_chroma // 12), dims=0)
    bank = bank[:, : n_fft // 2 + 1].contiguous()
    return bank.to(dtype=dtype or torch.get_default_dtype(), device=device)


def check_band(sample_rate: float, n_fft: int, fmin: float, fmax: float | None) -> float:
    """Refuse a band that is no part of 0 to Nyquist; return its upper end in Hz."""
    check_number("sample_rate", sample_rate, positive=True, unit="Hz")
    check_count("n_fft", n_fft)
    nyquist = sample_rate / 2
    if fmax is None:
        fmax = nyquist
    check_number("fmin", fmin, unit="Hz")
    check_number("fmax", fmax, unit="Hz")
    if not fmax <= nyquist:
        raise ParameterError(
            f"fmax is {fmax} Hz; expected at most half the sample rate, {nyquist:g} Hz"
        )
    if not 0 <= fmin < fmax:
        raise ParameterError(f"fmin is {fmin} Hz; expected at least 0 and below fmax ({fmax:g} Hz)")
    return fmax


def band_spans(bank: Tensor) -> tuple[Span, ...]:
    """Find which bins neighboring filters see, so that the others need not be looked at.

    Args:
        bank: Filters ``(bands, bins)``.

    Returns:
        Groups of filters; together they are all.
    """
    spans = []
    for first in range(0, len(bank), _GROUP):
        group = bank[first : first + _GROUP]
        seen = group.ne(0).any(0).nonzero().flatten()
        low, high = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 1)
        spans.append((first, first + len(group), low, high))
    return tuple(spans)


def sum_bands(
    spectrum: Tensor, bank: Tensor, spans: Sequence[Span] = (), out: Tensor | None = None
) -> Tensor:
    """Apply a filter bank to spectra.

    Args:
        spectrum: Real, ``(..., bins)``.
        bank: Filters ``(bands, bins)``.
        spans: What :func:`band_spans` found; without it the whole bank is applied.
        out: Where the result goes, ``(rows, bands)``, if anywhere.

    Returns:
        ``(..., bands)``.
    """
    if out is None:
        return spectrum @ bank.mT
    for first, last, low, high in spans or ((0, bank.shape[0], 0, bank.shape[1]),):
        part = bank[first:last, low:high]
        torch.mm(spectrum[:, low:high], part.mT, out=out[:, first:last])
    return out
