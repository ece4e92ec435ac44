"""Sounds of the bass: strings, synthesizers dark and mid-heavy, long drums."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.patches import NotePatch, Patch
from sonograd.data.songs.sound import (
    filtered,
    high_pass,
    log_uniform,
    low_pass,
    normalize,
    resonance,
    time_axis,
)
from sonograd.data.songs.waves import (
    click,
    fm_tone,
    modal_tone,
    partials,
    string_tone,
    table_tone,
    wave_table,
)
from sonograd.functional import adsr, low_pass_biquad, state_variable_filter

__all__ = ["BASSES", "bass_patch"]


def _string_bass(name: str, rng: np.random.Generator, rate: int) -> Patch:
    bright = {"finger": (0.06, 0.3), "pick": (0.3, 0.9), "muted": (0.05, 0.25), "slap": (0.4, 1.0)}
    low, high = bright.get(name, (0.05, 0.25))
    brightness = float(rng.uniform(low, high))
    damping = float(rng.uniform(0.1, 0.95))
    pick = float(rng.uniform(0.06, 0.4))
    decay = (
        float(rng.uniform(0.5, 1.5)) if name in {"muted", "upright"} else float(rng.uniform(2, 8))
    )
    ring = 0.03 if name == "muted" else float(rng.uniform(0.02, 0.1))
    thump = float(rng.uniform(0.0, 0.25))
    body = [(log_uniform(rng, 60, 120), 3.0), (log_uniform(rng, 150, 500), 2.0)]
    slapped = name == "slap"

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        y = string_tone(
            seeded,
            hz,
            min(gate, 0.25) if name == "muted" else gate,
            rate,
            ring_s=ring,
            decay_s=decay,
            damping=damping,
            brightness=brightness,
            pick=pick,
        )
        # The excitation is one period of noise: give it a steady fundamental too.
        time = time_axis(len(y), rate)
        weight = float(seeded.uniform(0.1, 0.5))
        y = normalize(y) + weight * torch.sin(2 * torch.pi * hz * time) * torch.exp(
            -time / (0.3 * decay)
        ) * adsr(
            len(y),
            sample_rate=rate,
            attack_s=0.004,
            decay_s=1.0,
            sustain=1.0,
            release_s=ring,
            gate_s=gate,
        )
        if slapped:
            y = y + 0.6 * high_pass(click(seeded, len(y), rate, 0.003), 1500, rate)
        return y + thump * low_pass(click(seeded, len(y), rate, 0.012), 400, rate)

    def finish(x: Tensor) -> Tensor:
        if name == "upright":
            for hz, q in body:
                x = x + 0.8 * resonance(x, hz, q, rate)
        return x

    return NotePatch(tone, takes=3, finish=finish)


def _synth_bass(name: str, rng: np.random.Generator, rate: int) -> Patch:
    shapes = {"saw": ["saw", "saw"], "square": ["square", "pulse"], "reese": ["saw"] * 3}
    waves = shapes.get(name, [str(rng.choice(["saw", "square", "pulse"])), "saw"])
    detune = float(rng.uniform(0.004, 0.016)) if name == "reese" else float(rng.uniform(0, 0.005))
    cutoff = log_uniform(rng, 150, 3000)
    if name == "acid":
        cutoff = log_uniform(rng, 200, 900)
    sweep = (
        float(rng.uniform(2, 8))
        if name == "acid"
        else float(rng.choice([0.0, rng.uniform(0.5, 5)]))
    )
    q = float(rng.uniform(3, 9)) if name == "acid" else float(rng.uniform(0.6, 2.5))
    fall = log_uniform(rng, 0.05, 0.7)
    decay, sustain = log_uniform(rng, 0.1, 1.5), float(rng.uniform(0.2, 1.0))
    release, sub = float(rng.uniform(0.02, 0.12)), float(rng.choice([0.0, rng.uniform(0.2, 1.0)]))

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        samples = int((gate + 4 * release) * rate) + 1
        table_of = {shape: wave_table(partials(shape, hz * 1.02, rate)) for shape in set(waves)}
        y = torch.zeros(samples)
        for index, shape in enumerate(waves):
            y += table_tone(
                hz * (1 + (index - 0.5 * (len(waves) - 1)) * detune),
                samples,
                rate,
                table_of[shape],
                float(seeded.random()),
            )
        time = time_axis(samples, rate)
        if sweep:
            moving = cutoff * (1 + sweep * torch.exp(-time / fall)) + hz
            y = state_variable_filter(y, moving.clamp(max=0.45 * rate), q, sample_rate=rate)
        else:
            hz_cut = min(cutoff + hz, 0.45 * rate)
            y = filtered(y, low_pass_biquad(hz_cut, q, sample_rate=rate)[None])
        if sub:
            y += sub * torch.sin(2 * torch.pi * hz * (0.5 if hz > 80 else 1.0) * time)
        return y * adsr(
            samples,
            sample_rate=rate,
            attack_s=0.004,
            decay_s=decay,
            sustain=sustain,
            release_s=release,
            gate_s=gate,
        )

    return NotePatch(tone, finish=_growl(rng, rate) if name == "growl" else None)


def _growl(rng: np.random.Generator, rate: int) -> Callable[[Tensor], Tensor]:
    """Return a chain of drive and formants that moves the energy to 200-1500 Hz."""
    first = [log_uniform(rng, 180, 450), log_uniform(rng, 400, 1100), log_uniform(rng, 900, 2500)]
    q = [float(rng.uniform(1.0, 5.0)) for _ in first]
    level = [float(rng.uniform(0.3, 1.5)) for _ in first]
    drive, dry = log_uniform(rng, 1.5, 12.0), float(rng.uniform(0.05, 0.6))
    wobble = float(rng.choice([0.0, log_uniform(rng, 0.3, 8.0)]))
    depth = float(rng.uniform(0.2, 0.9))

    def finish(x: Tensor) -> Tensor:
        x = torch.tanh(normalize(x) * drive)
        y = dry * x
        if wobble:
            time = time_axis(len(x), rate)
            curve = first[1] * torch.exp2(2 * depth * torch.sin(2 * torch.pi * wobble * time))
            y = y + state_variable_filter(
                x, curve.clamp(60, 0.4 * rate), q[0], sample_rate=rate, kind="band_pass"
            )
        for hz, width, gain in zip(first, q, level, strict=True):
            y = y + gain * resonance(x, hz, width, rate)
        return torch.tanh(1.5 * normalize(y))

    return finish


def _sub_bass(name: str, rng: np.random.Generator, rate: int) -> Patch:
    long = name == "eight_o_eight"
    punch = log_uniform(rng, 1.0, 5.0) if long else 1.0
    fall = float(rng.uniform(0.01, 0.05))
    decay = float(rng.uniform(0.4, 2.0)) if long else float(rng.uniform(0.4, 3.0))
    color = float(rng.uniform(0.0, 0.35))
    drive = log_uniform(rng, 0.5, 6.0) if long else log_uniform(rng, 0.2, 3.0)
    release = float(rng.uniform(0.03, 0.3)) if long else 0.05

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        samples = int((gate + 4 * release) * rate) + 1
        time = time_axis(samples, rate)
        phase = hz * time + hz * (punch - 1) * fall * (1 - torch.exp(-time / fall))
        y = torch.sin(2 * torch.pi * phase) + color * torch.sin(4 * torch.pi * phase)
        y = torch.tanh(drive * y) / max(min(drive, 1.0), 0.2)
        return y * adsr(
            samples,
            sample_rate=rate,
            attack_s=0.003,
            decay_s=decay,
            sustain=0.0 if long else 0.6,
            release_s=release,
            gate_s=gate,
        )

    return NotePatch(tone, takes=1)


def _fm_bass(name: str, rng: np.random.Generator, rate: int) -> Patch:
    ratio = float(rng.choice([0.5, 1.0, 1.0, 2.0, 3.0]))
    index, fall = float(rng.uniform(0.8, 6.0)), log_uniform(rng, 0.05, 0.8)
    floor, decay = float(rng.uniform(0.05, 0.5)), log_uniform(rng, 0.2, 2.0)

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        samples = int((gate + 0.3) * rate) + 1
        time = time_axis(samples, rate)
        depth = index * (floor + (1 - floor) * torch.exp(-time / fall))
        return fm_tone(hz, samples, rate, ratio, depth) * adsr(
            samples,
            sample_rate=rate,
            attack_s=0.003,
            decay_s=decay,
            sustain=0.4,
            release_s=0.05,
            gate_s=gate,
        )

    return NotePatch(tone, takes=1)


def _organ_bass(name: str, rng: np.random.Generator, rate: int) -> Patch:
    levels = rng.uniform(0.0, 1.0, 6) ** 2
    levels[0] = 1.0
    decay = float(rng.choice([30.0, rng.uniform(0.3, 2.0)]))

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        ratios = np.array([1, 2, 3, 4, 6, 8.0])
        y = modal_tone(seeded, ratios, levels, np.full(6, decay), hz, gate + 0.1, rate)
        return y * adsr(
            len(y),
            sample_rate=rate,
            attack_s=0.008,
            decay_s=1.0,
            sustain=1.0,
            release_s=0.03,
            gate_s=gate,
        )

    return NotePatch(tone)


BASSES = {
    "finger": _string_bass,
    "pick": _string_bass,
    "muted": _string_bass,
    "slap": _string_bass,
    "upright": _string_bass,
    "driven": _string_bass,
    "saw": _synth_bass,
    "square": _synth_bass,
    "reese": _synth_bass,
    "growl": _synth_bass,
    "acid": _synth_bass,
    "sub": _sub_bass,
    "eight_o_eight": _sub_bass,
    "fm": _fm_bass,
    "organ_bass": _organ_bass,
}
"""Makers of bass sounds, by name."""


def bass_patch(name: str, rng: np.random.Generator, rate: int) -> Patch:
    """Return the bass sound called ``name``, its details drawn from ``rng``."""
    return BASSES[name](name, rng, rate)
