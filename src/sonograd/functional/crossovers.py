"""Filters that split a signal into bands which add up to it again, but for its phase."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import as_float64
from sonograd.functional.biquads import butterworth

__all__ = ["crossover_sections", "linkwitz_riley"]

_ORDERS = (2, 4, 8)


def linkwitz_riley(
    order: int, frequency_hz: float | Tensor, *, sample_rate: float
) -> tuple[Tensor, Tensor]:
    """Design a low and a high pass, each two Butterworth filters in a row, that sum to an all-pass.

    Both are at -6 dB at ``frequency_hz`` and in phase everywhere (S. Linkwitz, *Active Crossover
    Networks for Noncoincident Drivers*, JAES 24(1), 1976). For order 2 the high pass is inverted,
    as the sum needs.

    Args:
        order: 2, 4 or 8.
        frequency_hz: In (0, ``sample_rate`` / 2), any shape ``(...)``.
        sample_rate: In Hz.

    Returns:
        Two cascades ``(..., sections, 6)``, float64: the low and the high pass.
    """
    if order not in _ORDERS:
        raise ParameterError(f"order is {order}; expected 2, 4 or 8")
    half = order // 2
    low, high = (
        butterworth(half, frequency_hz, sample_rate=sample_rate, kind=kind)
        for kind in ("low_pass", "high_pass")
    )
    first = -high if order == 2 else high
    inverted = torch.cat([first[..., :3], high[..., 3:]], dim=-1)
    return torch.cat([low, low], dim=-2), torch.cat([inverted, high], dim=-2)


def crossover_sections(
    frequencies_hz: Tensor | list[float], *, sample_rate: float, order: int = 4
) -> Tensor:
    """Design ``n + 1`` bands at ``n`` frequencies; their sum is an all-pass.

    Each band that was split off also runs through the all-passes of the splits above it, so that
    all have the same phase where they overlap.

    Args:
        frequencies_hz: Rising, ``(..., n)``.
        sample_rate: In Hz.
        order: 2, 4 or 8, of every split.

    Returns:
        Cascades ``(bands, ..., sections, 6)``, float64, padded with sections that do nothing.
    """
    (frequencies,) = as_float64(torch.as_tensor(frequencies_hz))
    if not frequencies.ndim or not frequencies.shape[-1]:
        raise ShapeError(
            f"frequencies_hz has shape {tuple(frequencies.shape)}; expected (..., n), n from 1"
        )
    splits = frequencies.unbind(-1)
    passes = [linkwitz_riley(order, f, sample_rate=sample_rate) for f in splits]
    mirrors = [_all_pass(order, f, sample_rate) for f in splits]
    bands = []
    for k in range(len(splits) + 1):
        parts = [high for _, high in passes[:k]]
        if k < len(splits):
            parts += [passes[k][0], *mirrors[k + 1 :]]
        bands.append(torch.cat(parts, dim=-2))
    longest = max(band.shape[-2] for band in bands)
    return torch.stack([_padded(band, longest) for band in bands])


def _all_pass(order: int, frequency_hz: Tensor, sample_rate: float) -> Tensor:
    """Low plus high pass of :func:`linkwitz_riley`: ``D(-s) / D(s)`` of the Butterworth ``D``."""
    sections = butterworth(order // 2, frequency_hz, sample_rate=sample_rate)
    poles = sections[..., 3:]
    zeros = poles.flip(-1) if order > 2 else poles[..., [1, 0, 2]]
    return torch.cat([zeros, poles], dim=-1)


def _padded(sections: Tensor, count: int) -> Tensor:
    nothing = sections.new_tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    missing = count - sections.shape[-2]
    return torch.cat([sections, nothing.expand(*sections.shape[:-2], missing, 6)], dim=-2)
