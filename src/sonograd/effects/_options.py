"""Checks of the choices that constructors take; each returns the value in its plain form.

All say what came and what is ``expected``, in words that ``sonograd effects`` shows too.
"""

import math
from numbers import Integral, Real
from typing import Any

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_option

__all__ = ["check_flag", "check_number", "check_option", "check_whole"]


def check_flag(value: Any, name: str) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise ParameterError(f"{name} is {value!r}; expected True or False")
    return value


def check_whole(value: Any, name: str, low: int, high: int, *, odd: bool = False) -> int:
    """Return ``value`` as an int if it is a whole number (an ``odd`` one) from low to high."""
    if _is_number(value, whole=True) and low <= value <= high and not (odd and value % 2 == 0):
        return int(value)
    kind = "an odd number" if odd else "a whole number"
    raise ParameterError(f"{name} is {value!r}; expected {kind} from {low} to {high}")


def check_number(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, *, unit: str = ""
) -> float:
    """Return ``value`` as an int or float if it is a finite number from ``low`` to ``high``."""
    if _is_number(value) and math.isfinite(value) and low <= value <= high:
        return int(value) if isinstance(value, Integral) else float(value)
    span = "" if low == -math.inf else f" from {low:g} to {high:g}"
    raise ParameterError(
        f"{name} is {value!r}; expected a number{f' of {unit}' if unit else ''}{span}"
    )


def _is_number(value: Any, *, whole: bool = False) -> bool:
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
