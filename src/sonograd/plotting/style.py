"""One look for charts: ink, grid and a few colors that keep apart for color-blind eyes, too."""

from typing import TYPE_CHECKING, Any

from sonograd.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "BAND",
    "GRID",
    "INK",
    "MUTED",
    "SERIES",
    "SHADE",
    "TRUTH",
    "canvas",
    "dress",
    "frequency_axis",
    "headline",
    "legend",
]

#: Text and axes.
INK = "#1b1f24"
#: Less important text and lines.
MUTED = "#6b7280"
#: Grid lines.
GRID = "#e3e6ea"
#: What was found.
ACCENT = "#d1495b"
#: What was measured.
TRUTH = "#30638e"
#: Areas of what was measured.
SHADE = "#bcd0e2"
#: Areas of doubt.
BAND = "#f0c7cd"
#: Lines side by side.
SERIES = ("#d1495b", "#30638e", "#2a9d6f", "#edae49", "#8e5ea2", "#00798c")

_FREQUENCIES = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


def canvas(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 2.9, **options: Any
) -> tuple["Figure", Any]:
    """Return a figure that belongs to no global state, and its axes ``(rows, columns)``.

    Args:
        rows: Charts below each other.
        columns: Charts side by side.
        width: Of the figure, in inches.
        height: Of each row, in inches.
        **options: Passed on to :meth:`matplotlib.figure.Figure.subplots`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        from sonograd.plotting.chart import Chart  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        raise MissingExtraError("drawing", "plot") from None
    figure = Chart(figsize=(width, height * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for ax in axes.flat:
        dress(ax)
    return figure, axes


def dress(ax: "Axes") -> None:
    """Give axes our look: two thin spines and a quiet grid behind the data."""
    ax.set_axisbelow(True)
    ax.grid(color=GRID, linewidth=0.7)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
        ax.spines[side].set_linewidth(0.7)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, width=0.7, length=3)
    ax.xaxis.label.set(color=MUTED, fontsize=8.5)
    ax.yaxis.label.set(color=MUTED, fontsize=8.5)


def headline(ax: "Axes", text: str) -> Any:
    """Write a title above the left end of the axes and return it."""
    return ax.set_title(text, loc="left", fontsize=10, color=INK)


def legend(ax: "Axes", **options: Any) -> None:
    """Add a legend without a frame, if there is anything to name."""
    handles, _ = ax.get_legend_handles_labels()
    if handles:
        settings = {"fontsize": 8, "frameon": False, "labelcolor": INK, **options}
        ax.legend(**settings)


def frequency_axis(ax: "Axes", low: float, high: float) -> None:
    """Make the horizontal axis logarithmic, from ``low`` to ``high`` Hz, with plain numbers."""
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    marks = [f for f in _FREQUENCIES if low <= f <= high]
    labels = [f"{f // 1000}k" if f >= 1000 else str(f) for f in marks]
    ax.set_xticks(marks, labels)
    ax.set_xticks([], minor=True)
    ax.set_xlabel("frequency (Hz)")
