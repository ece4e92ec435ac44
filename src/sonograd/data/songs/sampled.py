"""The second source of songs: instruments of a General MIDI SoundFont, voices from speech.

It needs FluidSynth, a SoundFont, eSpeak NG and pyworld when songs are made; nothing of them is
part of this package. A share of the parts still comes from synthesis, so that the two overlap.
"""

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.amps import guitar_amp
from sonograd.data.songs.midi import MidiFile
from sonograd.data.songs.programs import check_programs, play_midi
from sonograd.data.songs.render import dry_parts, position
from sonograd.data.songs.score import Note, Part, Score, stream
from sonograd.data.songs.sound import filtered, generator, log_uniform, normalize, pan, random_eq
from sonograd.data.songs.speech import draw_utterance, sing_speech
from sonograd.data.songs.vocals import place_voice, treatment
from sonograd.functional import fft_convolve, noise_reverb_impulse

__all__ = ["check_programs", "sampled_parts"]

_TAIL_S = 2.0
_BASSES = (32, 33, 33, 33, 34, 34, 35, 36, 37, 38, 39, 87)
_PROGRAMS: dict[str, tuple[int, ...]] = {
    "pad": (*range(16, 24), *range(48, 55), *range(88, 96), 44),
    "strum": (24, 25, 25, 25, 26, 27, 27, 46, 15, 105),
    "power": (29, 30, 29, 30, 30, 81, 62),
    "comp": (0, 0, 1, 2, 3, 4, 4, 5, 5, 6, 7, 16, 17, 18, 21, 24, 25, 26, 27, 11),
    "arp": (0, 4, 8, 9, 10, 11, 12, 13, 14, 24, 25, 26, 27, 45, 46, 80, 81, 88, 98, 104, 106, 108),
    "lead": (*range(56, 80), 80, 81, 84, 87, 40, 41, 42, 22, 21, 29, 30, 27, 53, 54, 85, 110, 111),
    "riff": (27, 28, 29, 30, 30, 61, 62, 63, 81, 7, 4),
    "stab": (61, 62, 63, 48, 50, 55, 0, 1, 17, 18, 4, 28, 81, 90),
    "scratch": (27, 28, 7, 26),
    "skank": (27, 26, 0, 16, 17),
}
_KITS = (0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 16, 16, 24, 25, 32, 40)
_KEYS: dict[str, tuple[int, ...]] = {
    "kick": (36, 35),
    "snare": (38, 40),
    "rim": (37,),
    "clap": (39,),
    "hat": (42, 44),
    "open_hat": (46,),
    "ride": (51, 53, 59),
    "crash": (49, 57, 55, 52),
    "tom_high": (50, 48),
    "tom_mid": (47, 45),
    "tom_low": (43, 41),
    "shaker": (70, 82, 69),
    "tambourine": (54,),
    "conga": (62, 63, 64),
    "cowbell": (56,),
    "perc": (60, 61, 65, 66, 75, 76, 77),
    "brush": (38, 40),
}
_GROUPS = (
    ("kick",),
    ("snare", "rim", "clap", "brush"),
    ("hat", "open_hat", "ride", "shaker", "tambourine", "crash"),
    ("tom_high", "tom_mid", "tom_low", "conga", "cowbell", "perc"),
)
_GROUP_LEVELS_DB = (2.0, 0.0, -5.0, -1.0)
_MOST = 1.2  # highest retuning of a drum


def sampled_parts(
    score: Score, stem: str, sample_rate: int, samples: int
) -> list[tuple[str, Tensor]]:
    """Return (name, sound) of every part of a stem, as :func:`~.render.dry_parts` does."""
    share = {"drums": 0.2, "bass": 0.3, "other": 0.0, "vocals": 0.2}[stem]
    if stream(score.seed, "sampled", stem).random() < share:
        return dry_parts(score, stem, sample_rate, samples)
    if stem == "drums":
        return [("drums", _drums(score, sample_rate, samples))] if score.drums else []
    if stem == "vocals":
        return _voices(score, sample_rate, samples)
    return _instruments(score, stem, sample_rate, samples)


def _segments(sound: Tensor, count: int, seconds: float, rate: int, samples: int) -> list[Tensor]:
    """Cut one long rendering into its parts."""
    found = []
    for index in range(count):
        start = round(index * (seconds + _TAIL_S) * rate)
        piece = sound[:, start : start + samples]
        found.append(torch.nn.functional.pad(piece, (0, samples - piece.shape[-1])))
    return found


def _drums(score: Score, rate: int, samples: int) -> Tensor:
    """Play the kit in groups, each with its own tuning, tone and level."""
    rng = stream(score.seed, "sampled kit")
    kit = int(rng.choice(_KITS))
    keys = {drum: int(rng.choice(options)) for drum, options in _KEYS.items()}
    tunings = [min(2 ** (float(rng.normal(0.0, 1.8)) / 12), _MOST) for _ in _GROUPS]
    groups = [[hit for hit in score.drums if hit.drum in group] for group in _GROUPS]
    midi = MidiFile()
    stretched = score.seconds * _MOST
    start = 0.0
    for group, tuning in zip(groups, tunings, strict=True):
        if not group:
            continue
        midi.silence(start, 9)
        midi.program(start, 9, kit)
        for hit in group:
            when = start + hit.start * tuning
            midi.note(when, 0.2, 9, keys[hit.drum], round(25 + 100 * hit.velocity))
        start += stretched + _TAIL_S
    whole = play_midi(midi.to_bytes(start), rate, seconds=start)
    played = [
        (tuning, level)
        for group, tuning, level in zip(groups, tunings, _GROUP_LEVELS_DB, strict=True)
        if group
    ]
    pieces = _segments(whole, len(played), stretched, rate, round(stretched * rate) + 2)
    out = torch.zeros(2, samples)
    for piece, (tuning, level) in zip(pieces, played, strict=True):
        sound = _retuned(piece, tuning, samples)
        sound = filtered(sound, random_eq(rng, rate, peaks=2, amount_db=4.0))
        out += sound * 10 ** ((level + float(rng.normal(0.0, 3.0))) / 20)
    middle = out.mean(0, keepdim=True)
    out = middle + float(rng.uniform(0.2, 1.3)) * (out - middle)
    if rng.random() < 0.7:
        impulse = noise_reverb_impulse(
            log_uniform(rng, 0.15, 1.3),
            sample_rate=rate,
            generator=generator(rng),
            low_cut_hz=float(rng.uniform(60, 300)),
            high_cut_hz=min(log_uniform(rng, 2000, 10000), 0.45 * rate),
        )
        out = out + float(rng.uniform(0.0, 0.4)) * fft_convolve(out, impulse, "causal")
    return out


