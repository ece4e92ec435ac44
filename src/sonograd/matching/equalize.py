"""Fit equalizer bands to a measured transfer function, from many starts in one batch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sonograd.effects import ParametricEQ
from sonograd.matching.align import cross_spectra

__all__ = ["BandResponse", "EqualizerFit", "band_response", "fit_bands", "flipped"]

_LOG10 = math.log(10) / 20
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
    """

    frequencies_hz: Tensor
    response: Tensor
    coherence: Tensor


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
    iterations: int = 40,
    seed: int = 0,
) -> list[EqualizerFit]:
    """Fit; best first.

    Args:
        stage: The equalizer; its kinds of bands are used.
        measured: What it should be.
        starts: How many starting points go in one batch.
        iterations: Steps of Levenberg-Marquardt.
        seed: Of the starting points.
    """
    problem = _Bands(stage, measured)
    points = problem.starts(starts, seed)
    damping = torch.full((starts, 1, 1), 1e-2, dtype=torch.float64)
    residual, jacobian = problem.linearize(points)
    cost = residual.square().sum(1)
    for _ in range(iterations):
        normal = jacobian.mT @ jacobian
        right = jacobian.mT @ residual[..., None]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        floor = diagonal.mean(1, keepdim=True) * 1e-9 + 1e-12
        lifted = normal + damping * torch.diag_embed(diagonal + floor)
        step = torch.linalg.solve(lifted, right)[..., 0].clamp(-problem.step, problem.step)
        moved = (points - step).clamp(problem.low, problem.high)
        fresh, slopes = problem.linearize(moved)
        total = fresh.square().sum(1)
        better = total < cost
        points = torch.where(better[:, None], moved, points)
        residual = torch.where(better[:, None], fresh, residual)
        jacobian = torch.where(better[:, None, None], slopes, jacobian)
        gained = ((cost - total) / cost).where(better, torch.zeros_like(cost))
        cost = torch.where(better, total, cost)
        damping = torch.where(better[:, None, None], damping * 0.3, damping * 4).clamp(1e-12, 1e8)
        if bool((damping > 1e6).all()) or float(cost.min()) < 1e-14:
            break
        if bool((gained < 1e-7).all()) and bool(better.any()):
            break
    order = cost.argsort().tolist()
    return [problem.fit(points[k], float(cost[k])) for k in order]


def flipped(values: Mapping[str, float]) -> dict[str, float]:
    """Return the bands that undo ``values``: bells and shelves with their gains turned over."""
    return {k: -v if k.endswith("gain_db") else v for k, v in values.items()}


class _Bands:
    """The residual of the logarithm of the response, with its derivatives."""

    def __init__(self, stage: ParametricEQ, measured: BandResponse) -> None:
        self.stage = stage
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
        log = measured.response.abs().clamp_min(1e-12).log()
        self.log, self.phase = log, measured.response.angle()
        self.level = (
            float(log[measured.coherence > 0.5].median())
            if bool((measured.coherence > 0.5).any())
            else float(log.median())
        )

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

    def values(self, points: Tensor) -> dict[str, Tensor]:
        columns = points[:, :-1].unbind(1)
        return {
            name: (c if name.endswith("gain_db") else c.exp())[:, None]
            for name, c in zip(self.names, columns, strict=True)
        }

    def linearize(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals ``(starts, 2 bands + gains)`` and their derivatives."""
        given = self.values(points)
        starts, count = points.shape
        bins = self.log.numel()
        slopes = torch.zeros(starts, count, bins, dtype=torch.complex128)
        sections = self.stage.sections(given)
        top = sections[..., :3].to(self.basis.dtype) @ self.basis
        bottom = sections[..., 3:].to(self.basis.dtype) @ self.basis
        for kind in ("frequency_hz", "gain_db", "q"):
            mine = [n for n in self.names if n.endswith(kind)]
            if not mine:
                continue
            tangents = {
                n: (torch.ones_like(v) if kind == "gain_db" else v)
                if n in mine
                else torch.zeros_like(v)
                for n, v in given.items()
            }
            _, moved = torch.func.jvp(self.stage.sections, (given,), (tangents,))
            change = (moved[..., :3].to(self.basis.dtype) @ self.basis) / top - (
                moved[..., 3:].to(self.basis.dtype) @ self.basis
            ) / bottom
            for name in mine:
                band = int(name.removeprefix("band").partition("_")[0]) - 1
                slopes[:, self.names.index(name)] = change[:, band]
        slopes[:, -1] = 1.0
        log = (top.abs().log() - bottom.abs().log()).sum(1) + points[:, -1:]
        phase = (top.angle() - bottom.angle()).sum(1) - self.phase
        turned = torch.atan2(phase.sin(), phase.cos())
        gains = [k for k, n in enumerate(self.names) if n.endswith("gain_db")]
        residual = torch.cat(
            [
                self.weight * (log - self.log),
                0.5 * self.weight * turned,
                _PRIOR * _LOG10 * points[:, gains],
            ],
            dim=1,
        )
        prior = torch.zeros(starts, count, len(gains), dtype=torch.float64)
        for row, place in enumerate(gains):
            prior[:, place, row] = _PRIOR * _LOG10
        jacobian = torch.cat(
            [self.weight * slopes.real, 0.5 * self.weight * slopes.imag, prior], dim=2
        )
        return residual, jacobian.mT

    def fit(self, point: Tensor, cost: float) -> EqualizerFit:
        values = {name: float(v) for name, v in self.values(point[None]).items()}
        return EqualizerFit(values, float(point[-1]) / _LOG10, cost)
