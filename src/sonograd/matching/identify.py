"""How sure a match is: standard errors, correlations, and what cannot be known."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sonograd.effects import Compressor, Gain, ParametricEQ
from sonograd.errors import ParameterError
from sonograd.matching.fitting import Fit
from sonograd.matching.result import Landscape
from sonograd.matching.solve import Solution, null_db
from sonograd.matching.stages import Plan, run_stage, stages_of

if TYPE_CHECKING:
    from sonograd.matching.result import MatchResult

__all__ = [
    "IDLE_RATIO",
    "Certainty",
    "always_working",
    "canonical",
    "certainty",
    "landscape",
    "whole_delay",
]

_BELL = ("frequency_hz", "gain_db", "q")
IDLE_RATIO = 1.02  # below it, dynamics do not work
_SOUNDING = 1e-4  # of the peak, above which a sample is heard
_AT_ONCE = 8  # settings that are tried side by side
_FEW = 1e-3  # share of samples under a threshold that do not tell where it is
_STRONG = 0.95  # a correlation worth telling
#: Standard errors beyond these say nothing about a parameter, by scale.
_WIDE = {"linear": 6.0, "log": 0.7, "slope": 0.15}


class Certainty:
    """Standard errors and correlations of a solution.

    Attributes:
        covariance: Of the coordinates, ``(n, n)``.
        errors: Standard errors in the units of the parameters.
        shown: Whether each parameter is identifiable.
        correlation: ``(n, n)``.
        delay_error: Standard error of the delay in samples; 0 where it was held.
    """

    def __init__(
        self, plan: Plan, solution: Solution, count: int, dry: Tensor | None = None
    ) -> None:
        """Invert the normal equations at the solution."""
        self.names = tuple(c.name for c in plan.coordinates)
        size = len(plan)
        noise = max(solution.cost, 1e-16 * solution.energy) / max(count - size, 1)
        self.covariance, blind = _inverse(solution.normal, noise)
        spread = self.covariance.diagonal().clamp_min(0).sqrt()
        self.delay_error = float(spread[size]) if spread.numel() > size else 0.0
        values = plan.values(solution.theta)
        self.errors: dict[str, float] = {}
        self.shown: dict[str, bool] = {}
        for place, spot in enumerate(plan.coordinates):
            wide = _WIDE[spot.param.scale]
            if spot.param.scale == "linear" and spot.param.unit != "dB":
                wide = 0.25 * (spot.high - spot.low)
            certain = float(spread[place])
            known = not bool(blind[place]) and certain < wide
            rate = spot.rate(values[spot.stage][spot.param.name])
            self.errors[spot.name] = certain * rate if known else math.nan
            self.shown[spot.name] = known
        for spot in plan.coordinates:
            # A ratio of 1 fits whatever the ratio is where nothing passes the threshold.
            idle = spot.param.name == "ratio" and values[spot.stage]["ratio"] < IDLE_RATIO
            if idle and not self.shown.get(f"{spot.stage}.threshold_db", True):
                self.shown[spot.name], self.errors[spot.name] = False, math.nan
        self._hide_offsets(plan, values, dry)
        scale = spread[:size].clamp_min(1e-300)
        self.correlation = (self.covariance[:size, :size] / scale[:, None] / scale).clamp(-1, 1)

    def _hide_offsets(
        self, plan: Plan, values: dict[str, dict[str, float]], dry: Tensor | None
    ) -> None:
        """Hide what a threshold and a gain can make up for where nothing stays under it."""
        names = [name for name, _ in stages_of(plan.effect)]
        for name in always_working(plan, values, dry) if dry is not None else ():
            later = names[names.index(name) + 1 :]
            gains = [n for n in later if isinstance(plan.effect.stage(n), Gain)]
            levels = [f"{name}.makeup_db", *(f"{n}.gain_db" for n in gains)]
            free = [n for n in levels if n in self.shown]
            if free and f"{name}.threshold_db" in self.shown:
                for hidden in (f"{name}.threshold_db", free[-1]):
                    self.shown[hidden], self.errors[hidden] = False, math.nan

    def strong(self) -> tuple[tuple[str, str, float], ...]:
        """Return pairs of estimates that move together, strongest first."""
        pairs = []
        for a, first in enumerate(self.names):
            for b in range(a + 1, len(self.names)):
                value = float(self.correlation[a, b])
                if abs(value) >= _STRONG and self.shown[first] and self.shown[self.names[b]]:
                    pairs.append((first, self.names[b], value))
        return tuple(sorted(pairs, key=lambda p: -abs(p[2])))


def canonical(fit: Fit) -> Fit:
    """Put bells of an equalizer in the order of their frequencies: any order sounds the same."""
    plan = fit.plan
    order = list(range(len(plan)))
    for name, stage in stages_of(plan.effect):
        if not isinstance(stage, ParametricEQ):
            continue
        places = {c.param.name: k for k, c in enumerate(plan.coordinates) if c.stage == name}
        bells = [
            k + 1
            for k, kind in enumerate(stage.bands)
            if kind == "peak" and all(f"band{k + 1}_{p}" in places for p in _BELL)
        ]
        ranked = sorted(
            bells, key=lambda b: float(fit.solution.theta[places[f"band{b}_frequency_hz"]])
        )
        for into, source in zip(bells, ranked, strict=True):
            for param in _BELL:
                order[places[f"band{into}_{param}"]] = places[f"band{source}_{param}"]
    if order == list(range(len(plan))):
        return fit
    rows = order + list(range(len(plan), fit.solution.normal.shape[0]))
    solution = replace(
        fit.solution,
        theta=fit.solution.theta[order],
        normal=fit.solution.normal[rows][:, rows],
    )
    return replace(fit, solution=solution)


def whole_delay(fit: Fit) -> Fit:
    """Put a delay that is within its error of a whole number of samples there."""
    solution = fit.solution
    free = solution.normal.shape[0] > len(fit.plan)
    spread = certainty(fit.plan, solution, fit.count).delay_error if free else 0.0
    if abs(solution.delay) > max(3 * spread, 1e-6):
        return fit
    return replace(fit, solution=replace(solution, delay=0.0))


def certainty(plan: Plan, solution: Solution, count: int, dry: Tensor | None = None) -> Certainty:
    """Return the certainty of a solution over ``count`` samples of ``dry``."""
    return Certainty(plan, solution, count, dry)


def always_working(
    plan: Plan, values: Mapping[str, Mapping[str, float]], dry: Tensor
) -> tuple[str, ...]:
    """Name the compressors under whose threshold there is next to nothing.

    There a threshold is known only together with the gain that follows. The few samples before
    the first attack seem to tell it, but noise in them does as much.
    """
    found: list[str] = []
    stages = stages_of(plan.effect)
    if not any(isinstance(stage, Compressor) for _, stage in stages):
        return ()
    x = dry
    for name, stage in stages:
        given = dict(values[name])
        if isinstance(stage, Compressor) and given["ratio"] >= IDLE_RATIO:
            reduced = run_stage(stage, x, {**given, "makeup_db": 0.0}).abs()
            heard = x.abs() > _SOUNDING * x.abs().max()
            under = heard & (reduced > 0.999 * x.abs())
            if int(under.sum()) < _FEW * int(heard.sum()):
                found.append(name)
        x = run_stage(stage, x, given)
    return tuple(found)


def _inverse(normal: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Invert ``J' J`` by its eigenvalues; tell which coordinates lie in what it does not see."""
    diagonal = normal.diagonal().clone()
    dead = diagonal <= 1e-14 * float(diagonal.max().clamp_min(1e-300))
    scale = torch.where(dead, torch.ones_like(diagonal), diagonal.clamp_min(1e-300).rsqrt())
    scaled = normal * scale[:, None] * scale
    values, vectors = torch.linalg.eigh(scaled)
    seen = values > 1e-10
    inverse = torch.where(seen, 1 / values.clamp_min(1e-10), torch.zeros_like(values))
    covariance = noise * (vectors * inverse) @ vectors.mT * scale[:, None] * scale
    hidden = (vectors.square() * (~seen)).sum(-1) > 0.05
    return covariance, hidden | dead


