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
        follow = (_run_kernel if _usable(level) else _iterate)(wide, attack, release)
    if torch.is_grad_enabled() and any(v.requires_grad for v in (level, attack, release)):
        before = torch.nn.functional.pad(follow[..., :-1], (1, 0))
        keep = torch.where(wide > before, attack[..., None], release[..., None])
        follow = _smooth(wide, keep)
    return follow.to(level.dtype)


def _usable(level: Tensor) -> bool:
    return level.device.type == "cpu" and _kernels.has_fast_kernels()


def _smooth(level: Tensor, keep: Tensor) -> Tensor:
    return linear_scan(keep[None, None], ((1 - keep) * level)[None])[0]


def _run_kernel(level: Tensor, attack: Tensor, release: Tensor) -> Tensor:
    rows = level.reshape(-1, level.shape[-1])
    out = torch.empty_like(rows, memory_format=torch.contiguous_format)
    _kernels.ballistics(
        rows.numpy(),
        attack.reshape(-1).numpy(),
        release.reshape(-1).numpy(),
        rows.new_zeros(len(rows)).numpy(),
        out.numpy(),
    )
    return out.reshape(level.shape)


def _iterate(level: Tensor, attack: Tensor, release: Tensor) -> Tensor:
    """Guess the branches, solve the recursion that is then linear, correct the guess, repeat.

    After ``k`` rounds at least the first ``k`` branches are right, so the end is the exact
    recursion; in practice a few rounds suffice.
    """
    attack, release = attack[..., None], release[..., None]
    rising = level > 0
    for _ in range(level.shape[-1] + 1):
        follow = _smooth(level, torch.where(rising, attack, release))
        before = torch.nn.functional.pad(follow[..., :-1], (1, 0))
        # Where both are equal within rounding the branch makes no difference: do not chase it.
        slack = 1e-12 * before.abs()
        now = torch.where((level - before).abs() <= slack, rising, level > before)
        if torch.equal(now, rising):
            break
        rising = now
    return follow
