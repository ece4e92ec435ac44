"""Solo instruments of the accompaniment that glide and tremble like a voice."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.amps import guitar_amp
from sonograd.data.songs.patches import LinePatch
from sonograd.data.songs.sound import (
    band_pass,
    high_pass,
    log_uniform,
    low_pass,
    noise,
    normalize,
    resonance,
    time_axis,
)
from sonograd.functional import pulse_train, running_phase, state_variable_filter

__all__ = ["LEADS", "lead_patch"]

Source = Callable[[Tensor, Tensor, np.random.Generator], Tensor]


def _sine(hz: Tensor, rate: int) -> Tensor:
    return torch.sin(2 * torch.pi * running_phase(hz, sample_rate=rate).float())


def _buzz(
    rng: np.random.Generator, rate: int, tilt_hz: tuple[float, float], *, odd: float = 0.0
) -> Source:
    """Return a source with all harmonics, falling above a corner, with breath noise."""
    corner, breath = log_uniform(rng, *tilt_hz), float(rng.uniform(0.0, 0.06))
    hollow = rng.random() < odd

    def source(hz: Tensor, level: Tensor, seeded: np.random.Generator) -> Tensor:
        y = pulse_train(hz, sample_rate=rate)
        if hollow:
            y = y - pulse_train(hz, sample_rate=rate, phase=0.5)
        y = low_pass(y, corner, rate, 1) * 4
        if breath:
            y = y + breath * high_pass(noise(seeded, len(hz)), 1000, rate)
        return y * level

    return source


def _flute(rng: np.random.Generator, rate: int) -> Source:
    second, third = float(rng.uniform(0.0, 0.5)), float(rng.uniform(0.0, 0.25))
    breath = float(rng.uniform(0.01, 0.25))

    def source(hz: Tensor, level: Tensor, seeded: np.random.Generator) -> Tensor:
        x = _sine(hz, rate)
        y = x + second * (2 * x * x - 1) + third * (4 * x**3 - 3 * x)
        air = band_pass(noise(seeded, len(hz)), 800, 7000, rate)
        return y * level + breath * air * level.sqrt()

    return source


def _bodies(rng: np.random.Generator, rate: int, count: int) -> Callable[[Tensor], Tensor]:
    """Return fixed resonances, as of a wooden or brass body."""
    places = [log_uniform(rng, 250, 4500) for _ in range(count)]
    gains = [float(rng.uniform(0.3, 2.0)) for _ in range(count)]
    cut = log_uniform(rng, 3500, 14000)

    def finish(x: Tensor) -> Tensor:
        y = 0.5 * x
        for hz, gain in zip(places, gains, strict=True):
            y = y + gain * resonance(x, hz, 2.5, rate)
        return low_pass(y, cut, rate, 2)

    return finish


def _synth_filter(rng: np.random.Generator, rate: int) -> Callable[[Tensor], Tensor]:
    cutoff, q = log_uniform(rng, 700, 9000), float(rng.uniform(0.6, 3.0))
    speed, depth = log_uniform(rng, 0.1, 5.0), float(rng.choice([0.0, rng.uniform(0.2, 1.0)]))
    drive = log_uniform(rng, 0.3, 6.0)

    def finish(x: Tensor) -> Tensor:
        turn = 2 * torch.pi * speed * time_axis(len(x), rate)
        curve = cutoff * torch.exp2(depth * torch.sin(turn))
        x = state_variable_filter(x, curve.clamp(100, 0.45 * rate), q, sample_rate=rate)
        return torch.tanh(drive * normalize(x))

    return finish


def _talkbox(rng: np.random.Generator, rate: int) -> Callable[[Tensor], Tensor]:
    """Return formants that move between vowels, as of a guitar through a tube in the mouth."""
    speed, phase = log_uniform(rng, 0.5, 4.0), float(rng.random())
    spans = [(350.0, 800.0), (800.0, 2200.0), (2300.0, 3200.0)]

    def finish(x: Tensor) -> Tensor:
        turn = 2 * torch.pi * (speed * time_axis(len(x), rate) + phase)
        y = 0.1 * x
        for index, (low, high) in enumerate(spans):
            curve = low * (high / low) ** (0.5 + 0.5 * torch.sin(turn * (1 + 0.37 * index)))
            band = state_variable_filter(
                x, curve.clamp(max=0.4 * rate), 6.0, sample_rate=rate, kind="band_pass"
            )
            y = y + (1.0, 0.7, 0.3)[index] * band
        return torch.tanh(2.0 * normalize(y))

    return finish


def _glide_source(rng: np.random.Generator, rate: int) -> Source:
    if rng.random() < 0.3:
        return _flute(rng, rate)
    return _buzz(rng, rate, (200, 3000), odd=0.4)


def lead_patch(name: str, rng: np.random.Generator, rate: int) -> LinePatch:
    """Return the solo instrument called ``name``, its details drawn from ``rng``."""
    finish: Callable[[Tensor], Tensor] | None = _bodies(rng, rate, int(rng.integers(2, 5)))
    glide, attack, release = float(rng.uniform(0.01, 0.05)), 0.03, 0.06
    if name == "lead_guitar":
        source, finish, attack = _buzz(rng, rate, (600, 3000)), guitar_amp(name, rng, rate), 0.004
        release = float(rng.uniform(0.05, 0.3))
    elif name in {"flute", "whistle", "theremin"}:
        source = _flute(rng, rate)
        finish = None if name != "flute" else finish
        glide = float(rng.uniform(0.03, 0.2)) if name == "theremin" else glide
    elif name == "glide_lead":
        source, finish = _glide_source(rng, rate), _synth_filter(rng, rate)
        glide, attack = float(rng.uniform(0.02, 0.15)), float(rng.uniform(0.003, 0.05))
    elif name == "talkbox":
        source, finish = _buzz(rng, rate, (300, 1500)), _talkbox(rng, rate)
        glide = float(rng.uniform(0.02, 0.1))
    elif name in {"saxophone", "harmonica"}:
        source = _buzz(rng, rate, (500, 2500), odd=0.3)
    else:
        source = _buzz(rng, rate, (300, 2500))
    depth = float(rng.uniform(0.1, 0.8)) if rng.random() < 0.85 else 0.0
    return LinePatch(
        source,
        glide_s=glide,
        vibrato_hz=float(rng.uniform(4.3, 7.0)),
        vibrato_semitones=depth,
        attack_s=attack,
        release_s=release,
        finish=finish,
    )


LEADS = (
    *("lead_guitar", "flute", "whistle", "theremin", "glide_lead", "talkbox", "saxophone"),
    *("harmonica", "trumpet", "fiddle", "steel_guitar"),
)
"""Instruments that play one gliding line."""
