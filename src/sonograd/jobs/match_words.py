"""The numbers of a match, as people read them."""

import math
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sonograd.matching import MatchResult
from sonograd.plotting.lines import lines_as_text

__all__ = [
    "Setting",
    "chain_words",
    "curves_as_text",
    "decibels",
    "settings",
    "stage_words",
    "summary_line",
    "table_lines",
    "value_words",
]

_BAND = re.compile(r"band(\d+)_(.*)")
_MARKS = ((50, "50 Hz"), (200, "200 Hz"), (1000, "1 kHz"), (5000, "5 kHz"), (20000, "20 kHz"))
_MOST_DECIMALS = 4
_MOST_DIGITS = 6
_SHORT = {
    "parametric_eq": "EQ",
    "two_stage_limiter": "limiter",
    "freeverb": "reverb",
}


@dataclass(frozen=True)
class Setting:
    """One parameter of the match.

    Attributes:
        stage: Name of its stage.
        kind: Type of the stage.
        name: Of the parameter.
        label: The name in words, without band and unit.
        band: Number of the band of an equalizer, and its kind; None elsewhere.
        value: In its unit.
        unit: ``"dB"``, ``"Hz"``, ...; empty for plain numbers.
        error: Standard error; NaN if unknown.
        known: Whether the audio shows it.
        fixed: Whether it was held.
    """

    stage: str
    kind: str
    name: str
    label: str
    band: tuple[int, str] | None
    value: float
    unit: str
    error: float
    known: bool
    fixed: bool

    @property
    def words(self) -> str:
        """The value with its error and unit, or that it is not known."""
        if not self.known and not self.fixed:
            return "not identifiable"
        text = value_words(self.value, 0.0 if self.fixed else self.error, self.unit)
        if self.fixed:
            return f"{text} (fixed)"
        return f"{text} (held)" if self.error == 0 else text


def settings(result: MatchResult) -> Iterator[Setting]:
    """Yield every parameter of every stage, in order."""
    for stage, name, value, unit, error, known in result.rows():
        effect = result.effect.stage(stage)
        found = _BAND.fullmatch(name)
        short = found[2] if found else name
        band = None
        if found:
            kinds = effect.options().get("bands", ())
            number = int(found[1])
            kind = str(kinds[number - 1]) if isinstance(kinds, (tuple, list)) else ""
            band = (number, kind.replace("_", " "))
        yield Setting(
            stage=stage,
            kind=effect.type_name(),
            name=name,
            label=_label(short, unit),
            band=band,
            value=value,
            unit="" if unit == "1" else unit,
            error=error,
            known=known,
            fixed=f"{stage}.{name}" in result.fixed,
        )


def value_words(value: float, error: float, unit: str) -> str:
    """Write a value to the digit that its error leaves.

    >>> value_words(-18.2034, 0.0123, "dB"), value_words(4.0, 1e-7, "")
    ('-18.203 ± 0.012 dB', '4.0000 ± < 0.0001')
    >>> value_words(1234.5678, 25.0, "Hz"), value_words(5.0, 0.0, "ms")
    ('1235 ± 25 Hz', '5 ms')
    """
    behind = f" {unit}" if unit else ""
    if not math.isfinite(value):
        return f"{value}{behind}"
    if not math.isfinite(error) or error <= 0:
        return f"{value:.{_MOST_DIGITS}g}{behind}"
    before = max(math.floor(math.log10(abs(value))) + 1, 1) if value else 1
    most = max(min(_MOST_DECIMALS, _MOST_DIGITS - before), 0)
    decimals = min(max(1 - math.floor(math.log10(error)), 0), most)
    if error < 0.5 * 10**-decimals:
        return f"{value:.{decimals}f} ± < {10**-decimals:.{decimals}f}{behind}"
    return f"{value:.{decimals}f} ± {error:.{decimals}f}{behind}"


def decibels(value: float) -> str:
    """Write a level.

    >>> decibels(49.13), decibels(float("inf"))
    ('49.1 dB', '∞ dB')
    """
    return f"{value:.1f} dB" if math.isfinite(value) else f"{'-' if value < 0 else ''}∞ dB"


def chain_words(chain: tuple[str, ...]) -> str:
    """Name the stages of a chain in order.

    >>> chain_words(("parametric_eq", "compressor"))
    'EQ → compressor'
    """
    return " → ".join(map(stage_words, chain)) or "nothing"


def stage_words(name: str) -> str:
    """Name a stage.

    >>> stage_words("parametric_eq"), stage_words("parametric_eq_2"), stage_words("drive")
    ('EQ', 'EQ 2', 'drive')
    """
    kind, _, number = name.rpartition("_")
    if number.isdigit():
        return f"{stage_words(kind)} {number}"
    return _SHORT.get(name, name.replace("_", " "))


def table_lines(result: MatchResult) -> list[str]:
    """Return the settings as lines: one per parameter, bands of an equalizer in one."""
    lines = []
    rows = list(settings(result))
    width = max((len(f"{row.stage}.{row.name}") for row in rows), default=0)
    for row in rows:
        lines.append(f"  {row.stage + '.' + row.name:<{width}}  {row.words}")
    return lines


def summary_line(name: str, summary: Mapping[str, Any]) -> str:
    """Return a match in one line, from its JSON data."""
    null, explained = summary.get("null_db"), summary.get("explained")
    depth = decibels(math.inf if null is None else float(null))
    share = "" if explained is None else f", explains {100 * float(explained):.2f} % of the change"
    return f"{name}: {chain_words(tuple(summary.get('chain', ())))}, null depth {depth}{share}"


def curves_as_text(result: MatchResult, *, color: bool = False) -> str:
    """Draw the response, the curve of the dynamics and the convergence for a terminal."""
    columns = min(shutil.get_terminal_size().columns, 100)
    transfer, static = result.transfer, result.static_curve
    hertz = transfer.frequencies_hz
    sure = transfer.coherence > 0.5
    level = [20 * x.abs().clamp_min(1e-6).log10() for x in (transfer.measured, transfer.fitted)]
    drawn = [
        lines_as_text(
            {"measured": (hertz[sure], level[0][sure]), "match": (hertz, level[1])},
            columns=columns,
            log=True,
            marks=_MARKS,
            unit="dB",
            title="frequency response",
            color=color,
            points=("measured",),
        )
    ]
    if len(static.curve_input_db):
        drawn.append(
            lines_as_text(
                {
                    "measured": (static.input_db, static.output_db),
                    "match": (static.curve_input_db, static.curve_output_db),
                },
                columns=columns,
                marks=[(x, f"{x} dB") for x in range(-80, 10, 20)],
                unit="dB",
                title="level out over level in",
                color=color,
                points=("measured",),
            )
        )
    return "\n\n".join(drawn)


def _label(name: str, unit: str) -> str:
    ending = f"_{unit.lower()}"
    words = name.removesuffix(ending) if unit != "1" else name
    return "Q" if words == "q" else words.replace("_", " ")