def landscape(
    result: "MatchResult", first: str, second: str, *, points: int = 25, span: float = 0.25
) -> Landscape:
    """Compute the null depth over two parameters; see :meth:`MatchResult.landscape`."""
    full = [
        f"{n}.{p.name}" for n in result.effect.stage_names for p in result.effect.stage(n).params
    ]
    for name in (first, second):
        if name not in full:
            raise ParameterError(
                f"{name!r} is no parameter of the match; expected one of {', '.join(full)}"
            )
    if first == second:
        raise ParameterError(f"both parameters are {first!r}; expected two different ones")
    rate = result.sample_rate
    samples = min(result.dry.shape[-1], 2 * rate)
    dry, wet = (v[None, :, :samples].double() for v in (result.dry, result.wet))
    plan = Plan(result.effect, result.values, set(full) - {first, second})
    spots = {c.name: c for c in plan.coordinates}
    axes = []
    for name in (first, second):
        stage, _, param = name.partition(".")
        spot = spots[name]
        center = spot.from_value(result.values[stage][param])
        reach = span * (spot.high - spot.low)
        axes.append(
            torch.linspace(
                max(center - reach, spot.low),
                min(center + reach, spot.high),
                points,
                dtype=torch.float64,
            )
        )
    depth = _depths(plan, dry, wet, (first, second), axes)
    human = [
        torch.tensor([spots[name].to_value(float(v)) for v in axis], dtype=torch.float64)
        for name, axis in zip((first, second), axes, strict=True)
    ]
    at = [result.values[n.partition(".")[0]][n.partition(".")[2]] for n in (first, second)]
    return Landscape((first, second), human[0], human[1], depth, (at[0], at[1]))


