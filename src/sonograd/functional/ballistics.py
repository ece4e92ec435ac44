r"""Envelope followers: one-pole smoothing that rises and falls at different speeds."""

import math
from typing import Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _kernels
from sonograd.functional.scans import linear_scan
from sonograd.shapes import check_floating

__all__ = ["TimeConvention", "envelope_follower", "smoothing_coefficient"]

TimeConvention = Literal["juce", "tau", "10-90"]

_SEGMENT = 1 << 16  # samples whose branches are found together
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
    check_floating(level, name="level")
    if not level.ndim:
        raise ShapeError("level is a scalar; expected (..., samples)")
    attack, release = (
        smoothing_coefficient(t, sample_rate=sample_rate, time_convention=time_convention).to(
            level.device
        )
        for t in (attack_ms, release_ms)
    )
    lead = torch.broadcast_shapes(level.shape[:-1], attack.shape, release.shape)
    attack, release = attack.expand(lead), release.expand(lead)
    wide = level.expand(*lead, level.shape[-1]).to(attack.dtype)
    with torch.no_grad():
        follow = _follow(wide.detach(), attack.detach(), release.detach())
    if torch.is_grad_enabled() and any(v.requires_grad for v in (level, attack, release)):
        before = torch.nn.functional.pad(follow[..., :-1], (1, 0))
        keep = torch.where(wide > before, attack[..., None], release[..., None])
        follow = _smooth(wide, keep)
    return follow.to(level.dtype)


def _smooth(level: Tensor, keep: Tensor, start: Tensor | None = None) -> Tensor:
    start = None if start is None else start[None]
    return linear_scan(keep[None, None], ((1 - keep) * level)[None], start)[0]


def _follow(level: Tensor, attack: Tensor, release: Tensor) -> Tensor:
    if not level.numel():
        return level
    if level.device.type == "cpu" and _kernels.has_fast_kernels():
        rows = level.reshape(-1, level.shape[-1]).contiguous()
        out = torch.empty_like(rows)
        columns = [v.reshape(-1, 1).contiguous() for v in (attack, release)]
        state = rows.new_zeros(len(rows), 1)
        _kernels.ballistics(*(v.numpy() for v in (rows, *columns, state, out)))
        return out.reshape(level.shape)
    state = torch.zeros_like(attack)
    parts = []
    for segment in level.split(_SEGMENT, dim=-1):
        follow = _iterate(segment, attack[..., None], release[..., None], state)
        state = follow[..., -1]
        parts.append(follow)
    return torch.cat(parts, dim=-1)


def _iterate(level: Tensor, attack: Tensor, release: Tensor, start: Tensor) -> Tensor:
    """Guess the branches, solve the recursion that is then linear, correct the guess, repeat.

    After ``k`` rounds at least the first ``k`` branches are right, so the end is the exact
    recursion. With the faster of both coefficients on the way up the recursion is the largest of
    two increasing linear ones, the rounds climb toward it (policy iteration), and few suffice.
    """
    rising = level > start[..., None]
    follow = level
    for _ in range(level.shape[-1] + 1):
        follow = _smooth(level, torch.where(rising, attack, release), start)
        before = torch.cat([start[..., None], follow[..., :-1]], dim=-1)
        # Where both are equal within rounding the branch makes no difference: do not chase it.
        equal = (level - before).abs() <= 1e-12 * before.abs()
        now = torch.where(equal, rising, level > before)
        if torch.equal(now, rising):
            break
        rising = now
    return follow
