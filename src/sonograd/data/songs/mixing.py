"""Mix: channel strips, levels, a master that all stems share so that they still add up."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool1d

from sonograd.data.songs.sound import (
    filtered,
    generator,
    high_pass,
    log_uniform,
    low_pass,
    random_eq,
    time_axis,
)
from sonograd.functional import (
    compressor_gain,
    echo,
    fft_convolve,
    fractional_delay,
    noise_reverb_impulse,
)

__all__ = ["active_level", "compress", "master", "strip"]

_CONTROL = 32  # samples per step of a compressor


def active_level(x: Tensor, sample_rate: int) -> float:
    """Return the RMS of a stem over the tenths of a second in which it plays; 0 for silence."""
    block = max(sample_rate // 10, 1)
    blocks = -(-x.shape[-1] // block)
    power = torch.nn.functional.pad(x.square().mean(0), (0, blocks * block - x.shape[-1]))
    power = power.reshape(blocks, block).double().mean(1)
    loud = power[power > 0.01 * power.max()]
    return math.sqrt(float(loud.mean())) if len(loud) and float(power.max()) > 1e-12 else 0.0


def compress(
    x: Tensor,
    sample_rate: int,
    *,
    threshold_db: float,
    ratio: float,
    attack_ms: float,
    release_ms: float,
) -> Tensor:
    """Return the gain ``(1, samples)`` of a stereo compressor, found 32 samples at a time.

    The threshold is relative to the loudest moment.
    """
    samples = x.shape[-1]
    peaks = max_pool1d(x.abs().amax(0, keepdim=True), _CONTROL, ceil_mode=True)
    gain = compressor_gain(
        peaks / peaks.max().clamp_min(1e-9),
        sample_rate=sample_rate / _CONTROL,
        threshold_db=threshold_db,
        ratio=ratio,
        attack_ms=attack_ms,
        release_ms=release_ms,
        knee_db=6.0,
    )
    following = torch.cat((gain[..., 1:], gain[..., -1:]), -1)
    ramp = torch.arange(_CONTROL, dtype=x.dtype) / _CONTROL
    fine = gain[..., None] + (following - gain)[..., None] * ramp
    return fine.flatten(-2)[..., :samples]


def strip(x: Tensor, rng: np.random.Generator, stem: str, sample_rate: int, drive: float) -> Tensor:
    """Run one part ``(2, samples)`` through a channel strip with random settings.

    Args:
        x: The dry part.
        rng: Draws every setting.
        stem: Decides what is usual.
        sample_rate: In Hz.
        drive: How driven the genre is, 0 to 1.
    """
    level = active_level(x, sample_rate)
    if not level:
        return x
    x = x * (0.1 / level)
    x = high_pass(x, log_uniform(rng, *_FLOORS[stem]), sample_rate)
    x = filtered(x, random_eq(rng, sample_rate, peaks=3, amount_db=_TONE[stem]))
    if stem == "bass":
        x = _darken(x, rng, sample_rate)
    if rng.random() < (0.9 if stem == "vocals" else 0.65):
        gain = compress(
            x,
            sample_rate,
            threshold_db=float(rng.uniform(-26, -4)),
            ratio=float(rng.uniform(1.5, 8.0)),
            attack_ms=log_uniform(rng, 1.0, 40.0),
            release_ms=log_uniform(rng, 30.0, 400.0),
        )
        x = x * gain
    if rng.random() < 0.2 + 0.3 * drive:
        x = _saturate(x, rng, sample_rate)
    x = _modulate(x, rng, stem, sample_rate)
    return _space(x, rng, stem, sample_rate)


_FLOORS = {"drums": (20, 45), "bass": (20, 45), "other": (28, 180), "vocals": (50, 180)}
_TONE = {"drums": 3.5, "bass": 5.0, "other": 5.0, "vocals": 4.0}


def _darken(x: Tensor, rng: np.random.Generator, sample_rate: int) -> Tensor:
    """Take off the top of a bass, as most mixes do; or leave the mids standing."""
    if rng.random() < 0.5:
        x = low_pass(x, log_uniform(rng, 120, 1500), sample_rate, int(rng.choice([1, 1, 2])))
    if rng.random() < 0.4:
        x = low_pass(x, log_uniform(rng, 1000, 6000), sample_rate, 2)
    return x


def _saturate(x: Tensor, rng: np.random.Generator, sample_rate: int) -> Tensor:
    amount = log_uniform(rng, 0.5, 6.0)
    level = active_level(x, sample_rate) or 1.0
    wet = torch.tanh(x * (amount / (3.0 * level))) * (3.0 * level / amount)
    return x + float(rng.uniform(0.3, 1.0)) * (wet - x)


def _modulate(x: Tensor, rng: np.random.Generator, stem: str, sample_rate: int) -> Tensor:
    """Widen with a chorus, or a short delay between the channels."""
    chance = {"drums": 0.02, "bass": 0.12, "other": 0.4, "vocals": 0.15}[stem]
    if rng.random() > chance:
        return x
    if rng.random() < 0.3 and stem == "other":  # doubled: one side late, with another tone
        late = fractional_delay(x[1], float(rng.uniform(0.008, 0.03)), sample_rate=sample_rate)
        return torch.stack(
            (x[0], filtered(late, random_eq(rng, sample_rate, peaks=2, amount_db=3)))
        )
    time = time_axis(x.shape[-1], sample_rate)
    depth, speed = float(rng.uniform(0.0004, 0.004)), log_uniform(rng, 0.15, 5.0)
    turns = torch.tensor([[0.0], [float(rng.uniform(0.1, 0.5))]])
    curve = 0.009 + depth * torch.sin(2 * torch.pi * (speed * time + turns))
    wet = fractional_delay(x, curve, sample_rate=sample_rate, interpolation="linear")
    return x * 0.8 + float(rng.uniform(0.3, 0.9)) * wet


def _space(x: Tensor, rng: np.random.Generator, stem: str, sample_rate: int) -> Tensor:
    """Add echoes and a room."""
    echoes, rooms = {"drums": (0.02, 0.25), "bass": (0.02, 0.12), "other": (0.3, 0.7)}.get(
        stem, (0.4, 0.85)
    )
    y = x
    if rng.random() < echoes:
        wet = float(rng.uniform(0.05, 0.4))
        late = echo(
            x,
            sample_rate=sample_rate,
            delay_s=float(rng.uniform(0.08, 0.55)),
            feedback=float(rng.uniform(0.1, 0.6)),
            mix=1.0,
            ping_pong=bool(rng.random() < 0.4),
        )
        y = y + wet * low_pass(late, log_uniform(rng, 1500, 8000), sample_rate, 1)
    if rng.random() < rooms:
        impulse = noise_reverb_impulse(
            log_uniform(rng, 0.25, 3.0 if stem != "bass" else 0.8),
            sample_rate=sample_rate,
            generator=generator(rng),
            duration_s=None,
            predelay_s=float(rng.uniform(0.0, 0.05)),
            low_cut_hz=float(rng.uniform(100, 500)),
            high_cut_hz=min(log_uniform(rng, 2000, 11000), 0.45 * sample_rate),
        )
        if stem == "vocals":
            wet = float(rng.uniform(0.05, 0.5))
        else:
            wet = log_uniform(rng, 0.04, 0.6) * (1.0 if stem == "other" else 0.4)
        y = y + wet * fft_convolve(y, impulse, "causal")
    return y


def master(stems: Tensor, rng: np.random.Generator, sample_rate: int) -> Tensor:
    """Balance four stems as one mix: common tone, common compression, safe peaks.

    Args:
        stems: ``(4, 2, samples)``.
        rng: Draws the settings.
        sample_rate: In Hz.

    Returns:
        ``(4, 2, samples)``; neither a stem nor their sum exceeds 0.985.
    """
    if rng.random() < 0.8:
        stems = filtered(stems, random_eq(rng, sample_rate, peaks=1, amount_db=1.5))
    mix = stems.sum(0)
    if rng.random() < 0.7:
        stems = stems * compress(
            mix,
            sample_rate,
            threshold_db=float(rng.uniform(-14, -3)),
            ratio=float(rng.uniform(1.3, 4.0)),
            attack_ms=log_uniform(rng, 3.0, 30.0),
            release_ms=log_uniform(rng, 60.0, 400.0),
        )
    if rng.random() < 0.7:  # loud masters: catch the peaks
        for _ in range(2):
            stems = stems * compress(
                stems.sum(0),
                sample_rate,
                threshold_db=float(rng.uniform(-7, -2)),
                ratio=20.0,
                attack_ms=0.5,
                release_ms=60.0,
            )
    top = max(float(stems.abs().max()), float(stems.sum(0).abs().max()))
    if top < 1e-9:
        return stems
    return stems * (float(rng.uniform(0.5, 0.985)) / top)
