"""Levenberg-Marquardt with a trust region: all parameters and the delay between samples at once.

Only the normal equations are kept, so the memory of a fit is that of its tangents. The delay is
taken out of the wet signal instead of put into the match, which costs two convolutions and leaves
the residual the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sonograd.functional.convolution import fft_convolve
from sonograd.matching._threads import begin, side_by_side
from sonograd.matching.align import REACH, shift_slope, shifted
from sonograd.matching.duals import Dual
from sonograd.matching.stages import Plan

__all__ = ["Problem", "Solution", "cost_at", "normal_equations", "null_db", "solve"]

_DELAY_STEP = 0.5
_CHUNK = 1 << 13
_CHUNKS = 6  # that are made ready while others are summed up
_TINY = 1e-300


@dataclass(frozen=True)
class Problem:
    """What is fitted.

    Attributes:
        dry: ``(segments, channels, context + samples)``, float64.
        wet: ``(segments, channels, REACH + context + samples + REACH)``, whole samples of delay
            taken out.
        context: Samples at the start of each segment that do not count.
        mask: ``(segments, channels, samples)``, 0 where a sample does not count; None for all.
        kernel: Filters what counts, so that what remains of it is white; None for as it is.
        weight: As ``mask``, of each sample after that.
    """

    dry: Tensor
    wet: Tensor
    context: int = 0
    mask: Tensor | None = None
    kernel: Tensor | None = None
    weight: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of samples that count."""
        if self.mask is not None:
            return int(self.mask.sum())
        segments, channels, samples = self.dry.shape
        return segments * channels * (samples - self.context)

    def target(self, delay: float) -> Tensor:
        """Return wet at ``delay`` samples later, where it counts."""
        return self.counted(shifted(self.wet, delay))

    def target_slope(self, delay: float) -> Tensor:
        """Return the derivative of :meth:`target` in ``delay``."""
        return self.counted(shift_slope(self.wet, delay))

    def target_whole(self, delay: float) -> Tensor:
        """Return wet at ``delay`` samples later, context included."""
        return shifted(self.wet, delay)

    def counted(self, x: Tensor) -> Tensor:
        """Cut the context off, blank what does not count and weigh the rest."""
        x = x[..., self.context :]
        x = x if self.mask is None else x * self.mask.to(x.dtype)
        if self.kernel is None or not x.numel():
            return x
        x = fft_convolve(x, self.kernel.to(x.dtype), "same")
        return x if self.weight is None else x * self.weight.to(x.dtype)

    def after(self, context: int) -> "Problem":
        """Keep at most ``context`` samples before what counts."""
        extra = max(0, self.context - context)
        if not extra:
            return self
        return replace(
            self,
            dry=self.dry[..., extra:],
            wet=self.wet[..., extra:],
            context=self.context - extra,
        )

    def later(self, samples: int) -> "Problem":
        """Count the first ``samples`` samples no more: they become context."""
        mask = None if self.mask is None else self.mask[..., samples:]
        weight = None if self.weight is None else self.weight[..., samples:]
        return replace(self, context=self.context + samples, mask=mask, weight=weight)

    def without_top(self) -> "Problem":
        """Take away what lies above 0.9 of half the sample rate, and the ends that this blurs."""
        time = torch.arange(-REACH, REACH + 1, dtype=self.dry.dtype)
        window = torch.hann_window(2 * REACH + 3, periodic=False, dtype=self.dry.dtype)[1:-1]
        kernel = 0.9 * torch.sinc(0.9 * time) * window.square()
        dry = fft_convolve(self.dry, kernel)[..., 2 * REACH : self.dry.shape[-1]]
        wet = fft_convolve(self.wet, kernel)[..., 2 * REACH : self.wet.shape[-1]]
        return replace(self, dry=dry, wet=wet)


