r"""Envelope followers: one-pole smoothing that rises and falls at different speeds."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._branching import follow_level, follow_level_adjoint
from sonograd.functional._transforms import (
    differentiated_again,
    gradients_of_plain,
    plain_form_needed,
)
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.scans import linear_scan
from sonograd.shapes import check_floating

__all__ = [
    "TimeConvention",
    "envelope_follower",
    "envelope_follower_stream",
    "smoothing_coefficient",
]

TimeConvention = Literal["juce", "tau", "10-90"]

_RATE = {"juce": 2 * math.pi, "tau": 1.0, "10-90": math.log(9.0)}


def smoothing_coefficient(
    time_ms: float | Tensor, *, sample_rate: float, time_convention: TimeConvention = "juce"
) -> Tensor:
    r"""Turn a time into the factor by which a one-pole smoother keeps its state per sample.

    :math:`c = e^{-1000 r / (f_s t)}`, and 0 below one microsecond. A time of ``t`` means, by
    convention: ``"juce"`` (:math:`r = 2\pi`) what many plug-ins show, 1/535 of the step is left
    after ``t``; ``"tau"`` (:math:`r = 1`) the time constant, 1/e is left; ``"10-90"``
    (:math:`r = \ln 9`) the rise from 10 % to 90 %.

    Args:
        time_ms: Milliseconds, any shape.
        sample_rate: In Hz.
        time_convention: What the time means.

    Returns:
        Factors in [0, 1), float64 (float32 on MPS), shape of ``time_ms``.
    """
    if time_convention not in _RATE:
        raise ParameterError(
            f"time_convention is {time_convention!r}; expected one of {', '.join(_RATE)}"
        )
    device = time_ms.device if isinstance(time_ms, Tensor) else torch.device("cpu")
    wide = torch.float32 if device.type == "mps" else torch.float64
    time = torch.as_tensor(time_ms, dtype=wide, device=device)
    slow = torch.exp(-1000 * _RATE[time_convention] / sample_rate / time.clamp_min(1e-3))
    return torch.where(time < 1e-3, torch.zeros_like(slow), slow)


def envelope_follower(
    level: Tensor,
    attack_ms: float | Tensor,
    release_ms: float | Tensor,
    *,
    sample_rate: float,
    time_convention: TimeConvention = "juce",
) -> Tensor:
    r"""Follow a level, :math:`e_n = a_n + c\,(e_{n-1} - a_n)` from :math:`e_{-1} = 0`.

    ``c`` is the attack coefficient where :math:`a_n > e_{n-1}` and the release coefficient
    elsewhere.

    Args:
        level: What to follow, such as ``x.abs()``, shape ``(..., samples)``.
        attack_ms: Time to rise, a number or ``(...)``.
        release_ms: Time to fall, a number or ``(...)``.
        sample_rate: In Hz.
        time_convention: See :func:`smoothing_coefficient`.

    Returns:
        ``(..., samples)``, dtype and device of ``level``, computed in float64; differentiable in
        all three (the choice of the branch is held fixed, its gradient is zero almost everywhere).
    """
    return envelope_follower_stream(
        level,
        attack_ms,
        release_ms,
        None,
        sample_rate=sample_rate,
        time_convention=time_convention,
    )[0]


def envelope_follower_stream(
    level: Tensor,
    attack_ms: float | Tensor,
    release_ms: float | Tensor,
    state: Tensor | None,
    *,
    sample_rate: float,
    time_convention: TimeConvention = "juce",
) -> tuple[Tensor, Tensor]:
    """Follow the next block; the blocks joined are :func:`envelope_follower` of the whole.

    Args:
        level: The next samples ``(..., samples)``.
        attack_ms: As there.
        release_ms: As there.
        state: What the call before returned, ``(...)``; ``None`` at the start.
        sample_rate: In Hz.
        time_convention: See :func:`smoothing_coefficient`.

    Returns:
        ``(..., samples)``, and the last value ``(...)`` in float64 (float32 on MPS).
    """
    check_floating(level, name="level")
    if not level.ndim:
        raise ShapeError("level is a scalar; expected (..., samples)")
    attack, release = (
        smoothing_coefficient(t, sample_rate=sample_rate, time_convention=time_convention).to(
            level.device
        )
        for t in (attack_ms, release_ms)
    )
    try:
        lead = broadcast_shapes(level.shape[:-1], attack.shape, release.shape)
    except RuntimeError as error:
        raise ShapeError(
            f"attack_ms and release_ms have shapes {tuple(attack.shape)} and "
            f"{tuple(release.shape)}, which do not broadcast with {tuple(level.shape[:-1])}, the "
            "leading dimensions of level"
        ) from error
    start = torch.zeros(lead, dtype=attack.dtype, device=level.device) if state is None else state
    if start.shape != lead:
        raise ShapeError(f"state has shape {tuple(start.shape)}; expected {tuple(lead)}")
    rows = level.expand(*lead, level.shape[-1]).reshape(lead.numel(), level.shape[-1])
    if rows.dtype not in {torch.float32, torch.float64}:
        rows = rows.float()
    columns = [v.expand(lead).reshape(-1).to(attack.dtype) for v in (attack, release, start)]
    if plain_form_needed(rows, *columns):
        follow, end = _plain(rows, *columns)
    else:
        follow, end = _Follow.apply(rows, *columns)  # type: ignore[no-untyped-call]
    return follow.to(level.dtype).reshape(*lead, -1), end.reshape(lead)


def _plain(level: Tensor, attack: Tensor, release: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Find the branches, then solve the recursion that is linear once they are known."""
    _, rising, _ = follow_level(*(v.detach() for v in (level, attack, release, start)))
    wide = level.to(attack.dtype)
    keep = torch.where(rising, attack[:, None], release[:, None])
    follow = linear_scan(keep[None, None], ((1 - keep) * wide)[None], start[None])[0]
    end = follow[:, -1] if follow.shape[-1] else start
    return follow.to(level.dtype), end


class _Follow(torch.autograd.Function):
    """:func:`_plain` with the adjoint recursion as its gradient."""

    @staticmethod
    def forward(
        ctx: Any, level: Tensor, attack: Tensor, release: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        follow, rising, end = follow_level(level, attack, release, start)
        ctx.save_for_backward(level, attack, release, start, follow, rising)
        return follow, end

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_end: Tensor) -> tuple[Tensor, ...]:
        level, attack, release, start, follow, rising = ctx.saved_tensors
        if differentiated_again():
            return gradients_of_plain(_plain, (level, attack, release, start), (grad, grad_end))
        grads: tuple[Tensor, ...] = follow_level_adjoint(
            grad, level, follow, rising, attack, release, start, grad_end
        )
        return grads
