"""Values of instruments: checked, brought to one shape, and read at any samples."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.params import Curve, Param

__all__ = ["Controls", "resolve"]


class Controls:
    """The values of one call: each parameter, at any samples.

    Attributes:
        result: The dtype of the sound.
        dtype: In which it is computed, at least single precision.
        device: Of the sound.
    """

    def __init__(
        self,
        ready: Mapping[str, "Tensor | Curve"],
        params: Mapping[str, Param],
        dtype: torch.dtype,
        device: torch.device,
        span: tuple[int, int] = (0, 0),
    ) -> None:
        """Hold values that :meth:`Synth.controls` has brought to shape."""
        self._ready = ready
        self._params = params
        self._span = span
        self.result = dtype
        self.dtype = torch.promote_types(dtype, torch.float32)
        self.device = device

    def block(self, start: int, samples: int) -> "Controls":
        """Return the same values for the samples from ``start`` on."""
        return Controls(self._ready, self._params, self.result, self.device, (start, samples))

    def zeros(self, *shape: int) -> Tensor:
        """Return silence."""
        return torch.zeros(*shape, dtype=self.dtype, device=self.device)

    def moves(self, name: str) -> bool:
        """Tell whether the value is a curve."""
        return isinstance(self._ready[name], Curve)

    def value(self, name: str) -> Tensor:
        """Return a value at the samples of the block, clamped, float64.

        Returns:
            ``(1 or batch, 1 or width, 1 or samples)``; the last is 1 if it is no curve.
        """
        found = self._ready[name]
        if isinstance(found, Curve):
            found = found.sample(*self._span)
        return self._params[name].clamp(found)

    def scalar(self, name: str) -> Tensor:
        """Return :meth:`value` of a parameter that is no vector, ``(1 or batch, 1 or samples)``."""
        return self.value(name)[:, 0]

    def at(self, name: str, places: Tensor) -> Tensor:
        """Return a value at the samples ``places``, int64 ``(points,)``, counted from the start.

        Returns:
            ``(1 or batch, 1 or width, points)``, clamped, float64.
        """
        found = self._ready[name]
        if isinstance(found, Curve):
            return self._params[name].clamp(_points(found, places))
        return self._params[name].clamp(found).expand(*found.shape[:2], len(places))


def _points(curve: Curve, places: Tensor) -> Tensor:
    values = curve.values
    while values.ndim < 3:
        values = values.unsqueeze(-2 if values.ndim == 2 else 0)
    last = values.shape[-1] - 1
    places = places.to(values.device).clamp_min(0)
    left = (places // curve.hop_length).clamp_max(last)
    right = (left + 1).clamp_max(last)
    rest = ((places - left * curve.hop_length) / curve.hop_length).clamp_max(1.0).to(values.dtype)
    return values[..., left] + (values[..., right] - values[..., left]) * rest


def resolve(
    param: Param, value: Any, batch: int, width: int | None, device: torch.device
) -> "Tensor | Curve":
    """Bring one value to ``(1 or batch, 1 or width, 1)``, or a curve with the same two in front."""
    wide = torch.float32 if device.type == "mps" else torch.float64
    if isinstance(value, Curve):
        if not param.moves:
            raise ParameterError(
                f"{param.name} cannot move over time; expected a number"
                f"{f' or (batch, {width})' if width else ' or (batch,)'}"
            )
        points = value.values
        if width and points.ndim == 2:
            points = points.unsqueeze(0)
        points = points[None, None] if points.ndim == 1 else points
        points = points.unsqueeze(1) if points.ndim == 2 else points
        _check_shape(param, points, value.values, batch, width)
        _check_finite(param, value.values)
        return Curve(points.to(device, wide), value.hop_length)
    if isinstance(value, Tensor):
        if value.is_complex() or value.dtype == torch.bool or value.ndim > (2 if width else 1):
            raise ShapeError(_shape_message(param, value, batch, width))
        ready = value.to(device, wide)
        ready = ready.unsqueeze(0) if ready.ndim <= int(bool(width)) else ready
        ready = ready.reshape(ready.shape[0], -1, 1) if ready.numel() else ready.reshape(0, 1, 1)
        if ready.shape[0]:
            _check_shape(param, ready, value, batch, width)
        _check_finite(param, value)
        return ready
    if isinstance(value, Real) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ParameterError(f"{param.name} is {value}; expected a finite number")
        return torch.full((1, 1, 1), float(value), dtype=wide, device=device)
    raise ParameterError(
        f"{param.name} is {value!r}; expected a number, a tensor"
        f"{' or a Curve' if param.moves else ''}"
    )


def _check_shape(param: Param, ready: Tensor, given: Tensor, batch: int, width: int | None) -> None:
    if ready.shape[0] not in {1, batch} or ready.shape[1] not in {1, width or 1}:
        raise ShapeError(_shape_message(param, given, batch, width))


def _shape_message(param: Param, given: Tensor, batch: int, width: int | None) -> str:
    expected = f"({width},) or ({batch}, {width})" if width else f"a number or ({batch},)"
    message = f"{param.name} has shape {tuple(given.shape)}; for {batch} items expected {expected}"
    if param.moves:
        lead = f"{batch}, {width}" if width else f"{batch}"
        message += f", or over time a Curve with values ({lead}, frames)"
    return message


def _check_finite(param: Param, value: Tensor) -> None:
    """Raise if a value is no finite number, naming the first one."""
    if torch.compiler.is_compiling() or value.device.type != "cpu" or not value.is_floating_point():
        return
    try:
        wrong = ~value.detach().isfinite()
        if not bool(wrong.any()):
            return
    except RuntimeError:  # under vmap, values cannot be looked at
        return
    place = torch.nonzero(wrong)[0].tolist()
    raise ParameterError(
        f"{param.name}{place if place else ''} is {value[tuple(place)].item()}; "
        "expected finite numbers"
    )
