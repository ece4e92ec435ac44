"""The vocal stem: lead, doubles, harmonies, and what studios do to voices."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.score import Note, Part, Score, stream
from sonograd.data.songs.sound import band_pass, log_uniform, low_pass, normalize, pan, time_axis
from sonograd.data.songs.voice import Singer, draw_singer, sing_line
from sonograd.functional import fractional_delay, pulse_train

__all__ = ["place_voice", "render_vocals", "treatment"]


def render_vocals(score: Score, sample_rate: int, samples: int) -> list[tuple[Part, Tensor]]:
    """Sing every voice of a score.

    Returns:
        Each part with its sound ``(2, samples)``, placed but not yet mixed.
    """
    parts = score.of_stem("vocals")
    found: list[tuple[Part, Tensor]] = []
    if not parts:
        return found
    singer = draw_singer(stream(score.seed, "singer"), parts[0].role, parts[0].instrument)
    treat = treatment(score)
    for part in parts:
        rng = stream(score.seed, "take", part.name)
        voice = singer
        if part.name in {"harmony", "backing"}:
            voice = dataclasses.replace(singer, size=singer.size * float(rng.uniform(0.93, 1.08)))
        found.append(
            (part, place_voice(part, _sing(part, voice, rng, sample_rate, samples, treat), rng))
        )
    return found


def treatment(score: Score) -> "_Treatment":
    """Return what is done to the voices of a song."""
    singing = score.of_stem("vocals")[0].role
    return _Treatment(stream(score.seed, "vocal treatment"), singing)


def _sing(
    part: Part,
    singer: Singer,
    rng: np.random.Generator,
    rate: int,
    samples: int,
    treat: "_Treatment",
) -> Tensor:
    notes = part.notes
    if part.name == "backing":  # chords: one line per voice of the choir
        lines: list[list[Note]] = [[], [], []]
        for index, note in enumerate(notes):
            lines[index % 3].append(note)
        return torch.stack(
            [sing_line(tuple(line), singer, rng, rate, samples) for line in lines]
        ).sum(0)
    return treat.apply(sing_line(notes, singer, rng, rate, samples), rate)


def place_voice(part: Part, x: Tensor, rng: np.random.Generator) -> Tensor:
    """Set a voice ``(samples,)`` to its level and place in stereo."""
    level, where = 1.0, float(rng.normal(0.0, 0.05))
    if part.name.startswith("double"):
        level = float(rng.uniform(0.2, 0.8))
        where = float(rng.uniform(0.3, 1.0)) * (-1 if part.name.endswith("left") else 1)
    elif part.name == "harmony":
        level, where = float(rng.uniform(0.3, 0.8)), float(rng.uniform(-0.9, 0.9))
    elif part.name == "backing":
        level, where = float(rng.uniform(0.2, 0.5)), float(rng.uniform(-0.6, 0.6))
    return level * pan(x, where)


class _Treatment:
    """Effects that change what a voice sounds like, chosen once per song."""

    def __init__(self, rng: np.random.Generator, singing: str) -> None:
        chance = 0.85 if singing in {"robot", "chops"} else 0.15
        usual = ["drive", "drive", "drive", "telephone", "flanger"]
        rare = ["octave", "ring", "comb", "vocoder", "gate"]
        kinds = usual if rng.random() < 0.8 else rare
        self.kind = str(rng.choice(kinds)) if rng.random() < chance else "none"
        if singing == "robot" and rng.random() < 0.6:
            self.kind = "vocoder"
        if singing == "chops":
            self.kind = str(rng.choice(["gate", "octave", "comb"]))
        self.drive = log_uniform(rng, 1.5, 10.0)
        self.low, self.high = log_uniform(rng, 250, 700), log_uniform(rng, 2000, 4500)
        self.speed = log_uniform(rng, 0.1, 3.0)
        self.pulse = float(rng.uniform(4, 12))
        self.tone = log_uniform(rng, 40, 250)
        self.mix = float(rng.uniform(0.3, 1.0))

    def apply(self, x: Tensor, rate: int) -> Tensor:
        time = time_axis(len(x), rate)
        if self.kind == "drive":
            return torch.tanh(self.drive * normalize(x)) * 0.5
        if self.kind == "telephone":
            return torch.tanh(
                0.5
                * self.drive
                * band_pass(
                    band_pass(normalize(x), self.low, self.high, rate), self.low, self.high, rate
                )
            )
        if self.kind == "octave":  # half-rate ring modulation in step with the voice's loudness
            return x + self.mix * torch.tanh(4 * normalize(low_pass(x.abs(), 40, rate))) * low_pass(
                x * torch.sin(2 * torch.pi * self.tone * time), 3000, rate
            )
        if self.kind == "flanger":
            depth = 0.0015 + 0.0013 * torch.sin(2 * torch.pi * self.speed * time)
            return x + self.mix * fractional_delay(
                x, depth, sample_rate=rate, interpolation="linear"
            )
        if self.kind == "ring":
            return x * (
                1 - 0.5 * self.mix + 0.5 * self.mix * torch.sin(2 * torch.pi * self.tone * time)
            )
        if self.kind == "comb":
            return x + self.mix * fractional_delay(x, 1.0 / self.tone / 2, sample_rate=rate)
        if self.kind == "vocoder":
            level = low_pass(x.abs(), 30, rate).clamp_min(0.0)
            carrier = pulse_train(torch.full_like(x, self.tone), sample_rate=rate)
            buzz = low_pass(carrier, 1500, rate, 1)
            return (1 - 0.6 * self.mix) * x + 6 * self.mix * band_pass(
                buzz * level, 150, 6000, rate
            )
        if self.kind == "gate":
            gate = (torch.sin(2 * torch.pi * self.pulse * time) > -0.2).float()
            return x * low_pass(gate, 100, rate, 1)
        return x
