"""The stages of a chain as the solver sees them: coordinates, output, tangents.

A coordinate is a parameter on the scale on which it is nearly linear: decibels as they are, times
and frequencies by their logarithm, ratios by ``1 - 1 / ratio``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sonograd.effects import (
    Chain,
    Compressor,
    Delay,
    Effect,
    Freeverb,
    Gain,
    Gate,
    ParametricEQ,
    TwoStageLimiter,
    Width,
)
from sonograd.effects.drive import _Shaper
from sonograd.matching._threads import side_by_side
from sonograd.matching.duals import Dual
from sonograd.matching.tangents import (
    compress,
    cut,
    elementwise,
    filtered,
    follow,
    link,
    root,
)
from sonograd.params import Param

__all__ = ["Coordinate", "Plan", "linearize_stage", "run_stage"]

_NEPER = math.log(10) / 20
_STEPS = {"linear": 8.0, "log": 1.2, "slope": 0.3}
_STEP = 1e-5
_BAND_KINDS = ("frequency_hz", "gain_db", "q")
_DYNAMICS = (
    "rms_ms",
    "attack_ms",
    "release_ms",
    "threshold_db",
    "ratio",
    "range_db",
    "knee_db",
    "makeup_db",
    "hysteresis_db",
    "hold_ms",
)
_LINEAR = (Delay, Freeverb, Width)


@dataclass(frozen=True)
class Coordinate:
    """One free parameter of a chain on the scale of the solver.

    Attributes:
        stage: Name of the stage.
        param: The parameter.
        low: Smallest coordinate.
        high: Largest coordinate.
        step: How far it may move at once.
    """

    stage: str
    param: Param
    low: float
    high: float
    step: float

    @property
    def name(self) -> str:
        """``"stage.parameter"``."""
        return f"{self.stage}.{self.param.name}"

    def to_value(self, coordinate: float, *, within: bool = True) -> float:
        """Return the value in its unit, within its range unless told otherwise."""
        if self.param.scale == "log":
            value = math.exp(coordinate)
        elif self.param.scale == "slope":
            value = 1 / (1 - min(coordinate, 1 - 1e-9))
        else:
            value = coordinate
        return min(max(value, self.param.low), self.param.high) if within else value

    def from_value(self, value: float) -> float:
        """Return the coordinate of a value."""
        value = min(max(value, self.param.low), self.param.high)
        if self.param.scale == "log":
            return math.log(value)
        return 1 - 1 / value if self.param.scale == "slope" else value

    def rate(self, value: float) -> float:
        """Return the derivative of the value in its coordinate."""
        if self.param.scale == "log":
            return value
        return value * value if self.param.scale == "slope" else 1.0


def coordinate(stage: str, param: Param) -> Coordinate:
    """Describe a parameter with the range of its effect."""
    probe = Coordinate(stage, param, 0.0, 0.0, 0.0)
    low, high = probe.from_value(param.low), probe.from_value(param.high)
    step = _STEPS[param.scale]
    if param.scale == "linear" and param.unit != "dB":
        step = 0.25 * (high - low)
    return Coordinate(stage, param, low, high, step)


class Plan:
    """A chain with its free coordinates and what is held.

    Attributes:
        effect: The chain.
        base: Every value, nested by stage; the free ones are replaced.
        coordinates: The free parameters, stage by stage, in the order of the tangents.
    """

    def __init__(
        self, effect: Chain, base: Mapping[str, Mapping[str, float]], held: set[str]
    ) -> None:
        """Take a chain, its values, and the ``"stage.parameter"`` names that stay as they are."""
        self.effect = effect
        self.base = {
            name: {p.name: float(base.get(name, {}).get(p.name, p.default)) for p in stage.params}
            for name, stage in stages_of(effect)
        }
        self.held = set(held)
        free = []
        for name, stage in stages_of(effect):
            for param in tangent_order(stage):
                if f"{name}.{param.name}" not in self.held and param.smooth:
                    free.append(coordinate(name, param))
        self.coordinates = tuple(free)

    def __len__(self) -> int:
        """Return the number of free parameters."""
        return len(self.coordinates)

    def values(self, theta: Tensor) -> dict[str, dict[str, float]]:
        """Return all values at coordinates ``(parameters,)``."""
        values = {name: dict(given) for name, given in self.base.items()}
        for spot, number in zip(self.coordinates, theta.tolist(), strict=True):
            values[spot.stage][spot.param.name] = spot.to_value(number)
        return values

    def theta(self, values: Mapping[str, Mapping[str, float]]) -> Tensor:
        """Return the coordinates of values; what is missing is taken from the base."""
        listed = [
            c.from_value(
                values.get(c.stage, {}).get(c.param.name, self.base[c.stage][c.param.name])
            )
            for c in self.coordinates
        ]
        return torch.tensor(listed, dtype=torch.float64)

    def limits(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return smallest and largest coordinates and the step limits."""
        rows = [(c.low, c.high, c.step) for c in self.coordinates]
        table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def run(self, x: Tensor, values: Mapping[str, Mapping[str, float]]) -> Tensor:
        """Process ``(segments, channels, samples)``."""
        for name, stage in stages_of(self.effect):
            x = run_stage(stage, x, values[name])
        return x

    def linearize(self, x: Tensor, theta: Tensor, room: Tensor | None = None) -> Dual:
        """Process and return the tangents in all coordinates, in their order.

        ``room (parameters, *x.shape)``, float32, may be written over; tangents may be in it.
        """
        values = self.values(theta)
        dual = Dual.constant(x, room=room)
        for name, stage in stages_of(self.effect):
            rates = {
                c.param.name: c.rate(values[name][c.param.name])
                for c in self.coordinates
                if c.stage == name
            }
            dual = linearize_stage(stage, dual, values[name], rates)
        return dual


