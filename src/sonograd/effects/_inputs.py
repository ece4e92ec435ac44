"""Audio and values as they are given to effects: checked, and brought to one form."""

import math
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional._values import any_true
from sonograd.params import Curve, Param
from sonograd.shapes import check_audio

__all__ = ["Value", "check_finite", "flatten", "further_audio", "resolve", "wide"]

#: A parameter's value: a number, ``(batch,)``, ``(batch, channels)``, or a curve over time.
Value: TypeAlias = float | Tensor | Curve


def flatten(x: Tensor) -> Tensor:
    """Join the leading dimensions: ``(batch, channels, samples)``."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def wide(value: float | Tensor) -> Tensor:
    """Return a value as a float64 tensor (float32 where there is none)."""
    if isinstance(value, Tensor):
        return value.to(torch.float32 if value.device.type == "mps" else torch.float64)
    return torch.tensor(float(value), dtype=torch.float64)


def further_audio(value: Any, name: str, x: Tensor, *, sample_rate: float) -> Tensor | None:
    """Check further audio ``(..., channels or 1, samples)`` against ``x``; flatten it.

    Returns:
        ``(batch, channels or 1, samples)`` in the dtype of ``x``; None if there is none.
    """
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise ShapeError(
            f"{name} is a {type(value).__name__}; expected a tensor in the shape of x, or None. "
            f"For an array, pass torch.from_numpy({name})."
        )
    check_audio(value, name=name)
    fits = value.shape[:-2] == x.shape[:-2] and value.shape[-1] == x.shape[-1]
    if not fits or value.shape[-2] not in {1, x.shape[-2]}:
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}; expected that of x, "
            f"{tuple(x.shape)}, or the same with one channel"
        )
    check_finite(value, name, sample_rate=sample_rate)
    return flatten(value).to(x)


def resolve(param: Param, value: Any, x: Tensor, position: int) -> Tensor:
    """Bring one value to ``(1 or batch, 1 or channels, 1 or samples)``, clamped."""
    batch, channels, samples = x.shape
    if isinstance(value, Curve):
        if not param.moves:
            raise ParameterError(
                f"{param.name} cannot move over time; expected a number, (batch,) or "
                "(batch, channels)"
            )
        ready = value.sample(position, samples)
    elif isinstance(value, Tensor):
        if value.ndim > 2 or value.is_complex() or value.dtype == torch.bool:
            raise ShapeError(_shape_message(param, value, x))
        ready = wide(value)
        if any_true(~ready.isfinite()):
            raise ParameterError(
                f"{param.name} holds values that are no finite numbers, such as "
                f"{ready[~ready.isfinite()][0].item()}"
            )
        ready = ready.reshape(*ready.shape, *(1,) * (3 - ready.ndim)) if ready.ndim else ready
        ready = ready.reshape(1, 1, 1) if not ready.ndim else ready
    elif isinstance(value, Real) and not isinstance(value, bool):
        single = torch.float32 if x.device.type == "mps" else torch.float64
        if not torch.compiler.is_compiling() and not math.isfinite(value):
            raise ParameterError(
                f"{param.name} is {value}; expected a number from {param.low:g} to {param.high:g}"
            )
        clamped = min(max(float(value), param.low), param.high)
        return torch.full((1, 1, 1), clamped, dtype=single, device=x.device)
    else:
        raise ParameterError(
            f"{param.name} is {value!r}; expected a number, a tensor"
            f"{' or a Curve' if param.moves else ''}"
        )
    if ready.shape[0] not in {1, batch} or ready.shape[1] not in {1, channels}:
        raise ShapeError(_shape_message(param, value, x))
    if ready.shape[1] != 1 and not param.per_channel:
        raise ShapeError(f"{param.name} is shared by all channels; expected a number or (batch,)")
    return param.clamp(ready.to(x.device))


def _shape_message(param: Param, value: Value, x: Tensor) -> str:
    shape = tuple(value.values.shape if isinstance(value, Curve) else torch.as_tensor(value).shape)
    message = (
        f"{param.name} has shape {shape}; for {x.shape[0]} items of {x.shape[1]} channels expected "
        f"a number, ({x.shape[0]},) or ({x.shape[0]}, {x.shape[1]})"
    )
    if param.moves and isinstance(value, Tensor):
        message += f". A value that moves over time is a Curve({param.name}, hop_length)"
    return message


def check_finite(x: Tensor, name: str, *, sample_rate: float) -> None:
    """Raise if a sample is no finite number, naming the first one."""
    if torch.compiler.is_compiling():
        return
    try:
        if not x.numel() or bool(x.detach().sum().isfinite()):
            return
        wrong = ~x.detach().isfinite()
        if not bool(wrong.any()):
            return
    except RuntimeError:  # under vmap, values cannot be looked at
        return
    place = torch.nonzero(wrong)[0].tolist()
    raise AudioError(
        f"{name} is {x[tuple(place)].item()} at channel {place[-2]}, sample {place[-1]} "
        f"({place[-1] / sample_rate:.3f} s)"
        f"{f', item {place[:-2]}' if len(place) > 2 else ''}; expected finite numbers. "
        f"Repair it first: {name}.nan_to_num()"
    )
