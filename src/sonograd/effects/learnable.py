"""Effects that own their values, for an optimizer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sonograd.effects.base import Effect, Values
from sonograd.errors import ParameterError

__all__ = ["Learnable"]


class Learnable(nn.Module):
    """An effect together with its values, which an optimizer can change.

    The values are kept in :attr:`unit`, the vector of :meth:`Effect.to_unit`. Any real number is
    allowed there: outside [0, 1] it acts as the nearest end, with a straight-through gradient, so
    that a step out of range is not the end of the optimization.

    >>> from sonograd.effects import Gain
    >>> gain = Learnable(Gain(8000), {"gain_db": -6.0})
    >>> gain(torch.ones(1, 3, dtype=torch.float64)).detach()
    tensor([[0.5012, 0.5012, 0.5012]], dtype=torch.float64)
    """

    def __init__(
        self, effect: Effect, values: Values | None = None, *, batch: int | None = None
    ) -> None:
        """Start from ``values``.

        Args:
            effect: The effect; its parameters become trainable.
            values: Where to start; missing ones are at their default.
            batch: Number of items that get values of their own; None for one set for all.
        """
        super().__init__()
        if not isinstance(effect, Effect):
            raise ParameterError(f"effect is {effect!r}; expected an Effect, like Gain(44100)")
        self.effect = effect
        start = effect.to_unit(values)
        if batch is None and start.shape[0] != 1:
            batch = start.shape[0]
        if batch is not None and start.shape[0] not in {1, batch}:
            raise ParameterError(f"the values are for {start.shape[0]} items, batch is {batch}")
        shape = (start.shape[-1],) if batch is None else (batch, start.shape[-1])
        self.unit = nn.Parameter(start.expand(batch or 1, -1).reshape(shape).clone())

    def forward(self, x: Tensor, **inputs: Any) -> Tensor:
        """Process ``(..., channels, samples)`` with the values; see :meth:`Effect.forward`."""
        y: Tensor = self.effect(x, **merge(self.effect.from_unit(self.unit), inputs))
        return y

    def values(self) -> dict[str, Any]:
        """Return the values as they are now, in the units of the parameters, with gradients."""
        return self.effect.from_unit(self.unit)

    def preset(self) -> dict[str, Any]:
        """Return the effect and its values as a preset, see :func:`sonograd.effects.preset`.

        Raises:
            ParameterError: If there is more than one set of values.
        """
        from sonograd.effects.presets import preset  # noqa: PLC0415

        if self.unit.ndim > 1 and self.unit.shape[0] != 1:
            raise ParameterError(
                f"there are values for {self.unit.shape[0]} items; a preset holds one set"
            )
        with torch.no_grad():
            return preset(self.effect, self.effect.from_unit(self.unit.reshape(-1)))


def merge(values: Values, more: Values) -> dict[str, Any]:
    """Return ``values`` with those in ``more`` put over them, stage by stage."""
    merged = dict(values)
    for name, value in more.items():
        inside = merged.get(name)
        if isinstance(value, Mapping) and isinstance(inside, Mapping):
            merged[name] = merge(inside, value)
        else:
            merged[name] = value
    return merged
