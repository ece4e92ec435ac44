"""What the configurations of all separators share."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge, Interval

__all__ = ["STRICT", "Positive", "SampleRate", "Seconds", "framed_problems", "target_problems"]

#: Rules of pydantic for a configuration: no unknown keys, no conversions, no infinities.
STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

Positive: TypeAlias = Annotated[int, Ge(1)]
Seconds: TypeAlias = Annotated[float, Interval(gt=0, le=3600)]
SampleRate: TypeAlias = Annotated[int, Ge(1000)]
#: Names of files that are written beside those of the stems.
_RESERVED = frozenset({"mix", "mixture", "residual"})


def target_problems(targets: Sequence[str]) -> list[str]:
    """Return what keeps ``targets`` from being names of stems, and of their files."""
    problems = []
    seen: set[str] = set()
    for index, name in enumerate(targets):
        if name in seen:
            problems.append(f"targets: {name!r} is listed twice.")
        elif not re.fullmatch(r"\w[\w .+-]{0,99}", name) or name != name.rstrip(" ."):
            problems.append(
                f"targets.{index}: {name!r} cannot name a file; "
                "expected letters, digits, spaces and the signs . + - _"
            )
        elif name.lower() in _RESERVED:
            problems.append(
                f"targets.{index}: {name!r} is the name of another file beside the stems; "
                "expected another name."
            )
        seen.add(name)
    return problems


def framed_problems(values: Mapping[str, Any], window: str = "num_fft") -> list[str]:
    """Return what is wrong between those fields of any network on frames that are in ``values``.

    Args:
        values: Fields, valid one by one.
        window: The field with the length of the window.
    """
    problems = target_problems(values["targets"]) if "targets" in values else []
    if {"hop_length", window} <= values.keys() and values["hop_length"] > values[window] // 2:
        problems.append(
            f"hop_length: {values['hop_length']} is more than half of {window} "
            f"({values[window]}); expected at most {values[window] // 2}."
        )
    if {"sample_length", "sample_rate", "num_fft"} <= values.keys():
        shortest = values["num_fft"] / values["sample_rate"]
        if values["sample_length"] < shortest:
            problems.append(
                f"sample_length: {values['sample_length']} s is shorter than num_fft "
                f"({values['num_fft']} samples); expected at least {shortest:.3g} s."
            )
    return problems
