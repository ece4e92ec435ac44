"""Delays whose output goes back in, computed as many samples at a time as the delay allows."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sonograd.functional.delays import moving_delay, read_line
from sonograd.functional.recursion import sosfilt_stream

__all__ = ["FeedbackDelayState", "feedback_delay"]


@dataclass(frozen=True)
class FeedbackDelayState:
    """What a delay with feedback remembers between blocks.

    Attributes:
        line: The samples that may still be read, ``(..., n)``.
        last: The last sample read, ``(..., 1)``.
        loop: State of the filter in the loop, if there is one.
    """

    line: Tensor
    last: Tensor
    loop: Tensor | None


def feedback_delay(
    x: Tensor,
    delay: Tensor,
    feedback: Tensor,
    *,
    least: float,
    limit: float,
    interpolation: Literal["linear", "cubic"] = "cubic",
    loop_filter: Tensor | None = None,
    crossed: bool = False,
    late: bool = False,
    state: FeedbackDelayState | None = None,
) -> tuple[Tensor, FeedbackDelayState]:
    r"""Return the wet signal :math:`v_n = w_{n - d}`, :math:`w_n = x_n + f (h * v)_n`.

    Args:
        x: The next samples ``(..., channels, samples)``.
        delay: :math:`d` in samples, float64, broadcasts with ``x``.
        feedback: :math:`f`, broadcasts with ``x``.
        least: A bound from below of the delay, at least 3; used where the delay itself cannot be
            looked at.
        limit: The largest delay that will ever come.
        interpolation: Between samples.
        loop_filter: Sections of :math:`h`, ``(..., sections, 6)``; none if not given.
        crossed: Exchange the channels in the loop.
        late: Feed back :math:`v_{n-1}` instead of :math:`v_n`.
        state: What the call before returned; None at the start.

    Returns:
        ``(..., channels, samples)`` and the state.
    """
    if state is None:
        line = x.new_zeros(*x.shape[:-1], math.ceil(limit) + 3)
        state = FeedbackDelayState(line, x.new_zeros(*x.shape[:-1], 1), None)
    if _is_zero(feedback) and loop_filter is None:
        wet, line = moving_delay(
            x, delay, limit=limit, interpolation=interpolation, state=state.line
        )
        return wet, FeedbackDelayState(line, wet[..., -1:], None)
    shortest, longest = _extremes(delay, least, limit)
    block = max(math.floor(shortest) - 1, 1)
    window = state.line[..., -(math.ceil(longest) + 3) :]
    need = window.shape[-1]
    gain, last, loop = feedback.to(x.dtype), state.last, state.loop
    written, read = [], []
    for begin in range(0, x.shape[-1], block):
        now = x[..., begin : begin + block]
        length = now.shape[-1]
        moved = delay if delay.shape[-1] == 1 else delay[..., begin : begin + length]
        time = torch.arange(need, need + length, device=x.device)
        wet = read_line(window, time, moved, interpolation)
        back = torch.cat([last, wet[..., :-1]], dim=-1) if late else wet
        last = wet[..., -1:]
        if loop_filter is not None:
            back, loop = sosfilt_stream(back, loop_filter, loop)
        new = now + gain * (back.flip(-2) if crossed else back)
        window = torch.cat([window, new], dim=-1)[..., -need:]
        written.append(new)
        read.append(wet)
    line = torch.cat([state.line, *written], dim=-1)[..., -state.line.shape[-1] :]
    return torch.cat(read, dim=-1), FeedbackDelayState(line, last, loop)


def _extremes(delay: Tensor, least: float, limit: float) -> tuple[float, float]:
    """Shortest and longest delay; the bounds where values cannot be looked at."""
    if torch.compiler.is_compiling():
        return least, limit
    try:
        low, high = torch.aminmax(delay.detach())
        return max(float(low), least), min(float(high), limit)
    except RuntimeError:  # under vmap
        return least, limit


def _is_zero(value: Tensor) -> bool:
    """Tell whether a value is zero and nobody asks for its gradient."""
    if torch.compiler.is_compiling() or value.requires_grad:
        return False
    try:
        tangent = torch.autograd.forward_ad.unpack_dual(value).tangent
        return tangent is None and not bool(value.any())
    except RuntimeError:  # under vmap
        return False
