"""Fit levels where the phase is lost, as by a chorus after the chain or a coder of few bits.

The waveforms have little in common then, and their difference says nothing. What is left are
levels in bands and frames. They are fitted by Gauss-Newton from starting points that look at
magnitudes alone, and then by L-BFGS on the logarithm of a multi-resolution STFT loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sonograd.matching.fitting import Fit, Settings, prior_of
from sonograd.matching.gradient import descend
from sonograd.matching.guesses import starting_points
from sonograd.matching.levels import Levels
from sonograd.matching.solve import Problem

__all__ = ["SpectralFit", "fit_spectrum"]

_ROUNDS = 20
_STEPS = 6  # of L-BFGS
_HUBER = 1.5  # standard deviations beyond which a cell counts less
_CANDIDATES = 6
_PRIOR = 0.3  # on gains of bands, as cells of 1 dB


@dataclass(frozen=True)
class SpectralFit:
    """A fit of levels.

    Attributes:
        fit: Its standard errors are those of the levels.
        before_db: By how much dry misses the levels of wet in the mean, beside a gain.
        after_db: By how much the match does.
    """

    fit: Fit
    before_db: float
    after_db: float


@dataclass(frozen=True)
class _Point:
    """Where a descent is."""

    theta: Tensor
    cost: float
    scale: float
    normal: Tensor


def fit_spectrum(
    fits: Sequence[Fit], quick: Problem, problem: Problem, settings: Settings, sample_rate: float
) -> SpectralFit:
    """Fit the levels of wet by each of some chains, and take the best by BIC.

    Args:
        fits: Fitted chains, of which the chains are used.
        quick: The short stretch, on which chains are compared.
        problem: Everything, on which the best one is fitted.
        settings: Where to start.
        sample_rate: In Hz.
    """
    levels = Levels(quick.target(settings.delay), sample_rate)
    best: tuple[float, Fit, _Point] | None = None
    for fit in fits[:_CANDIDATES]:
        point = _from_starts(fit, quick, levels, settings)
        cells = max(levels.reference.numel(), 2)
        bic = cells * math.log(max(point.cost, 1e-9) / cells) + len(fit.plan) * math.log(cells)
        if best is None or bic < best[0]:
            best = bic, fit, point
    assert best is not None  # there is at least one chain
    fit = _at(best[1], best[2].theta, settings.delay)
    fit = descend(fit, quick, method="lbfgs", loss="mrstft", steps=_STEPS, learning_rate=0.03)[0]
    whole = Levels(problem.target(settings.delay), sample_rate)
    point = _descend(fit, problem, whole, fit.solution.theta)
    match = problem.counted(fit.plan.run(problem.dry, fit.plan.values(point.theta)))
    return SpectralFit(
        _settled(fit, problem, whole, point, match, settings.delay),
        whole.distance(problem.counted(problem.dry)),
        whole.distance(match),
    )


def _at(fit: Fit, theta: Tensor, delay: float) -> Fit:
    return replace(fit, solution=replace(fit.solution, theta=theta, delay=delay))


def _from_starts(fit: Fit, problem: Problem, levels: Levels, settings: Settings) -> _Point:
    """Descend from some points; best end."""
    plan = fit.plan
    if settings.start is not None or not len(plan):
        return _descend(fit, problem, levels, plan.theta(settings.start or plan.base))
    dry = problem.dry[..., problem.context :]
    wet = problem.target(settings.delay)
    points = starting_points(
        plan.effect, dry, wet, plan.base, plan.held, width=3, seed=settings.seed, levels=levels
    )
    ends = [_descend(fit, problem, levels, plan.theta(p)) for p in points]
    return min(ends, key=lambda end: end.cost)


def _descend(fit: Fit, problem: Problem, levels: Levels, theta: Tensor) -> _Point:
    """Gauss-Newton with damping on the levels, cells far off counting less."""
    plan = fit.plan
    low, high, limit = plan.limits()
    theta = theta.clamp(low, high)
    prior = _PRIOR * (prior_of(plan) > 0).double()

    def look(at: Tensor) -> Tensor:
        values = plan.values(at)
        return levels.of(problem.counted(plan.run(problem.dry, values))) - levels.reference

    def cost_of(missing: Tensor, at: Tensor, scale: float) -> float:
        bound = _HUBER * scale
        size = missing.abs()
        inside = torch.where(size <= bound, size.square(), 2 * bound * size - bound**2)
        return float(inside.sum() + (prior * at.square()).sum())

    damping = 1e-2
    scale = _spread(look(theta))
    point = None
    for _ in range(_ROUNDS if len(plan) else 1):
        dual = plan.linearize(problem.dry, theta)
        value = problem.counted(dual.value)
        measured, slopes = levels.linearize(
            replace(dual, value=value, tangent=problem.counted(dual.tangent))
        )
        missing = measured - levels.reference
        weight = (_HUBER * scale / missing.abs().clamp_min(1e-9)).clamp_max(1.0)
        normal = slopes.T @ (weight[:, None] * slopes)
        cost = cost_of(missing, theta, scale)
        point = _Point(theta, cost, scale, normal)
        if not len(plan):
            break
        right = slopes.T @ (weight * missing) + prior * theta
        matrix = normal + torch.diag(prior)
        for _ in range(8):
            diagonal = matrix.diagonal()
            lifted = matrix + torch.diag(damping * diagonal + 1e-9 * diagonal.mean() + 1e-12)
            moved = (theta - torch.linalg.solve(lifted, right).clamp(-limit, limit)).clamp(
                low, high
            )
            fresh = cost_of(look(moved), moved, scale)
            if fresh < cost:
                break
            damping *= 5
        else:
            break
        theta, damping = moved, max(damping * 0.2, 1e-6)
        if cost - fresh < 1e-4 * cost:
            break
    assert point is not None  # there is at least one round
    missing = look(theta)
    scale = _spread(missing)
    return replace(
        point,
        theta=theta,
        cost=float(missing.square().clamp_max((3 * scale) ** 2).sum()),
        scale=scale,
    )


def _spread(missing: Tensor) -> float:
    """Standard deviation of most cells."""
    return max(1.4826 * float(missing.abs().median()), 0.05) if missing.numel() else 1.0


def _settled(
    fit: Fit, problem: Problem, levels: Levels, point: _Point, match: Tensor, delay: float
) -> Fit:
    """Give a fit the residual of its waveform and the standard errors of its levels."""
    wet = problem.target(delay)
    cost = float((wet - match).square().sum())
    cells, size = levels.reference.numel(), len(fit.plan)
    variance = point.cost / max(cells - size, 1)
    noise = cost / max(problem.count - size, 1)
    solution = replace(
        fit.solution,
        theta=point.theta,
        delay=delay,
        cost=cost,
        energy=float(wet.square().sum()),
        normal=point.normal * (noise / max(variance, 1e-12)),
    )
    return replace(fit, solution=solution, count=problem.count)
