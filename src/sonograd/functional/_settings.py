"""Checks of settings that are plain numbers or flags, and of what spectrograms hold."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from sonograd.config.io import suggest
from sonograd.errors import ParameterError
from sonograd.shapes import check_floating

__all__ = [
    "check_count",
    "check_finite",
    "check_flag",
    "check_levels",
    "check_number",
    "check_option",
    "values_hidden",
]

T = TypeVar("T")


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless ``value`` is an int >= ``least``."""
    if isinstance(value, torch.SymInt):  # A size, while a graph is recorded.
        return
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ParameterError(f"{name} is {value!r}; expected a whole number, at least {least}")
    if int(value) < least:
        raise ParameterError(f"{name} is {value}; expected at least {least}")


def check_number(name: str, value: object, *, positive: bool = False, unit: str = "") -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless ``value`` is a finite real number.

    Args:
        name: What the caller calls it.
        value: What the caller passed.
        positive: Whether it must be above 0.
        unit: What it counts, for the message.
    """
    plain = isinstance(value, Real) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or (positive and not value > 0):  # type: ignore[arg-type,operator]
        kind = "a positive number" if positive else "a finite number"
        raise ParameterError(f"{name} is {value!r}; expected {kind}{f' of {unit}' if unit else ''}")


def check_flag(name: str, value: object) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise ParameterError(f"{name} is {value!r}; expected True or False")


def check_option(value: Any, name: str, allowed: Sequence[T]) -> T:
    """Return the one of ``allowed`` that ``value`` is.

    Raises:
        ParameterError: If it is none of them; a similar name is suggested.
    """
    for item in allowed:
        if isinstance(item, Real) and not isinstance(item, bool):
            kind: Any = Integral if isinstance(item, Integral) else Real
            if isinstance(value, kind) and not isinstance(value, bool) and value == item:
                return item
        elif type(value) is type(item) and value == item:
            return item
    listed = ", ".join(map(repr, allowed))
    names = [item for item in allowed if isinstance(item, str)]
    hint = suggest(value, names) if isinstance(value, str) else ""
    raise ParameterError(f"{name} is {value!r}; expected one of {listed}.{hint}")


def values_hidden(x: Tensor) -> bool:
    """Tell whether values cannot be looked at, or only by stalling the program.

    So it is on other devices than the CPU, in compiled or exported graphs, and under
    ``torch.func``.
    """
    transformed = torch._C._are_functorch_transforms_active()
    return torch.compiler.is_compiling() or transformed or x.device.type != "cpu"


def check_finite(x: Tensor, name: str, *, what: str = "values") -> None:
    """Refuse NaN and infinity, in real or complex tensors, where values can be looked at.

    Raises:
        ParameterError: If a value is not finite.
    """
    if values_hidden(x):
        return
    # A sum is finite wherever all of its terms are, up to overflow, and much cheaper to look at.
    total = x.detach().sum()
    if bool(total.isfinite()) or bool(x.detach().isfinite().all()):
        return
    count = int((~x.detach().isfinite()).sum())
    raise ParameterError(
        f"{name} holds {count} values that are NaN or infinite; expected finite {what}. "
        f"Pass {name}.nan_to_num() if they may count as silence."
    )


def check_levels(x: Tensor, *, name: str) -> None:
    """Refuse magnitudes or powers below 0, NaN or infinite, where values can be looked at.

    Raises:
        ShapeError: If ``x`` is not a real floating-point tensor.
        ParameterError: If a value is not finite, or negative.
    """
    check_floating(x, name=name)
    if values_hidden(x) or x.numel() == 0:
        return
    least, most = x.detach().aminmax()
    if not math.isfinite(least) or not math.isfinite(most):
        count = int((~x.detach().isfinite()).sum())
        raise ParameterError(
            f"{name} holds {count} values that are NaN or infinite; expected finite values"
        )
    if least < 0:
        raise ParameterError(
            f"{name} is as low as {float(least):g}; expected magnitudes or powers, at least 0"
        )
