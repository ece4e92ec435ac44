"""One chain, fitted: starts on a short stretch, then everything on the whole."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sonograd.effects import Chain, Gain, ParametricEQ
from sonograd.matching.align import REACH
from sonograd.matching.chains import usual_holds
from sonograd.matching.guesses import replaced_bands, starting_points
from sonograd.matching.solve import Problem, Solution, cost_at, null_db, solve
from sonograd.matching.stages import Plan, stages_of

__all__ = ["Fit", "Settings", "make_plan", "polish", "quick_fit"]

_GOOD_DB = 55.0  # where no further start is tried
_FAIR_DB = 40.0  # where a chain with an equalizer is worth no second start
_LARGE = 1 << 20  # samples, from which on
_FEW = 5  # steps end a fit: it comes from one that had converged
_ROUNDS = 4
_ALIKE = 16  # samples of a residual that are about one observation
_PRIOR = 1e-9  # on gains of bands


@dataclass(frozen=True)
class Settings:
    """What holds for all chains of one match.

    Attributes:
        fix: ``"stage.parameter": value`` that were asked for.
        start: Values to start from, nested by stage; None to search.
        delay: First delay between samples.
        free_delay: Whether it is fitted from the beginning.
        starts: Largest number of starting points.
        seed: Of random starting points.
        worth: Energy of the residual above which a first descent is not followed by others.
        least_echo_ms: No echo is looked for that is nearer.
    """

    fix: Mapping[str, float]
    start: Mapping[str, Mapping[str, float]] | None
    delay: float
    free_delay: bool
    starts: int = 4
    seed: int = 0
    worth: float = math.inf
    least_echo_ms: float = 0.0


@dataclass(frozen=True)
class Fit:
    """A fitted chain.

    Attributes:
        plan: Chain and coordinates.
        solution: Where it ended.
        starts: How many starting points were used.
        count: Samples that counted.
    """

    plan: Plan
    solution: Solution
    starts: int
    count: int

    @property
    def chain(self) -> Chain:
        """The chain."""
        return self.plan.effect

    @property
    def name(self) -> str:
        """Its stages in a row."""
        return " -> ".join(self.chain.stage_names)

    @property
    def bic(self) -> float:
        """Bayesian information criterion on the energy of the residual.

        Below -90 dB a residual is rounding, and no reason for a longer chain. What a chain misses
        is no white noise but music: neighboring samples count as one.
        """
        floor = 1e-9 * self.solution.energy
        energy = max(self.solution.cost, floor, 1e-300) / self.count
        count = self.count / _ALIKE
        return count * math.log(energy) + len(self.plan) * math.log(count)

    def match(self, problem: Problem) -> Tensor:
        """Return what the chain makes of dry, where it counts."""
        return problem.counted(self.plan.run(problem.dry, self.plan.values(self.solution.theta)))


def make_plan(
    chain: Chain,
    fix: Mapping[str, float],
    freed: frozenset[str] | set[str] = frozenset(),
    *,
    start: Mapping[str, Mapping[str, float]] | None = None,
    channels: int = 2,
) -> Plan:
    """Hold what is fixed and what cannot be told apart, but not what is ``freed``.

    What is usually held at a value of ours is held at that of ``start``, where there is one.
    """
    usual = usual_holds(chain, channels)
    for name in usual if start is not None else ():
        stage, _, param = name.partition(".")
        usual[name] = (start or {}).get(stage, {}).get(param, usual[name])
    holds = {k: v for k, v in usual.items() if k not in fix and k not in freed}
    base: dict[str, dict[str, float]] = {}
    for name, value in {**usual, **fix}.items():
        stage, _, param = name.partition(".")
        base.setdefault(stage, {})[param] = value
    return Plan(chain, base, set(holds) | set(fix))


def prior_of(plan: Plan) -> Tensor:
    """Weights that keep the gains of overlapping bands from growing against each other."""
    equalizers = {n for n, s in stages_of(plan.effect) if isinstance(s, ParametricEQ)}
    return torch.tensor(
        [
            _PRIOR if c.stage in equalizers and c.param.name.endswith("gain_db") else 0.0
            for c in plan.coordinates
        ],
        dtype=torch.float64,
    )


def quick_fit(
    chain: Chain,
    problem: Problem,
    settings: Settings,
    *,
    plan: Plan | None = None,
    iterations: int = 20,
    search_bands: bool = True,
    on_step: Callable[[float], None] | None = None,
) -> Fit:
    """Fit on a short stretch from several starts; stop at the first that is good.

    Args:
        chain: The stages.
        problem: The stretch.
        settings: What is fixed, and where to start.
        plan: What is free; the usual parameters if None.
        iterations: Of each descent, at most.
        search_bands: Whether bands of an equalizer are searched anew once the rest is known.
        on_step: Called with the null depth after each step.
    """
    plan = plan or make_plan(
        chain, settings.fix, start=settings.start, channels=problem.dry.shape[1]
    )
    wet = problem.target(settings.delay)
    dry = problem.dry[..., problem.context :]
    if settings.start is not None:
        points: list[Mapping[str, Mapping[str, float]]] = [settings.start]
    elif not len(plan) or all(isinstance(s, Gain) for _, s in stages_of(chain)):
        points = [_gain_only(plan, dry, wet)]
    else:
        points = list(
            starting_points(
                chain, dry, wet, plan.base, plan.held, width=settings.starts, seed=settings.seed
            )
        )
        points = [point for point in points if not _is_nearer(point, settings)] or points[:1]
    free = settings.free_delay

    def descend(point: Mapping[str, Mapping[str, float]], delay: float) -> Solution:
        return solve(
            plan,
            problem,
            plan.theta(point),
            delay,
            free_delay=free,
            iterations=iterations,
            prior=prior_of(plan),
            tolerance=1e-3,
            on_step=on_step,
        )

    best: Solution | None = None
    used = 0
    for point in points[: settings.starts]:
        used += 1
        found = descend(point, settings.delay)
        hopeless = used == 1 and found.cost > settings.worth
        if used == 1 and search_bands and not hopeless:
            found = _with_bands_replaced(plan, problem, found, descend, settings)
        again = best is not None and abs(found.cost - best.cost) < 0.01 * best.cost
        if best is None or found.cost < best.cost:
            best = found
        if again:  # two ways to one place: what is left is not for this chain
            break
        if best.null_db >= _GOOD_DB or hopeless:
            break
        bands = any(isinstance(s, ParametricEQ) for _, s in stages_of(chain))
        if bands and (used >= 2 or best.null_db >= _FAIR_DB):
            break
    assert best is not None  # there is at least one point
    return Fit(plan, best, used, problem.count)


def _is_nearer(point: Mapping[str, Mapping[str, float]], settings: Settings) -> bool:
    """Tell whether a start has an echo nearer than what is looked for."""
    return any(
        value < settings.least_echo_ms
        for given in point.values()
        for name, value in given.items()
        if name == "delay_ms"
    )


def _with_bands_replaced(
    plan: Plan,
    problem: Problem,
    found: Solution,
    descend: Callable[[Mapping[str, Mapping[str, float]], float], Solution],
    settings: Settings,
) -> Solution:
    """Search the bands of an equalizer anew, with everything else where it is.

    A descent of the whole chain finds the dynamics long before it would move a band to another
    place. Once they are known, what enters them is known, too, and so is the response that the
    bands should have.
    """
    names = [n for n, s in stages_of(plan.effect) if isinstance(s, ParametricEQ)]
    if len(names) != 1 or len(stages_of(plan.effect)) < 2:
        return found
    if any(name.startswith(f"{names[0]}.") for name in plan.held):
        return found
    for _ in range(_ROUNDS):
        if found.null_db >= _GOOD_DB:
            break
        values = plan.values(found.theta)
        bands = replaced_bands(
            plan.effect,
            problem.dry,
            problem.target_whole(found.delay),
            values,
            names[0],
            seed=settings.seed,
            context=problem.context,
        )
        if bands is None:
            break
        fresh = descend({**values, names[0]: bands}, found.delay)
        if fresh.cost >= found.cost:
            break
        gained = fresh.null_db - found.null_db
        found = replace(fresh, history=(*found.history, *fresh.history))
        if gained < 1.0:
            break
    return found


def polish(
    fit: Fit,
    problem: Problem,
    *,
    free_delay: bool,
    iterations: int = 12,
    on_step: Callable[[float], None] | None = None,
) -> Fit:
    """Fit everything on the whole problem, from where the quick fit ended.

    A chain of gains is fitted without the highest frequencies first: a delay between samples,
    whoever made it, is least exact there, and nothing else limits how exact a gain can be.
    """
    theta, delay = fit.solution.theta, fit.solution.delay
    if free_delay and all(isinstance(s, Gain) for _, s in stages_of(fit.chain)):
        found = solve(fit.plan, problem, theta, delay, free_delay=True, iterations=4)
        long = problem.dry.shape[-1] > 8 * REACH and problem.mask is None
        if abs(found.delay) > 1e-6 and long:
            low = solve(
                fit.plan,
                problem.without_top(),
                found.theta,
                found.delay,
                free_delay=True,
                iterations=10,
                tolerance=1e-12,
            )
            theta, delay, free_delay = low.theta, low.delay, True
            iterations = 0
    elif iterations:
        if problem.dry.numel() > _LARGE:
            iterations = min(iterations, _FEW)
        theta = _with_bands_of_all(fit.plan, problem, theta, delay)
    found = solve(
        fit.plan,
        problem,
        theta,
        delay,
        free_delay=free_delay,
        iterations=iterations,
        tolerance=1e-5,
        prior=prior_of(fit.plan),
        damping=1e-5,
        on_step=on_step,
    )
    return Fit(fit.plan, found, fit.starts, problem.count)


def _with_bands_of_all(plan: Plan, problem: Problem, theta: Tensor, delay: float) -> Tensor:
    """Search bands once more with all that there is: long windows resolve low frequencies."""
    names = [n for n, s in stages_of(plan.effect) if isinstance(s, ParametricEQ)]
    moving = {c.stage for c in plan.coordinates}
    if len(names) != 1 or names[0] not in moving or any(h.startswith(names[0]) for h in plan.held):
        return theta
    energy = float(problem.target(delay).square().sum())
    cost = cost_at(plan, problem, theta, delay)
    if null_db(energy, cost) >= _GOOD_DB:
        return theta
    values = plan.values(theta)
    whole = problem.target_whole(delay)
    bands = replaced_bands(
        plan.effect, problem.dry, whole, values, names[0], context=problem.context
    )
    if bands is None:
        return theta
    moved = plan.theta({**values, names[0]: bands})
    return moved if cost_at(plan, problem, moved, delay) < cost else theta


def _gain_only(plan: Plan, dry: Tensor, wet: Tensor) -> dict[str, dict[str, float]]:
    power = float(dry.square().sum())
    factor = abs(float((dry * wet).sum())) / power if power > 0 else 1.0
    level = 20 * math.log10(max(factor, 1e-3))
    return {c.stage: {c.param.name: level} for c in plan.coordinates if c.param.name == "gain_db"}
