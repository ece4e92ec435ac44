r"""Static curves of dynamics processors in dB, and the gain of a whole compressor."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional import _kernels
from sonograd.functional._transforms import (
    differentiated_again,
    gradients_of_plain,
    plain_form_needed,
)
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.ballistics import TimeConvention, envelope_follower
from sonograd.shapes import check_audio

__all__ = [
    "compressor_gain",
    "compressor_gain_db",
    "curve_gain",
    "gate_gain_db",
    "limiter_gain_db",
]

_SILENCE = 1e-12  # -240 dB: below it the logarithm of a level is not taken
_NEPER = math.log(10) / 20  # per dB


def compressor_gain_db(
    level_db: Tensor,
    *,
    threshold_db: float | Tensor,
    ratio: float | Tensor,
    knee_db: float | Tensor = 0.0,
) -> Tensor:
    r"""Gain of a downward compressor: ``(1 / ratio - 1)`` dB per dB above the threshold.

    Within ``knee_db`` around the threshold the gain is the parabola that joins both lines
    (D. Giannoulis et al., *Digital Dynamic Range Compressor Design*, JAES 60(6), 2012, eq. 4).

    Args:
        level_db: Levels in dB, any shape.
        threshold_db: Where it starts; broadcasts.
        ratio: Input over output slope, from 1; broadcasts.
        knee_db: Full width of the knee, from 0; broadcasts.

    Returns:
        Gains in dB, at most 0, dtype of ``level_db``.
    """
    over = _overshoot(level_db - threshold_db, knee_db)
    return (1 / torch.as_tensor(ratio).to(level_db) - 1) * over


def limiter_gain_db(
    level_db: Tensor, *, threshold_db: float | Tensor, knee_db: float | Tensor = 0.0
) -> Tensor:
    """Gain of a limiter: a compressor whose output never passes the threshold.

    Arguments and result as :func:`compressor_gain_db`.
    """
    return -_overshoot(level_db - threshold_db, knee_db)


def gate_gain_db(
    level_db: Tensor,
    *,
    threshold_db: float | Tensor,
    ratio: float | Tensor,
    knee_db: float | Tensor = 0.0,
) -> Tensor:
    """Gain of a downward expander: ``(1 - ratio)`` dB per dB below the threshold.

    Arguments and result as :func:`compressor_gain_db`.
    """
    return (1 - torch.as_tensor(ratio).to(level_db)) * _overshoot(threshold_db - level_db, knee_db)


def compressor_gain(
    x: Tensor,
    *,
    sample_rate: float,
    threshold_db: float | Tensor,
    ratio: float | Tensor,
    attack_ms: float | Tensor,
    release_ms: float | Tensor,
    knee_db: float | Tensor = 0.0,
    link: Literal["none", "max", "mean"] = "none",
    time_convention: TimeConvention = "juce",
) -> Tensor:
    """Gain of a feed-forward compressor with a peak detector; the output is ``x * gain``.

    Args:
        x: Audio ``(..., channels, samples)``: what is listened to.
        sample_rate: In Hz.
        threshold_db: In dB of the peak level; a number or ``(...)`` as the times.
        ratio: From 1.
        attack_ms: A number, or ``(..., channels)`` (``(..., 1)`` for linked channels).
        release_ms: As ``attack_ms``.
        knee_db: Full width of the knee.
        link: Whether each channel has its gain, or all share that of their largest or mean level.
        time_convention: See :func:`~sonograd.functional.smoothing_coefficient`.

    Returns:
        Linear gain, ``(..., channels, samples)``, or ``(..., 1, samples)`` if linked.
    """
    check_audio(x)
    level = x.abs()
    if link == "max":
        level = level.amax(-2, keepdim=True)
    elif link == "mean":
        level = level.mean(-2, keepdim=True)
    elif link != "none":
        raise ParameterError(f"link is {link!r}; expected 'none', 'max' or 'mean'")
    follow = envelope_follower(
        level, attack_ms, release_ms, sample_rate=sample_rate, time_convention=time_convention
    )
    return curve_gain(
        follow,
        threshold_db=_over_time(threshold_db),
        slope=1 / _float64(_over_time(ratio), follow) - 1,
        knee_db=_over_time(knee_db),
    )


def curve_gain(
    level: Tensor,
    *,
    threshold_db: float | Tensor,
    slope: float | Tensor,
    knee_db: float | Tensor = 0.0,
    makeup_db: float | Tensor = 0.0,
) -> Tensor:
    r"""Gain for a level: ``slope`` dB per dB above the threshold, both linear.

    With :math:`o = 20 \log_{10} a - T` and :math:`p = \min(\max((o + W/2) / W, 0), 1)` the
    overshoot is :math:`\tfrac{W}{2} p^2 + \max(o - W/2, 0)`, whose slope is ``p``: the curve of
    :func:`compressor_gain_db` without a case for the knee. One function for the whole curve keeps
    only its result for the gradient.

    Args:
        level: ``(..., samples)``, not negative.
        threshold_db: A number or ``(..., 1)``, as the others.
        slope: ``1 / ratio - 1`` for a compressor, -1 for a limiter.
        knee_db: Full width of the knee, from 0.
        makeup_db: Added to the gain.

    Returns:
        Linear gains, shape of all broadcast, dtype of ``level``.
    """
    values = [
        _float64(v, level) * unit
        for v, unit in (
            (threshold_db, _NEPER),
            (slope, 1.0),
            (knee_db, _NEPER),
            (makeup_db, _NEPER),
        )
    ]
    values = [v.to(level.dtype) if level.dtype == torch.float64 else v.float() for v in values]
    lead = broadcast_shapes(level.shape[:-1], *(v.shape[:-1] for v in values))
    fits = all(not v.ndim or v.shape[-1] == 1 for v in values) and level.is_floating_point()
    if plain_form_needed(level, *values) or not fits or torch.compiler.is_compiling():
        return _curve(level, *values).to(level.dtype)
    rows = level.expand(*lead, level.shape[-1]).reshape(lead.numel(), level.shape[-1])
    columns = [v.expand(*lead, 1).reshape(-1, 1) for v in values]
    gain: Tensor = _Curve.apply(rows.to(values[0].dtype).contiguous(), *columns)  # type: ignore[no-untyped-call]
    return gain.reshape(*lead, -1).to(level.dtype)


def _curve(level: Tensor, threshold: Tensor, slope: Tensor, knee: Tensor, makeup: Tensor) -> Tensor:
    """The curve of :func:`curve_gain`; all values in neper."""
    _, over = _bend(level, threshold, knee)
    return torch.exp(slope * over + makeup)


def _bend(level: Tensor, threshold: Tensor, knee: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and overshoot."""
    over = level.clamp_min(_SILENCE).log() - threshold
    half = knee / 2
    bent = ((over + half) / knee.clamp_min(1e-9)).clamp(0, 1)
    return bent, half * bent.square() + (over - half).clamp_min(0)


