"""Oscillators that read one period of any wave from a table."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import check_range
from sonograd.functional.oscillators import running_phase

__all__ = ["harmonic_table", "wavetable_oscillator"]


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
