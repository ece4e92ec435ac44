"""Decaying sines in a struck sound."""

import math

import torch
from torch import Tensor

__all__ = ["find_modes"]


def find_modes(x: Tensor, rate: float, count: int) -> list[tuple[float, float, float]]:
    """Peel off the strongest decaying sine, again and again, refining all each time.

    Args:
        x: ``(samples,)``, float64.
        rate: Sample rate in Hz.
        count: Sines at most.

    Returns:
        Frequency in Hz, time to fall by 60 dB in seconds, and level of each.
    """
    rest = x.clone()
    time = torch.arange(x.numel(), dtype=x.dtype) / rate
    theta: list[tuple[float, float, float]] = []
    for _ in range(count):
        mode = _strongest_mode(rest, rate)
        if mode is None:
            break
        # All modes together: what one of them misses would be taken for the next one.
        theta = _refined_modes(x, time, [*theta, mode])
        rest = x - sum(m[2] * _ringing(time, m[0], m[1]) for m in theta)
        if float(rest.square().sum()) < 1e-10 * float(x.square().sum()):
            break
    return theta


def _ringing(time: Tensor, hz: float, decay_s: float) -> Tensor:
    """A sine that falls by 60 dB in ``decay_s``."""
    return torch.exp(-math.log(1000) / decay_s * time) * torch.sin(2 * math.pi * hz * time)


def _strongest_mode(x: Tensor, rate: float) -> tuple[float, float, float] | None:
    """Peak of the spectrum; decay from the slope of its level; level in closed form."""
    size = 1 << (4 * x.numel() - 1).bit_length()
    spectrum = torch.fft.rfft(x, size).abs()
    spectrum[: int(20 * size / rate) + 1] = 0
    place = int(spectrum.argmax())
    if not 0 < place < spectrum.numel() - 1 or float(spectrum[place]) <= 0:
        return None
    hz = place * rate / size
    time = torch.arange(x.numel(), dtype=x.dtype) / rate
    turned = torch.polar(torch.ones_like(time), -2 * math.pi * hz * time) * x
    width = max(64, round(4 * rate / hz))
    parts = turned[: x.numel() // width * width].reshape(-1, width).mean(1).abs()
    levels = parts.clamp_min(1e-12).log()
    loud = int((levels > levels.max() - 4.6).to(torch.int64).cumprod(0).sum())
    decay = 1.0
    if loud >= 3:
        at = torch.arange(loud, dtype=x.dtype) * width / rate
        slope = float(((at - at.mean()) * (levels[:loud] - levels[:loud].mean())).sum())
        slope /= float((at - at.mean()).square().sum())
        decay = math.log(1000) / max(-slope, 0.1)
    decay = min(max(decay, 0.005), 60.0)
    wave = _ringing(time, hz, decay)
    level = float((wave * x).sum() / wave.square().sum().clamp_min(1e-12))
    return hz, decay, level


def _refined_modes(
    x: Tensor, time: Tensor, modes: list[tuple[float, float, float]]
) -> list[tuple[float, float, float]]:
    """Levenberg-Marquardt on frequencies, decays and levels, tangents in closed form."""
    theta = torch.tensor(modes, dtype=torch.float64)

    def model(values: Tensor) -> tuple[Tensor, Tensor]:
        hz, decay, level = (v[:, None] for v in values.unbind(1))
        fade = torch.exp(-math.log(1000) / decay * time)
        angle = 2 * math.pi * hz * time
        sine, cosine = fade * angle.sin(), fade * angle.cos()
        slopes = torch.stack(
            [
                level * cosine * 2 * math.pi * time,
                level * sine * (math.log(1000) / decay.square()) * time,
                sine,
            ],
            dim=1,
        )
        return (level * sine).sum(0), slopes.flatten(0, 1)

    damping = 1e-3
    y, slopes = model(theta)
    cost = float((y - x).square().sum())
    for _ in range(40):
        normal, right = slopes @ slopes.mT, slopes @ (y - x)
        scale = normal.diagonal().clamp_min(1e-12)
        step = torch.linalg.solve(normal + torch.diag(damping * scale), right).reshape(-1, 3)
        moved = theta - step
        moved[:, 0] = moved[:, 0].clamp(20.0, 20_000.0)
        moved[:, 1] = moved[:, 1].clamp(0.005, 60.0)
        fresh, tilted = model(moved)
        total = float((fresh - x).square().sum())
        if total < cost:
            gained = (cost - total) / max(cost, 1e-30)
            theta, y, slopes, cost = moved, fresh, tilted, total
            damping = max(damping * 0.3, 1e-10)
            if gained < 1e-9:
                break
        else:
            damping *= 5
            if damping > 1e8:
                break
    return [(float(a), float(b), float(c)) for a, b, c in theta]
