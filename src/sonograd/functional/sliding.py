"""Maxima and sums over a window that slides along time."""

from collections.abc import Callable

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["sliding_maximum", "sliding_sum"]


def sliding_maximum(x: Tensor, length: int) -> Tensor:
    """Return the largest of each ``length`` neighbors, ``(..., samples - length + 1)``.

    >>> sliding_maximum(torch.tensor([1.0, 3.0, 2.0, 0.0]), 2)
    tensor([3., 3., 2.])
    """
    return _slide(x, length, torch.maximum)


def sliding_sum(x: Tensor, length: int) -> Tensor:
    """Return the sum of each ``length`` neighbors, ``(..., samples - length + 1)``.

    Nothing is subtracted, so that no rounding is left behind by what was loud.

    >>> sliding_sum(torch.tensor([1.0, 3.0, 2.0, 0.0]), 3)
    tensor([6., 5.])
    """
    return _slide(x, length, torch.add)


def _slide(x: Tensor, length: int, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine windows of 1, 2, 4, ... samples to one of ``length``, in ``log2(length)`` steps."""
    if not 1 <= length <= x.shape[-1] + 1:
        raise ParameterError(f"length is {length}; expected 1 to {x.shape[-1]}, the samples")
    count = x.shape[-1] - length + 1
    power, width, offset = x, 1, 0
    result: Tensor | None = None
    while True:
        if length & width:
            part = power[..., offset : offset + count]
            result = part if result is None else join(result, part)
            offset += width
        if 2 * width > length:
            break
        power = join(power[..., :-width], power[..., width:])
        width *= 2
    return part if result is None else result
