"""Marks for the axes of spectrograms: hertz, notes, pitch classes, time."""

import math
from collections.abc import Sequence

import numpy as np

from sonograd.plotting.spectrograms import Picture

__all__ = ["NOTES", "clock", "frequency_marks", "hertz", "note_name", "time_marks"]

NOTES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
_HERTZ = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def hertz(frequency: float) -> str:
    """Write a frequency.

    >>> hertz(440), hertz(2000), hertz(1046.5)
    ('440 Hz', '2 kHz', '1.05 kHz')
    """
    if frequency < 1000:
        return f"{frequency:.0f} Hz"
    return f"{frequency / 1000:.3g} kHz"


def note_name(frequency: float) -> str:
    """Name the note that is nearest to a frequency in Hz, at A4 = 440 Hz.

    >>> note_name(440), note_name(32.7), note_name(370)
    ('A4', 'C1', 'F♯4')
    """
    number = round(69 + 12 * math.log2(frequency / 440))
    return f"{NOTES[number % 12]}{number // 12 - 1}"


def clock(seconds: float) -> str:
    """Write a time.

    >>> clock(0.5), clock(75), clock(3725)
    ('0.5', '1:15', '1:02:05')
    """
    if seconds < 60:
        return f"{seconds:g}"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_marks(seconds: float, count: int = 8) -> list[float]:
    """Return up to ``count + 1`` even times in ``[0, seconds]``."""
    step = next(
        (step for step in _STEPS if seconds / step <= count),
        3600 * math.ceil(seconds / 3600 / count),
    )
    return [round(k * step, 6) for k in range(math.floor(seconds / step) + 1)]


def frequency_marks(picture: Picture) -> list[tuple[float, str]]:
    """Return places, in rows from the lower edge, and what to write there."""
    rows = picture.values.shape[0]
    if picture.kind == "chroma":
        return [(row + 0.5, name) for row, name in enumerate(NOTES)]
    if picture.frequencies is None:
        return [(row + 0.5, str(row)) for row in range(0, rows, 5)]
    frequencies = np.log(picture.frequencies.numpy())
    if picture.kind in {"cqt", "vqt"}:
        wanted = _notes(float(picture.frequencies[0]), float(picture.frequencies[-1]))
        labels = [f"{note_name(f)} · {hertz(f)}" for f in wanted]
    else:
        wanted = [f for f in _HERTZ if frequencies[0] <= math.log(f) <= frequencies[-1]]
        labels = [hertz(f) for f in wanted]
    places = np.interp(np.log(wanted), frequencies, np.arange(rows) + 0.5) if wanted else []
    return list(zip(map(float, places), labels, strict=True))


def _notes(low: float, high: float) -> Sequence[float]:
    """Return the frequencies of all C between two frequencies; of more notes if those are few."""
    first, last = (69 + 12 * math.log2(f / 440) for f in (low, high))
    numbers = range(math.ceil(first - 0.2), math.floor(last + 0.2) + 1)
    for classes in ({0}, {0, 7}, {0, 4, 7, 9}, set(range(12))):
        chosen = [440 * 2 ** ((n - 69) / 12) for n in numbers if n % 12 in classes]
        if len(chosen) >= 3:
            break
    return chosen
