"""The stereo image: pan laws, mid and side."""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["mid_side", "pan_gains", "stereo_width"]


def pan_gains(pan: Tensor, *, law_db: float = 3.0) -> tuple[Tensor, Tensor]:
    r"""Return the gains of the left and the right channel.

    With :math:`u = (1 - p) / 2`, the left gain is :math:`\sin(\pi u / 2)` (3 dB: constant power),
    :math:`u` (6 dB: constant sum), or the geometric mean of both (4.5 dB); the right one is its
    mirror image. All have finite derivatives, at the ends too.

    Args:
        pan: From -1 (left) to 1 (right), any shape.
        law_db: How much quieter each channel is in the center: 3, 4.5 or 6.

    >>> [round(float(g), 4) for g in pan_gains(torch.tensor(0.0), law_db=3)]
    [0.7071, 0.7071]
    """
    return _pan_gain((1 - pan) / 2, law_db), _pan_gain((1 + pan) / 2, law_db)


def _pan_gain(u: Tensor, law_db: float) -> Tensor:
    if law_db == 6:
        return u
    if law_db == 3:
        return torch.sin(math.pi / 2 * u)
    if law_db == 4.5:
        # sqrt(u sin(pi u / 2)), written without a root of zero.
        return u * (math.pi / 2 * torch.sinc(u / 2)).sqrt()
    raise ParameterError(f"law_db is {law_db}; expected 3, 4.5 or 6")


def mid_side(x: Tensor) -> Tensor:
    """Turn left and right ``(..., 2, samples)`` into ``(L + R) / 2`` and ``(L - R) / 2``."""
    left, right = x.unbind(-2)
    return torch.stack([(left + right) / 2, (left - right) / 2], dim=-2)


def stereo_width(x: Tensor, width: Tensor) -> Tensor:
    """Scale the side of ``x (..., 2, samples)``: 0 is mono, 1 changes nothing, 2 is twice as wide.

    Args:
        x: Left and right.
        width: Broadcasts with ``(..., samples)``.
    """
    middle, side = mid_side(x).unbind(-2)
    side = width * side
    return torch.stack([middle + side, middle - side], dim=-2)