def _depths(
    plan: Plan, dry: Tensor, wet: Tensor, names: tuple[str, str], axes: list[Tensor]
) -> Tensor:
    """Compute the null depth over two axes; what neither of them moves is processed once."""
    stages = stages_of(plan.effect)
    listed = [name for name, _ in stages]
    places = [listed.index(name.partition(".")[0]) for name in names]
    if places[0] > places[1]:
        return _depths(plan, dry, wet, (names[1], names[0]), axes[::-1]).mT
    spots = {c.name: c for c in plan.coordinates}
    values = {name: dict(given) for name, given in plan.base.items()}

    def through(x: Tensor, begin: int, end: int | None) -> Tensor:
        for name, stage in stages[begin:end]:
            x = run_stage(stage, x, values[name])
        return x

    def number(which: int, spot: Tensor) -> float:
        return spots[names[which]].to_value(float(spot))

    def place(which: int, value: float | Tensor) -> None:
        stage, _, param = names[which].partition(".")
        values[stage][param] = value  # type: ignore[assignment]  # of one, or of each in a batch

    energy = float(wet.square().sum())
    depth = torch.empty(len(axes[0]), len(axes[1]), dtype=torch.float64)
    head = through(dry, 0, places[0])
    second = torch.tensor([number(1, b) for b in axes[1]], dtype=torch.float64)
    # Followers of levels do several rows in the time of one; all others do not.
    several = _AT_ONCE if isinstance(stages[places[1]][1], Compressor) else 1
    for i, a in enumerate(axes[0]):
        place(0, number(0, a))
        middle = through(head, places[0], places[1])
        left: list[float] = []
        for some in second.split(several):
            place(1, some if several > 1 else float(some))
            y = through(middle.expand(len(some), -1, -1), places[1], None)
            left += (y - wet).square().sum((1, 2)).tolist()
        depth[i] = depth.new_tensor([null_db(energy, rest) for rest in left])
    return depth
