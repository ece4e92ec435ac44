"""Struck, plucked and sustained instruments of the accompaniment, note by note."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.amps import guitar_amp
from sonograd.data.songs.patches import NotePatch, Patch
from sonograd.data.songs.sound import (
    band_pass,
    filtered,
    log_uniform,
    low_pass,
    noise,
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

__all__ = ["INSTRUMENTS", "instrument_patch"]


def _guitar(name: str, rng: np.random.Generator, rate: int) -> Patch:
    driven = name in {"distorted_guitar", "crunch_guitar"}
    soft = name in {"nylon_guitar", "harp"}
    brightness = float(rng.uniform(0.1, 0.4)) if soft else float(rng.uniform(0.3, 1.0))
    damping = float(rng.uniform(0.3, 0.9)) if soft else float(rng.uniform(0.05, 0.6))
    decay = (
        float(rng.uniform(0.3, 0.9))
        if name in {"banjo", "muted_guitar"}
        else float(rng.uniform(1.5, 5))
    )
    decay *= 2.5 if driven else 1.0
    ring = float(rng.uniform(0.05, 0.4)) if name in {"acoustic_guitar", "harp"} else 0.05
    pick = float(rng.uniform(0.05, 0.45))
    most = 0.2 if name == "muted_guitar" else 8.0

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        y = string_tone(
            seeded,
            hz * 2 ** (float(seeded.normal(0, 0.04)) / 12),
            min(gate, most),
            rate,
            ring_s=ring,
            decay_s=decay,
            damping=damping,
            brightness=brightness,
            pick=pick,
        )
        return normalize(y)

    if name in {"acoustic_guitar", "nylon_guitar", "banjo", "harp"}:
        body = [
            log_uniform(rng, *span) for span in ((90, 130), (180, 260), (350, 700), (900, 3000))
        ]
        if name == "banjo":
            body = [log_uniform(rng, 400, 900), log_uniform(rng, 1200, 3000)]
        gains = [float(rng.uniform(0.2, 1.8)) for _ in body]

        def finish(x: Tensor) -> Tensor:
            y = x
            for hz, gain in zip(body, gains, strict=True):
                y = y + gain * resonance(x, hz, 3.0, rate)
            return y

        return NotePatch(tone, takes=3, finish=finish)
    return NotePatch(tone, takes=3, finish=guitar_amp(name, rng, rate))


def _piano(name: str, rng: np.random.Generator, rate: int) -> Patch:
    slope, hardness = float(rng.uniform(0.8, 1.5)), float(rng.uniform(0.04, 0.25))
    inharmonic = log_uniform(rng, 5e-5, 7e-4)
    hammer = float(rng.uniform(0.0, 0.12))
    length, strike = float(rng.uniform(1.5, 4.0)), float(rng.uniform(6, 10))
    chorus = float(rng.uniform(0.0, 0.003))
    honky = rng.random() < 0.1

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        index = np.arange(1, 25)
        ratios = index * np.sqrt(1 + inharmonic * index**2)
        levels = (
            index**-slope * np.exp(-index * hardness) * np.abs(np.sin(np.pi * index / strike + 0.3))
        )
        decays = length * np.sqrt(110 / hz) / (1 + 0.25 * index)
        seconds = min(gate + 0.5, 6.0)
        y = modal_tone(seeded, ratios, levels, decays, hz, seconds, rate)
        if chorus > 0.0015 or honky:
            wide = 1 + (0.006 if honky else chorus)
            y = y + 0.7 * modal_tone(
                seeded, ratios[:8] * wide, levels[:8], decays[:8], hz, seconds, rate
            )
        y = y + hammer * band_pass(click(seeded, len(y), rate, 0.008), 300, 5000, rate)
        return y * adsr(
            len(y),
            sample_rate=rate,
            attack_s=0.002,
            decay_s=1.0,
            sustain=1.0,
            release_s=0.1,
            gate_s=gate,
        )

    return NotePatch(tone, takes=1)


_MODES: dict[str, tuple[tuple[float, ...], float]] = {
    "marimba": ((1.0, 3.93, 9.2, 16.2), 0.25),
    "vibraphone": ((1.0, 4.0, 10.2, 17.1), 1.2),
    "bell": ((0.5, 1.0, 1.19, 1.5, 2.0, 2.74, 3.0, 4.07, 5.4), 1.0),
}


def _mallet(name: str, rng: np.random.Generator, rate: int) -> Patch:
    ratios, length = _MODES[name]
    if name == "bell" and rng.random() < 0.5:
        ratios = (1.0, *sorted(float(x) for x in rng.uniform(1.5, 9.0, 6)))
    levels = rng.uniform(0.1, 1.0, len(ratios)) / np.arange(1, len(ratios) + 1) ** 0.7
    levels[:2] += 0.5
    decays = length * rng.uniform(0.5, 1.6) / np.arange(1, len(ratios) + 1) ** 0.8
    tremolo = float(rng.uniform(3, 7)) if name == "vibraphone" and rng.random() < 0.6 else 0.0

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        seconds = min(gate + 4 * length, 3.5)
        y = modal_tone(seeded, np.array(ratios), levels, decays, hz, seconds, rate)
        return y + 0.1 * low_pass(click(seeded, len(y), rate, 0.004), 4000, rate)

    def finish(x: Tensor) -> Tensor:
        if not tremolo:
            return x
        return x * (1 + 0.4 * torch.sin(2 * torch.pi * tremolo * time_axis(len(x), rate)))

    return NotePatch(tone, takes=1, finish=finish)


def _fm_keys(name: str, rng: np.random.Generator, rate: int) -> Patch:
    pad = name == "fm_pad"
    ratio = float(rng.choice([1, 2, 3, 4, 7, 14, 1.41, 3.5, 5.2]))
    if name == "electric_piano":
        ratio = float(rng.choice([1.0, 1.0, 2.0, 14.0]))
    index = float(rng.uniform(0.3, 3.0))
    fall = log_uniform(rng, 0.05, 1.0)
    decay = log_uniform(rng, 0.6, 3.0)
    attack = float(rng.uniform(0.15, 0.8)) if pad else 0.002
    drive = log_uniform(rng, 0.3, 4.0)
    tremolo = float(rng.uniform(3, 7)) if rng.random() < 0.4 else 0.0

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        release = 0.5 if pad else 0.1
        samples = int((gate + 4 * release) * rate) + 1
        time = time_axis(samples, rate)
        if pad:
            depth = index * (
                0.5 + 0.5 * torch.sin(2 * torch.pi * 0.3 * time + float(seeded.random()))
            )
        else:
            depth = index * torch.exp(-time / fall)
        y = fm_tone(hz, samples, rate, ratio, depth)
        y = y + 0.4 * torch.sin(2 * torch.pi * hz * 1.003 * time)
        return y * adsr(
            samples,
            sample_rate=rate,
            attack_s=attack,
            decay_s=decay,
            sustain=0.9 if pad else 0.0,
            release_s=release,
            gate_s=gate,
        )

    def finish(x: Tensor) -> Tensor:
        x = torch.tanh(normalize(x) * drive) if drive > 0.6 else x
        if tremolo:
            x = x * (1 + 0.35 * torch.sin(2 * torch.pi * tremolo * time_axis(len(x), rate)))
        return x

    return NotePatch(tone, takes=1, finish=finish)


def _organ(name: str, rng: np.random.Generator, rate: int) -> Patch:
    reed = name == "accordion"
    stops = np.array([1, 2, 3, 4, 6, 8, 10, 12, 16])
    levels = rng.uniform(0, 1, len(stops)) * (rng.random(len(stops)) < 0.65)
    levels[int(rng.integers(2))] = 1.0
    shape = torch.zeros(32)
    shape[stops - 1] = torch.from_numpy(levels.astype(np.float32))
    if reed:
        shape = torch.from_numpy(
            (np.arange(1, 33) ** -float(rng.uniform(0.5, 1.2)) * rng.uniform(0.3, 1, 32)).astype(
                np.float32
            )
        )
    beat = float(rng.uniform(0.003, 0.008)) if reed else 0.0
    drive = log_uniform(rng, 0.3, 5.0)
    leslie = float(rng.choice([0.0, rng.uniform(0.6, 1.2), rng.uniform(5, 7)]))
    key_click = float(rng.uniform(0, 0.1))

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        samples = int((gate + 0.15) * rate) + 1
        fits = int(np.clip(0.45 * rate / hz, 1, 32))
        table = wave_table(shape[:fits])
        y = table_tone(hz * (0.5 if not reed and hz > 200 else 1.0), samples, rate, table)
        if beat:
            y = y + table_tone(hz * (1 + beat), samples, rate, table, 0.3)
        y = y + key_click * click(seeded, samples, rate, 0.003)
        return y * adsr(
            samples,
            sample_rate=rate,
            attack_s=0.04 if reed else 0.004,
            decay_s=1.0,
            sustain=1.0,
            release_s=0.03,
            gate_s=gate,
        )

    def finish(x: Tensor) -> Tensor:
        x = torch.tanh(normalize(x) * drive)
        if leslie:
            x = x * (1 + 0.3 * torch.sin(2 * torch.pi * leslie * time_axis(len(x), rate)))
        return x

    return NotePatch(tone, takes=1, finish=finish)


def _synth(name: str, rng: np.random.Generator, rate: int) -> Patch:
    """Subtractive synthesis: pads, plucks, stabs, string ensembles, brass sections."""
    pad = name in {"synth_pad", "strings", "noise_pad"}
    count = {"supersaw": 5, "strings": 3, "brass": 3}.get(name, int(rng.integers(1, 4)))
    shapes = [str(rng.choice(["saw", "saw", "square", "pulse", "triangle"])) for _ in range(count)]
    if name in {"supersaw", "strings", "brass"}:
        shapes = ["saw"] * count
    spread = float(rng.uniform(0.001, 0.012)) * (1.0 if count > 1 else 0.0)
    octave = float(rng.choice([1.0, 1.0, 0.5, 2.0])) if name == "synth" else 1.0
    cutoff = log_uniform(rng, 300, 9000)
    sweep = (
        float(rng.choice([0.0, rng.uniform(0.5, 6.0)]))
        if name != "pluck_synth"
        else float(rng.uniform(2, 10))
    )
    if name == "pluck_synth":
        cutoff = log_uniform(rng, 200, 1500)
    fall, q = log_uniform(rng, 0.03, 0.6), float(rng.uniform(0.6, 4.0))
    attack = (
        float(rng.uniform(0.1, 1.0))
        if pad
        else 0.05
        if name == "brass"
        else float(rng.uniform(0.001, 0.02))
    )
    decay = log_uniform(rng, 0.08, 1.5)
    sustain = 0.9 if pad or name in {"brass", "supersaw"} else float(rng.uniform(0.0, 0.9))
    release = float(rng.uniform(0.1, 0.5)) if pad else float(rng.uniform(0.02, 0.25))
    breath = float(rng.uniform(0.3, 1.5)) if name == "noise_pad" else 0.0
    vibrato = float(rng.uniform(0.0, 0.004)) if name == "strings" else 0.0

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        hz *= octave
        samples = int((gate + 4 * release) * rate) + 1
        time = time_axis(samples, rate)
        tables = {
            shape: wave_table(partials(shape, hz * 1.03, rate, limit=200)) for shape in set(shapes)
        }
        y = torch.zeros(samples)
        for index, shape in enumerate(shapes):
            detune = 1 + spread * (index - 0.5 * (count - 1)) * 2 / max(count - 1, 1)
            pitch: float | Tensor = hz * detune
            if vibrato:
                turn = 2 * torch.pi * (5.3 * time + float(seeded.random()))
                pitch = hz * detune * (1 + vibrato * torch.sin(turn))
            y += table_tone(pitch, samples, rate, tables[shape], float(seeded.random()))
        if breath:
            y += breath * band_pass(noise(seeded, samples), hz, hz * 4, rate)
        if sweep and not pad:
            moving = cutoff * (0.5 + sweep * torch.exp(-time / fall)) + hz
            if name == "brass":
                moving = cutoff * (0.4 + sweep * (1 - torch.exp(-time / 0.06))) + hz
            y = state_variable_filter(y, moving.clamp(max=0.45 * rate), q, sample_rate=rate)
        else:
            fixed = min(cutoff + hz, 0.45 * rate)
            y = filtered(y, low_pass_biquad(fixed, min(q, 2.0), sample_rate=rate)[None])
        return y * adsr(
            samples,
            sample_rate=rate,
            attack_s=attack,
            decay_s=decay,
            sustain=sustain,
            release_s=release,
            gate_s=gate,
        )

    return NotePatch(tone, takes=1 if pad else 2, finish=_sweep(rng, rate) if pad else None)


def _sweep(rng: np.random.Generator, rate: int) -> Callable[[Tensor], Tensor] | None:
    """Return a slowly moving filter for pads, or nothing."""
    if rng.random() < 0.6:
        return None
    center, depth = log_uniform(rng, 400, 3000), float(rng.uniform(0.5, 2.0))
    speed, phase = log_uniform(rng, 0.05, 1.0), float(rng.random())

    def finish(x: Tensor) -> Tensor:
        turn = 2 * torch.pi * (speed * time_axis(len(x), rate) + phase)
        curve = center * torch.exp2(depth * torch.sin(turn))
        return state_variable_filter(x, curve.clamp(60, 0.45 * rate), 1.2, sample_rate=rate)

    return finish


def _choir(name: str, rng: np.random.Generator, rate: int) -> Patch:
    """Voices of a choir that hold one vowel: they belong to the accompaniment."""
    formants = [log_uniform(rng, *span) for span in ((300, 850), (750, 2200), (2300, 3200))]
    breath = float(rng.uniform(0.0, 0.3))
    attack = float(rng.uniform(0.08, 0.4))

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        samples = int((gate + 0.8) * rate) + 1
        time = time_axis(samples, rate)
        table = wave_table(partials("saw", hz * 1.05, rate, limit=120))
        y = breath * noise(seeded, samples)
        for _ in range(2):
            turn = 2 * torch.pi * (float(seeded.uniform(4.5, 6)) * time + float(seeded.random()))
            pitch = hz * (1 + float(seeded.normal(0, 0.004)) + 0.004 * torch.sin(turn))
            y = y + table_tone(pitch, samples, rate, table, float(seeded.random()))
        return y * adsr(
            samples,
            sample_rate=rate,
            attack_s=attack,
            decay_s=1.0,
            sustain=1.0,
            release_s=0.2,
            gate_s=gate,
        )

    def finish(x: Tensor) -> Tensor:
        y = 0.15 * low_pass(x, 800, rate, 1)
        for index, hz in enumerate(formants):
            y = y + (-1) ** index * (1.0, 0.6, 0.3)[index] * resonance(x, hz, 5.0, rate)
        return y

    return NotePatch(tone, takes=2, finish=finish)


def _clavinet(name: str, rng: np.random.Generator, rate: int) -> Patch:
    pick, bright = float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.6, 1.0))
    wah = rng.random() < 0.5
    center, speed = log_uniform(rng, 600, 1500), float(rng.uniform(1, 5))

    def tone(hz: float, gate: float, seeded: np.random.Generator) -> Tensor:
        y = string_tone(
            seeded,
            hz,
            gate,
            rate,
            ring_s=0.015,
            decay_s=2.5,
            damping=0.05,
            brightness=bright,
            pick=pick,
        )
        return normalize(y)

    def finish(x: Tensor) -> Tensor:
        x = torch.tanh(1.5 * normalize(x))
        if not wah:
            return x
        turn = 2 * torch.pi * speed * time_axis(len(x), rate)
        curve = center * torch.exp2(torch.sin(turn))
        wet = state_variable_filter(
            x, curve.clamp(60, 0.4 * rate), 3.0, sample_rate=rate, kind="band_pass"
        )
        return 0.3 * x + wet

    return NotePatch(tone, finish=finish)


INSTRUMENTS: dict[str, Callable[[str, np.random.Generator, int], Patch]] = {
    **dict.fromkeys(
        (
            *("acoustic_guitar", "nylon_guitar", "clean_guitar", "crunch_guitar"),
            *("distorted_guitar", "muted_guitar", "banjo", "harp"),
        ),
        _guitar,
    ),
    **dict.fromkeys(("marimba", "vibraphone", "bell"), _mallet),
    **dict.fromkeys(("electric_piano", "fm_pad"), _fm_keys),
    **dict.fromkeys(("organ", "accordion"), _organ),
    **dict.fromkeys(
        ("synth", "pluck_synth", "supersaw", "strings", "brass", "synth_pad", "noise_pad"), _synth
    ),
    "piano": _piano,
    "clavinet": _clavinet,
    "choir": _choir,
}
"""Makers of the instruments that play note by note."""


def instrument_patch(name: str, rng: np.random.Generator, rate: int) -> Patch:
    """Return the instrument called ``name``, its details drawn from ``rng``."""
    return INSTRUMENTS[name](name, rng, rate)
