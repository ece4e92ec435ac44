"""Signals with their derivatives, and the room they take."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sonograd.matching._threads import side_by_side

__all__ = ["Dual", "Rates", "in_groups"]

_AT_ONCE = 4  # tangents that a thread takes; so many go through a recursion together

Rates = Mapping[str, float]
"""Derivative of a value in its coordinate, for each free parameter."""


@dataclass(frozen=True)
class Dual:
    """A signal and its derivatives.

    Attributes:
        value: ``(segments, channels, samples)``, float64.
        tangent: ``(parameters, segments, channels, samples)``.
        room: As ``tangent``, for those of all parameters to come; what is there is written over.
            Memory that is new at every step costs as much as what is computed in it.
    """

    value: Tensor
    tangent: Tensor
    room: Tensor | None = None

    @classmethod
    def constant(
        cls, x: Tensor, dtype: torch.dtype = torch.float32, room: Tensor | None = None
    ) -> "Dual":
        """Make a signal that depends on no parameter."""
        return cls(x, torch.empty(0, *x.shape, dtype=dtype, device=x.device), room)

    def grown(self, count: int) -> Tensor:
        """Return a place for the tangents and ``count`` more, which may be where they are."""
        size = self.tangent.shape[0] + count
        room = self.room
        if room is None or room.shape[0] < size or room.shape[1:] != self.value.shape:
            return self.tangent.new_empty(size, *self.value.shape)
        return room[:size]

    def scaled(self, factor: float, *rates: float) -> "Dual":
        """Multiply by a factor; ``rates`` are its relative derivatives in own parameters."""
        value, own = self.value * factor, self.tangent.shape[0]
        total = self.grown(len(rates))
        groups = in_groups(own)
        side_by_side([partial(torch.mul, self.tangent[g], factor, out=total[g]) for g in groups])
        for place, rate in enumerate(rates, start=own):
            total[place] = value * rate
        return Dual(value, total, self.room)

    def mapped(self, value: Tensor, slope: Tensor) -> "Dual":
        """Apply a function sample by sample, given its value and slope."""
        return Dual(value, self.tangent * slope.to(self.tangent.dtype))

    def times(self, other: "Dual") -> "Dual":
        """Multiply two signals; the parameters of ``self`` are the first of ``other``."""
        kind = other.tangent.dtype
        total = other.tangent * self.value.to(kind)
        own = self.tangent.shape[0]
        total[:own].addcmul_(self.tangent, other.value.to(kind))
        return Dual(self.value * other.value, total)

    def extended(self, *more: Tensor) -> "Dual":
        """Append the derivatives in further parameters."""
        if not more:
            return self
        shape = self.value.shape
        rows = [m.to(self.tangent.dtype).expand(shape)[None] for m in more]
        return Dual(self.value, torch.cat([self.tangent.expand(-1, *shape), *rows]))


def in_groups(count: int) -> list[slice]:
    """Return the tangents in groups."""
    return [slice(k, min(k + _AT_ONCE, count)) for k in range(0, count, _AT_ONCE)]
