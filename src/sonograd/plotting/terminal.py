"""Spectrograms as text, for a terminal."""

import math

import torch
from torch import Tensor

from sonograd.plotting.axes import clock, frequency_marks, time_marks
from sonograd.plotting.spectrograms import Picture

__all__ = ["as_text"]

#: From silence to the loudest point, in print.
_SHADES = " .:-=+*#%@"
#: Colors of silence to the loudest point.
_COLORS = (
    (0, 0, 4),
    (59, 15, 112),
    (140, 41, 129),
    (222, 73, 104),
    (254, 159, 109),
    (252, 253, 191),
)


def as_text(picture: Picture, *, columns: int = 80, lines: int = 24, color: bool = False) -> str:
    """Draw a picture with characters.

    Args:
        picture: What to draw.
        columns: Width in characters, at least 24.
        lines: Height in lines, at least 8.
        color: Use colors, two points per character; otherwise shades of print.

    Returns:
        Lines without a newline at the end.
    """
    columns, lines = max(columns, 24), max(lines, 8)
    marks = frequency_marks(picture)
    margin = max((len(label) for _, label in marks), default=0) + 1
    height = lines - 2
    width = min(columns - margin - 2, 400)
    points = _shrink(picture.values, height * (2 if color else 1), width)
    low, high = picture.limits
    share = ((points - low) / (high - low)).clamp(0.0, 1.0).flip(0)
    labels = _labels(marks, picture.values.shape[0], height)
    body = _colored(share) if color else _printed(share)
    text = [f"{labels.get(row, ''):>{margin - 1}} {line}" for row, line in enumerate(body)]
    return "\n".join([*text, " " * margin + _times(picture.seconds, width)])


def _shrink(values: Tensor, rows: int, columns: int) -> Tensor:
    """Return the largest value of each cell."""
    for dim, size in ((0, rows), (1, columns)):
        count = values.shape[dim]
        first = torch.arange(size) * count // size
        last = torch.maximum((torch.arange(size) + 1) * count // size, first + 1)
        cells = zip(first.tolist(), last.tolist(), strict=True)
        values = torch.stack([values.narrow(dim, a, b - a).amax(dim) for a, b in cells], dim)
    return values


def _printed(share: Tensor) -> list[str]:
    index = (share * (len(_SHADES) - 1)).round().long().tolist()
    return ["".join(_SHADES[i] for i in row) for row in index]


def _colored(share: Tensor) -> list[str]:
    """Draw two rows per line: the upper one is the foreground of a half block."""
    position = share * (len(_COLORS) - 1)
    below = position.floor().clamp(max=len(_COLORS) - 2).long()
    table = torch.tensor(_COLORS, dtype=torch.float32)
    mixed = torch.lerp(table[below], table[below + 1], (position - below).unsqueeze(-1))
    pixels = mixed.round().int().tolist()
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells, before = [], None
        for pair in zip(upper, lower, strict=True):
            if pair != before:
                (r, g, b), (s, h, c) = pair
                cells.append(f"\x1b[38;2;{r};{g};{b}m\x1b[48;2;{s};{h};{c}m")
                before = pair
            cells.append("▀")
        lines.append("".join([*cells, "\x1b[0m"]))
    return lines


def _labels(marks: list[tuple[float, str]], rows: int, height: int) -> dict[int, str]:
    """Return what is written before which line."""
    labels: dict[int, str] = {}
    for place, label in marks:
        line = height - 1 - min(math.floor(place / rows * height), height - 1)
        labels.setdefault(line, label)
    return labels


def _times(seconds: float, width: int) -> str:
    line = [" "] * width
    end = -1
    for time in time_marks(seconds, count=max(1, width // 12)):
        text = clock(time)
        at = min(round(time / seconds * width), width - len(text))
        if at > end:
            line[at : at + len(text)] = text
            end = at + len(text)
    unit = " s" if seconds < 60 else ""
    return "".join(line).rstrip() + unit
