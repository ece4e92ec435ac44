"""Pictures of scores."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sonograd.errors import ParameterError
from sonograd.plotting.audio import _figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["score_boxes"]


def score_boxes(
    tracks: Sequence[tuple[Mapping[str, Mapping[str, float]], str]], names: Sequence[str]
) -> "Figure":
    """Draw a row for each value, with a box plot over tracks for each target, and every track.

    Args:
        tracks: Value by name, by target, and the name of the track.
        names: Values to draw; those that no track has are left out.

    Raises:
        ParameterError: If there is nothing to draw.
        MissingExtraError: If matplotlib is not installed.
    """
    targets = list(dict.fromkeys(target for values, _ in tracks for target in values))
    series = {
        name: [
            [
                values[target][name]
                for values, _ in tracks
                if math.isfinite(values.get(target, {}).get(name, math.nan))
            ]
            for target in targets
        ]
        for name in names
    }
    shown = {name: columns for name, columns in series.items() if any(columns)}
    if not shown:
        raise ParameterError("no track has any of the values; there is nothing to draw")
    figure, axes = _figure(len(shown), 2.2, 16.0)
    for ax, (name, columns) in zip(axes, shown.items(), strict=True):
        places = range(1, len(targets) + 1)
        ax.boxplot(columns, positions=list(places), widths=0.5, showfliers=False)
        for place, values in zip(places, columns, strict=True):
            spread = [place + 0.3 * ((k * 0.618) % 1 - 0.5) for k in range(len(values))]
            ax.plot(spread, values, "o", markersize=3, alpha=0.5, color="#34508a")
        ax.set_xticks(list(places), [target or "all" for target in targets])
        ax.set_title(name, loc="left", fontsize=10)
        ax.grid(axis="y", alpha=0.3)
    return figure