class _Curve(torch.autograd.Function):
    """:func:`_curve` on rows ``(rows, samples)`` with values ``(rows, 1)``."""

    @staticmethod
    def forward(
        ctx: Any, level: Tensor, threshold: Tensor, slope: Tensor, knee: Tensor, makeup: Tensor
    ) -> Tensor:
        if _fast(level):
            gain = level.clamp_min(_SILENCE).log_()
            values = torch.cat([threshold, slope, knee, makeup], dim=-1).to(torch.float64)
            _kernels.bend(gain.numpy(), values.numpy(), gain.numpy())
            gain = gain.exp_()
        else:
            gain = _curve(level, threshold, slope, knee, makeup)
        ctx.save_for_backward(level, threshold, slope, knee, makeup, gain)
        return gain

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        level, threshold, slope, knee, makeup, gain = ctx.saved_tensors
        inputs = (level, threshold, slope, knee, makeup)
        if differentiated_again():
            return gradients_of_plain(_curve, inputs, (grad,))
        total = (grad * gain).contiguous()
        if _fast(level):
            log = level.clamp_min(_SILENCE).log_()
            values = torch.cat([threshold, slope, knee, makeup], dim=-1).to(torch.float64)
            sums = torch.empty_like(values)
            arrays = (total, level.detach(), log, values, sums)
            _kernels.bend_adjoint(*(v.numpy() for v in arrays))
            return (total, *sums.to(level.dtype).split(1, dim=-1))
        bent, over = _bend(level, threshold, knee)
        moved = slope * total * bent
        of_values = (-moved, total * over, moved * (1 - bent) / 2, total)
        of_level = torch.where(level > _SILENCE, moved / level.clamp_min(_SILENCE), 0.0)
        return (of_level, *(v.sum(-1, keepdim=True) for v in of_values))


def _fast(x: Tensor) -> bool:
    return x.device.type == "cpu" and _kernels.has_fast_kernels()


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64


def _float64(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=_wide(like)).to(like.device)


def _over_time(value: float | Tensor) -> float | Tensor:
    """Append the axis of time to values ``(..., channels)``."""
    return value.unsqueeze(-1) if isinstance(value, Tensor) and value.ndim else value


def _overshoot(over: Tensor, knee_db: float | Tensor) -> Tensor:
    """``max(over, 0)`` with a quadratic knee of full width ``knee_db``."""
    knee = torch.as_tensor(knee_db).to(over)
    safe = torch.where(knee > 0, knee, torch.ones_like(knee))
    bent = (over + knee / 2).clamp_min(0).square() / (2 * safe)
    return torch.where((knee > 0) & (over.abs() * 2 <= knee), bent, over.clamp_min(0))
