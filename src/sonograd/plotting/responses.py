"""Charts of what processors do: frequency responses, static curves, gain over time."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.plotting.axes import clock
from sonograd.plotting.style import (
    ACCENT,
    MUTED,
    SERIES,
    SHADE,
    TRUTH,
    canvas,
    frequency_axis,
    headline,
    legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["convergence", "gain_reduction", "response", "static_curve"]

#: Audio ``(channels, samples)`` to audio, such as an effect.
Processor: TypeAlias = Callable[[Tensor], Tensor]

_LOWEST_HZ = 20.0
_QUIET_DB = -120.0
_COLUMNS = 2000  # resolution of a chart in time
_POINTS = 1000  # resolution of a chart in frequency


def response(
    curves: Processor | Mapping[str, Processor | Tensor],
    *,
    sample_rate: float,
    frequencies: Tensor | None = None,
    measured: Tensor | None = None,
    coherence: Tensor | None = None,
    seconds: float = 1.0,
    title: str = "",
) -> "Figure":
    """Draw magnitude responses in dB over frequency.

    Args:
        curves: Title to a linear processor, which is given an impulse ``(1, samples)``, or to a
            response ``(bins,)`` at ``frequencies``; a single processor needs no title.
        sample_rate: In Hz.
        frequencies: Of given responses, ``(bins,)`` in Hz, rising.
        measured: A transfer function ``(bins,)`` that was measured, drawn behind the curves.
        coherence: How sure it is, ``(bins,)`` from 0 to 1; fades where it is low.
        seconds: Length of the impulse responses.
        title: Written above.

    Raises:
        ParameterError: If there is nothing to draw, or frequencies are missing.
        ShapeError: If a response does not fit its frequencies.
        MissingExtraError: If matplotlib is not installed.
    """
    if callable(curves):
        curves = {"": curves}
    if not curves and measured is None:
        raise ParameterError("got no curves and nothing measured; expected at least one")
    figure, axes = canvas()
    ax = axes[0, 0]
    low, high = _LOWEST_HZ, sample_rate / 2
    shown = []
    if measured is not None:
        bins, level = _at(frequencies, measured, "measured")
        sure = torch.ones_like(bins) if coherence is None else _real(coherence, bins, "coherence")
        _draw_measured(ax, bins, level, sure)
        shown.append(level[(sure > 0.5) & (bins >= low)])
    for (name, curve), color in zip(curves.items(), _cycle(len(curves)), strict=True):
        if isinstance(curve, Tensor):
            bins, level = _at(frequencies, curve, name)
        else:
            bins, level = _impulse_response(curve, sample_rate, seconds)
        ax.plot(bins.numpy(), level.numpy(), color=color, linewidth=1.8, label=name or None)
        shown.append(level[(bins >= low) & (bins <= high)])
    frequency_axis(ax, low, high)
    ax.axhline(0.0, color=MUTED, linewidth=0.7)
    ax.set_ylim(*_limits(torch.cat(shown)))
    ax.set_ylabel("gain (dB)")
    headline(ax, title)
    legend(ax)
    return figure


def static_curve(
    curves: Mapping[str, tuple[Tensor, Tensor]],
    *,
    pairs: tuple[Tensor, Tensor] | None = None,
    threshold_db: float | None = None,
    title: str = "",
) -> "Figure":
    """Draw output over input level, in dB, as for a compressor.

    Args:
        curves: Title to levels ``(points,)`` of the input and the output.
        pairs: Levels of short pieces of audio before and after, ``(pieces,)`` each, as a cloud.
        threshold_db: Marked by a line.
        title: Written above.

    Raises:
        ParameterError: If there is nothing to draw.
        ShapeError: If levels do not fit each other.
        MissingExtraError: If matplotlib is not installed.
    """
    clouds = [("pairs", pairs)] if pairs is not None else []
    for name, (before, after) in [*curves.items(), *clouds]:
        if before.shape != after.shape or before.ndim != 1:
            raise ShapeError(
                f"{name}: levels have shapes {tuple(before.shape)} and {tuple(after.shape)}; "
                "expected (points,) twice"
            )
    if not curves and pairs is None:
        raise ParameterError("got no curves and no pairs; expected at least one")
    figure, axes = canvas(width=4.4, height=4.0)
    ax = axes[0, 0]
    inputs = torch.cat([before for before, _ in curves.values()] + [p[0] for _, p in clouds])
    low, high = float(inputs.min()), float(inputs.max())
    ax.plot([low, high], [low, high], color=MUTED, linewidth=0.8, linestyle=":", label="unchanged")
    if pairs is not None:
        alpha = min(0.6, max(0.12, 80 / max(len(pairs[0]), 1)))
        ax.scatter(
            pairs[0].numpy(), pairs[1].numpy(), s=7, color=TRUTH, alpha=alpha, linewidths=0,
            rasterized=len(pairs[0]) > 800,
        )  # fmt: skip
        ax.scatter([], [], s=10, color=TRUTH, label="measured")
    for (name, (before, after)), color in zip(curves.items(), _cycle(len(curves)), strict=True):
        ax.plot(before.numpy(), after.numpy(), color=color, linewidth=1.8, label=name)
    if threshold_db is not None:
        ax.axvline(threshold_db, color=ACCENT, linewidth=0.8, linestyle="--")
    ax.set(xlabel="input level (dB)", ylabel="output level (dB)")
    headline(ax, title)
    legend(ax, loc="upper left", markerscale=2)
    return figure


def gain_reduction(
    traces: Mapping[str, Tensor],
    *,
    time_s: Tensor | None = None,
    sample_rate: float | None = None,
    title: str = "",
) -> "Figure":
    """Draw gains over time, in dB, as needles of compressors show them.

    Args:
        traces: Title to gains ``(samples,)`` in dB; NaN leaves a gap.
        time_s: When each is, ``(samples,)``; pieces with longer gaps between them are drawn side
            by side. Or:
        sample_rate: Of the traces, in Hz.
        title: Written above.

    Raises:
        ParameterError: If there is no trace, or not one of time and rate.
        ShapeError: If lengths differ.
        MissingExtraError: If matplotlib is not installed.
    """
    if not traces or (time_s is None) == (sample_rate is None):
        raise ParameterError(
            f"got {len(traces)} traces, time_s={time_s} and sample_rate={sample_rate}; expected "
            "traces, and one of the others"
        )
    points = len(next(iter(traces.values())))
    if time_s is None:
        time_s = torch.arange(points, dtype=torch.float64) / float(sample_rate or 1)
    for name, trace in traces.items():
        if trace.shape != time_s.shape or trace.ndim != 1 or not points:
            raise ShapeError(
                f"{name} has shape {tuple(trace.shape)}; expected {tuple(time_s.shape)}, with at "
                "least one sample"
            )
    figure, axes = canvas(height=2.4)
    ax = axes[0, 0]
    place, starts = _side_by_side(time_s.detach().cpu().double())
    for (name, trace), color in zip(traces.items(), _cycle(len(traces))[::-1], strict=True):
        x, low, high = _envelope(place, trace, starts)
        ax.fill_between(x.numpy(), low.numpy(), high.numpy(), color=color, linewidth=0.9, alpha=0.9)
        ax.plot([], [], color=color, label=name or None)
    for k in starts[1:]:
        ax.axvline(float(place[k]), color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    if len(starts) > 1:
        ax.set_xticks([float(place[k]) for k in starts], [clock(_tenth(time_s[k])) for k in starts])
    ax.set_xlim(float(place[0]), float(place[-1]) or 1.0)
    ax.set_ylim(*_limits(torch.cat(list(traces.values())), least=3.0))
    ax.set(xlabel="time (s)" if len(starts) == 1 else "time, in pieces", ylabel="gain (dB)")
    headline(ax, title)
    if len(traces) > 1:
        legend(ax, loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=len(traces))
    return figure


def convergence(
    histories: Mapping[str, Sequence[float]],
    *,
    best: str | None = None,
    ylabel: str = "null depth (dB)",
    title: str = "",
) -> "Figure":
    """Draw a value over the steps of several fits.

    Args:
        histories: Title to the value after each step; the first is that of the start.
        best: The title that is drawn in front, thicker; all are alike if None.
        ylabel: What the value is.
        title: Written above.

    Raises:
        ParameterError: If there is no history with a finite value.
        MissingExtraError: If matplotlib is not installed.
    """
    shown = {name: list(map(float, h)) for name, h in histories.items() if _any_finite(h)}
    if not shown:
        raise ParameterError("no history holds a finite value; there is nothing to draw")
    figure, axes = canvas()
    ax = axes[0, 0]
    for (name, values), color in zip(shown.items(), _cycle(len(shown)), strict=True):
        front = best is None or name == best
        ax.plot(
            range(len(values)),
            values,
            color=color,
            linewidth=2.2 if front else 1.1,
            zorder=3 if front else 2,
            marker="o" if len(values) < 40 else "",
            markersize=3.0 if front else 2.0,
            label=name,
        )
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - optional

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="step", ylabel=ylabel)
    headline(ax, title)
    legend(ax, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _cycle(count: int) -> list[str]:
    return [SERIES[k % len(SERIES)] for k in range(count)]


def _any_finite(values: Sequence[float]) -> bool:
    return any(math.isfinite(value) for value in values)


def _level(values: Tensor) -> Tensor:
    """Return dB of complex or real amplitudes, not below the quiet end."""
    return 20 * values.abs().double().clamp_min(10 ** (_QUIET_DB / 20)).log10()


def _at(frequencies: Tensor | None, values: Tensor, name: str) -> tuple[Tensor, Tensor]:
    if frequencies is None:
        raise ParameterError(f"{name} is a response; pass its frequencies, too")
    bins = frequencies.detach().cpu().double()
    values = values.detach().cpu()
    if bins.ndim != 1 or values.shape != bins.shape:
        raise ShapeError(
            f"{name} has shape {tuple(values.shape)} and frequencies {tuple(bins.shape)}; "
            "expected (bins,) twice"
        )
    return bins, _level(values)


def _real(values: Tensor, like: Tensor, name: str) -> Tensor:
    if values.shape != like.shape:
        raise ShapeError(f"{name} has shape {tuple(values.shape)}; expected {tuple(like.shape)}")
    return values.detach().cpu().double()


def _impulse_response(
    process: Processor, sample_rate: float, seconds: float
) -> tuple[Tensor, Tensor]:
    samples = max(round(seconds * sample_rate), 64)
    impulse = torch.zeros(1, samples, dtype=torch.float64)
    impulse[:, 0] = 1.0
    with torch.no_grad():
        answer = process(impulse).detach().cpu().double().reshape(-1, samples)[0]
    # As many points per octave everywhere, each at its nearest bin.
    wanted = torch.logspace(math.log10(_LOWEST_HZ), math.log10(sample_rate / 2), _POINTS)
    index = (wanted * samples / sample_rate).round().long().clamp(1, samples // 2).unique()
    return index.double() * (sample_rate / samples), _level(torch.fft.rfft(answer))[index]


def _draw_measured(ax: "Axes", bins: Tensor, level: Tensor, coherence: Tensor) -> None:
    """Draw points that fade, and a ribbon as wide as the doubt."""
    keep = (bins > 0) & level.isfinite()
    bins, level, sure = bins[keep], level[keep], coherence[keep].clamp(0.0, 1.0)
    # Standard deviation of the magnitude of a transfer function, up to the number of averages.
    doubt = (20 / math.log(10)) * ((1 - sure) / sure.clamp_min(1e-3) / 2).sqrt().clamp(max=3.0)
    x, below, above = bins.numpy(), (level - doubt).numpy(), (level + doubt).numpy()
    ax.fill_between(x, below, above, color=SHADE, alpha=0.55, linewidth=0, label="doubt")
    from matplotlib.colors import to_rgba  # noqa: PLC0415 - optional

    colors = [to_rgba(TRUTH, float(a)) for a in (0.08 + 0.82 * sure**2)]
    ax.scatter(x, level.numpy(), s=6, c=colors, linewidths=0)
    ax.scatter([], [], s=10, color=TRUTH, label="measured")


def _limits(values: Tensor, least: float = 6.0) -> tuple[float, float]:
    """Return limits that hold nearly all values, zero, and at least so many dB."""
    finite = values[values.isfinite()].double()
    if not len(finite):
        return -least, least
    ends = torch.tensor([0.002, 0.998], dtype=torch.float64)
    picked = finite[:: max(1, len(finite) // 100_000)]
    low, high = torch.quantile(picked, ends).tolist()
    low, high = min(low, 0.0), max(high, 0.0)
    low = max(low, high - 48.0)
    room = max(0.12 * (high - low), (least - (high - low)) / 2, 0.5)
    return low - room, high + room


def _side_by_side(time: Tensor) -> tuple[Tensor, list[int]]:
    """Return times without long gaps, and where pieces start."""
    if len(time) < 2:
        return time - time[0], [0]
    steps = time.diff()
    usual = steps.median()
    far = steps > 8 * usual
    if not far.any():
        return time, [0]
    place = torch.cat([torch.zeros(1).double(), torch.where(far, usual, steps).cumsum(0)])
    return place, [0, *(int(k) + 1 for k in far.nonzero())]


def _tenth(time: Tensor) -> float:
    return round(float(time), 1)


def _envelope(place: Tensor, x: Tensor, starts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return places and the lowest and highest value of each column; NaN between pieces."""
    x = x.detach().cpu().double()
    columns = min(_COLUMNS, len(x))
    edges = torch.linspace(0, len(x), columns + 1).round().long().tolist()
    pieces = [x[a : max(b, a + 1)] for a, b in itertools.pairwise(edges)]
    low = torch.stack([piece.min() for piece in pieces])
    high = torch.stack([piece.max() for piece in pieces])
    # Columns touch each other, so that a steep trace is a line and not dots.
    before_low, before_high = low[:-1].clone(), high[:-1].clone()
    touching = torch.ones(columns - 1, dtype=torch.bool)
    first = torch.tensor(edges[1:-1], dtype=torch.long)
    for start in starts[1:]:
        touching[int(torch.searchsorted(first, start).clamp(max=columns - 2))] = False
    touching &= before_low.isfinite() & low[1:].isfinite()
    low[1:] = torch.where(touching, torch.minimum(low[1:], before_high), low[1:])
    high[1:] = torch.where(touching, torch.maximum(high[1:], before_low), high[1:])
    return place[torch.tensor(edges[:-1], dtype=torch.long)], low, high
