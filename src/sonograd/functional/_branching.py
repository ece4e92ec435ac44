"""Recursions that branch on their own past, as operators of torch.

They are opaque: ``torch.compile`` and ``vmap`` call them instead of looking inside. On the CPU they
run compiled (extra ``fast``), elsewhere and without it in torch alone, with the same numbers. Where
nothing but values is asked for, they are called past the dispatcher of torch, which imports the
whole compiler of torch at its first operator: a second and a half.
None has a gradient of its own: :mod:`sonograd.functional.ballistics` gives them theirs.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from sonograd.functional import _kernels
from sonograd.functional.scans import linear_scan

__all__ = ["follow_level", "follow_level_adjoint", "latch"]

_SEGMENT = 1 << 16  # samples whose branches are found together


def _fast(x: Tensor) -> bool:
    return x.device.type == "cpu" and _kernels.has_fast_kernels()


def _operator(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Make an operator of torch of a function, called directly where nobody looks."""

    def make(function: Callable[..., Any]) -> Any:
        opaque = torch.library.custom_op(name, mutates_args=())(function)

        @wraps(function)
        def call(*tensors: Tensor) -> Any:
            if _only_values(*tensors):
                return function(*(v.detach() for v in tensors))
            return opaque(*tensors)

        call.opaque = opaque  # type: ignore[attr-defined]
        return call

    return make


def _only_values(*tensors: Tensor) -> bool:
    """Tell whether no transform, tracer or compiler follows these tensors."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and all(type(v) is Tensor for v in tensors)
    )


@_operator("sonograd::follow_level")
def follow_level(
    level: Tensor, attack: Tensor, release: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Follow rows of levels.

    Args:
        level: ``(rows, samples)``, float32 or float64.
        attack: Factors ``(rows,)``, float64.
        release: As ``attack``.
        start: State before the first sample, as ``attack``.

    Returns:
        The state after each sample in the dtype of ``level``, where it was rising, and the last
        state ``(rows,)`` in float64.
    """
    if _fast(level):
        level, end = level.contiguous(), start.contiguous().clone()
        follow, rising = torch.empty_like(level), torch.empty_like(level, dtype=torch.bool)
        keep = torch.stack([attack, release], dim=-1)
        _kernels.ballistics(*(v.numpy() for v in (level, keep, end, follow, rising)))
        return follow, rising, end
    state, follows, branches = start.clone(), [], []
    for segment in level.to(start.dtype).split(_SEGMENT, dim=-1):
        follow, rising = _iterate(segment, attack[:, None], release[:, None], state)
        state = follow[:, -1].clone() if segment.shape[-1] else state
        follows.append(follow.to(level.dtype))
        branches.append(rising)
    return torch.cat(follows, dim=-1), torch.cat(branches, dim=-1), state


