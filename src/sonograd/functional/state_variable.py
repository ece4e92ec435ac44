"""The state variable filter, whose cutoff may move at every sample."""

from typing import Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _kernels
from sonograd.functional._transforms import plain_form_needed
from sonograd.functional._values import broadcast_shapes, check_range
from sonograd.functional.scans import linear_scan
from sonograd.shapes import check_floating

__all__ = ["integrate", "state_variable_filter"]

_SEGMENT = 1 << 18  # samples filtered at once, which bounds the memory

# Weights of the input, the band output over Q, and the low output.
_MIX = {
    "low_pass": (0.0, 0.0, 1.0),
    "band_pass": (0.0, 1.0, 0.0),
    "high_pass": (1.0, -1.0, -1.0),
    "notch": (1.0, -1.0, 0.0),
    "all_pass": (1.0, -2.0, 0.0),
}


def state_variable_filter(
    x: Tensor,
    cutoff_hz: float | Tensor,
    q: float | Tensor = 0.5**0.5,
    *,
    sample_rate: float,
    kind: Literal["low_pass", "band_pass", "high_pass", "notch", "all_pass"] = "low_pass",
) -> Tensor:
    r"""Filter with a second-order section that stays well behaved while its values move.

    Two trapezoidal integrators in a loop (V. Zavalishin, *The Art of VA Filter Design*, 2012,
    chapter 4). With constant values it equals
    :func:`~sonograd.functional.low_pass_biquad` and its siblings; ``"band_pass"`` has 0 dB at the
    cutoff.

    Args:
        x: Signals ``(..., samples)``.
        cutoff_hz: A number, ``(..., 1)`` or a curve ``(..., samples)``; held within 1 Hz and 0.49
            ``sample_rate``.
        q: Resonance, as ``cutoff_hz``; held above 0.01.
        sample_rate: In Hz.
        kind: Which output.

    Returns:
        ``(..., samples)``, dtype and device of ``x``, computed in float64; differentiable in the
        signal and both curves. Starts at rest.
    """
    check_floating(x)
    if not x.ndim:
        raise ShapeError("x is a scalar; expected (..., samples)")
    if kind not in _MIX:
        raise ParameterError(f"kind is {kind!r}; expected one of {', '.join(map(repr, _MIX))}")
    check_range(sample_rate, "sample_rate", above=0)
    check_range(cutoff_hz, "cutoff_hz", above=0)
    check_range(q, "q", above=0)
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    cutoff = torch.as_tensor(cutoff_hz, dtype=wide, device=x.device)
    quality = torch.as_tensor(q, dtype=wide, device=x.device)
    shape = _common_shape(x, cutoff, quality)
    x, cutoff, quality = x.expand(shape), cutoff.expand(shape), quality.expand(shape)
    weights = _MIX[kind]
    state = torch.zeros(*shape[:-1], 2, dtype=wide, device=x.device)
    parts = []
    for begin in range(0, shape[-1], _SEGMENT):
        piece = (..., slice(begin, begin + _SEGMENT))
        now = x[piece].to(wide)
        g = torch.tan(torch.pi / sample_rate * cutoff[piece].clamp(1.0, 0.49 * sample_rate))
        damping = 1 / quality[piece].clamp_min(0.01)
        band, low, state = integrate(now, g, damping, state)
        y = weights[0] * now + weights[1] * damping * band + weights[2] * low
        parts.append(y.to(x.dtype))
    return torch.cat(parts, dim=-1) if parts else x.clone()


def _common_shape(x: Tensor, cutoff: Tensor, quality: Tensor) -> torch.Size:
    try:
        shape: torch.Size = broadcast_shapes(x.shape, cutoff.shape, quality.shape)
    except RuntimeError:
        shape = torch.Size()
    if shape[-1:] != x.shape[-1:]:
        raise ShapeError(
            f"cutoff_hz has shape {tuple(cutoff.shape)} and q {tuple(quality.shape)}, which do not "
            f"broadcast with x {tuple(x.shape)}; expected numbers, (..., 1) or (..., samples)"
        )
    return shape


def integrate(
    x: Tensor, g: Tensor, damping: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Band and low output, and the state of the integrators ``(..., 2)`` after the last sample."""
    parts = (x, g, damping, state)
    recorded = torch.is_grad_enabled() and any(v.requires_grad for v in parts)
    if x.device.type != "cpu" or recorded or torch.compiler.is_compiling():
        return _scan(x, g, damping, state)
    if plain_form_needed(*parts) or not _kernels.has_fast_kernels():
        return _scan(x, g, damping, state)
    samples = x.shape[-1]
    rows = [v.detach().reshape(-1, samples).contiguous() for v in (x, g, damping)]
    end = state.reshape(-1, 2).clone()
    out = torch.empty(2 * len(end), samples, dtype=torch.float64)
    _kernels.state_variable(*(v.numpy() for v in (*rows, end, out)))
    band, low = out.chunk(2)
    return band.reshape(x.shape), low.reshape(x.shape), end.reshape(state.shape)


def _scan(x: Tensor, g: Tensor, damping: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As the kernel: a linear system whose 2 x 2 matrices change at every sample."""
    h = 1 / (1 + g * (g + damping))
    gh = g * h
    ggh = g * gh
    transition = torch.stack(
        [torch.stack([2 * h - 1, -2 * gh]), torch.stack([2 * gh, 1 - 2 * ggh])]
    )
    drive = torch.stack([2 * gh * x, 2 * ggh * x])
    states = linear_scan(transition, drive, state.movedim(-1, 0))
    before = torch.cat([state.movedim(-1, 0)[..., None], states[..., :-1]], dim=-1)
    band = h * before[0] + gh * (x - before[1])
    return band, before[1] + g * band, states[..., -1].movedim(0, -1)
