"""Oscillators that read one period of any wave from a table."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import check_range
from sonograd.functional.oscillators import running_phase

__all__ = [
    "band_limited_tables",
    "band_limited_wavetable",
    "harmonic_table",
    "wavetable_oscillator",
]

_PER_OCTAVE = 4  # versions of a table, each with fewer harmonics


def harmonic_table(amplitudes: Tensor, *, phases: float | Tensor = 0.0, size: int = 2048) -> Tensor:
    """Write one period of a sum of harmonics.

    Args:
        amplitudes: ``(..., harmonics)``, from the fundamental up. Leave out what lies above half
            the sample rate at the pitch that will be played: nothing else prevents aliases.
        phases: In turns, a number or ``(..., harmonics)``; 0 is a sum of sines.
        size: Length of the table, more than twice the number of harmonics.

    Returns:
        ``(..., size)``, dtype of ``amplitudes``.
    """
    harmonics = amplitudes.shape[-1] if amplitudes.ndim else 0
    if not harmonics or size <= 2 * harmonics:
        raise ShapeError(
            f"amplitudes has shape {tuple(amplitudes.shape)} and size is {size}; "
            "expected (..., harmonics) with at least one and fewer than size / 2"
        )
    turn = torch.as_tensor(phases, dtype=amplitudes.dtype, device=amplitudes.device)
    spectrum = torch.polar(amplitudes, (2 * torch.pi * (turn - 0.25)).expand_as(amplitudes))
    silent = torch.zeros_like(spectrum[..., :1])
    period: Tensor = torch.fft.irfft(torch.cat((silent, spectrum), -1), size, norm="forward")
    return period / 2


def wavetable_oscillator(
    frequency_hz: Tensor, table: Tensor, *, sample_rate: float, phase: float | Tensor = 0.0
) -> Tensor:
    """Play a table, with linear interpolation between its entries.

    Args:
        frequency_hz: ``(..., samples)``, in Hz.
        table: One period ``(size,)``.
        sample_rate: In Hz.
        phase: Turns at the first sample, a number or ``(...)``.

    Returns:
        ``(..., samples)``, dtype of ``table``; differentiable in all three.
    """
    check_range(sample_rate, "sample_rate", above=0)
    if table.ndim != 1 or table.shape[0] < 2:
        raise ParameterError(f"table has shape {tuple(table.shape)}; expected (size,), size >= 2")
    turns = running_phase(frequency_hz, sample_rate=sample_rate, phase=phase)
    position = (turns * table.shape[0]).to(table.dtype)
    index = position.detach().long().clamp_(0, table.shape[0] - 1)
    closed = torch.cat((table, table[:1]))
    low = closed[index]
    y: Tensor = low + (closed[index + 1] - low) * (position - index)
    return y


def band_limited_tables(tables: Tensor, *, oversampling: int = 4) -> Tensor:
    """Write each table in versions with ever fewer harmonics, four to the octave.

    Args:
        tables: Periods of any waves, ``(..., size)``; their mean is left out.
        oversampling: How much longer the versions are, so that interpolation is accurate.

    Returns:
        ``(..., versions, oversampling * size)``: the first with all harmonics below ``size / 2``,
        the last but one with the fundamental alone, the last silent.
    """
    size = tables.shape[-1] if tables.ndim else 0
    if size < 4 or oversampling < 1:
        raise ShapeError(
            f"tables has shape {tuple(tables.shape)} and oversampling is {oversampling}; expected "
            "(..., size) with size >= 4, and at least 1"
        )
    most = _most_harmonics(size)
    spectrum = torch.fft.rfft(tables, norm="forward")
    spectrum = torch.cat((torch.zeros_like(spectrum[..., :1]), spectrum[..., 1 : most + 1]), -1)
    counts = [0.0]
    while (count := most * 2 ** (-(len(counts) - 1) / _PER_OCTAVE)) >= 1:
        counts.insert(-1, count)
    if counts[-2] > 1:
        counts.insert(-1, 1.0)
    number = torch.arange(most + 1, device=tables.device)
    kept = number <= torch.tensor(counts, device=tables.device).add(1e-6).unsqueeze(-1)
    versions: Tensor = torch.fft.irfft(
        spectrum.unsqueeze(-2) * kept, oversampling * size, norm="forward"
    )
    return versions


def band_limited_wavetable(
    frequency_hz: Tensor,
    versions: Tensor,
    *,
    sample_rate: float,
    position: float | Tensor = 0.0,
    phase: float | Tensor = 0.0,
    oversampling: int = 4,
) -> Tensor:
    """Play a row of tables, moving among them, without aliases at any pitch.

    Each sample is read by third-order Lagrange interpolation from the two richest versions whose
    harmonics lie below half the sample rate, crossfaded so that a glide does not switch.

    Args:
        frequency_hz: ``(..., samples)``, in Hz.
        versions: ``(tables, versions, size)`` of :func:`band_limited_tables`.
        sample_rate: In Hz.
        position: Which table, from 0 (the first) to 1 (the last): a number or
            ``(..., samples or 1)``; two neighbors are mixed.
        phase: Turns at the first sample, a number or ``(...)``.
        oversampling: As the versions were made.

    Returns:
        ``(..., samples)``, dtype of ``versions``; differentiable in all of them.
    """
    check_range(sample_rate, "sample_rate", above=0)
    if versions.ndim != 3:
        raise ShapeError(
            f"versions has shape {tuple(versions.shape)}; expected (tables, versions, size)"
        )
    count, levels, size = versions.shape
    turns = running_phase(frequency_hz, sample_rate=sample_rate, phase=phase)
    most = _most_harmonics(size // oversampling)
    share = (2 * most / sample_rate * frequency_hz.abs()).clamp_min(1e-9).to(turns)
    level = (_PER_OCTAVE * share.log2()).clamp(-1, levels - 1)
    upper = level.detach().ceil()
    blend = (upper - level).to(versions.dtype)
    place = torch.as_tensor(position, dtype=versions.dtype, device=versions.device)
    place = place.clamp(0, 1) * (count - 1)
    table = place.detach().floor().clamp_max(max(count - 2, 0))
    mix = place - table
    y = torch.zeros((), dtype=versions.dtype, device=versions.device)
    flat = versions.flatten()
    for step, weight in ((0, blend), (1, 1 - blend)):
        row = (upper + step).clamp(0, levels - 1).long()
        for side, share_of_table in ((0, 1 - mix), (1, mix)):
            number = (table.long() + side).clamp_max(count - 1)
            first = (number * levels + row) * size
            y = y + weight * share_of_table * _read(flat, first, turns * size, size)
    return y


def _most_harmonics(size: int) -> int:
    return (size - 1) // 2


def _read(flat: Tensor, first: Tensor, position: Tensor, size: int) -> Tensor:
    """Interpolate with a third-order polynomial around ``position`` in the row at ``first``."""
    index = position.detach().floor()
    f = (position - index).to(flat.dtype)
    index = index.long()
    weights = (
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    )
    y = torch.zeros((), dtype=flat.dtype, device=flat.device)
    for k, weight in enumerate(weights, start=-1):
        y = y + weight * flat[first + torch.remainder(index + k, size)]
    return y
