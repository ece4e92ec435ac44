"""What the configurations of all separators share."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge, Interval

__all__ = ["STRICT", "Positive", "SampleRate", "Seconds", "target_problems"]

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
    for index, name in enumerate(targets):
        if name in targets[:index]:
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
    return problems
