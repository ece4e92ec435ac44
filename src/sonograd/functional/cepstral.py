"""Cepstra: the cosine transform, mel-frequency coefficients, and spectra of spectra."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_count, check_number
from sonograd.functional.framing import may_work_in_pieces

__all__ = ["cosine_basis", "generalized_cepstra", "lifter_weights", "log_frequency_maps"]


def cosine_basis(count: int, length: int, *, norm: bool = True) -> Tensor:
    r"""Rows of the discrete cosine transform of the second kind.

    :math:`D_{jn} = 2 \cos(\pi j (2 n + 1) / 2 N)`; with ``norm``, scaled to orthonormal rows.

    Args:
        count: Number of rows, at most ``length``.
        length: :math:`N`.
        norm: Orthonormal rows, as ``norm="ortho"`` of :func:`scipy.fft.dct`.

    Returns:
        ``(count, length)``, float64.

    Raises:
        ParameterError: If there are not so many rows.
    """
    if not 1 <= count <= length:
        raise ParameterError(f"count is {count}; expected 1 to {length}, the number of bands")
    position = 2 * torch.arange(length, dtype=torch.float64) + 1
    order = torch.arange(count, dtype=torch.float64)[:, None]
    basis = 2 * torch.cos(math.pi / (2 * length) * order * position)
    if norm:
        basis *= math.sqrt(1 / (2 * length))
        basis[0] /= math.sqrt(2)
    return basis


def lifter_weights(count: int, lifter: float) -> Tensor:
    r"""Weights :math:`1 + \frac{L}{2} \sin \frac{\pi j}{L}` of coefficients ``1`` to ``count``.

    Args:
        count: Number of coefficients.
        lifter: :math:`L`; 0 leaves coefficients as they are.

    Returns:
        ``(count,)``, float64.
    """
    check_number("lifter", lifter)
    if lifter < 0:
        raise ParameterError(f"lifter is {lifter}; expected at least 0")
    order = torch.arange(1, count + 1, dtype=torch.float64)
    if lifter == 0:
        return torch.ones_like(order)
    return 1 + lifter / 2 * torch.sin(math.pi * order / lifter)


def generalized_cepstra(
    magnitude: Tensor, *, exponents: Sequence[float], cutoffs: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    r"""Transform a spectrum to and fro, compressing it each time.

    .. math::
        S_1 = |X|^{g_1}, \quad C = \max(0, \mathrm{Re}\,F S_1 / \sqrt N)^{g_2}, \quad
        S_2 = \max(0, \mathrm{Re}\,F C / \sqrt N)^{g_3}, \ \ldots

    An exponent of 0 stands for the logarithm. Su and Yang, *Combining spectral and temporal
    representations for multipitch estimation of polyphonic music*,
    doi:10.1109/TASLP.2015.2442411.

    Args:
        magnitude: ``(..., bins)``, bins 0 to half of an FFT of even length :math:`N`.
        exponents: :math:`g_i`, at least 2.
        cutoffs: Numbers at the low end of cepstra, and of spectra, that are set to zero.

    Returns:
        The last spectrum and the last cepstrum, like ``magnitude``.

    Raises:
        ParameterError: If there are fewer than 2 exponents, or one is negative.
    """
    if not isinstance(exponents, Sequence) or isinstance(exponents, str):
        raise ParameterError(f"exponents is {exponents!r}; expected at least 2 numbers")
    for exponent in exponents:
        check_number("exponents", exponent)
    if len(exponents) < 2 or min(exponents) < 0:
        raise ParameterError(
            f"exponents are {tuple(exponents)}; expected at least 2 numbers that are not negative"
        )
    length = 2 * (magnitude.shape[-1] - 1)
    results = [_compressed(magnitude, exponents[0])]
    for level, exponent in enumerate(exponents[1:]):
        # The whole spectrum is even, so that its transform is real, and even again.
        even = torch.fft.irfft(results[-1], length, norm="ortho")[..., : length // 2 + 1]
        cut = min(cutoffs[level % 2], even.shape[-1])
        kept = _compressed(even[..., cut:], exponent)
        results.append(torch.nn.functional.pad(kept, (cut, 0)))
    last, before = results[-1], results[-2]
    return (before, last) if len(results) % 2 == 0 else (last, before)


def _compressed(x: Tensor, exponent: float) -> Tensor:
    """Return ``max(x, 0) ** exponent`` with finite gradients; the logarithm for 0."""
    if exponent == 1:
        return x.relu()
    if exponent and may_work_in_pieces(x):
        # Several times as fast as a power, but for zeros, which are put in afterwards.
        least = torch.finfo(x.dtype).tiny
        powers = x.clamp(min=least).log_().mul_(exponent).exp_()
        return torch.threshold_(powers, 1.001 * least**exponent, 0.0)
    positive = x > 0
    safe = x.where(positive, 1.0)
    if exponent == 0:
        return x.relu().add(torch.finfo(x.dtype).eps).log()
    return safe.pow(exponent).where(positive, 0.0)


def log_frequency_maps(
    *, sample_rate: float, n_fft: int, fmin: float, fmax: float, bins_per_octave: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Triangles that gather spectra, and cepstra, at equally spaced pitches.

    Args:
        sample_rate: In Hz.
        n_fft: Even length of the transform.
        fmin: First pitch in Hz.
        fmax: Where the triangle of the last pitch ends at the latest, in Hz.
        bins_per_octave: Pitches per octave.

    Returns:
        Pitches in Hz ``(count,)``; the map of spectra and that of cepstra,
        ``(count, n_fft // 2 + 1)``; all float64.

    Raises:
        ParameterError: If an argument is out of range.
    """
    check_number("fmin", fmin, unit="Hz")
    check_number("fmax", fmax, unit="Hz")
    if not 0 < fmin < fmax <= sample_rate / 2:
        raise ParameterError(
            f"fmin is {fmin} Hz and fmax {fmax} Hz; expected 0 < fmin < fmax <= half the sample "
            f"rate ({sample_rate / 2:g} Hz)"
        )
    check_count("bins_per_octave", bins_per_octave)
    count = max(1, math.ceil(bins_per_octave * math.log2(fmax / fmin)) - 1)
    order = torch.arange(-1, count + 1, dtype=torch.float64)
    pitches = fmin * 2 ** (order / bins_per_octave)
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    hz = bins * (sample_rate / n_fft)
    period = sample_rate / bins.clamp(min=1e-9)
    maps = []
    for place in (hz, period):
        low, middle, high = pitches[:-2, None], pitches[1:-1, None], pitches[2:, None]
        rising, falling = (place - low) / (middle - low), (high - place) / (high - middle)
        triangles = torch.minimum(rising, falling).clamp(min=0.0)
        # A triangle between two bins sees none: it takes the nearest one.
        empty = triangles.sum(-1) == 0
        nearest = (place - middle).abs().argmin(-1)
        triangles[empty, nearest[empty]] = 1.0
        maps.append(triangles)
    return pitches[1:-1], maps[0], maps[1]
