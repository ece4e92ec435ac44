"""From what other programs call settings and tensors to what they are called here."""

import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor

from sonograd.config import suggest
from sonograd.errors import CheckpointError, ConfigError

__all__ = ["plain", "published_arguments", "rename"]


def published_arguments(
    kwargs: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any],
    ignored: Collection[str] = (),
    required: Mapping[str, Any] | None = None,
    source: str,
) -> dict[str, Any]:
    """Return all arguments of a published class, refusing what has no counterpart here.

    Args:
        kwargs: What a checkpoint says about itself.
        defaults: Arguments that mean something here, and what they are if they are not given.
        ignored: Arguments without influence on what a trained model does.
        required: Arguments that have to have one value, which is their default.
        source: Named in the message of an error.

    Raises:
        ConfigError: With every problem at once.
    """
    required = required or {}
    problems = []
    for name, value in kwargs.items():
        if name in required and plain(value) != required[name]:
            problems.append(f"{name}: {value!r} is not supported; expected {required[name]!r}.")
        elif name not in required and name not in defaults and name not in ignored:
            known = [*defaults, *required]
            problems.append(f"{name}: no such argument.{suggest(str(name), known)}")
    if problems:
        raise ConfigError(source, problems)
    return {name: plain(kwargs.get(name, default)) for name, default in defaults.items()}


def plain(value: Any) -> Any:
    """Return numbers and tuples in place of fractions and lists; empty ones are None."""
    match value:
        case Fraction():
            return float(value)
        case list() | tuple():
            return tuple(plain(item) for item in value) or None
    return value


def rename(
    state: Mapping[str, Tensor],
    rules: Sequence[tuple[str, str]],
    *,
    dropped: Collection[str] = (),
) -> dict[str, Tensor]:
    """Rename tensors by the first rule that fits, or keep their names.

    Args:
        state: Tensors by their published names.
        rules: Regular expressions and what to write in their place; each one replaces wherever
            it matches, one after the other.
        dropped: Regular expressions of whole names that have no counterpart.

    Raises:
        CheckpointError: If two tensors would get one name.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if any(re.fullmatch(pattern, name) for pattern in dropped):
            continue
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        if new in result:
            raise CheckpointError(f"{name}: another tensor has become {new}, too.")
        result[new] = tensor
    return result
