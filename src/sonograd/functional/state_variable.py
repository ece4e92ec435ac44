r"""The state variable filter, whose cutoff may move at every sample."""

from typing import Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _kernels
from sonograd.functional._values import check_range
from sonograd.functional.scans import linear_scan
from sonograd.shapes import check_floating

__all__ = ["state_variable_filter"]

Kind = Literal["low_pass", "band_pass", "high_pass", "notch", "all_pass"]

# Weights of the input, the band output, the band output times 1/Q, and the low output.
_MIX: dict[str, tuple[float, float, float, float]] = {
    "low_pass": (0.0, 0.0, 0.0, 1.0),
    "band_pass": (0.0, 0.0, 1.0, 0.0),
    "high_pass": (1.0, 0.0, -1.0, -1.0),
    "notch": (1.0, 0.0, -1.0, 0.0),
    "all_pass": (1.0, 0.0, -2.0, 0.0),
}


def state_variable_filter(
    x: Tensor,
    cutoff_hz: float | Tensor,
    q: float | Tensor = 0.5**0.5,
    *,
    sample_rate: float,
    kind: Kind = "low_pass",
) -> Tensor:
    r"""Filter with a second-order section that stays well behaved while its values move.

    Two trapezoidal integrators in a loop (V. Zavalishin, *The Art of VA Filter Design*, 2012,
    chapter 4). With a constant cutoff it equals :func:`~sonograd.functional.low_pass_biquad` and
    its siblings; ``"band_pass"`` has 0 dB at the cutoff.

    Args:
        x: Signals ``(..., samples)``.
        cutoff_hz: A number, ``(...)`` broadcast with a last dimension of 1, or a curve
            ``(..., samples)``; held within 1 Hz and 0.49 ``sample_rate``.
        q: Resonance, as ``cutoff_hz``; held above 0.01.
        sample_rate: In Hz.
        kind: Which output.

    Returns:
        ``(..., samples)``, dtype and device of ``x``; the states are float64. Differentiable in
        all three tensors.
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
    damping = 1 / torch.as_tensor(q, dtype=wide, device=x.device).clamp_min(0.01)
    g = torch.tan(torch.pi / sample_rate * cutoff.clamp(1.0, 0.49 * sample_rate))
    shape = torch.broadcast_shapes(x.shape, g.shape, damping.shape)
    if shape[-1] != x.shape[-1]:
        raise ShapeError(
            f"cutoff_hz has shape {tuple(cutoff.shape)} and q {tuple(damping.shape)}, which do "
            f"not broadcast with the {x.shape[-1]} samples of x"
        )
    grad = torch.is_grad_enabled() and (x.requires_grad or g.requires_grad or damping.requires_grad)
    if x.device.type == "cpu" and not grad and _kernels.has_fast_kernels():
        rows = [v.detach().expand(shape).reshape(-1, shape[-1]) for v in (x, g, damping)]
        x_rows = rows[0] if x.dtype in {torch.float32, torch.float64} else rows[0].float()
        out = torch.empty_like(x_rows, memory_format=torch.contiguous_format)
        _kernels.state_variable(
            x_rows.numpy(),
            rows[1].numpy(),
            rows[2].numpy(),
            torch.tensor(_MIX[kind], dtype=torch.float64).numpy(),
            out.numpy(),
        )
        return out.reshape(shape).to(x.dtype)
    return _solve(x.to(wide), g, damping, _MIX[kind]).to(x.dtype)


def _solve(x: Tensor, g: Tensor, damping: Tensor, mix: tuple[float, float, float, float]) -> Tensor:
    h = 1 / (1 + g * (g + damping))
    gh = g * h
    ggh = g * gh
    shape = torch.broadcast_shapes(x.shape, h.shape)
    transition = torch.stack(
        [torch.stack([2 * h - 1, -2 * gh]), torch.stack([2 * gh, 1 - 2 * ggh])]
    )
    drive = torch.stack([2 * gh * x, 2 * ggh * x])
    transition = transition.reshape(2, 2, *(1,) * (len(shape) - h.ndim), *h.shape)
    states = linear_scan(transition, drive)
    first, second = torch.nn.functional.pad(states[..., :-1], (1, 0))
    band = h * first + gh * (x - second)
    low = second + g * band
    y: Tensor = mix[0] * x + (mix[1] + mix[2] * damping) * band + mix[3] * low
    return y