def _retuned(x: Tensor, ratio: float, samples: int) -> Tensor:
    """Play ``x`` faster by ``ratio`` and keep ``samples`` of it."""
    place = torch.arange(samples, dtype=torch.float64) * ratio
    index = place.long().clamp(max=x.shape[-1] - 2)
    part = (place - index).clamp(0.0, 1.0).to(x.dtype)
    return x[:, index] * (1 - part) + x[:, index + 1] * part


def _instruments(score: Score, stem: str, rate: int, samples: int) -> list[tuple[str, Tensor]]:
    """Play the parts of a stem one after the other in a single file."""
    own = {
        part.name
        for part in score.of_stem(stem)
        if stem == "other" and stream(score.seed, "sampled part", part.name).random() < 0.2
    }
    synthesized = dict(dry_parts(score, stem, rate, samples, only=own) if own else ())
    parts = [part for part in score.of_stem(stem) if part.notes and part.name not in own]
    if not parts:
        return list(synthesized.items())
    midi = MidiFile()
    programs: list[int] = []
    for index, part in enumerate(parts):
        rng = stream(score.seed, "program", part.name)
        options = _BASSES if stem == "bass" else _PROGRAMS.get(part.role, _PROGRAMS["comp"])
        programs.append(int(rng.choice(options)))
        _write_part(midi, part, programs[-1], index, rng, index * (score.seconds + _TAIL_S))
    length = len(parts) * (score.seconds + _TAIL_S)
    whole = play_midi(midi.to_bytes(length), rate, seconds=length)
    pieces = _segments(whole, len(parts), score.seconds, rate, samples)
    found = synthesized
    for part, program, piece in zip(parts, programs, pieces, strict=True):
        found[part.name] = _amplified(score, part, program, piece, rate)
    return list(found.items())


def _write_part(
    midi: MidiFile, part: Part, program: int, index: int, rng: np.random.Generator, start: float
) -> None:
    channel = index % 9
    midi.silence(start, channel)
    midi.bend(start, channel, 0.0)
    midi.program(start, channel, program)
    expressive = part.role == "lead" and rng.random() < 0.7
    depth, speed = float(rng.uniform(0.1, 0.6)), float(rng.uniform(4.5, 6.8))
    slide = float(rng.uniform(0.0, 2.0)) if rng.random() < 0.5 else 0.0
    for note in part.notes:
        begin = max(note.start, 0.0)
        length = note.duration - (begin - note.start)
        velocity = round(30 + 90 * note.velocity)
        midi.note(start + begin, length, channel, round(note.pitch), velocity)
        if expressive:
            for step in range(int(length / 0.02)):
                time = step * 0.02
                bend = depth * min(time / 0.3, 1.0) * np.sin(2 * np.pi * speed * time)
                bend -= slide * np.exp(-time / 0.04)
                midi.bend(start + begin + time, channel, float(bend))


def _amplified(score: Score, part: Part, program: int, x: Tensor, rate: int) -> Tensor:
    """Send guitars through an amplifier, and place the part."""
    rng = stream(score.seed, "sampled place", part.name)
    middle = x.mean(0)
    where = position(score, part)
    if part.stem == "bass":
        if rng.random() < 0.4:
            middle = torch.tanh(normalize(middle) * log_uniform(rng, 1.0, 6.0))
        return pan(middle, where)
    if program in range(26, 31) and rng.random() < 0.6:
        name = "distorted_guitar" if program in {29, 30} else "clean_guitar"
        return pan(guitar_amp(name, rng, rate)(middle), where)
    return pan(middle, where) + float(rng.uniform(0.0, 1.4)) * (x - middle)


def _voices(score: Score, rate: int, samples: int) -> list[tuple[str, Tensor]]:
    """Sing every voice with the syllables of spoken words."""
    parts = score.of_stem("vocals")
    if not parts:
        return []
    rng = stream(score.seed, "speech")
    utterance = draw_utterance(rng)
    size = float(rng.uniform(0.85, 1.2))
    vibrato = float(rng.choice([0.03, rng.uniform(0.1, 0.6)]))
    found = []
    for part in parts:
        take = stream(score.seed, "take", part.name)
        lines: list[tuple[Note, ...]] = [part.notes]
        if part.name == "backing":
            lines = [part.notes[index::3] for index in range(3)]
        sung = torch.zeros(samples)
        for line in lines:
            sung += sing_speech(
                line,
                utterance,
                take,
                rate,
                samples,
                size=size * float(take.uniform(0.97, 1.03)),
                vibrato_semitones=vibrato,
            )
        if part.name != "backing":
            sung = treatment(score).apply(sung, rate)
        found.append((part.name, place_voice(part, sung, take)))
    return found