@dataclass(frozen=True)
class Solution:
    """Where the solver arrived.

    Attributes:
        theta: Coordinates, ``(parameters,)``.
        delay: In samples, beyond the whole ones.
        cost: Energy of the residual.
        energy: Energy of wet.
        normal: ``J' J``, ``(n, n)``; the delay is the last where it was free.
        history: ``null_db`` after each step.
        converged: Whether steps had become small.
    """

    theta: Tensor
    delay: float
    cost: float
    energy: float
    normal: Tensor
    history: tuple[float, ...]
    converged: bool

    @property
    def null_db(self) -> float:
        """Level of wet over that of the residual."""
        return null_db(self.energy, self.cost)


def null_db(energy: float, cost: float) -> float:
    """Return the level of wet over that of the residual, in dB."""
    if energy <= 0:
        return 0.0 if cost > 0 else math.inf
    return 10 * math.log10(max(energy, _TINY) / max(cost, energy * 1e-32))


def cost_at(plan: Plan, problem: Problem, theta: Tensor, delay: float) -> float:
    """Return the energy of the residual."""
    target = begin(partial(problem.target, delay))
    return _energy_left(plan, problem, theta, target)


def _energy_left(
    plan: Plan, problem: Problem, theta: Tensor, target: Callable[[], Tensor]
) -> float:
    y = problem.counted(plan.run(problem.dry, plan.values(theta)))
    return float((y - target()).square().sum())


def normal_equations(
    dual: Dual, problem: Problem, target: Tensor, slope: Tensor | None = None
) -> tuple[Tensor, Tensor, float]:
    """Return ``J' J``, ``J' r`` and the energy of the residual ``r = match - wet``.

    Args:
        dual: The match.
        problem: What counts of it.
        target: Wet, where it counts.
        slope: Its derivative in the delay, where that is free.
    """
    residual = (problem.counted(dual.value) - target).reshape(-1)
    rows = problem.counted(dual.tangent)
    own, count = rows.shape[0], rows.shape[0] + (slope is not None)
    rows = rows.flatten(1)
    normal = torch.zeros(count, count, dtype=torch.float64)
    right = torch.zeros(count, dtype=torch.float64)
    turned = None if slope is None else slope.reshape(-1)

    def ready(start: int) -> list[Tensor]:
        """Put the next chunks into float64."""
        chunks = []
        for first in range(start, min(start + _CHUNKS * _CHUNK, residual.numel()), _CHUNK):
            inside = slice(first, min(first + _CHUNK, residual.numel()))
            chunk = torch.empty(count, inside.stop - first, dtype=torch.float64)
            chunk[:own] = rows[:, inside]
            if turned is not None:
                torch.neg(turned[inside], out=chunk[own])
            chunks.append(chunk)
        return chunks

    def add(chunks: list[Tensor], start: int) -> list[Tensor]:
        """Sum chunks up, one after the other: in another order, sums differ."""
        for place, chunk in enumerate(chunks):
            normal.addmm_(chunk, chunk.mT)
            first = start + place * _CHUNK
            right.addmv_(chunk, residual[first : first + chunk.shape[1]])
        return []

    chunks: list[Tensor] = []
    size = _CHUNKS * _CHUNK
    for start in range(0, residual.numel() + size, size):
        done = partial(add, chunks, start - size)
        chunks = side_by_side([done, partial(ready, start)])[1]
    return normal, right, float(residual.square().sum())


