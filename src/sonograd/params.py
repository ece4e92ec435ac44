"""What a parameter is: its name, its unit, its range, and its scale between 0 and 1.

A control network, an optimizer and a slider all see a parameter as a number in [0, 1]; people and
formulas see it in its unit. :class:`Param` goes between the two, exactly and differentiably.
"""

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import any_true

__all__ = ["Curve", "Param", "Scale", "needs_sample_rate", "straight_clamp"]

Constructor = TypeVar("Constructor", bound=Callable[..., None])

Scale: TypeAlias = Literal["linear", "log", "slope"]
_SCALES = ("linear", "log", "slope")
_NYQUIST_FRACTION = 0.49  # how much of the sample rate a frequency may reach


def straight_clamp(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp to ``[low, high]`` with the gradient of the identity.

    An optimizer that stepped out of range still learns which way leads back.

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = straight_clamp(x, 0.0, 1.0)
    >>> y.backward()
    >>> y.item(), x.grad.item()
    (1.0, 1.0)
    """
    nothing = (x - x.detach()).nan_to_num(0.0, 0.0, 0.0)  # exactly zero, with a gradient of one
    clamped = x.detach().clamp(low, high)
    return torch.where((x >= low) & (x <= high), x, clamped + nothing)


@dataclass(frozen=True)
class Param:
    """One parameter of an effect.

    Attributes:
        name: With its unit at the end, if it has one: ``"gain_db"``.
        unit: ``"dB"``, ``"Hz"``, ``"ms"``, ``"s"``, ...; ``"1"`` for a plain number.
        low: Smallest value.
        high: Largest value.
        default: What it is when nothing is said.
        scale: How it is spread over [0, 1]: evenly (``"linear"``), evenly in its logarithm
            (``"log"``), or evenly in ``1 - 1 / value`` (``"slope"``, for ratios).
        moves: Whether a :class:`Curve` over time may be given.
        per_channel: Whether each channel may have a value of its own.
        smooth: Whether the output is a differentiable function of it. Where it is not, as for the
            bits of a bit crusher, the gradient is a straight-through estimate.
    """

    name: str
    unit: str
    low: float
    high: float
    default: float
    scale: Scale = "linear"
    moves: bool = False
    per_channel: bool = True
    smooth: bool = True

    def __post_init__(self) -> None:
        """Refuse ranges that make no sense."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ParameterError(
                f"{self.name}: the range is [{self.low}, {self.high}]; expected low < high"
            )
        if not self.low <= self.default <= self.high:
            raise ParameterError(
                f"{self.name}: the default {self.default} is outside [{self.low}, {self.high}]"
            )
        if self.scale not in _SCALES:
            raise ParameterError(
                f"{self.name}: scale is {self.scale!r}; expected one of {', '.join(_SCALES)}"
            )
        if self.scale != "linear" and self.low <= 0:
            raise ParameterError(f"{self.name}: a {self.scale} scale needs low > 0")

    def for_rate(self, sample_rate: float) -> "Param":
        """Return this parameter with frequencies kept below half of ``sample_rate``."""
        limit = _NYQUIST_FRACTION * sample_rate
        if self.unit != "Hz" or self.high <= limit:
            return self
        low = min(self.low, limit / 2)
        return replace(self, low=low, high=limit, default=min(max(self.default, low), limit))

    def clamp(self, value: Tensor) -> Tensor:
        """Keep ``value`` in range, with a straight-through gradient."""
        return straight_clamp(value, self.low, self.high)

    def to_unit(self, value: Tensor) -> Tensor:
        """Map values in the unit of the parameter to [0, 1]."""
        low, high = self._spread_number(self.low), self._spread_number(self.high)
        return (self._spread(self.clamp(value)) - low) / (high - low)

    def from_unit(self, unit: Tensor) -> Tensor:
        """Map [0, 1] to values in the unit of the parameter; outside it is clamped."""
        low, high = self._spread_number(self.low), self._spread_number(self.high)
        spread = low + (high - low) * straight_clamp(unit, 0.0, 1.0)
        if self.scale == "log":
            spread = spread.exp()
        elif self.scale == "slope":
            spread = 1 / (1 - spread)
        return self.clamp(spread)

    def _spread(self, value: Tensor) -> Tensor:
        if self.scale == "log":
            return value.log()
        return 1 - 1 / value if self.scale == "slope" else value

    def _spread_number(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        return 1 - 1 / value if self.scale == "slope" else value


@dataclass(frozen=True)
class Curve:
    """A value that moves over time: points every ``hop_length`` samples, joined by lines.

    Point ``k`` lies at sample ``k * hop_length`` of the signal, whole or streamed; after the last
    point its value is held.

    Attributes:
        values: ``(frames,)``, ``(batch, frames)`` or ``(batch, channels, frames)``.
        hop_length: Samples between points.
    """

    values: Tensor
    hop_length: int = 1

    def __post_init__(self) -> None:
        """Check the shape."""
        if not isinstance(self.values, Tensor) or not 1 <= self.values.ndim <= 3:
            got = getattr(self.values, "shape", type(self.values).__name__)
            raise ShapeError(
                f"values of a curve: got {got}; expected a tensor (frames,), (batch, frames) or "
                "(batch, channels, frames)"
            )
        if not self.values.shape[-1]:
            raise ShapeError("values of a curve have 0 frames; expected at least one")
        if self.values.is_complex() or self.values.dtype == torch.bool:
            raise ShapeError(f"values of a curve are {self.values.dtype}; expected real numbers")
        hop = self.hop_length
        if isinstance(hop, bool) or not isinstance(hop, Integral) or hop < 1:
            raise ParameterError(
                f"hop_length is {hop!r}; expected a whole number of samples, at least 1"
            )
        if any_true(~self.values.isfinite()):
            raise ParameterError("values of a curve are not all finite numbers")

    def sample(self, start: int, samples: int) -> Tensor:
        """Return the values at ``samples`` samples from ``start``.

        Returns:
            ``(1 or batch, 1 or channels, samples)``, float64 (float32 where there is none).
        """
        wide = torch.float32 if self.values.device.type == "mps" else torch.float64
        values = self.values.to(wide)
        while values.ndim < 3:
            values = values.unsqueeze(-2 if values.ndim == 2 else 0)
        last = values.shape[-1] - 1
        place = torch.arange(start, start + samples, device=values.device).clamp_min(0)
        left = (place // self.hop_length).clamp_max(last)
        right = (left + 1).clamp_max(last)
        rest = ((place - left * self.hop_length).to(wide) / self.hop_length).clamp_max(1.0)
        first = values[..., left]
        return first + (values[..., right] - first) * rest


class _MissingRateError(ParameterError, TypeError):
    """A constructor was called without a sample rate."""


def needs_sample_rate(init: Constructor) -> Constructor:
    """Decorate an ``__init__`` whose first argument is ``sample_rate``: say so if it is missing.

    Constructors without such an argument are returned as they are.
    """
    if "sample_rate" not in inspect.signature(init).parameters:
        return init

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        if not args and "sample_rate" not in kwargs:
            name = type(self).__name__
            raise _MissingRateError(
                f"{name} needs the sample_rate of the audio, in Hz, first: {name}(44100)"
            )
        init(self, *args, **kwargs)

    return checked  # type: ignore[return-value]