def stages_of(effect: Chain) -> list[tuple[str, Effect]]:
    """Return the stages of a chain with their names."""
    return [(name, effect.stage(name)) for name in effect.stage_names]


def tangent_order(stage: Effect) -> tuple[Param, ...]:
    """Return the parameters in the order in which tangents are appended."""
    if isinstance(stage, (Compressor, Gate)):
        return tuple(sorted(stage.params, key=lambda p: _DYNAMICS.index(p.name)))
    if isinstance(stage, TwoStageLimiter):
        return tuple(sorted(stage.params, key=lambda p: p.name != "release_ms"))
    return stage.params


def run_stage(stage: Effect, x: Tensor, values: Mapping[str, float]) -> Tensor:
    """Process ``(segments, channels, samples)`` with plain numbers."""
    if isinstance(stage, Gain):
        sign = -1.0 if stage.invert else 1.0
        return x * (sign * math.exp(values["gain_db"] * _NEPER))
    y: Tensor = stage(x, **values)
    return y


def linearize_stage(
    stage: Effect, x: Dual, values: Mapping[str, float], rates: Mapping[str, float]
) -> Dual:
    """Process and append the tangents of the parameters that ``rates`` names."""
    if isinstance(stage, Gain):
        sign = -1.0 if stage.invert else 1.0
        factor = sign * math.exp(values["gain_db"] * _NEPER)
        return x.scaled(factor, *(_NEPER * r for r in rates.values()))
    if isinstance(stage, ParametricEQ):
        return filtered(x, *_eq_sections(stage, values, rates))
    if isinstance(stage, Compressor):
        return compress(
            x,
            values,
            rates,
            sample_rate=stage.sample_rate,
            detector=stage.detector,
            smoothing=stage.smoothing,
            linked=stage.link,
            time_convention=stage.time_convention,
            lookahead=stage.latency,
        )
    if isinstance(stage, TwoStageLimiter):
        return _limit(stage, x, values, rates)
    if isinstance(stage, Gate) and _plain_gate(stage, values, rates):
        return _gate(stage, x, values, rates)
    if isinstance(stage, _Shaper) and stage.oversampling == 1:
        return elementwise(x, stage.bend, values, rates)
    return _differences(stage, x, values, rates)


def _eq_sections(
    stage: ParametricEQ, values: Mapping[str, float], rates: Mapping[str, float]
) -> tuple[Tensor, Tensor]:
    """Design the sections ``(bands, 6)`` and their derivatives ``(free, bands, 6)``.

    A band depends on its own parameters only, so all bands move at once, a kind at a time;
    differences of the design in float64 are exact to ten digits.
    """
    names = list(rates)
    rows = 1 + 2 * len(_BAND_KINDS) if names else 1
    given = {n: torch.full((rows, 1), v, dtype=torch.float64) for n, v in values.items()}
    spots = {p.name: coordinate("", p) for p in stage.params}
    for place, kind in enumerate(_BAND_KINDS if names else ()):
        for name in (n for n in values if n.endswith(kind)):
            spot = spots[name]
            center = spot.from_value(values[name])
            for row, step in ((2 * place + 1, _STEP), (2 * place + 2, -_STEP)):
                given[name][row] = spot.to_value(center + step, within=False)
    designs = stage.sections(given).reshape(rows, -1, 6)
    slopes = torch.zeros(len(names), *designs.shape[1:], dtype=torch.float64)
    for place, kind in enumerate(_BAND_KINDS if names else ()):
        moved = (designs[2 * place + 1] - designs[2 * place + 2]) / (2 * _STEP)
        for row, name in enumerate(names):
            if name.endswith(kind):
                band = int(name.removeprefix("band").partition("_")[0]) - 1
                slopes[row, band] = moved[band]
    return designs[0], slopes


