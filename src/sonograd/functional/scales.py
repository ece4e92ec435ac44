"""Scales of level."""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["amplitude_to_db", "db_to_amplitude"]


def amplitude_to_db(
    amplitude: Tensor, *, reference: float = 1.0, floor_db: float | None = None
) -> Tensor:
    r"""Convert amplitudes to decibels, :math:`20 \log_{10}(|a| / a_0)`.

    Args:
        amplitude: Real or complex, any shape.
        reference: The amplitude :math:`a_0 > 0` that is 0 dB.
        floor_db: Smallest value of the result; silence gives it, with a gradient of zero. Without
            a floor, silence gives ``-inf``.

    Returns:
        Real, the shape of ``amplitude``.

    Raises:
        ParameterError: If ``reference`` is not positive.

    >>> amplitude_to_db(torch.tensor([10.0, 1.0, 0.0]), floor_db=-80)
    tensor([ 20.,   0., -80.])
    """
    if not (reference > 0 and math.isfinite(reference)):
        raise ParameterError(f"reference is {reference}; expected a positive amplitude")
    magnitude = amplitude.abs()
    if floor_db is not None:
        magnitude = magnitude.clamp(min=reference * 10 ** (floor_db / 20))
    return 20 * (torch.log10(magnitude) - math.log10(reference))


def db_to_amplitude(level_db: Tensor, *, reference: float = 1.0) -> Tensor:
    r"""Convert decibels to amplitudes, :math:`a_0 \, 10^{L / 20}`; ``-inf`` gives 0.

    Args:
        level_db: Real, any shape.
        reference: The amplitude :math:`a_0 > 0` that is 0 dB.

    Raises:
        ParameterError: If ``reference`` is not positive.

    >>> db_to_amplitude(torch.tensor([20.0, 0.0, -torch.inf]))
    tensor([10.,  1.,  0.])
    """
    if not (reference > 0 and math.isfinite(reference)):
        raise ParameterError(f"reference is {reference}; expected a positive amplitude")
    return reference * torch.pow(10.0, level_db / 20)
