"""Processors with tangents: their output and its derivatives in all parameters at once.

Forward mode, written by hand for what is recursive: the tangents of a follower obey the follower's
own recursion with its branches held fixed, those of a filter are filtered signals. A function here
takes a :class:`Dual`, the signal with its derivatives so far, and appends the derivatives in its
own parameters. Signals are float64; tangents may be float32, since they only steer the solver.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.functional._branching import follow_level
from sonograd.functional.ballistics import TimeConvention, smoothing_coefficient
from sonograd.functional.recursion import sosfilt
from sonograd.matching._kernels import band_tangents, carry_tangents, scan_tangents
from sonograd.matching._threads import side_by_side
from sonograd.matching.duals import Dual, Rates, in_groups

__all__ = ["bend", "compress", "cut", "elementwise", "filtered", "follow", "link"]

_NEPER = math.log(10) / 20
_SILENCE = 1e-12
_ALL = slice(None)
_CURVE = frozenset({"threshold_db", "ratio", "knee_db", "makeup_db"})
_STRETCH = 1 << 15  # samples that a thread takes; so many stay near the processor


def _scan_in_groups(keep: Tensor, drive: Tensor) -> None:
    """Solve for tangents in place."""

    def scan(part: slice) -> None:
        some = drive[part]
        solved = scan_tangents(keep, some)
        if solved is not some:
            some.copy_(solved)

    side_by_side([partial(scan, part) for part in in_groups(drive.shape[0])])


def link(x: Dual, how: str) -> Dual:
    """Take the magnitude; join channels by ``"max"`` or ``"mean"``, or leave them (``"none"``)."""
    level = x.mapped(x.value.abs(), x.value.sign())
    if how == "none" or x.value.shape[-2] == 1:
        return level
    if how == "mean":
        return Dual(level.value.mean(-2, keepdim=True), level.tangent.mean(-2, keepdim=True))
    value, place = level.value.max(-2, keepdim=True)
    index = place.expand(level.tangent.shape[0], *place.shape)
    return Dual(value, level.tangent.gather(-2, index))


def follow(
    level: Dual,
    attack_ms: float,
    release_ms: float,
    rates: tuple[float | None, float | None],
    *,
    sample_rate: float,
    time_convention: TimeConvention,
) -> Dual:
    """Follow a level; see :func:`~sonograd.functional.envelope_follower`.

    ``rates`` are the derivatives of both times in their coordinates, None where they are held.
    """
    shape, kind = level.value.shape, level.tangent.dtype
    rows = level.value.reshape(-1, shape[-1])
    times = (attack_ms, release_ms)
    path = _followed(rows, times, rates, sample_rate, time_convention)
    count = level.tangent.shape[0]
    drive = torch.empty(count + len(path.slopes), *rows.shape, dtype=kind)
    keep = path.keep(_ALL)
    torch.mul(level.tangent.reshape(count, *rows.shape), (1 - keep).to(kind), out=drive[:count])
    path.drive(_ALL, drive[count:])
    _scan_in_groups(keep, drive)
    return Dual(path.value.reshape(shape), drive.reshape(-1, *shape))


@dataclass(frozen=True)
class _Path:
    """Levels, and where a follower went.

    Attributes:
        level: ``(rows, samples)``.
        value: What follows it.
        rising: Where it rose.
        factors: What is kept of the value before, up and down.
        slopes: Derivatives of one of them in a coordinate, and whether it is that of rising.
    """

    level: Tensor
    value: Tensor
    rising: Tensor
    factors: tuple[float, float]
    slopes: tuple[tuple[float, bool], ...]

    def keep(self, part: slice) -> Tensor:
        """Return the factor of each sample."""
        return torch.where(self.rising[:, part], *self.factors)

    def drive(self, part: slice, out: Tensor) -> None:
        """Write what drives the tangents in the own coordinates."""
        if not self.slopes:
            return
        level, rising = self.level[:, part], self.rising[:, part]
        first = part.start or 0
        before = self.value[:, max(first - 1, 0) : first + level.shape[1] - 1]
        if not first:
            before = pad(before, (1, 0))
        before = before - level
        for place, (slope, up) in enumerate(self.slopes):
            out[place] = torch.where(rising if up else ~rising, before * slope, 0.0)


def _followed(
    rows: Tensor,
    times_ms: tuple[float, float],
    rates: tuple[float | None, float | None],
    sample_rate: float,
    time_convention: TimeConvention,
) -> _Path:
    """Follow ``rows``; see :func:`follow`."""
    times = torch.tensor(times_ms, dtype=torch.float64, requires_grad=True)
    factors = smoothing_coefficient(times, sample_rate=sample_rate, time_convention=time_convention)
    slopes = torch.autograd.grad(factors.sum(), times)[0].tolist()
    up, down = factors.detach().tolist()
    full = [torch.full((rows.shape[0],), v, dtype=torch.float64) for v in (up, down, 0.0)]
    value, rising, _ = follow_level(rows, *full)
    own = tuple((slopes[k] * rate, k == 0) for k, rate in enumerate(rates) if rate is not None)
    return _Path(rows, value, rising, (up, down), own)


def bend(level: Tensor, threshold: float, knee: float) -> tuple[Tensor, Tensor]:
    """Slope and overshoot of a static curve; ``threshold`` and ``knee`` in neper."""
    over = level.clamp_min(_SILENCE).log() - threshold
    if knee <= 1e-9:
        return (over > 0).to(level.dtype), over.clamp_min(0)
    half = knee / 2
    bent = ((over + half) / knee).clamp(0, 1)
    return bent, half * bent.square() + (over - half).clamp_min(0)


def compress(
    x: Dual,
    values: Mapping[str, float],
    rates: Rates,
    *,
    sample_rate: float,
    detector: str = "peak",
    smoothing: str = "level",
    linked: str = "none",
    time_convention: TimeConvention = "juce",
    lookahead: int = 0,
) -> Dual:
    """Compress; see :class:`~sonograd.effects.Compressor`.

    New tangents come in the order ``rms_ms, attack_ms, release_ms, threshold_db, ratio, knee_db,
    makeup_db``, those that ``rates`` names.
    """
    rate: dict[str, Any] = {"sample_rate": sample_rate, "time_convention": time_convention}
    if lookahead:
        x = _padded(x, lookahead)
    if "ratio" in rates:
        rates = {**rates, "ratio": rates["ratio"] / values["ratio"] ** 2}  # that of 1 - 1 / ratio
    steep = 1 / values["ratio"] - 1
    alone = linked == "none" or x.value.shape[-2] == 1
    if alone and smoothing == "level" and detector == "peak" and not lookahead:
        return _compress_plainly(x, values, rates, steep, **rate)
    level = link(x, linked)
    if detector == "rms":
        level = _rms(x, level, values, rates, linked, rate)
    threshold, knee = values["threshold_db"] * _NEPER, values["knee_db"] * _NEPER
    makeup = values["makeup_db"] * _NEPER
    times = (values["attack_ms"], values["release_ms"])
    time_rates = (rates.get("attack_ms"), rates.get("release_ms"))
    if smoothing == "level":
        level = follow(level, *times, time_rates, **rate)
        bent, over = bend(level.value, threshold, knee)
        gain = torch.exp(steep * over + makeup)
        moved = gain * steep * bent
        safe = torch.where(level.value > _SILENCE, 1 / level.value.clamp_min(_SILENCE), 0.0)
        dual = level.mapped(gain, moved * safe)
        dual = dual.extended(*_curve_tangents(rates, gain, moved, over, bent))
    else:
        bent, over = bend(level.value, threshold, knee)
        safe = torch.where(level.value > _SILENCE, 1 / level.value.clamp_min(_SILENCE), 0.0)
        # Gain in neper before smoothing; unit gain turns its tangents into those of the exponent.
        one = torch.ones_like(over)
        need = level.mapped(-steep * over, -steep * bent * safe)
        own = {k: v for k, v in rates.items() if k != "makeup_db"}
        curve = _curve_tangents(own, one, steep * bent, over, bent)
        need = need.extended(*(-c for c in curve))
        held = follow(need, *times, time_rates, **rate)
        order = _gain_order(x.tangent.shape[0], len(curve), time_rates, rates)
        gain = torch.exp(makeup - held.value)
        dual = Dual(gain, held.tangent[order] * (-gain).to(held.tangent.dtype))
        if "makeup_db" in rates:
            dual = dual.extended(gain * (_NEPER * rates["makeup_db"]))
    if lookahead:
        x = Dual(x.value[..., :-lookahead], x.tangent[..., :-lookahead])
        dual = Dual(dual.value[..., lookahead:], dual.tangent[..., lookahead:])
    return x.times(dual)


def _compress_plainly(
    x: Dual,
    values: Mapping[str, float],
    rates: Rates,
    steep: float,
    *,
    sample_rate: float,
    time_convention: TimeConvention,
) -> Dual:
    """Follow the magnitude of each channel: one pass over every tangent."""
    shape, kind = x.value.shape, x.tangent.dtype
    rows = x.value.reshape(-1, shape[-1])
    times = (values["attack_ms"], values["release_ms"])
    time_rates = (rates.get("attack_ms"), rates.get("release_ms"))
    path = _followed(rows.abs(), times, time_rates, sample_rate, time_convention)
    threshold, knee = values["threshold_db"] * _NEPER, values["knee_db"] * _NEPER
    own, count = x.tangent.shape[0], len(path.slopes)
    total = x.grown(count + len(_CURVE & rates.keys())).view(-1, *rows.shape)
    timed = total[own : own + count]
    gain, pull, feed, y = (torch.empty_like(rows) for _ in range(4))
    keep = torch.empty_like(rows, dtype=path.keep(slice(0, 1)).dtype)

    def look(part: slice) -> None:
        """Work out everything but recursions."""
        signal, value = rows[:, part], path.value[:, part]
        bent, over = bend(value, threshold, knee)
        gain[:, part] = factor = torch.exp(steep * over + values["makeup_db"] * _NEPER)
        moved = factor * steep * bent
        safe = torch.where(value > _SILENCE, 1 / value.clamp_min(_SILENCE), 0.0)
        pull[:, part] = signal * moved * safe
        keep[:, part] = kept = path.keep(part)
        feed[:, part] = (1 - kept) * signal.sign()
        path.drive(part, timed[..., part])
        for row, slope in enumerate(_curve_tangents(rates, factor, moved, over, bent), own + count):
            total[row][:, part] = signal * slope
        y[:, part] = signal * factor

    side_by_side([partial(look, slice(n, n + _STRETCH)) for n in range(0, rows.shape[1], _STRETCH)])
    before = x.tangent.reshape(own, *rows.shape)
    tasks: list[Callable[[], object]] = [
        partial(carry_tangents, before[part], keep, feed, gain, pull, total[part])
        for part in in_groups(own)
    ]
    tasks.append(lambda: torch.mul(scan_tangents(keep, timed), pull.to(kind), out=timed))
    side_by_side(tasks)
    return Dual(y.reshape(shape), total.reshape(-1, *shape), x.room)


def _rms(
    x: Dual,
    level: Dual,
    values: Mapping[str, float],
    rates: Rates,
    linked: str,
    rate: dict[str, Any],
) -> Dual:
    """Root of the followed power; ``link`` joins magnitudes, or for means powers."""
    if linked == "mean" and x.value.shape[-2] > 1:
        power = Dual(
            x.value.square().mean(-2, keepdim=True),
            (2 * x.tangent * x.value.to(x.tangent.dtype)).mean(-2, keepdim=True),
        )
    else:
        power = level.mapped(level.value.square(), 2 * level.value)
    return root(
        follow(power, values["rms_ms"], values["rms_ms"], (None, None), **rate)
        if "rms_ms" not in rates
        else _follow_both(power, values["rms_ms"], rates["rms_ms"], rate)
    )


def _follow_both(power: Dual, time_ms: float, slope: float, rate: dict[str, Any]) -> Dual:
    """Follow with one time for both ways: its two tangents are added."""
    both = follow(power, time_ms, time_ms, (slope, slope), **rate)
    tangent = both.tangent[:-1].clone()
    tangent[-1] += both.tangent[-1]
    return Dual(both.value, tangent)


def root(power: Dual) -> Dual:
    """Take the square root of a power, floored where it has no slope."""
    safe = power.value.clamp_min(1e-24)
    value = safe.sqrt()
    return power.mapped(value, torch.where(power.value > 1e-24, 0.5 / value, 0.0))


def _curve_tangents(
    rates: Rates, gain: Tensor, moved: Tensor, over: Tensor, bent: Tensor
) -> list[Tensor]:
    found = []
    if "threshold_db" in rates:
        found.append(moved * (-_NEPER * rates["threshold_db"]))
    if "ratio" in rates:  # d(1 / ratio - 1): the rate is that of the slope
        found.append(gain * over * (-rates["ratio"]))
    if "knee_db" in rates:
        found.append(moved * (1 - bent) * (0.5 * _NEPER * rates["knee_db"]))
    if "makeup_db" in rates:
        found.append(gain * (_NEPER * rates["makeup_db"]))
    return found


def _gain_order(
    before: int, curve: int, times: tuple[float | None, float | None], rates: Rates
) -> list[int]:
    """Put the times before the curve, where ``smoothing="level"`` has them."""
    first = before + ("rms_ms" in rates)
    late = sum(t is not None for t in times)
    return [
        *range(first),
        *range(first + curve, first + curve + late),
        *range(first, first + curve),
    ]


def _padded(x: Dual, samples: int) -> Dual:
    return Dual(pad(x.value, (0, samples)), pad(x.tangent, (0, samples)))


def filtered(x: Dual, sections: Tensor, slopes: Tensor) -> Dual:
    """Filter with a cascade.

    Args:
        x: The signal.
        sections: ``(sections, 6)``.
        slopes: Their derivatives ``(parameters, sections, 6)``, each not zero in one section only.
    """
    shape = x.value.shape
    value = sosfilt(x.value, sections)
    old = sosfilt(x.tangent, sections) if x.tangent.shape[0] else x.tangent
    if not slopes.shape[0]:
        return Dual(value, old)
    total = x.grown(slopes.shape[0])
    total[: old.shape[0]] = old
    fresh = total[old.shape[0] :]
    moving = slopes.abs().amax(-1) > 0
    tasks: list[Callable[[], None]] = []
    for k in range(sections.shape[0]):
        mine = moving[:, k].nonzero()[:, 0].tolist()
        if not mine:
            continue
        into = fresh[mine[0] : mine[-1] + 1]  # those of a section stand together
        if _minimum_phase(sections[k]):
            rows = value.reshape(-1, shape[-1])
            into = into.view(-1, *rows.shape)
            tasks.append(partial(band_tangents, rows, sections[k], slopes[mine, k], into))
        else:
            tasks.append(partial(_band_apart, x.value, value, sections, k, slopes[mine, k], into))
    side_by_side(tasks)
    return Dual(value, total, x.room)


def _minimum_phase(section: Tensor) -> bool:
    """Tell whether the zeros of a section lie inside the unit circle, not on it."""
    b0, b1, b2 = section[:3].tolist()
    return bool(abs(b0) > 1e-9 and abs(b2 / b0) < 1 - 1e-7 and abs(b1 / b0) < 1 + b2 / b0 - 1e-9)


def _band_apart(
    x: Tensor, y: Tensor, sections: Tensor, k: int, slopes: Tensor, out: Tensor
) -> None:
    """As :func:`band_tangents` without dividing by ``N``: ``(dN H' x - dD y) / D``."""
    rest = sections.clone()
    rest[k, :3] = torch.tensor([1.0, 0.0, 0.0], dtype=sections.dtype)
    through = pad(sosfilt(x.to(out.dtype), rest), (2, 0))
    back = pad(sosfilt(y.to(out.dtype), rest[k : k + 1]), (2, 0))
    for total, slope in zip(out.zero_(), slopes.tolist(), strict=True):
        for lag in range(3):
            part = slice(2 - lag, 2 - lag + x.shape[-1])
            total.add_(through[..., part], alpha=slope[lag])
            if lag:
                total.add_(back[..., part], alpha=-slope[3 + lag])


def elementwise(
    x: Dual,
    curve: Callable[[Tensor, Mapping[str, Tensor]], Tensor],
    values: Mapping[str, float],
    rates: Rates,
) -> Dual:
    """Apply a curve to each sample; its slopes come from one reverse pass."""
    with torch.enable_grad():
        signal = x.value.detach().requires_grad_(True)
        spread = {}
        for name, number in values.items():
            given = torch.full_like(signal, number) if name in rates else torch.tensor(number)
            spread[name] = given.to(signal.dtype).detach().requires_grad_(name in rates)
        y = curve(signal, spread)
        names = [name for name in values if name in rates]
        slopes = torch.autograd.grad(y.sum(), [signal, *(spread[n] for n in names)])
    own = [s * rates[n] for s, n in zip(slopes[1:], names, strict=True)]
    return x.mapped(y.detach(), slopes[0]).extended(*own)


def cut(x: Dual, limit: float) -> Dual:
    """Clip to ``[-limit, limit]``."""
    inside = (x.value.abs() <= limit).to(x.value.dtype)
    return x.mapped(x.value.clamp(-limit, limit), inside)
