r"""Curves that bend a signal sample by sample, and steps with straight-through gradients.

The curves have slope 1 at 0.
"""

import math

import torch
from torch import Tensor

__all__ = [
    "asymmetric_clip",
    "bit_crush",
    "cubic_clip",
    "hard_clip",
    "sample_and_hold",
    "soft_clip",
    "wave_fold",
]


def hard_clip(x: Tensor, threshold: float | Tensor = 1.0) -> Tensor:
    """Clamp to ``[-threshold, threshold]``; the gradient goes to whichever is the output."""
    limit = torch.as_tensor(threshold).to(x)
    return torch.minimum(torch.maximum(x, -limit), limit)


def soft_clip(x: Tensor) -> Tensor:
    r"""Bend smoothly, :math:`x / \sqrt{1 + x^2}`: harder than tanh near 0, softer far away."""
    return x * torch.rsqrt(1 + x * x)


def cubic_clip(x: Tensor) -> Tensor:
    r"""Bend by :math:`x - \frac{4}{27} x^3` up to :math:`|x| = 3/2`, where it is flat at 1."""
    bounded = x.clamp(-1.5, 1.5)
    return bounded - (4 / 27) * bounded**3


def asymmetric_clip(x: Tensor, bias: float | Tensor) -> Tensor:
    r"""Bend one side earlier: :math:`(\tanh(x + b) - \tanh b) / (1 - \tanh^2 b)`.

    Even harmonics grow with ``bias``, and so does the side away from it; silence stays silence
    and the slope at 0 stays 1.

    Args:
        x: Any shape.
        bias: How far the curve is pushed to the side, broadcasts.
    """
    offset = torch.tanh(torch.as_tensor(bias).to(x))
    return (torch.tanh(x + bias) - offset) / (1 - offset * offset)


def wave_fold(x: Tensor) -> Tensor:
    r"""Fold back what passes 1: a triangle in ``x``, smoothed: :math:`\sin(\pi x / 2) 2 / \pi`.

    The largest output is :math:`2 / \pi`.
    """
    return torch.sin(math.pi / 2 * x) * (2 / math.pi)


def bit_crush(x: Tensor, bits: float | Tensor) -> Tensor:
    """Round to steps of ``2^-bits``.

    The gradient passes the rounding as if it were not there: 1 for ``x``, and for ``bits`` the
    shrinking of the error.

    >>> bit_crush(torch.tensor([0.3, 0.6]), 1.0)
    tensor([0.5000, 0.5000])
    """
    levels = torch.pow(2.0, torch.as_tensor(bits, dtype=x.dtype, device=x.device))
    scaled = x * levels
    return (scaled + (scaled.round() - scaled).detach()) / levels


def sample_and_hold(
    x: Tensor, rate_hz: Tensor, *, sample_rate: float, state: tuple[int, Tensor] | None = None
) -> tuple[Tensor, tuple[int, Tensor]]:
    """Hold samples as a converter of a lower rate would, without a filter before.

    Sample ``n`` of the output is the last of the input at which a period of ``rate_hz`` began.
    The gradient for ``x`` is exact. That for the rate, which is zero almost everywhere, is
    replaced by that of the delay ``n - n0`` at the local slope of the signal.

    Args:
        x: The next samples ``(..., samples)``.
        rate_hz: Broadcasts with ``(..., 1)``, float64; not above ``sample_rate``.
        sample_rate: In Hz.
        state: What the call before returned; None at the start.

    Returns:
        ``(..., samples)``, and the position with the held values ``(..., 3)``.
    """
    position, held = (0, x.new_zeros(*x.shape[:-1], 3)) if state is None else state
    before = torch.cat([held[..., 2:], x[..., :-1]], dim=-1)
    step = (rate_hz / sample_rate).detach().clamp_max(1.0)
    now = torch.arange(position, position + x.shape[-1], device=x.device).to(step.dtype)
    period = torch.floor(now * step + 1e-9)
    first = torch.ceil(period / step - 1e-6)  # where that period began
    index = (first - position).long().expand(x.shape)
    # Index 0 is what was held before the block.
    values = torch.cat([held[..., :1], x], dim=-1)
    slopes = torch.cat([held[..., 1:2], x - before], dim=-1)
    place = (index + 1).clamp(0, x.shape[-1])
    y, slope = values.gather(-1, place), slopes.gather(-1, place)
    fraction = ((now - first) * step).to(x.dtype)
    delay = fraction * (sample_rate / rate_hz).to(x.dtype)
    end = torch.stack([y[..., -1], slope[..., -1], x[..., -1]], dim=-1)
    y = y - slope.detach() * (delay - delay.detach())
    return y, (position + x.shape[-1], end)
