"""Scales of level and of pitch."""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_number, check_option
from sonograd.functional._values import check_tensor

__all__ = [
    "MelScale",
    "amplitude_to_db",
    "db_to_amplitude",
    "hz_to_mel",
    "mel_frequencies",
    "mel_to_hz",
    "power_to_db",
]

MelScale: TypeAlias = Literal["slaney", "htk"]

_HZ_PER_MEL = 200 / 3  # Slaney's scale: linear up to 1 kHz, which is 15 mel
_STEP = math.log(6.4) / 27  # and logarithmic above


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


def power_to_db(
    power: Tensor,
    *,
    reference: float = 1.0,
    amin: float = 1e-10,
    top_db: float | None = None,
    dims: tuple[int, ...] = (-2, -1),
) -> Tensor:
    r"""Convert power to decibels, :math:`10 \log_{10}(\max(p, a) / p_0)`.

    Args:
        power: Real, at least 0, any shape.
        reference: The power :math:`p_0 > 0` that is 0 dB.
        amin: The power :math:`a > 0` below which all is alike; silence gives it, with a gradient
            of zero.
        top_db: Raise what lies more than this below the maximum over ``dims``, if given.
        dims: Dimensions that share one maximum: bins and frames of one item.

    Returns:
        Real, the shape of ``power``.

    Raises:
        ParameterError: If ``reference`` or ``amin`` is not positive or ``top_db`` is negative.

    >>> power_to_db(torch.tensor([[100.0, 1.0, 0.0]]), top_db=30)
    tensor([[ 20.,   0., -10.]])
    """
    check_tensor(power, "power")
    for name, value in (("reference", reference), ("amin", amin)):
        check_number(name, value, positive=True)
    if top_db is not None:
        check_number("top_db", top_db)
        if top_db < 0:
            raise ParameterError(f"top_db is {top_db}; expected at least 0, or None")
    level = 10 * (torch.log10(power.clamp(min=amin)) - math.log10(max(amin, reference)))
    if top_db is None or not level.numel():
        return level
    return torch.maximum(level, level.amax(dims, keepdim=True) - top_db)


def hz_to_mel(frequency_hz: float | Tensor, *, scale: MelScale = "slaney") -> Tensor:
    r"""Convert hertz to mel.

    ``"slaney"``: :math:`3 f / 200` up to 1 kHz, then :math:`15 + 27 \ln(f / 1000) / \ln 6.4`
    (Slaney, *Auditory Toolbox*, 1998); ``"htk"``: :math:`2595 \log_{10}(1 + f / 700)`.

    Args:
        frequency_hz: Frequencies in Hz, any shape; a number is taken as float64.
        scale: ``"slaney"`` or ``"htk"``.

    Returns:
        The shape of ``frequency_hz``.

    >>> hz_to_mel(torch.tensor([0.0, 1000.0, 6400.0]))
    tensor([ 0., 15., 42.])
    """
    _check_mel_scale(scale)
    f = _as_tensor(frequency_hz)
    if scale == "htk":
        return 2595 / math.log(10) * torch.log1p(f / 700)
    high = 15 + torch.log(f.clamp(min=1000.0) / 1000) / _STEP
    return torch.where(f < 1000, f / _HZ_PER_MEL, high)


def mel_to_hz(mel: float | Tensor, *, scale: MelScale = "slaney") -> Tensor:
    """Convert mel to hertz, the inverse of :func:`hz_to_mel`.

    >>> mel_to_hz(torch.tensor([0.0, 15.0, 42.0])).round()
    tensor([   0., 1000., 6400.])
    """
    _check_mel_scale(scale)
    m = _as_tensor(mel)
    if scale == "htk":
        return 700 * torch.expm1(m * (math.log(10) / 2595))
    high = 1000 * torch.exp((m.clamp(min=15.0) - 15) * _STEP)
    return torch.where(m < 15, m * _HZ_PER_MEL, high)


def mel_frequencies(count: int, *, fmin: float, fmax: float, scale: MelScale = "slaney") -> Tensor:
    """Frequencies that are equally far apart in mel.

    Args:
        count: How many, at least 1.
        fmin: The first one in Hz.
        fmax: The last one in Hz.
        scale: See :func:`hz_to_mel`.

    Returns:
        ``(count,)`` in Hz, float64.

    >>> mel_frequencies(3, fmin=0, fmax=1000).round().int()
    tensor([   0,  500, 1000], dtype=torch.int32)
    """
    if count < 1:
        raise ParameterError(f"count is {count}; expected at least 1")
    if not 0 <= fmin <= fmax < math.inf:
        raise ParameterError(f"fmin is {fmin} and fmax {fmax}; expected 0 <= fmin <= fmax")
    first, last = float(hz_to_mel(fmin, scale=scale)), float(hz_to_mel(fmax, scale=scale))
    return mel_to_hz(torch.linspace(first, last, count, dtype=torch.float64), scale=scale)


def _as_tensor(value: float | Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.to(torch.get_default_dtype())
    return torch.tensor(value, dtype=torch.float64)


def _check_mel_scale(scale: str) -> None:
    check_option(scale, "scale", ("slaney", "htk"))
