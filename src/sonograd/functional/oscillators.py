r"""Oscillators with a frequency that may change at every sample, without audible aliases.

A sawtooth that jumps between two samples aliases. Here each jump is replaced by the jump of an
ideal low-pass filter: the naive wave plus, within a few samples of each jump, the difference
between a windowed-sinc step and the step itself (E. Brandt, *Hard sync without aliasing*, ICMC
2001). The triangle treats its corners in the same way with the integral of that difference.
"""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import check_range
from sonograd.shapes import check_floating

__all__ = ["oscillator", "running_phase"]

_REACH = 12  # samples on each side of a jump that are corrected
_FINE = 256  # table entries per sample


def running_phase(
    frequency_hz: Tensor, *, sample_rate: float, phase: float | Tensor = 0.0
) -> Tensor:
    """Integrate a frequency to a phase in turns, in [0, 1), accumulated in float64.

    Args:
        frequency_hz: ``(..., samples)``, in Hz; may be negative.
        sample_rate: In Hz.
        phase: Turns at the first sample, a number or ``(...)``.

    Returns:
        ``(..., samples)``, float64 where the device has it.
    """
    check_floating(frequency_hz, name="frequency_hz")
    if not frequency_hz.ndim:
        raise ShapeError("frequency_hz is a scalar; expected (..., samples)")
    check_range(sample_rate, "sample_rate", above=0)
    wide = torch.float32 if frequency_hz.device.type == "mps" else torch.float64
    step = frequency_hz.to(wide) / sample_rate
    start = torch.as_tensor(phase, dtype=wide, device=step.device).unsqueeze(-1)
    return torch.remainder(start + step.cumsum(-1) - step, 1.0)


def oscillator(
    frequency_hz: Tensor,
    *,
    sample_rate: float,
    shape: Literal["sine", "saw", "square", "triangle"] = "sine",
    phase: float | Tensor = 0.0,
    pulse_width: float | Tensor = 0.5,
) -> Tensor:
    """Play a periodic wave of peak 1 (before band limiting, which overshoots).

    Args:
        frequency_hz: ``(..., samples)``, in Hz, between 0 and ``sample_rate`` / 2.
        sample_rate: In Hz.
        shape: ``"saw"`` rises from -1 to 1; ``"square"`` is high for ``pulse_width`` of the period
            and has no mean; ``"triangle"`` starts at 1.
        phase: Turns at the first sample, a number or ``(...)``.
        pulse_width: Of the square, in (0, 1); a tensor ``(..., samples or 1)`` may move.

    Returns:
        ``(..., samples)``, dtype and device of ``frequency_hz``. Below 0.44 ``sample_rate``
        aliases lie 95 dB under the fundamental; up to 0.34 ``sample_rate`` harmonics are within
        0.01 dB of the ideal series.
    """
    turns = running_phase(frequency_hz, sample_rate=sample_rate, phase=phase)
    if shape == "sine":
        return torch.sin(2 * torch.pi * turns.to(frequency_hz.dtype))
    turns, step = torch.broadcast_tensors(turns, frequency_hz.to(turns) / sample_rate)
    if shape == "saw":
        y = _saw(turns, step)
    elif shape == "square":
        check_range(pulse_width, "pulse_width", above=0, below=1)
        # The jumps up lie at 0, those down at pulse_width.
        late = torch.remainder(turns - pulse_width, 1.0)
        y = _saw(late, step.expand_as(late)) - _saw(turns, step)
    elif shape == "triangle":
        y = _triangle(turns, step)
    else:
        raise ParameterError(f"shape is {shape!r}; expected 'sine', 'saw', 'square' or 'triangle'")
    return y.to(frequency_hz.dtype)


def _saw(turns: Tensor, step: Tensor) -> Tensor:
    return 2 * turns - 1 - 2 * _near_wraps(turns, step, _tables()[0], jump=1.0)


def _triangle(turns: Tensor, step: Tensor) -> Tensor:
    """``|4 turns - 2| - 1``: the slope falls by 8 per turn at 0 and rises by 8 at 1/2."""
    table = _tables()[1]
    corners = _near_wraps(torch.remainder(turns + 0.5, 1.0), step, table)
    corners = corners - _near_wraps(turns, step, table)
    return (4 * turns - 2).abs() - 1 + 8 * step * corners


def _near_wraps(turns: Tensor, step: Tensor, table: Tensor, jump: float = 0.0) -> Tensor:
    """Sum ``table``, less ``jump`` after a wrap, over the wraps of the phase within reach."""
    correction = torch.zeros_like(turns)
    if not turns.numel():
        return correction
    table = table.to(turns)
    reach = _REACH * step.detach()
    for wrap in range(int(max(float(reach.max()), 0.0)) + 1):
        after = turns + wrap < reach
        distance = (turns[after] + wrap) / step[after]
        correction[after] += _look_up(table, distance) - jump
        before = 1 + wrap - turns < reach
        distance = (turns[before] - 1 - wrap) / step[before]
        correction[before] += _look_up(table, distance)
    return correction


def _look_up(table: Tensor, distance: Tensor) -> Tensor:
    position = (distance + _REACH) * _FINE
    index = position.detach().floor().clamp(0, table.shape[0] - 2).long()
    low = table[index]
    return low + (table[index + 1] - low) * (position - index)


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor]:
    """The band-limited step over ``[-reach, reach]`` samples; its integral less the ideal ramp."""
    cells = 2 * _REACH * _FINE
    middle = (torch.arange(cells, dtype=torch.float64) + 0.5) / _FINE - _REACH
    window = torch.special.i0(8.0 * (1 - (middle / _REACH).square()).sqrt())
    impulse = torch.sinc(0.9 * middle) * window
    step = torch.nn.functional.pad((impulse / impulse.sum()).cumsum(0), (1, 0))
    ramp = torch.nn.functional.pad(((step[1:] + step[:-1]) / 2).cumsum(0) / _FINE, (1, 0))
    edges = torch.arange(cells + 1, dtype=torch.float64) / _FINE - _REACH
    return step, ramp - edges.clamp_min(0)
