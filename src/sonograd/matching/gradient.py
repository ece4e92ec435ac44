"""Gradient descent on any loss, for those who want to watch it, and where the phase is lost."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sonograd.effects import Learnable
from sonograd.errors import ParameterError
from sonograd.losses import L1, L2, MultiResolutionSTFT
from sonograd.matching.fitting import Fit
from sonograd.matching.solve import Problem, normal_equations, null_db
from sonograd.matching.solve import Solution as _Solution
from sonograd.matching.stages import Plan

__all__ = ["LOSSES", "METHODS", "Method", "descend"]

Method: TypeAlias = Literal["lm", "adam", "sgd", "lbfgs"]

METHODS: tuple[Method, ...] = ("lm", "adam", "sgd", "lbfgs")

#: Losses by name; a module ``loss(estimate, reference)`` works as well.
LOSSES: Mapping[str, Callable[[], nn.Module]] = {
    "waveform": L2,
    "l1": L1,
    "mrstft": MultiResolutionSTFT,
}


def descend(
    fit: Fit,
    problem: Problem,
    *,
    method: Method,
    loss: str | nn.Module,
    steps: int,
    learning_rate: float,
    on_step: Callable[[float], None] | None = None,
) -> tuple[Fit, tuple[float, ...]]:
    """Go down the gradient from where a fit is.

    Args:
        fit: Chain and starting point.
        problem: Signals.
        method: ``"adam"``, ``"sgd"``, or ``"lbfgs"``, which takes the logarithm of the loss: its
            steps are then those of a relative error.
        loss: A name of :data:`LOSSES`, or a module.
        steps: Number of steps.
        learning_rate: Of ``adam`` and ``sgd``, on the scale [0, 1] of unit vectors.
        on_step: Called with the loss after each step.

    Returns:
        The fit, and the loss after each step.
    """
    plan = fit.plan
    if isinstance(loss, str) and loss not in LOSSES:
        raise ParameterError(f"loss is {loss!r}; expected {', '.join(LOSSES)} or a module")
    criterion = LOSSES[loss]() if isinstance(loss, str) else loss
    target = problem.target(fit.solution.delay).float()
    dry = problem.dry.float()
    owned = Learnable(plan.effect, plan.values(fit.solution.theta))
    free = {c.name for c in plan.coordinates}
    frozen = torch.tensor([name not in free for name in plan.effect.names])
    held = owned.unit.detach().clone()

    def value() -> Tensor:
        estimate = problem.counted(owned(dry))
        total: Tensor = criterion(estimate, target)
        return total.log() if method == "lbfgs" else total

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = value()
        total.backward()
        if owned.unit.grad is not None:
            owned.unit.grad[frozen] = 0
            owned.unit.grad.nan_to_num_(0.0, 0.0, 0.0)
        return total

    optimizer = _optimizer(method, owned.unit, learning_rate)
    history, best, kept = [], math.inf, held
    for _ in range(steps):
        before = owned.unit.detach().clone()
        value_now: Any = optimizer.step(closure)  # type: ignore[arg-type]
        number = float(value_now.detach())
        number = math.exp(number) if method == "lbfgs" else number
        if math.isfinite(number) and number < best:
            best, kept = number, before
        history.append(number)
        if on_step is not None:
            on_step(number)
        with torch.no_grad():
            owned.unit.clamp_(0, 1)
    with torch.no_grad():
        final = float(value())
        final = math.exp(final) if method == "lbfgs" else final
        if final < best:
            kept = owned.unit.detach().clone()
    values: dict[str, Any] = plan.effect.from_unit(kept)
    numbers = {s: {k: float(v) for k, v in given.items()} for s, given in values.items()}
    return _settled(plan, problem, fit, plan.theta(numbers)), tuple(history)


def _optimizer(method: Method, unit: Tensor, learning_rate: float) -> torch.optim.Optimizer:
    if method == "adam":
        return torch.optim.Adam([unit], lr=learning_rate)
    if method == "sgd":
        return torch.optim.SGD([unit], lr=learning_rate)
    if method == "lbfgs":
        return torch.optim.LBFGS([unit], max_iter=5, line_search_fn="strong_wolfe")
    raise ParameterError(f"method is {method!r}; expected lm, adam, sgd or lbfgs")


def _settled(plan: Plan, problem: Problem, fit: Fit, theta: Tensor) -> Fit:
    """Linearize where the descent ended, for standard errors."""
    delay = fit.solution.delay
    normal, _, cost = normal_equations(
        plan.linearize(problem.dry, theta), problem, problem.target(delay)
    )
    energy = float(problem.target(delay).square().sum())
    depth = null_db(energy, cost)
    solution = _Solution(theta, delay, cost, energy, normal, (depth,), converged=True)
    return Fit(plan, solution, fit.starts, problem.count)
