r"""Static curves of dynamics processors in dB, and the gain of a whole compressor."""

from typing import Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.ballistics import TimeConvention, envelope_follower
from sonograd.shapes import check_audio

__all__ = ["compressor_gain", "compressor_gain_db", "gate_gain_db", "limiter_gain_db"]

_SILENCE = 1e-12  # -240 dB: below it the logarithm of a level is not taken


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
    level_db = 20 * torch.log10(follow.clamp_min(_SILENCE))
    gain_db = compressor_gain_db(
        level_db,
        threshold_db=_over_time(threshold_db),
        ratio=_over_time(ratio),
        knee_db=_over_time(knee_db),
    )
    return torch.pow(10.0, gain_db / 20)


def _over_time(value: float | Tensor) -> float | Tensor:
    """Append the axis of time to values ``(..., channels)``."""
    return value.unsqueeze(-1) if isinstance(value, Tensor) and value.ndim else value


def _overshoot(over: Tensor, knee_db: float | Tensor) -> Tensor:
    """``max(over, 0)`` with a quadratic knee of full width ``knee_db``."""
    knee = torch.as_tensor(knee_db).to(over)
    safe = torch.where(knee > 0, knee, torch.ones_like(knee))
    bent = (over + knee / 2).clamp_min(0).square() / (2 * safe)
    return torch.where((knee > 0) & (over.abs() * 2 <= knee), bent, over.clamp_min(0))
