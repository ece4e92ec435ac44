"""Fit equalizer bands to a measured transfer function, from many starts in one batch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from sonograd.effects import ParametricEQ
from sonograd.matching._threads import begin, side_by_side
from sonograd.matching.align import cross_spectra

__all__ = ["BandResponse", "EqualizerFit", "band_response", "fit_bands", "flipped"]

_KINDS = ("frequency_hz", "gain_db", "q")
_LOG10 = math.log(10) / 20
_STEP = 1e-5
_EXACT = 2e-6  # cost below which bands are not moved any more
_CUTS = (6, 10)  # steps after which the better half goes on
_KEPT = 8  # of which at least
_PRIOR = 1e-3  # on gains, which otherwise grow against each other
_RANGE = {"frequency_hz": (math.log(22.0), math.log(19_000.0)), "gain_db": (-20.0, 20.0)}
_QUALITY = {"low_shelf": (0.25, 3.0), "high_shelf": (0.25, 3.0)}


@dataclass(frozen=True)
class BandResponse:
    """A transfer function in bands of equal width on a logarithmic scale.

    Attributes:
        frequencies_hz: Of the strongest bin of each band, ``(bands,)``.
        response: Complex, ``(bands,)``.
        coherence: ``(bands,)``.
        phase: Whether the angles of the response mean anything.
    """

    frequencies_hz: Tensor
    response: Tensor
    coherence: Tensor
    phase: bool = True


@dataclass(frozen=True)
class EqualizerFit:
    """One set of bands.

    Attributes:
        values: By parameter.
        gain_db: Gain beside the bands.
        cost: Weighted squared error of the logarithm of the response.
    """

    values: Mapping[str, float]
    gain_db: float
    cost: float


def band_response(
    x: Tensor, y: Tensor, *, sample_rate: float, bands: int = 160, size: int = 16_384
) -> BandResponse:
    """Measure a transfer function.

    The strongest bin of a band stands for it: it has the most signal over noise, and averaging
    would mix phases.

    Args:
        x: Input, ``(..., samples)``.
        y: Output, same shape.
        sample_rate: In Hz.
        bands: From 25 Hz to 0.46 of the sample rate, at most 20 kHz.
        size: Samples per window.
    """
    power_x, power_y, cross, _ = cross_spectra(x, y, size)
    bins = torch.arange(power_x.numel(), dtype=torch.float64) * (
        sample_rate / (2 * (power_x.numel() - 1))
    )
    top = min(20_000.0, 0.46 * sample_rate)
    edges = torch.logspace(math.log10(25.0), math.log10(top), bands + 1, dtype=torch.float64)
    chosen = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        inside = ((bins >= low) & (bins < high)).nonzero()[:, 0]
        if inside.numel():
            chosen.append(int(inside[power_x[inside].argmax()]))
        else:
            chosen.append(int((bins - math.sqrt(low * high)).abs().argmin()))
    index = torch.tensor(sorted(set(chosen)))
    base = power_x[index].clamp_min(1e-300)
    both = (power_x * power_y)[index].clamp_min(1e-300)
    return BandResponse(
        bins[index], cross[index] / base, (cross[index].abs().square() / both).clamp(0, 1 - 1e-9)
    )


def fit_bands(
    stage: ParametricEQ,
    measured: BandResponse,
    *,
    starts: int = 16,
    iterations: int = 30,
    rounds: int = 4,
    seed: int = 0,
    begin: Mapping[str, float] | None = None,
) -> list[EqualizerFit]:
    """Fit; best first.

    A batch of starts is fitted at once. Then bands of the best fits are moved to where most is
    missing, all such moves in one batch, for as long as that helps: cascades of bands have many
    local minima, and nearly all of them have a band in the wrong place.

    Args:
        stage: The equalizer; its kinds of bands are used.
        measured: What it should be.
        starts: How many starting points go in one batch.
        iterations: Steps of Levenberg-Marquardt per batch.
        rounds: How often bands are moved, at most.
        seed: Of the starting points.
        begin: Values that are one of the starting points.
    """
    problem = _Bands(stage, measured)
    first = problem.starts(starts, seed)
    if begin is not None:
        first = torch.cat([problem.point(begin)[None], first])
    points, cost = _descend(problem, first, iterations)
    for _ in range(rounds):
        best = float(cost[0])
        if best < _EXACT:
            break
        moved = torch.cat([problem.relocated(points[k]) for k in range(min(2, len(points)))])
        fresh, fresh_cost = _descend(problem, moved, iterations)
        points, cost = torch.cat([points, fresh]), torch.cat([cost, fresh_cost])
        order = cost.argsort()[: max(starts, 8)]
        points, cost = points[order], cost[order]
        if float(cost[0]) > 0.9 * best:
            break
    return [problem.fit(point, float(value)) for point, value in zip(points, cost, strict=True)]


@dataclass
class _Batch:
    """Points of one descent, each with its own damping."""

    points: Tensor
    residual: Tensor
    jacobian: Tensor
    cost: Tensor
    damping: Tensor

    def best(self, count: int) -> "_Batch":
        """Keep the points that cost least."""
        order = self.cost.argsort()[:count]
        return _Batch(
            self.points[order],
            self.residual[order],
            self.jacobian[order],
            self.cost[order],
            self.damping[order],
        )


def _descend(problem: "_Bands", points: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Levenberg-Marquardt on a batch of points; sorted by cost.

    Most points are clearly behind after some steps, and are not followed to their end.
    """
    residual, jacobian = problem.linearize(points)
    damping = torch.full((len(points), 1, 1), 1e-2, dtype=torch.float64)
    batch = _Batch(points, residual, jacobian, residual.square().sum(1), damping)
    for place in range(iterations):
        if place in _CUTS:
            batch = batch.best(max(_KEPT, len(batch.cost) // 2))
        normal = batch.jacobian.mT @ batch.jacobian
        right = batch.jacobian.mT @ batch.residual[..., None]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        floor = diagonal.mean(1, keepdim=True) * 1e-9 + 1e-12
        lifted = normal + batch.damping * torch.diag_embed(diagonal + floor)
        step = torch.linalg.solve(lifted, right)[..., 0].clamp(-problem.step, problem.step)
        moved = (batch.points - step).clamp(problem.low, problem.high)
        fresh, slopes = problem.linearize(moved)
        total = fresh.square().sum(1)
        better = total < batch.cost
        gained = ((batch.cost - total) / batch.cost).where(better, torch.zeros_like(total))
        damping = torch.where(better[:, None, None], batch.damping * 0.2, batch.damping * 4)
        batch = _Batch(
            torch.where(better[:, None], moved, batch.points),
            torch.where(better[:, None], fresh, batch.residual),
            torch.where(better[:, None, None], slopes, batch.jacobian),
            torch.where(better, total, batch.cost),
            damping.clamp(1e-12, 1e8),
        )
        if bool((batch.damping > 1e6).all()) or float(batch.cost.min()) < 1e-14:
            break
        if bool((gained < 1e-6).all()) and bool(better.any()):
            break
    batch = batch.best(len(batch.cost))
    return batch.points, batch.cost


def flipped(values: Mapping[str, float]) -> dict[str, float]:
    """Return the bands that undo ``values``: bells and shelves with their gains turned over."""
    return {k: -v if k.endswith("gain_db") else v for k, v in values.items()}


_Places: TypeAlias = slice | list[int]


def _as_slice(places: list[int]) -> _Places:
    """Turn places at equal distances into a slice, which copies nothing."""
    step = places[1] - places[0] if len(places) > 1 else 1
    regular = places == list(range(places[0], places[-1] + 1, step))
    return slice(places[0], places[-1] + 1, step) if regular else places


class _Bands:
    """The residual of the logarithm of the response, with its derivatives."""

    def __init__(self, stage: ParametricEQ, measured: BandResponse) -> None:
        self.stage, self.hz = stage, measured.frequencies_hz
        self.names = [p.name for p in stage.params]
        rows = [self._limits(p.name) for p in stage.params]
        rows.append((-10.0, 10.0, 2.0))
        table = torch.tensor(rows, dtype=torch.float64)
        self.low, self.high, self.step = table.unbind(1)
        angle = -2 * math.pi / stage.sample_rate * measured.frequencies_hz
        power = torch.polar(torch.ones_like(angle), angle)
        self.basis = torch.stack([torch.ones_like(power), power, power * power])
        trust = measured.coherence / (1 - measured.coherence)
        weight = (trust.clamp(0, 1e3) / 1e3).sqrt()
        self.weight = weight / weight.square().sum().sqrt().clamp_min(1e-12)
        self.turn = (0.5 if measured.phase else 0.0) * self.weight
        log = measured.response.abs().clamp_min(1e-12).log()
        self.log, self.back = log, torch.polar(torch.ones_like(log), -measured.response.angle())
        self.level = (
            float(log[measured.coherence > 0.5].median())
            if bool((measured.coherence > 0.5).any())
            else float(log.median())
        )

        self.gains = [k for k, n in enumerate(self.names) if n.endswith("gain_db")]
        self.prior = torch.zeros(len(self.names) + 1, len(self.gains), dtype=torch.float64)
        self.prior[self.gains, range(len(self.gains))] = _PRIOR * _LOG10
        self.kinds = [self._kind(k) for k in _KINDS if any(n.endswith(k) for n in self.names)]

    def _kind(self, kind: str) -> tuple[Tensor, _Places, _Places]:
        """Return steps in the coordinates of a kind, which they are, and their bands."""
        columns = [k for k, name in enumerate(self.names) if name.endswith(kind)]
        step = torch.zeros(len(self.names) + 1, dtype=torch.float64)
        step[columns] = _STEP
        bands = [int(self.names[k].removeprefix("band").partition("_")[0]) - 1 for k in columns]
        return step, _as_slice(columns), _as_slice(bands)

    def _limits(self, name: str) -> tuple[float, float, float]:
        band, _, kind = name.removeprefix("band").partition("_")
        if kind == "q":
            low, high = _QUALITY.get(self.stage.bands[int(band) - 1], (0.2, 12.0))
            return math.log(low), math.log(high), 0.7
        low, high = _RANGE[kind]
        if kind == "frequency_hz":
            high = min(high, math.log(0.47 * self.stage.sample_rate))
        return low, high, 0.7 if kind == "frequency_hz" else 6.0

    def starts(self, count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(count, len(self.names), generator=generator, dtype=torch.float64)
        points = torch.empty(count, len(self.names) + 1, dtype=torch.float64)
        total = max(len(self.stage.bands), 1)
        for place, name in enumerate(self.names):
            band, _, kind = name.removeprefix("band").partition("_")
            draw = uniform[:, place]
            if kind == "frequency_hz":
                # A stratum of the range for each band, wider than its share.
                low, high = self.low[place], self.high[place]
                center = (int(band) - 0.5) / total
                spread = (center + (draw - 0.5) * 2.2 / total).clamp(0.01, 0.99)
                points[:, place] = low + (high - low) * spread
                points[0, place] = low + (high - low) * center
            elif kind == "gain_db":
                points[:, place] = 8 * (draw - 0.5)
                points[0, place] = 0.1
            else:
                points[:, place] = math.log(0.9) + 0.6 * (draw - 0.5)
                points[0, place] = math.log(0.9)
        points[:, -1] = self.level
        return points.clamp(self.low, self.high)

    def point(self, values: Mapping[str, float]) -> Tensor:
        """Return the coordinates of values."""
        listed = [values[n] if n.endswith("gain_db") else math.log(values[n]) for n in self.names]
        found = torch.tensor([*listed, self.level], dtype=torch.float64)
        return found.clamp(self.low, self.high)

    def values(self, points: Tensor) -> dict[str, Tensor]:
        columns = points[:, :-1].unbind(1)
        return {
            name: (c if name.endswith("gain_db") else c.exp())[:, None]
            for name, c in zip(self.names, columns, strict=True)
        }

    def linearize(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals ``(starts, 2 bands + gains)`` and their derivatives."""
        starts, count = points.shape
        bins = self.log.numel()
        # A band depends on its own parameters only: all bands move at once, a kind at a time, and
        # differences of the design are exact to ten digits.
        moved = [points]
        for step, _, _ in self.kinds:
            moved += [points + step, points - step]
        sections = self.stage.sections(self.values(torch.cat(moved))).to(self.basis.dtype)
        top, bottom = (sections[:starts, :, part] @ self.basis for part in (slice(3), slice(3, 6)))
        over, under = 1 / top, 1 / bottom
        jacobian = torch.empty(starts, count, 2 * bins + self.prior.shape[1], dtype=torch.float64)
        jacobian[:, -1, :bins], jacobian[:, -1, bins : 2 * bins] = self.weight, 0.0
        jacobian[..., 2 * bins :] = self.prior

        def slopes(place: int) -> None:
            up, down = sections[starts * (2 * place + 1) :].split(starts)[:2]
            moved_by = (up - down) / (2 * _STEP)
            change = (moved_by[..., :3] @ self.basis) * over
            change -= (moved_by[..., 3:] @ self.basis) * under
            _, columns, bands = self.kinds[place]
            jacobian[:, columns, :bins] = self.weight * change.real[:, bands]
            jacobian[:, columns, bins : 2 * bins] = self.turn * change.imag[:, bands]

        def missing() -> Tensor:
            response = (top * under).prod(1)
            log = response.abs().clamp_min(1e-300).log() + points[:, -1:]
            # The angle of the quotient is that of what misses, within a turn.
            turned = (response * self.back).angle()
            gains = _PRIOR * _LOG10 * points[:, self.gains]
            return torch.cat([self.weight * (log - self.log), self.turn * turned, gains], dim=1)

        tasks = [partial(slopes, place) for place in range(len(self.kinds))]
        residual = begin(missing)
        side_by_side(tasks)
        return residual(), jacobian.mT

    def relocated(self, point: Tensor, peaks: int = 3) -> Tensor:
        """Return the point, and copies with one band where the response misses most."""
        residual, _ = self.linearize(point[None])
        bins = self.log.numel()
        missing = residual[0, :bins]
        smooth = torch.nn.functional.avg_pool1d(missing[None, None], 5, 1, 2)[0, 0]
        left = smooth.abs().clone()
        variants = [point]
        for _ in range(peaks):
            place = int(left.argmax())
            left[max(place - bins // 16, 0) : place + bins // 16] = 0
            gain = float(-smooth[place] / self.weight[place].clamp_min(1e-9)) / _LOG10
            for band in range(1, len(self.stage.bands) + 1):
                changed = point.clone()
                for column, name in enumerate(self.names):
                    if not name.startswith(f"band{band}_"):
                        continue
                    if name.endswith("frequency_hz"):
                        changed[column] = math.log(float(self.hz[place]))
                    elif name.endswith("gain_db"):
                        changed[column] = max(-6.0, min(6.0, gain))
                    else:
                        changed[column] = math.log(1.2)
                variants.append(changed)
        return torch.stack(variants).clamp(self.low, self.high)

    def fit(self, point: Tensor, cost: float) -> EqualizerFit:
        values = {name: float(v) for name, v in self.values(point[None]).items()}
        return EqualizerFit(values, float(point[-1]) / _LOG10, cost)
