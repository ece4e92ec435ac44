"""A singing voice: syllables become curves of pitch, loudness, noise and formants, then sound."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.score import Note
from sonograd.data.songs.sound import aired_pulses, log_uniform, noise
from sonograd.functional import formant_response, time_varying_filter

__all__ = ["Singer", "draw_singer", "sing_line"]

# Formants in Hz of an adult male, after the classic vowel measurements.
_VOWELS: dict[str, tuple[float, ...]] = {
    "a": (760, 1180, 2540, 3500, 4600),
    "e": (420, 1950, 2600, 3500, 4700),
    "i": (290, 2250, 3000, 3600, 4800),
    "o": (440, 820, 2500, 3400, 4500),
    "u": (320, 750, 2350, 3350, 4500),
    "ae": (670, 1720, 2450, 3500, 4600),
    "uh": (620, 1200, 2500, 3450, 4550),
    "er": (480, 1320, 1720, 3300, 4500),
    "ih": (400, 1980, 2560, 3500, 4650),
    "aw": (580, 880, 2500, 3400, 4500),
}
_DIPHTHONGS = {"ai": ("a", "ih"), "ei": ("e", "i"), "ou": ("o", "u")}
_HIGHEST = (6100.0, 7800.0)


@dataclass(frozen=True, slots=True)
class _Sound:
    """A consonant: noise band, how long, how much voice, closure before, formant target."""

    low_hz: float = 0.0
    high_hz: float = 0.0
    seconds: float = 0.06
    noise: float = 0.0
    voice: float = 0.0
    closure: float = 0.0
    target: tuple[float, float] = (0.0, 0.0)


_CONSONANTS: dict[str, _Sound] = {
    "s": _Sound(4800, 11000, 0.11, 1.0),
    "sh": _Sound(2200, 7000, 0.11, 1.0),
    "ch": _Sound(2400, 7500, 0.07, 1.0, closure=0.03),
    "j": _Sound(2200, 6500, 0.05, 0.6, 0.4, 0.02),
    "f": _Sound(1500, 11000, 0.09, 0.35),
    "th": _Sound(1800, 9000, 0.08, 0.25),
    "h": _Sound(500, 5000, 0.07, 0.4),
    "z": _Sound(4500, 10000, 0.08, 0.6, 0.4),
    "v": _Sound(1500, 8000, 0.06, 0.2, 0.5, target=(300, 1100)),
    "t": _Sound(3200, 9500, 0.035, 1.0, closure=0.045),
    "k": _Sound(1300, 4000, 0.04, 0.9, closure=0.045),
    "p": _Sound(400, 3000, 0.025, 0.7, closure=0.045),
    "d": _Sound(2800, 7000, 0.02, 0.6, 0.3, 0.03, (300, 1800)),
    "g": _Sound(1200, 3500, 0.02, 0.6, 0.3, 0.03, (300, 2000)),
    "b": _Sound(300, 2000, 0.015, 0.5, 0.3, 0.03, (250, 850)),
    "m": _Sound(seconds=0.07, voice=0.45, target=(260, 1050)),
    "n": _Sound(seconds=0.06, voice=0.45, target=(280, 1550)),
    "l": _Sound(seconds=0.06, voice=0.6, target=(360, 1150)),
    "r": _Sound(seconds=0.07, voice=0.6, target=(420, 1250)),
    "w": _Sound(seconds=0.07, voice=0.6, target=(300, 650)),
    "y": _Sound(seconds=0.06, voice=0.6, target=(280, 2300)),
}
_CLUSTERS = {"st": ("s", "t"), "tr": ("t", "r"), "kl": ("k", "l"), "br": ("b", "r")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Singer:
    """What stays the same in one voice."""

    size: float
    bandwidth: float
    gains: tuple[float, ...]
    tilt_hz: float
    aspiration: float
    jitter: float
    shimmer: float
    sibilance: float
    vibrato_hz: float
    vibrato_semitones: float
    glide_s: float
    drift_semitones: float
    rough: float
    breaths: float
    speech: float
    air_hz: float


def draw_singer(rng: np.random.Generator, singing: str, register: str) -> Singer:
    """Draw a voice for a way of singing and a range."""
    low = register in {"low", "middle"}
    size = float(rng.uniform(0.9, 1.06)) if low else float(rng.uniform(1.03, 1.24))
    bright = {
        "breathy": (100, 400),
        "shout": (500, 2500),
        "belt": (350, 1800),
        "growl": (400, 2000),
    }
    tuned = singing in {"tuned", "robot", "chops"}
    rough = {"growl": (0.5, 1.0), "shout": (0.1, 0.6)}.get(singing, (0.0, 0.06))
    vibrato = 0.0 if tuned or singing == "rap" else float(rng.choice([0.05, rng.uniform(0.1, 0.8)]))
    return Singer(
        size=size * (float(rng.uniform(0.8, 1.25)) if rng.random() < 0.1 else 1.0),
        bandwidth=float(rng.uniform(0.7, 1.6)),
        gains=tuple(
            float(x)
            for x in np.array([1, 0.9, 0.7, 0.7, 0.5, 0.35, 0.25]) * rng.uniform(0.5, 1.6, 7)
        ),
        tilt_hz=log_uniform(rng, *bright.get(singing, (120, 1200))),
        aspiration=log_uniform(rng, 0.15, 0.8)
        if singing == "breathy"
        else log_uniform(rng, 0.003, 0.06),
        jitter=float(rng.uniform(0.001, 0.01)) * (3 if singing == "growl" else 1),
        shimmer=float(rng.uniform(0.01, 0.08)),
        sibilance=log_uniform(rng, 0.25, 1.6),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        vibrato_semitones=vibrato,
        glide_s=0.008 if tuned else float(rng.uniform(0.02, 0.08)),
        drift_semitones=0.0 if tuned else float(rng.uniform(0.03, 0.3)),
        rough=float(rng.uniform(*rough)),
        breaths=float(rng.uniform(0.0, 0.7)),
        speech={"rap": 1.0, "growl": 0.5, "shout": 0.3}.get(singing, 0.0),
        air_hz=log_uniform(rng, 4000, 16000),
    )


@dataclass(slots=True)
class _Curves:
    """Everything that changes over time, one value per frame."""

    pitch: np.ndarray
    voiced: np.ndarray
    noise: np.ndarray
    noise_low: np.ndarray
    noise_high: np.ndarray
    formants: np.ndarray


def sing_line(
    notes: tuple[Note, ...], singer: Singer, rng: np.random.Generator, rate: int, samples: int
) -> Tensor:
    """Sing one line.

    Args:
        notes: Not overlapping, with syllables.
        singer: The voice.
        rng: Takes its small irregularities from here.
        rate: Sample rate in Hz.
        samples: Length.

    Returns:
        ``(samples,)``, dry.
    """
    hop = max(rate // 172, 16)
    frames = samples // hop + 2
    curves = _draw_curves(notes, singer, rng, rate / hop, frames)
    out = torch.zeros(samples)
    for first, last in _stretches(curves, frames):
        begin, end = first * hop, min(last * hop, samples)
        if end > begin:
            part = _Curves(*(getattr(curves, name)[first : last + 1] for name in _Curves.__slots__))
            out[begin:end] = _sound(part, singer, rng, rate, hop, end - begin)
    return out


def _stretches(curves: _Curves, frames: int) -> list[tuple[int, int]]:
    """Return the stretches in which something sounds, in frames: rests cost nothing."""
    active = (curves.voiced > 1e-3) | (curves.noise > 1e-3)
    grown = np.convolve(active, np.ones(9), "same") > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], grown, [False]))))
    return [(int(a), int(min(b, frames - 1))) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _draw_curves(
    notes: tuple[Note, ...], singer: Singer, rng: np.random.Generator, rate: float, frames: int
) -> _Curves:
    """Turn notes and syllables into curves at ``rate`` frames per second."""
    rest = np.array([*_VOWELS["uh"], *_HIGHEST])
    curves = _Curves(
        np.full(frames, notes[0].pitch if notes else 60.0),
        np.zeros(frames),
        np.zeros(frames),
        np.full(frames, 2000.0),
        np.full(frames, 8000.0),
        np.tile(rest, (frames, 1)),
    )
    before: Note | None = None
    for note in notes:
        connected = before is not None and note.start - before.start - before.duration < 0.06
        _draw_note(curves, note, before if connected else None, singer, rng, rate, frames)
        gap = note.start - (before.start + before.duration) if before else 1.0
        if gap > 0.3 and rng.random() < singer.breaths:
            _draw_breath(curves, note.start, min(0.7 * gap, 0.45), rng, rate, frames)
        before = note
    width = max(round(0.035 * rate), 3)
    kernel = np.hanning(width + 2)[1:-1]
    kernel /= kernel.sum()
    for column in range(curves.formants.shape[1]):
        padded = np.pad(curves.formants[:, column], width // 2, mode="edge")
        curves.formants[:, column] = np.convolve(padded, kernel, "same")[
            width // 2 : width // 2 + frames
        ]
    curves.formants *= singer.size
    return curves


def _draw_note(
    curves: _Curves,
    note: Note,
    before: Note | None,
    singer: Singer,
    rng: np.random.Generator,
    rate: float,
    frames: int,
) -> None:
    begin, end = round(note.start * rate), round((note.start + note.duration) * rate)
    begin, end = max(begin, 0), min(end, frames)
    if end - begin < 3:
        return
    time = np.arange(end - begin) / rate
    curves.pitch[begin:end] = _pitch(note, before, singer, rng, time)
    onset, vowel, coda = (note.syllable or "-a-").split("-")
    # Louder at the start of a phrase; fades at its end.
    rise = (
        0.012
        if onset in {"t", "k", "p", "d", "b", "g", "ch", "j"}
        else float(rng.uniform(0.015, 0.06))
    )
    level = np.minimum(1.0, (time + 1 / rate) / rise)
    level *= np.minimum(1.0, (note.duration - time).clip(0.0) / float(rng.uniform(0.03, 0.12)))
    curves.voiced[begin:end] = np.maximum(curves.voiced[begin:end], note.velocity * level)
    first, second = _DIPHTHONGS.get(vowel, (vowel, vowel))
    blend = np.linspace(0.0, 1.0, end - begin)[:, None] ** 2
    start, stop = (np.array([*_VOWELS[name], *_HIGHEST]) for name in (first, second))
    curves.formants[begin:end] = start * (1 - blend) + stop * blend
    position = begin
    budget = 0.45 * note.duration
    for sound in _CLUSTERS.get(onset, (onset,)):
        if sound in _CONSONANTS and budget > 0.02:
            used = _draw_consonant(
                curves, sound, position, budget, note.velocity, rng, rate, frames
            )
            position += max(round(used * rate), 1)
            budget -= used
    if coda in _CONSONANTS and note.duration > 0.15:
        length = _CONSONANTS[coda].seconds + _CONSONANTS[coda].closure
        place = end - max(round(min(length, 0.3 * note.duration) * rate), 1)
        _draw_consonant(
            curves, coda, place, 0.3 * note.duration, 0.8 * note.velocity, rng, rate, frames
        )


def _pitch(
    note: Note, before: Note | None, singer: Singer, rng: np.random.Generator, time: np.ndarray
) -> np.ndarray:
    start = before.pitch if before else note.pitch - float(rng.uniform(0.0, 2.5))
    if singer.glide_s < 0.01:
        start = before.pitch if before else note.pitch
    glide = singer.glide_s * float(rng.uniform(0.6, 1.5))
    onset = np.clip((time - float(rng.uniform(0.08, 0.4))) / 0.3, 0.0, 1.0)
    depth = singer.vibrato_semitones * float(rng.uniform(0.4, 1.3)) * onset
    drift = np.cumsum(rng.standard_normal(len(time))) / np.sqrt(len(time)) * singer.drift_semitones
    pitch = note.pitch + (start - note.pitch) * np.exp(-time / glide) + drift
    pitch = pitch + depth * np.sin(2 * np.pi * (singer.vibrato_hz * time + float(rng.random())))
    if singer.speech:
        fall = float(rng.normal(-3.0, 2.5)) * time / max(note.duration, 0.1)
        pitch = pitch + singer.speech * (fall + float(rng.normal(0.0, 1.8)))
    result: np.ndarray = pitch
    return result


def _draw_consonant(
    curves: _Curves,
    name: str,
    begin: int,
    budget: float,
    velocity: float,
    rng: np.random.Generator,
    rate: float,
    frames: int,
) -> float:
    """Write a consonant from frame ``begin`` on and return how many seconds it took."""
    sound = _CONSONANTS[name]
    stretch = float(rng.uniform(0.7, 1.4))
    closure, length = sound.closure * stretch, sound.seconds * stretch
    scale = min(1.0, budget / (closure + length))
    closure, length = closure * scale, length * scale
    opening = min(begin + round(closure * rate), frames)
    end = min(max(opening + round(length * rate), opening + 1), frames)
    begin = max(begin, 0)
    curves.voiced[begin:opening] *= 0.02 + 0.3 * sound.voice
    curves.noise[begin:opening] = 0.0
    curves.voiced[opening:end] *= sound.voice
    if end > opening >= 0 and sound.noise:
        shape = np.sin(np.pi * (np.arange(end - opening) + 0.7) / (end - opening + 0.4)) ** 0.6
        if sound.closure:
            shape = np.exp(-np.arange(end - opening) / (0.4 * (end - opening) + 0.3))
        level = sound.noise * float(rng.uniform(0.5, 1.2)) * (0.4 + 0.6 * velocity)
        curves.noise[opening:end] = level * shape.clip(0.0)
        curves.noise_low[begin:end] = sound.low_hz * float(rng.uniform(0.85, 1.2))
        curves.noise_high[begin:end] = sound.high_hz
    if sound.target[0] and end > begin:
        curves.formants[begin:end, 0] = sound.target[0]
        curves.formants[begin:end, 1] = sound.target[1]
    return closure + length


def _draw_breath(
    curves: _Curves,
    until: float,
    seconds: float,
    rng: np.random.Generator,
    rate: float,
    frames: int,
) -> None:
    end = min(round((until - 0.03) * rate), frames)
    begin = max(end - round(seconds * rate), 0)
    if end - begin < 4:
        return
    shape = np.hanning(end - begin) * float(rng.uniform(0.05, 0.2))
    curves.noise[begin:end] = np.maximum(curves.noise[begin:end], shape)
    curves.noise_low[begin:end] = 700.0
    curves.noise_high[begin:end] = 6500.0


def _expand(curve: np.ndarray, hop: int, samples: int) -> Tensor:
    """Interpolate a curve of frames to samples."""
    low = torch.from_numpy(np.append(curve, curve[-1]).astype(np.float32))
    ramp = torch.arange(hop, dtype=torch.float32) / hop
    fine = (low[:-1, None] + (low[1:] - low[:-1])[:, None] * ramp).reshape(-1)
    if len(fine) < samples:
        fine = torch.nn.functional.pad(fine, (0, samples - len(fine)))
    return fine[:samples]


def _sound(
    curves: _Curves, singer: Singer, rng: np.random.Generator, rate: int, hop: int, samples: int
) -> Tensor:
    """Turn curves into sound: pulses and noise, each through its own moving filter."""
    n_fft = 1 << max(4 * hop - 1, 64).bit_length()
    bins = torch.linspace(0.0, rate / 2, n_fft // 2 + 1)
    hz = 440.0 * torch.exp2((_expand(curves.pitch, hop, samples) - 69.0) / 12.0)
    hz = hz.clamp(40.0, 0.2 * rate)
    periods = samples // max(rate // 400, 1) + 2
    wander = torch.from_numpy(rng.standard_normal(periods).astype(np.float32))
    slow = _expand(wander.numpy(), max(rate // 400, 1), samples)
    hz = hz * (1 + singer.jitter * slow)
    air = noise(rng, samples)
    source = aired_pulses(hz, air, singer.air_hz, rate)
    source = source * (1 + singer.shimmer * slow)
    if singer.rough:
        half = torch.sin(torch.pi * torch.cumsum(hz.double() / rate, 0)).float()
        source = source * (1 + singer.rough * torch.sign(half) * (0.6 + 0.4 * slow))
    formants = torch.from_numpy(curves.formants.astype(np.float32))
    widths = (60.0 + 0.05 * formants) * singer.bandwidth
    keep = int(np.sum(np.array([*_VOWELS["a"], *_HIGHEST]) * singer.size < 0.45 * rate)) or 1
    gains = torch.tensor(singer.gains[:keep]).expand(len(formants), keep)
    tract = formant_response(bins, formants[:, :keep], widths[:, :keep], gains)
    tilt = 1.0 / torch.sqrt(1.0 + (bins / singer.tilt_hz).square())
    voiced = _expand(curves.voiced, hop, samples)
    breathy = air * voiced * (singer.aspiration * (0.15 + 0.5 * singer.rough))
    excitation = source * voiced + _brighten(breathy)
    y = time_varying_filter(excitation, tract * tilt, hop_length=hop)
    low = torch.from_numpy(curves.noise_low.astype(np.float32))[:, None]
    high = torch.from_numpy(curves.noise_high.astype(np.float32))[:, None]
    band = 1.0 / (1.0 + (low / bins.clamp_min(1.0)) ** 6) / (1.0 + (bins / high) ** 4)
    hiss = air * _expand(curves.noise, hop, samples)
    return 6.0 * y + 0.16 * singer.sibilance * time_varying_filter(hiss, band, hop_length=hop)


def _brighten(x: Tensor) -> Tensor:
    """Take the first difference: breath is brighter than the voice it accompanies."""
    return torch.nn.functional.pad(x[1:] - 0.7 * x[:-1], (1, 0)) if len(x) > 1 else x
