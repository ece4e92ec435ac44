"""What an optimizer sees: a loss over one or two values."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.plotting.style import ACCENT, GRID, INK, MUTED, TRUTH, canvas, headline, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["loss_landscape"]

#: The name of a value and where to look, ``(points,)``.
Axis: TypeAlias = tuple[str, Tensor]


def loss_landscape(
    loss: Callable[..., Tensor | float] | Tensor,
    x: Axis,
    y: Axis | None = None,
    *,
    path: Sequence[Any] | Tensor | None = None,
    truth: Sequence[float] | float | None = None,
    mark: str = "truth",
    log: bool | None = None,
    label: str = "loss",
    title: str = "",
) -> "Figure":
    """Draw a loss over one value, as a curve, or over two, as a map.

    Args:
        loss: Called with a value for each axis, as tensors ``()``; or the losses themselves,
            ``(points,)`` or ``(points of y, points of x)``.
        x: Name and values ``(points,)`` of the horizontal axis.
        y: The same for the vertical axis of a map.
        path: The way of an optimizer: values ``(steps,)``, or ``(steps, 2)`` on a map.
        truth: The true value, or the two of them.
        mark: What to call it.
        log: Draw the logarithm of the loss; by default on maps of positive losses.
        label: What the loss is.
        title: Written above.

    Raises:
        ParameterError: If there is no finite loss, or a shape does not fit.
        MissingExtraError: If matplotlib is not installed.
    """
    for name, points in [x] if y is None else [x, y]:
        if points.ndim != 1 or len(points) < 2:
            raise ParameterError(
                f"{name} has shape {tuple(points.shape)}; expected (points,) with at least 2"
            )
    values = _evaluate(loss, x[1], None if y is None else y[1])
    if not values.isfinite().any():
        raise ParameterError("no loss is a finite number; there is nothing to draw")
    way = None if path is None else torch.as_tensor(path).detach().cpu().double()
    if way is not None and way.ndim != (1 if y is None else 2):
        raise ParameterError(
            f"path has shape {tuple(way.shape)}; expected "
            f"{'(steps,)' if y is None else '(steps, 2)'}"
        )
    if y is None:
        return _curve(values, x, way, truth, mark, bool(log), label, title)
    return _map(values, x, y, way, truth, mark, log, label, title)


@torch.no_grad()
def _evaluate(loss: Callable[..., Tensor | float] | Tensor, x: Tensor, y: Tensor | None) -> Tensor:
    shape = (len(x),) if y is None else (len(y), len(x))
    if isinstance(loss, Tensor):
        if loss.shape != shape:
            raise ParameterError(f"the losses have shape {tuple(loss.shape)}; expected {shape}")
        return loss.detach().cpu().double()
    if y is None:
        return torch.tensor([float(loss(value)) for value in x], dtype=torch.float64)
    rows = [[float(loss(a, b)) for a in x] for b in y]
    return torch.tensor(rows, dtype=torch.float64)


def _curve(
    values: Tensor,
    x: Axis,
    way: Tensor | None,
    truth: Any,
    mark: str,
    log: bool,
    label: str,
    title: str,
) -> "Figure":
    figure, axes = canvas(width=5.4)
    ax = axes[0, 0]
    points = x[1].detach().cpu().double()
    ax.plot(points.numpy(), values.numpy(), color=TRUTH, linewidth=1.8)
    if truth is not None:
        ax.axvline(float(truth), color=MUTED, linestyle=":", linewidth=1.2, label=mark)
    lowest = int(values.nan_to_num(math.inf).argmin())
    ax.plot(
        points[lowest].item(), values[lowest].item(), "o", color=TRUTH, markersize=5,
        label=f"least at {float(points[lowest]):.3g}",
    )  # fmt: skip
    if way is not None:
        heights = _interpolate(way, points, values)
        _draw_way(ax, way, heights)
    if log:
        ax.set_yscale("log")
    ax.set(xlabel=x[0], ylabel=label)
    headline(ax, title)
    legend(ax)
    return figure


def _map(
    values: Tensor, x: Axis, y: Axis, way: Tensor | None, truth: Any, mark: str, log: bool | None,
    label: str, title: str,
) -> "Figure":  # fmt: skip
    finite = values[values.isfinite()]
    if log is None:
        log = bool((finite > 0).all())
    if log and not bool((finite > 0).all()):
        raise ParameterError("log: the loss is not positive everywhere; pass log=False")
    shown = values.log10() if log else values
    figure, axes = canvas(width=5.4, height=4.0)
    ax = axes[0, 0]
    ax.grid(visible=False)
    across, up = x[1].detach().cpu().double(), y[1].detach().cpu().double()
    image = ax.pcolormesh(
        across.numpy(), up.numpy(), shown.numpy(), cmap="viridis_r", shading="gouraud",
        rasterized=True,
    )  # fmt: skip
    if float(shown[shown.isfinite()].std()) > 0:
        ax.contour(
            across.numpy(), up.numpy(), shown.numpy(), levels=10, colors=GRID, linewidths=0.5,
            alpha=0.6, linestyles="solid",
        )  # fmt: skip
    if way is not None:
        _draw_way(ax, way[:, 0], way[:, 1])
    if truth is not None:
        a, b = (float(value) for value in truth)
        ax.plot(a, b, "x", color="black", markersize=8, markeredgewidth=2, label=mark)
    ax.set(
        xlabel=x[0], ylabel=y[0], xlim=(float(across.min()), float(across.max())),
        ylim=(float(up.min()), float(up.max())),
    )  # fmt: skip
    headline(ax, title)
    legend(
        ax,
        loc="upper right",
        frameon=True,
        facecolor="white",
        edgecolor="none",
        framealpha=0.75,
        labelcolor="black",
    )
    bar = figure.colorbar(image, ax=ax, pad=0.02, label=f"log10 of the {label}" if log else label)
    bar.ax.yaxis.label.set(fontsize=8.5, color=MUTED)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=MUTED, labelcolor=INK)
    return figure


def _draw_way(ax: "Axes", across: Tensor, up: Tensor) -> None:
    ax.plot(across.numpy(), up.numpy(), "-o", color=ACCENT, linewidth=1, markersize=2.5, alpha=0.8)
    ax.plot(across[-1].item(), up[-1].item(), "o", color=ACCENT, markersize=6, label="end")


def _interpolate(way: Tensor, points: Tensor, values: Tensor) -> Tensor:
    """Return the losses of the way by straight lines; of what lies outside, at the ends."""
    inside = way.clamp(float(points.min()), float(points.max()))
    order = points.argsort()
    points, values = points[order], values[order]
    right = torch.searchsorted(points, inside).clamp(1, len(points) - 1)
    share = (inside - points[right - 1]) / (points[right] - points[right - 1])
    return torch.lerp(values[right - 1], values[right], share)