def solve(
    plan: Plan,
    problem: Problem,
    theta: Tensor,
    delay: float = 0.0,
    *,
    free_delay: bool = False,
    iterations: int = 30,
    tolerance: float = 1e-7,
    prior: Tensor | None = None,
    damping: float = 1e-3,
    on_step: Callable[[float], None] | None = None,
) -> Solution:
    """Fit.

    Args:
        plan: Chain and coordinates.
        problem: Signals.
        theta: Where to start.
        delay: Where the delay starts.
        free_delay: Whether it is fitted.
        iterations: Largest number of accepted steps.
        tolerance: Relative gain of a step below which the fit is done.
        prior: Weight on the square of the coordinates, ``(parameters,)``, relative to the energy
            of wet per sample; it holds what the signals do not show.
        damping: First damping.
        on_step: Called with ``null_db`` after each accepted step.
    """
    low, high, limit = plan.limits()
    target = problem.target(delay)
    energy = float(target.square().sum())
    # New memory at each step would cost as much as what is computed in it.
    room = torch.empty(len(plan), *problem.dry.shape, dtype=torch.float32)
    if free_delay:
        limit = torch.cat([limit, torch.tensor([_DELAY_STEP], dtype=torch.float64)])
    weight = torch.zeros(len(plan), dtype=torch.float64) if prior is None else prior * energy
    theta = theta.clone().clamp(low, high)
    normal, right, data = _linear(plan, problem, theta, delay, target, room, free_delay)
    cost = data + float((weight * theta.square()).sum())
    history = [null_db(energy, data)]
    small = 0
    for _ in range(iterations):
        stepped = False
        for _ in range(10):
            step = _step(normal, right, weight, theta, damping, limit, low, high)
            moved = (theta + step[: len(plan)]).clamp(low, high)
            later = delay + float(step[-1]) if free_delay else delay
            wet = begin(partial(_target, problem, later, delay, target))
            fresh = _energy_left(plan, problem, moved, wet)
            total = fresh + float((weight * moved.square()).sum())
            if total < cost and math.isfinite(total):
                stepped = True
                break
            damping *= 6
            if damping > 1e9:
                break
        if not stepped:
            break
        gained = (cost - total) / max(cost, _TINY)
        theta, delay, target, cost = moved, later, wet(), total
        damping = max(damping * 0.2, 1e-12)
        normal, right, data = _linear(plan, problem, theta, delay, target, room, free_delay)
        history.append(null_db(energy, data))
        if on_step is not None:
            on_step(history[-1])
        small = small + 1 if gained < tolerance else 0
        if small or history[-1] > 290:
            break
    else:
        return Solution(theta, delay, data, energy, normal, tuple(history), converged=False)
    return Solution(theta, delay, data, energy, normal, tuple(history), converged=True)


def _linear(
    plan: Plan,
    problem: Problem,
    theta: Tensor,
    delay: float,
    target: Tensor,
    room: Tensor,
    free_delay: bool,
) -> tuple[Tensor, Tensor, float]:
    slope = begin(partial(problem.target_slope, delay)) if free_delay else None
    dual = plan.linearize(problem.dry, theta, room)
    return normal_equations(dual, problem, target, None if slope is None else slope())


def _target(problem: Problem, delay: float, known: float, target: Tensor) -> Tensor:
    return target if delay == known else problem.target(delay)


def _step(
    normal: Tensor,
    right: Tensor,
    weight: Tensor,
    theta: Tensor,
    damping: float,
    limit: Tensor,
    low: Tensor,
    high: Tensor,
) -> Tensor:
    """Solve for the step; coordinates that push against their range are left out."""
    count = weight.numel()
    matrix, vector = normal.clone(), right.clone()
    if count:
        matrix[:count, :count] += torch.diag(weight)
        vector[:count] += weight * theta
    diagonal = matrix.diagonal().clone()
    floor = 1e-9 * float(diagonal.mean()) + _TINY
    blocked = torch.zeros(vector.numel(), dtype=torch.bool)
    blocked[:count] = ((theta <= low) & (vector[:count] > 0)) | (
        (theta >= high) & (vector[:count] < 0)
    )
    matrix = matrix + torch.diag(damping * (diagonal + floor) + 1e-13 * (diagonal + floor))
    matrix[blocked] = 0
    matrix[:, blocked] = 0
    matrix[blocked, blocked] = 1
    vector[blocked] = 0
    # Unit diagonal first: parameters differ by many orders of magnitude.
    scale = matrix.diagonal().clamp_min(_TINY).rsqrt()
    scaled = matrix * scale[:, None] * scale
    step = -scale * torch.linalg.solve(scaled, scale * vector)
    return torch.where(step.isfinite(), step, torch.zeros_like(step)).clamp(-limit, limit)
