"""Checks of the numbers that layers under nnAudio's names are made with."""

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_count, check_number

__all__ = ["check_constant_q", "checked"]

_POSITIVE = frozenset({"sr", "fs", "fr", "fc", "tc", "fmax", "filter_scale"})
_ORDERS = frozenset({"norm", "basis_norm"})


def checked(make: Callable[..., None]) -> Callable[..., None]:
    """Check the numbers that an ``__init__`` gets against its annotations, before it runs.

    ``int`` must be whole and at least 1 (rounds of an iteration: 0), ``float`` finite, rates,
    frequencies and scales above 0, orders of norms above 0 or infinite; ``bool`` may be 0 or 1.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def checking(*args: Any, **kwargs: Any) -> None:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # Let Python say what is missing, or one too many.
            given = {}
        for name, value in given.items():
            _check(name, value, signature.parameters[name].annotation)
        make(*args, **kwargs)

    return checking


def _check(name: str, value: object, annotation: Any) -> None:
    union = isinstance(annotation, types.UnionType)
    kinds = typing.get_args(annotation) if union else (annotation,)
    if value is None and type(None) in kinds:
        return
    if int in kinds:
        check_count(name, value, least=0 if name == "n_iter" else 1)
    elif bool in kinds:
        if not isinstance(value, (bool, np.bool_, Integral)):
            raise ParameterError(f"{name} is {value!r}; expected True or False")
    elif float in kinds and str not in kinds and not (name in _ORDERS and value == math.inf):
        check_number(name, value, positive=name in _POSITIVE | _ORDERS)


def check_constant_q(fmin: float, fmax: float | None) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless there is room for bins."""
    check_number("fmin", fmin, positive=True, unit="Hz")
    if fmax is not None and not fmax > fmin:
        raise ParameterError(f"fmax is {fmax} Hz; expected more than fmin ({fmin} Hz)")
