"""Curves as text, for a terminal."""

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["lines_as_text"]

#: Bits of a braille character, by row and column of its eight dots.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800
#: Foreground colors of terminals: red, blue, green, yellow, magenta, cyan.
_COLORS = (31, 34, 32, 33, 35, 36)
_MARGIN = 9


def lines_as_text(
    curves: Mapping[str, tuple[Tensor, Tensor]],
    *,
    columns: int = 80,
    lines: int = 16,
    log: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    unit: str = "",
    title: str = "",
    color: bool = False,
    points: Sequence[str] = (),
) -> str:
    """Draw curves with braille dots.

    Args:
        curves: Title to ``x`` and ``y``, ``(points,)`` each; what is not finite is left out.
        columns: Width in characters, at least 32.
        lines: Height in lines, at least 6, with title and axis.
        log: Spread ``x`` by its logarithm.
        marks: Places on the x axis, and what to write there.
        unit: Of ``y``.
        title: Written above.
        color: Use colors; otherwise curves can be told apart only where they differ.
        points: Titles whose points are not joined by lines.

    Returns:
        Lines without a newline at the end.

    Raises:
        ParameterError: If no curve has a finite point.
    """
    clean = {name: _finite(x, y, log) for name, (x, y) in curves.items()}
    clean = {name: (x, y) for name, (x, y) in clean.items() if len(x)}
    if not clean:
        raise ParameterError("no curve has a finite point; there is nothing to draw")
    width, height = max(columns, 32) - _MARGIN - 1, max(lines, 6) - 2
    xs = torch.cat([x for x, _ in clean.values()])
    ys = torch.cat([y for _, y in clean.values()])
    box = (float(xs.min()), float(xs.max()), *_span(ys))
    cells = [[(0, 0)] * width for _ in range(height)]
    for index, (name, (x, y)) in enumerate(clean.items()):
        for column, row in _dots(x, y, box, 2 * width, 4 * height, joined=name not in points):
            bits, _ = cells[row // 4][column // 2]
            bit = _DOTS[row % 4][column % 2]
            cells[row // 4][column // 2] = (bits | bit, _COLORS[index % len(_COLORS)])
    names = "   ".join(
        _painted(f"── {name}" if name not in points else f"·· {name}", _COLORS[k % 6], color)
        for k, name in enumerate(clean)
    )
    head = f"{title}   {names}" if title else names
    body = [
        f"{_label(row, height, box, unit):>{_MARGIN}} " + _row(cells[row], color)
        for row in range(height)
    ]
    return "\n".join([head, *body, " " * (_MARGIN + 1) + _axis(marks, box, width, log)])


def _finite(x: Tensor, y: Tensor, log: bool) -> tuple[Tensor, Tensor]:
    x, y = x.detach().cpu().double(), y.detach().cpu().double()
    keep = x.isfinite() & y.isfinite() & ((x > 0) | (not log))
    return (x[keep].log() if log else x[keep]), y[keep]


def _span(values: Tensor) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = max(0.06 * (high - low), 0.5 * (1.0 - min(high - low, 1.0)))
    return low - room, high + room


def _dots(
    x: Tensor, y: Tensor, box: tuple[float, ...], width: int, height: int, *, joined: bool
) -> list[tuple[int, int]]:
    """Return the dots, column and row from the upper left corner, of a curve."""
    left, right, low, high = box
    across = (x - left) / ((right - left) or 1.0) * (width - 1)
    down = (high - y) / ((high - low) or 1.0) * (height - 1)
    spots = list(zip(across.round().long().tolist(), down.round().long().tolist(), strict=True))
    if not joined:
        return spots
    dots = spots[:1]
    for (a, b), (c, d) in itertools.pairwise(spots):
        steps = max(abs(c - a), abs(d - b), 1)
        dots += [
            (a + round((c - a) * k / steps), b + round((d - b) * k / steps))
            for k in range(1, steps + 1)
        ]
    return dots


def _row(cells: list[tuple[int, int]], color: bool) -> str:
    text = "".join(_painted(chr(_BRAILLE + bits), hue, color and bits > 0) for bits, hue in cells)
    return text.rstrip(chr(_BRAILLE))


def _painted(text: str, hue: int, color: bool) -> str:
    return f"\x1b[{hue}m{text}\x1b[0m" if color else text


def _label(row: int, height: int, box: tuple[float, ...], unit: str) -> str:
    if row not in {0, height // 2, height - 1}:
        return ""
    low, high = box[2:]
    value = high - (row + 0.5) / height * (high - low)
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return f"{value:.{min(digits, 3)}f} {unit}".rstrip()


def _axis(marks: Sequence[tuple[float, str]], box: tuple[float, ...], width: int, log: bool) -> str:
    left, right = box[:2]
    line = [" "] * width
    end = -1
    for place, text in marks:
        if log and place <= 0:
            continue
        share = ((math.log(place) if log else place) - left) / ((right - left) or 1.0)
        at = min(round(share * (width - 1)), width - len(text))
        if 0 <= share <= 1 and at > end:
            line[at : at + len(text)] = text
            end = at + len(text)
    return "".join(line).rstrip()