def _limit(
    stage: TwoStageLimiter, x: Dual, values: Mapping[str, float], rates: Mapping[str, float]
) -> Dual:
    """Two compressors, a gain, and a clipper; both depend on the threshold."""
    first = {
        "threshold_db": -10.0,
        "ratio": 4.0,
        "attack_ms": 2.0,
        "release_ms": 200.0,
        "knee_db": 0.0,
        "makeup_db": 0.0,
    }
    second = {
        **first,
        "threshold_db": values["threshold_db"],
        "ratio": 1000.0,
        "attack_ms": 0.001,
        "release_ms": values["release_ms"],
    }
    y = compress(x, first, {}, sample_rate=stage.sample_rate)
    y = compress(y, second, rates, sample_rate=stage.sample_rate)
    makeup = math.exp((10 * (1 - 0.25) / 2 - values["threshold_db"]) * _NEPER)
    y = y.scaled(makeup)
    if "threshold_db" in rates:
        y.tangent[-1].add_((y.value * (-_NEPER * rates["threshold_db"])).to(y.tangent.dtype))
    return cut(y, 1.0)


def _plain_gate(stage: Gate, values: Mapping[str, float], rates: Mapping[str, float]) -> bool:
    extra = {"hold_ms", "hysteresis_db"}
    return (
        stage.smoothing == "level"
        and stage.link == "none"
        and not stage.latency
        and values["hold_ms"] == 0.0
        and values["hysteresis_db"] == 0.0
        and not extra & set(rates)
    )


def _gate(stage: Gate, x: Dual, values: Mapping[str, float], rates: Mapping[str, float]) -> Dual:
    """A gate without hold and hysteresis."""
    rate: Any = {"sample_rate": stage.sample_rate, "time_convention": stage.time_convention}
    level = link(x, "none")
    if stage.detector == "rms":
        power = level.mapped(level.value.square(), 2 * level.value)
        level = root(follow(power, 0.0, values["rms_ms"], (None, rates.get("rms_ms")), **rate))
    times = (rates.get("attack_ms"), rates.get("release_ms"))
    level = follow(level, values["attack_ms"], values["release_ms"], times, **rate)
    safe = level.value.clamp_min(1e-12)
    under = values["threshold_db"] * _NEPER - safe.log()
    closed = (under > 0).to(safe.dtype)
    steep = values["ratio"] - 1
    reduction = steep * under.clamp_min(0)
    limit = values["range_db"] * _NEPER
    held = (reduction < limit).to(safe.dtype) * closed
    gain = torch.exp(-reduction.clamp_max(limit))
    moved = gain * held
    dual = level.mapped(gain, moved * steep / safe)
    more = []
    if "threshold_db" in rates:
        more.append(moved * (-steep * _NEPER * rates["threshold_db"]))
    if "ratio" in rates:
        more.append(moved * (-under * rates["ratio"]))
    if "range_db" in rates:
        more.append(gain * (reduction >= limit) * (-_NEPER * rates["range_db"]))
    return x.times(dual.extended(*more))


def _differences(
    stage: Effect, x: Dual, values: Mapping[str, float], rates: Mapping[str, float]
) -> Dual:
    """Central differences in float64; linear effects carry tangents through exactly."""
    kind = x.tangent.dtype
    spots = {p.name: coordinate("", p) for p in stage.params}
    difference = getattr(stage, "difference", 1e-5)

    def along(tangent: Tensor) -> Tensor:
        """Carry a tangent of the input through."""
        if isinstance(stage, _LINEAR):
            return run_stage(stage, tangent.to(x.value.dtype), values).to(kind)
        size = float(tangent.abs().max()) or 1.0
        step = difference * max(float(x.value.abs().max()), 1e-6) / size
        up = run_stage(stage, x.value + step * tangent, values)
        down = run_stage(stage, x.value - step * tangent, values)
        return ((up - down) / (2 * step)).to(kind)

    def own(name: str) -> Tensor:
        """Return the derivative in a parameter."""
        spot = spots[name]
        center = spot.from_value(values[name])
        step = difference * (spot.high - spot.low)
        low, high = max(center - step, spot.low), min(center + step, spot.high)
        up = run_stage(stage, x.value, {**values, name: spot.to_value(high)})
        down = run_stage(stage, x.value, {**values, name: spot.to_value(low)})
        return ((up - down) / (high - low)).to(kind)

    y, *rows = side_by_side(
        [
            partial(run_stage, stage, x.value, values),
            *(partial(along, tangent) for tangent in x.tangent),
            *(partial(own, name) for name in rates),
        ]
    )
    tangent = torch.stack(rows) if rows else x.tangent.new_zeros(0, *y.shape)
    return Dual(y, tangent)
