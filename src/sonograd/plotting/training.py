"""Pictures of a training: losses and scores over time, estimates beside the truth."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.plotting.audio import _channels, _draw_envelope, _duration, _figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["compare_waveforms", "history"]


def compare_waveforms(signals: Mapping[str, Tensor], *, sample_rate: int) -> "Figure":
    """Draw envelopes of several signals below each other, all on one scale.

    Args:
        signals: Title to ``(channels, samples)`` or ``(samples,)``; channels are averaged.
        sample_rate: In Hz.

    Raises:
        ParameterError: If there is no signal.
        ShapeError: If a signal has another layout.
        MissingExtraError: If matplotlib is not installed.
    """
    if not signals:
        raise ParameterError("got no signals; expected at least one")
    mono = {title: _channels(signal).mean(dim=0) for title, signal in signals.items()}
    top = max(*(float(x.abs().max()) for x in mono.values()), 1e-3)
    figure, axes = _figure(len(mono), 1.6, max(_duration(x, sample_rate) for x in mono.values()))
    for ax, (title, samples) in zip(axes, mono.items(), strict=True):
        _draw_envelope(ax, samples, sample_rate)
        ax.set_ylim(-1.05 * top, 1.05 * top)
        ax.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("time (s)")
    return figure


def history(table: str | os.PathLike[str] | Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw the losses and scores of a training over its steps.

    Args:
        table: The ``log.csv`` of a session folder, or its rows.

    Raises:
        ParameterError: If there is no row to draw.
        MissingExtraError: If matplotlib is not installed.
    """
    rows = _rows(table)
    curves = {name: _curve(rows, name) for name in (dict(rows[0]) if rows else {})}
    if not curves.get("loss"):
        raise ParameterError(f"{table}: holds no losses; expected the log.csv of a training.")
    losses = [name for name in ("loss", "validation_loss") if curves.get(name)]
    scores = [name for name in curves if "sdr" in name and curves[name]]
    figure, axes = _figure(2 if scores else 1, 2.8, 16.0)
    for ax, names, label in zip(axes, (losses, scores), ("loss", "dB"), strict=False):
        for name in names:
            steps, values = zip(*curves[name], strict=True)
            marker = "" if name == "loss" else "o"
            width = 2.0 if name in {"sdr", "si_sdr"} else 1.0
            ax.plot(steps, values, label=name, marker=marker, markersize=3, linewidth=width)
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7, ncols=2)
    axes[-1].set_xlabel("step")
    return figure


def _rows(table: str | os.PathLike[str] | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if not isinstance(table, str | os.PathLike):
        return list(table)
    try:
        with Path(table).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"{table}: cannot be read as a table: {error}.") from None


def _curve(rows: list[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    curve = []
    for row in rows:
        try:
            curve.append((int(row["step"]), float(row[name])))
        except (KeyError, ValueError, TypeError):
            continue
    return curve