def _iterate(
    level: Tensor, attack: Tensor, release: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Guess the branches, solve the recursion that is then linear, correct the guess, repeat.

    After ``k`` rounds at least the first ``k`` branches are right, so the end is the exact
    recursion. With the faster of both coefficients on the way up the recursion is the largest of
    two increasing linear ones, the rounds climb toward it (policy iteration), and few suffice.
    """
    rising = level > start[:, None]
    follow = level
    for _ in range(level.shape[-1] + 1):
        keep = torch.where(rising, attack, release)
        follow = linear_scan(keep[None, None], ((1 - keep) * level)[None], start[None])[0]
        before = torch.cat([start[:, None], follow[:, :-1]], dim=-1)
        # Where both are equal within rounding the branch makes no difference: do not chase it.
        equal = (level - before).abs() <= 1e-12 * before.abs()
        now = torch.where(equal, rising, level > before)
        if torch.equal(now, rising):
            break
        rising = now
    return follow, rising


@_operator("sonograd::follow_level_adjoint")
def follow_level_adjoint(
    grad: Tensor,
    level: Tensor,
    follow: Tensor,
    rising: Tensor,
    attack: Tensor,
    release: Tensor,
    start: Tensor,
    grad_end: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of :func:`follow_level` in its four arguments."""
    if _fast(level):
        signals = [v.contiguous() for v in (grad, level, follow, rising)]
        keep = torch.stack([attack, release], dim=-1)
        grad_level, sums = torch.empty_like(signals[1]), keep.new_empty(len(keep), 3)
        ends = (keep, start.contiguous(), grad_end.contiguous(), grad_level, sums)
        _kernels.ballistics_adjoint(*(v.numpy() for v in (*signals, *ends)))
        rise, fall, first = (v.clone() for v in sums.unbind(-1))
        return grad_level, rise, fall, first
    keep = torch.where(rising, attack[:, None], release[:, None])
    wide = grad.to(keep.dtype)
    drive = torch.cat([wide[:, :-1], wide[:, -1:] + grad_end[:, None]], dim=-1).flip(-1)
    later = torch.cat([torch.ones_like(keep[:, :1]), keep[:, 1:].flip(-1)], dim=-1)
    total = linear_scan(later[None, None], drive[None])[0].flip(-1)
    before = torch.cat([start[:, None], follow[:, :-1].to(keep.dtype)], dim=-1)
    change = (before - level) * total
    first = keep[:, 0] * total[:, 0] if level.shape[-1] else grad_end.clone()
    return (
        ((1 - keep) * total).to(level.dtype),
        torch.where(rising, change, 0.0).sum(-1),
        torch.where(rising, 0.0, change).sum(-1),
        first,
    )


@_operator("sonograd::latch")
def latch(
    level: Tensor, upper: Tensor, lower: Tensor, hold: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Open above ``upper``, close when ``hold`` samples have passed below ``lower``.

    Args:
        level: ``(rows, samples)``, float32 or float64.
        upper: ``(rows,)``, float64.
        lower: ``(rows,)``, at most ``upper``.
        hold: Samples, ``(rows,)``.
        state: ``(rows, 2)``: 1 if open, and samples since the level was last at ``lower``.

    Returns:
        Where it is open, ``(rows, samples)``, and the next state.
    """
    if _fast(level):
        level, end = level.contiguous(), state.contiguous().clone()
        is_open = torch.empty_like(level, dtype=torch.bool)
        limits = torch.stack([upper, lower, hold], dim=-1)
        _kernels.latch(*(v.numpy() for v in (level, limits, end, is_open)))
        return is_open, end
    samples = level.shape[-1]
    if not samples:
        return torch.zeros_like(level, dtype=torch.bool), state.clone()
    wide = level.to(upper.dtype)
    time = torch.arange(samples, device=level.device, dtype=state.dtype).expand_as(wide)
    last = torch.where(wide >= lower[:, None], time, -1 - state[:, 1:]).cummax(-1).values
    age = time - last
    # Opened last, or closed last: whichever came later. Both never happen at one sample.
    opened = torch.where(wide > upper[:, None], time, state[:, :1] - 2).cummax(-1).values
    closed = torch.where(age <= hold[:, None], -1.5, time).cummax(-1).values
    is_open = opened > closed
    return is_open, torch.stack([is_open[:, -1].to(state.dtype), age[:, -1]], dim=-1)


def _follow_shapes(level: Tensor, attack: Tensor, release: Tensor, start: Tensor) -> Any:
    return torch.empty_like(level), torch.empty_like(level, dtype=torch.bool), start.clone()


def _adjoint_shapes(
    grad: Tensor,
    level: Tensor,
    follow: Tensor,
    rising: Tensor,
    attack: Tensor,
    release: Tensor,
    start: Tensor,
    grad_end: Tensor,
) -> Any:
    return (torch.empty_like(level), *(torch.empty_like(attack) for _ in range(3)))


def _latch_shapes(level: Tensor, upper: Tensor, lower: Tensor, hold: Tensor, state: Tensor) -> Any:
    return torch.empty_like(level, dtype=torch.bool), torch.empty_like(state)


def _over_rows(operator: Any) -> None:
    """Give ``operator`` a rule for ``vmap``: the mapped dimension becomes more rows."""

    def rule(info: Any, dims: Sequence[int | None], *arguments: Tensor) -> Any:
        size = info.batch_size
        spread = [
            (v.expand(size, *v.shape) if dim is None else v.movedim(dim, 0)).flatten(0, 1)
            for v, dim in zip(arguments, dims, strict=True)
        ]
        results = operator(*spread)
        return tuple(v.unflatten(0, (size, -1)) for v in results), (0,) * len(results)

    operator.opaque.register_vmap(rule)


for _function, _shapes in (
    (follow_level, _follow_shapes),
    (follow_level_adjoint, _adjoint_shapes),
    (latch, _latch_shapes),
):
    _function.opaque.register_fake(_shapes)
    _over_rows(_function)
