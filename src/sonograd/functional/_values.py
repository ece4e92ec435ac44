"""Numbers and tensors as arguments: brought to float64 on one device, and checked where free."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError

__all__ = [
    "any_true",
    "as_float64",
    "as_sections",
    "broadcast_shapes",
    "check_not_zero",
    "check_range",
    "check_tensor",
]


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """Return the shape that all shapes broadcast to.

    As :func:`torch.broadcast_shapes`, which imports the compiler of torch, and with it sympy: a
    second before the first sound is made.

    Raises:
        RuntimeError: If they do not broadcast.

    >>> broadcast_shapes((2, 1), (3,), ())
    torch.Size([2, 3])
    """
    one = torch.empty(())
    spread = torch.broadcast_tensors(*(one.expand(tuple(shape)) for shape in shapes))
    common: torch.Size = spread[0].shape
    return common


def as_float64(*values: float | Tensor) -> tuple[Tensor, ...]:
    """Return ``values`` as float64 tensors of one broadcast shape, on the device of the tensors.

    Values on a device without float64 (MPS) are moved to the CPU. Gradients are kept.
    """
    devices = {v.device for v in values if isinstance(v, Tensor) and v.ndim}
    devices = devices or {v.device for v in values if isinstance(v, Tensor)}
    device = next(iter(devices), torch.device("cpu"))
    if device.type == "mps":
        device = torch.device("cpu")
    tensors = [torch.as_tensor(v, dtype=torch.float64).to(device) for v in values]
    return tuple(torch.broadcast_tensors(*tensors))


def check_range(
    value: float | Tensor,
    name: str,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    closed: bool = False,
) -> None:
    """Refuse a Python number outside ``(above, below)``, or ``[above, below]`` if ``closed``.

    Tensors pass: looking at their values would stall a GPU, and an optimizer that steps out of
    range must not stop the program.
    """
    if isinstance(value, Tensor):
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        kind = "a number of Hz, like 44100" if name == "sample_rate" else "a number or a tensor"
        raise ParameterError(f"{name} is {value!r}; expected {kind}")
    inside = above <= value <= below if closed else above < value < below
    if not inside:
        left, right = ("[", "]") if closed else ("(", ")")
        span = f"{left}{above}, {below}{right}"
        raise ParameterError(f"{name} is {value}; expected a value in {span}")


def any_true(mask: Tensor) -> bool:
    """Tell whether an entry is true, where that is free to know.

    Elsewhere (on a GPU, while compiling, under ``vmap``) the answer is False.
    """
    if torch.compiler.is_compiling() or mask.device.type != "cpu":
        return False
    try:
        return bool(mask.any())
    except RuntimeError:  # under vmap, values cannot be looked at
        return False


def check_tensor(value: Any, name: str) -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless ``value`` is a tensor."""
    if not isinstance(value, Tensor):
        raise ShapeError(
            f"{name} is a {type(value).__name__}; expected a tensor. "
            f"For an array pass torch.from_numpy({name}), for a list torch.tensor({name})."
        )


def as_sections(sos: Any) -> Tensor:
    """Check second-order sections; what a design of one gives, ``(6,)``, becomes ``(1, 6)``."""
    check_tensor(sos, "sos")
    if sos.shape == (6,):
        return sos[None]  # type: ignore[no-any-return]
    if sos.ndim < 2 or sos.shape[-1] != 6:
        raise ShapeError(f"sos has shape {tuple(sos.shape)}; expected (..., sections, 6)")
    return sos  # type: ignore[no-any-return]


def check_not_zero(first: Tensor, name: str) -> None:
    """Refuse a filter whose output has no weight, where that is free to know."""
    if any_true(first == 0):
        raise ParameterError(
            f"the coefficient {name} is 0; expected a denominator whose first coefficient is not"
        )
