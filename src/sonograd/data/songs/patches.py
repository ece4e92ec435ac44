"""The common frame of all instruments: a patch turns notes into sound."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.score import Note
from sonograd.data.songs.sound import add, fade, midi_to_hz

__all__ = ["LinePatch", "NotePatch", "Patch", "glide_curve"]

Tone = Callable[[float, float, np.random.Generator], Tensor]
"""``(frequency_hz, gate_s, rng) -> (samples,)``: one note, with its release."""


@dataclass(frozen=True, slots=True)
class NotePatch:
    """An instrument whose notes sound one by one; equal notes are computed once or twice.

    Attributes:
        tone: Plays one note.
        takes: Different takes of equal notes.
        finish: What the sum of the notes goes through (amplifier, body, cabinet).
    """

    tone: Tone
    takes: int = 2
    finish: Callable[[Tensor], Tensor] | None = None

    def play(
        self, notes: tuple[Note, ...], rng: np.random.Generator, rate: int, samples: int
    ) -> Tensor:
        """Play ``notes`` into ``(samples,)``."""
        out = torch.zeros(samples)
        cache: dict[tuple[float, float, int], Tensor] = {}
        for note in notes:
            gate = round(min(note.duration, 8.0) * 25) / 25 or 0.04
            key = (round(note.pitch, 2), gate, int(rng.integers(self.takes)))
            if key not in cache:
                seeded = np.random.default_rng(int(rng.integers(1 << 62)))
                cache[key] = fade(self.tone(midi_to_hz(note.pitch), gate, seeded), rate // 200)
            add(out, round(note.start * rate), cache[key] * note.velocity)
        return self.finish(out) if self.finish else out


@dataclass(frozen=True, slots=True)
class LinePatch:
    """An instrument that plays one line with glides and vibrato, like a voice.

    Attributes:
        source: ``(frequency_hz, level, rng) -> samples``, both inputs curves per sample.
        glide_s: Time constant of the glide from note to note.
        vibrato_hz: Rate of the vibrato.
        vibrato_semitones: Its depth.
        attack_s: How fast notes begin.
        release_s: How fast they end.
        finish: What the line goes through afterwards.
    """

    source: Callable[[Tensor, Tensor, np.random.Generator], Tensor]
    glide_s: float
    vibrato_hz: float
    vibrato_semitones: float
    attack_s: float
    release_s: float
    finish: Callable[[Tensor], Tensor] | None = None

    def play(
        self, notes: tuple[Note, ...], rng: np.random.Generator, rate: int, samples: int
    ) -> Tensor:
        """Play ``notes`` into ``(samples,)``; of chords only the top note sounds."""
        top: dict[int, Note] = {}
        for note in notes:
            slot = round(note.start * 20)
            if slot not in top or top[slot].pitch < note.pitch:
                top[slot] = note
        line = sorted(top.values(), key=lambda note: note.start)
        if not line:
            return torch.zeros(samples)
        hop = max(rate // 400, 1)
        pitch, level = glide_curve(line, rng, self, rate / hop, samples // hop + 2)
        hz, loud = (_to_samples(curve, hop, samples) for curve in (pitch, level))
        y = self.source((440.0 * torch.exp2((hz - 69.0) / 12.0)).clamp(20.0, 0.4 * rate), loud, rng)
        return self.finish(y) if self.finish else y


Patch = NotePatch | LinePatch


def _to_samples(curve: np.ndarray, hop: int, samples: int) -> Tensor:
    """Interpolate a curve at control rate to every sample."""
    low = torch.from_numpy(curve.astype(np.float32))
    ramp = torch.arange(hop, dtype=torch.float32) / hop
    fine = low[:-1, None] + (low[1:] - low[:-1])[:, None] * ramp
    return fine.reshape(-1)[:samples]


def glide_curve(
    line: list[Note], rng: np.random.Generator, patch: LinePatch, rate: float, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pitch (MIDI) and level of a line at a control rate."""
    pitch = np.full(frames, line[0].pitch)
    level = np.zeros(frames)
    previous = None
    for index, note in enumerate(line):
        begin = max(round(note.start * rate), 0)
        following = line[index + 1].start if index + 1 < len(line) else note.start + 60.0
        held = min(note.duration, following - note.start)
        end = min(round((following if following - note.start < 60 else 1e9) * rate), frames)
        if begin >= end:
            continue
        time = (np.arange(begin, end) / rate - note.start).clip(0.0)
        start = previous if previous is not None else note.pitch - float(rng.uniform(0, 1.5))
        onset = np.clip((time - float(rng.uniform(0.05, 0.35))) / 0.3, 0.0, 1.0)
        wobble = patch.vibrato_semitones * float(rng.uniform(0.4, 1.3)) * onset
        turn = 2 * np.pi * (patch.vibrato_hz * time + float(rng.random()))
        pitch[begin:end] = (
            note.pitch
            + (start - note.pitch) * np.exp(-time / max(patch.glide_s, 1e-3))
            + wobble * np.sin(turn)
        )
        shape = np.minimum(time / patch.attack_s, 1.0)
        shape *= np.exp(-np.clip(time - held, 0.0, None) / patch.release_s)
        tremble = 1.0 + 0.3 * wobble * np.sin(turn + 1.0)
        level[begin:end] = np.maximum(level[begin:end], note.velocity * shape * tremble)
        previous = note.pitch
    return pitch, level
