"""What moves: low-frequency oscillators, note lengths, and filters that sweep."""

import math
import re
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.scans import linear_scan

__all__ = ["LFO_SHAPES", "LfoShape", "lfo", "note_beats", "sweeping_all_pass"]

LfoShape: TypeAlias = Literal["sine", "triangle", "saw", "ramp_down", "square"]
LFO_SHAPES = ("sine", "triangle", "saw", "ramp_down", "square")

_EDGE = 1e-9  # turns by which a jump lies before its sample, so that rounding cannot move it
_SEGMENT = 1 << 13  # samples solved at once by the phaser, which bounds the memory


def lfo(
    rate_hz: Tensor,
    samples: int,
    *,
    sample_rate: float,
    shape: LfoShape = "sine",
    phase: float | Tensor = 0.0,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Play a slow oscillation between -1 and 1.

    Args:
        rate_hz: ``(..., 1)``, or a curve ``(..., samples)``, float64.
        samples: Number of samples of the block.
        sample_rate: In Hz.
        shape: Sine and triangle start at 0 and rise; the saw rises from -1, ``"ramp_down"`` falls
            from 1; the square starts at 1. The last three jump: they click.
        phase: Turns that are added, broadcasts.
        state: What the call before returned; None at the start.

    Returns:
        ``(..., samples)``, float64, and the turns behind ``(..., 1)``.
    """
    if shape not in LFO_SHAPES:
        raise ParameterError(f"shape is {shape!r}; expected one of {', '.join(LFO_SHAPES)}")
    step = rate_hz / sample_rate
    if rate_hz.shape[-1] == 1:
        count = torch.arange(samples, device=step.device, dtype=step.dtype)
        turns, end = count * step, samples * step
    else:
        summed = step.cumsum(-1)
        turns, end = summed - step, summed[..., -1:]
    if state is not None:
        turns, end = turns + state, end + state
    t = torch.remainder(turns + phase + _EDGE, 1.0)
    if shape == "sine":
        y = torch.sin(2 * math.pi * t)
    elif shape == "triangle":
        y = 4 * (torch.remainder(t + 0.75, 1.0) - 0.5).abs() - 1
    elif shape == "saw":
        y = 2 * t - 1
    elif shape == "ramp_down":
        y = 1 - 2 * t
    else:
        y = torch.where(t < 0.5, 1.0, -1.0).to(t.dtype) + 0 * t
    return y, torch.remainder(end, 1.0)


def note_beats(note: str) -> float:
    """Return the length of a note in beats (quarters).

    Args:
        note: ``"1/4"``, dotted ``"1/8."``, triplet ``"1/16t"``, ``"2/1"`` for two bars of 4/4.

    >>> note_beats("1/8."), note_beats("1/4")
    (0.75, 1.0)
    """
    found = re.fullmatch(r"(\d{1,2})/(\d{1,3})([.t]?)", note) if isinstance(note, str) else None
    if found is None or not int(found[1]) or not int(found[2]):
        raise ParameterError(
            f"note is {note!r}; expected a fraction of a whole note such as '1/4', '1/8.' (dotted) "
            "or '1/16t' (triplet)"
        )
    factor = {"": 1.0, ".": 1.5, "t": 2 / 3}[found[3]]
    return 4 * int(found[1]) / int(found[2]) * factor


def sweeping_all_pass(
    x: Tensor, coefficient: Tensor, feedback: Tensor, *, stages: int = 6, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    r"""Filter with equal first-order all-passes in a row, the output fed back to the input.

    Each is :math:`y = a u + (1 - a) s,\; s' = (1 + a) u - a s`, a trapezoidal integrator; the
    first input is :math:`x_n - f y_{n-1}`. The whole is one linear system that changes at every
    sample, solved exactly by :func:`~sonograd.functional.linear_scan`.

    Args:
        x: The next samples ``(..., samples)``.
        coefficient: :math:`a` in (-1, 1), broadcasts with ``x``.
        feedback: :math:`f` in (-1, 1), broadcasts with ``x``.
        stages: Number of all-passes.
        state: What the call before returned; None at the start.

    Returns:
        ``(..., samples)`` and the state ``(stages + 1, ...)``, both float64 (float32 on MPS).
    """
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    x, a, f = torch.broadcast_tensors(x.to(wide), coefficient.to(wide), feedback.to(wide))
    start = x.new_zeros(stages + 1, *x.shape[:-1]) if state is None else state
    parts = []
    for begin in range(0, x.shape[-1], _SEGMENT):
        piece = (..., slice(begin, begin + _SEGMENT))
        transition, drive = _all_pass_system(x[piece], a[piece], f[piece], stages)
        states = linear_scan(transition, drive, start)
        start = states[..., -1]
        parts.append(states[-1])
    return torch.cat(parts, dim=-1), start


def _all_pass_system(x: Tensor, a: Tensor, f: Tensor, stages: int) -> tuple[Tensor, Tensor]:
    """Transition ``(n, n, ...)`` and drive ``(n, ...)`` of the states, then the last output.

    ``z_k = a^k u + sum_(j <= k) a^(k - j) (1 - a) s_j`` is what leaves stage ``k``.
    """
    powers = [torch.ones_like(a)]
    for _ in range(stages):
        powers.append(powers[-1] * a)
    zero = torch.zeros_like(a)
    rows, drive = [], []
    for k in range(1, stages + 1):
        gain = 1 + a
        row = [gain * (1 - a) * powers[k - 1 - j] for j in range(1, k)]
        row += [-a] + [zero] * (stages - k) + [-f * gain * powers[k - 1]]
        rows.append(torch.stack(row))
        drive.append(gain * powers[k - 1] * x)
    last = [(1 - a) * powers[stages - j] for j in range(1, stages + 1)]
    rows.append(torch.stack([*last, -f * powers[stages]]))
    drive.append(powers[stages] * x)
    return torch.stack(rows), torch.stack(drive)
