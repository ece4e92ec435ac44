"""Voices from speech: the WORLD vocoder takes a spoken text apart and sings it on new notes.

Morise, Yokomori and Ozawa (2016), *WORLD: a vocoder-based high-quality speech synthesis system for
real-time applications*.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.patches import LinePatch, glide_curve
from sonograd.data.songs.programs import speak, vocoder
from sonograd.data.songs.score import Note
from sonograd.data.songs.sound import band_pass, high_pass, noise, normalize
from sonograd.errors import SonogradError
from sonograd.functional import resample

__all__ = ["Utterance", "draw_utterance", "sing_speech"]

_WORDS = [
    "love",
    "night",
    "time",
    "heart",
    "never",
    "away",
    "fire",
    "light",
    "dream",
    "baby",
    "feel",
    "know",
    "want",
    "say",
    "run",
    "world",
    "day",
    "come",
    "back",
    "down",
    "home",
    "dance",
    "alone",
    "forever",
    "tonight",
    "rain",
    "sky",
    "eyes",
    "soul",
    "hold",
    "take",
    "give",
    "free",
    "tell",
    "why",
    "you",
    "me",
    "we",
    "they",
    "shine",
    "wild",
    "young",
    "road",
    "river",
    "summer",
    "crazy",
    "moon",
    "angel",
    "broken",
    "waiting",
    "calling",
    "falling",
    "higher",
    "stronger",
    "yesterday",
    "tomorrow",
    "believe",
    "remember",
    "only",
    "always",
    "something",
    "nothing",
    "la",
    "na",
    "oh",
    "yeah",
    "hey",
    "ooh",
    "ah",
    "street",
    "city",
    "mind",
    "change",
    "stay",
    "pretty",
    "simple",
    "secret",
    "paper",
    "glass",
]
_LANGUAGES = ("en-us", "en-us", "en-gb", "es", "fr-fr", "de", "it", "pt-br", "sv", "pl")
_VARIANTS = ("", *(f"+m{i}" for i in range(1, 8)), *(f"+f{i}" for i in range(1, 6)), "+croak")
_TRIES = 5
_FRAME_S = 0.005
_PER_SECOND = 200


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech taken apart, one row per 5 ms.

    Attributes:
        envelope: Power spectrum without its harmonics, ``(frames, bins)``.
        aperiodicity: Share of noise in it, 0 to 1, ``(frames, bins)``.
        voiced: Whether a frame has a pitch.
        sample_rate: Of the speech, in Hz.
        borders: Frames between which the syllables lie.
        peaks: The loudest voiced frame of each syllable.
    """

    envelope: np.ndarray
    aperiodicity: np.ndarray
    voiced: np.ndarray
    sample_rate: int
    borders: np.ndarray
    peaks: np.ndarray


def draw_utterance(rng: np.random.Generator) -> Utterance:
    """Let a random voice say random words, and take that apart.

    Raises:
        SonogradError: If several voices in a row say nothing that can be sung.
    """
    for _ in range(_TRIES):
        words = rng.integers(0, len(_WORDS), int(rng.integers(8, 15)))
        text = " ".join(_WORDS[int(i)] for i in words)
        voice = str(rng.choice(_LANGUAGES)) + str(rng.choice(_VARIANTS))
        speed, pitch = int(rng.integers(110, 190)), int(rng.integers(20, 80))
        utterance = analyze(*speak(text, voice, words_per_minute=speed, pitch=pitch))
        if utterance.voiced.any():
            return utterance
    raise SonogradError(
        f"espeak-ng said nothing that has a pitch, {_TRIES} times, last as {voice!r}; "
        "try: espeak-ng hello"
    )


def analyze(sound: Tensor, sample_rate: int) -> Utterance:
    """Find spectral envelope, noise, voicing and syllables of speech ``(samples,)``."""
    world = vocoder()
    x = sound.double().numpy()
    rough, times = world.dio(x, sample_rate, f0_floor=60.0, f0_ceil=500.0)
    pitch = world.stonemask(x, rough, times, sample_rate)
    envelope = world.cheaptrick(x, pitch, times, sample_rate)
    aperiodicity = world.d4c(x, pitch, times, sample_rate)
    energy = np.sqrt(envelope.sum(1))
    energy = energy / max(float(energy.max()), 1e-9)
    loud = np.convolve(energy * (pitch > 0), np.hanning(15) / np.hanning(15).sum(), "same")
    peaks, borders = _syllables(loud)
    return Utterance(envelope, aperiodicity, pitch > 0, sample_rate, borders, peaks)


def _syllables(loud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loudest frames of the syllables, and the quietest ones between them."""
    inside = loud[1:-1]
    tops = np.flatnonzero((inside >= loud[:-2]) & (inside > loud[2:]) & (inside > 0.08)) + 1
    kept: list[int] = []
    for top in tops:
        if kept and top - kept[-1] < 12:
            if loud[top] > loud[kept[-1]]:
                kept[-1] = int(top)
        else:
            kept.append(int(top))
    if not kept:
        kept = [len(loud) // 2]
    between = [a + int(np.argmin(loud[a:b])) for a, b in pairwise(kept)]
    ends = [max(kept[0] - 18, 0), *between, min(kept[-1] + 18, len(loud) - 1)]
    return np.array(kept), np.array(ends)


def sing_speech(
    notes: tuple[Note, ...],
    utterance: Utterance,
    rng: np.random.Generator,
    rate: int,
    samples: int,
    *,
    size: float,
    vibrato_semitones: float,
) -> Tensor:
    """Sing notes with the syllables of an utterance.

    Args:
        notes: Not overlapping.
        utterance: Whose syllables, one per note, vowels stretched to the notes.
        rng: Draws the irregularities.
        rate: Sample rate in Hz.
        samples: Length.
        size: Factor of the formants, above 1 for smaller heads.
        vibrato_semitones: Depth of the vibrato.

    Returns:
        ``(samples,)``, dry.
    """
    if not notes:
        return torch.zeros(samples)
    frames = samples * _PER_SECOND // rate + 2
    line = LinePatch(
        _unused,
        glide_s=float(rng.uniform(0.015, 0.07)),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        vibrato_semitones=vibrato_semitones,
        attack_s=0.008,
        release_s=0.03,
    )
    pitch, level = glide_curve(_detuned(notes, rng), rng, line, _PER_SECOND, frames)
    pitch = pitch + 0.1 * np.convolve(rng.standard_normal(frames + 19), np.ones(20) / 20, "valid")
    index = _read_positions(notes, utterance, rng, frames)
    warped = _Warped(utterance, size)
    y = torch.zeros(samples)
    active = np.convolve((level > 1e-3) & (index >= 0), np.ones(9), "same") > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False]))))
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        part = slice(first, last + 1)
        voice = warped.synthesize(index[part], pitch[part], level[part] * (index[part] >= 0), rate)
        begin = round(first * _FRAME_S * rate)
        count = min(len(voice), samples - begin)
        if count > 0:
            y[begin : begin + count] += voice[:count]
    return _with_air(y, rng, rate, utterance.sample_rate)


def _detuned(notes: tuple[Note, ...], rng: np.random.Generator) -> list[Note]:
    return [replace(note, pitch=note.pitch + float(rng.normal(0.0, 0.12))) for note in notes]


def _unused(hz: Tensor, level: Tensor, rng: np.random.Generator) -> Tensor:
    """Stand in for the source of a line whose curves alone are needed."""
    return hz * level


def _read_positions(
    notes: tuple[Note, ...],
    utterance: Utterance,
    rng: np.random.Generator,
    frames: int,
) -> np.ndarray:
    """Return which frame of the speech each frame of the song reads; -1 in rests."""
    index = np.full(frames, -1.0)
    count = len(utterance.peaks)
    syllable = int(rng.integers(count))
    for note in notes:
        begin, length = round(note.start * _PER_SECOND), round(note.duration * _PER_SECOND)
        low, top, high = (
            utterance.borders[syllable],
            utterance.peaks[syllable],
            utterance.borders[syllable + 1],
        )
        syllable = (syllable + 1) % count
        if length < 6:
            continue
        rise = max(min(int(top - low), int(0.45 * length)), 1)
        fall = max(min(int(high - top), int(0.3 * length)), 1)
        hold = length - rise - fall
        wander = np.cumsum(rng.normal(0.0, 0.15, hold)).clip(-3, 3)
        path = np.concatenate(
            [
                np.linspace(low, top - 2, rise),
                top - 2 + wander + np.linspace(0, 4, hold),
                np.linspace(top + 2, high, fall),
            ]
        ).clip(0, len(utterance.voiced) - 1)
        skip = max(-begin, 0)
        room = max(min(length, frames - begin), 0)
        if room > skip:
            index[begin + skip : begin + room] = path[skip:room]
    return index


class _Warped:
    """An utterance with its formants moved, ready to be read in any order."""

    def __init__(self, utterance: Utterance, size: float) -> None:
        bins = utterance.envelope.shape[1]
        place = np.minimum(np.arange(bins) / size, bins - 1)
        low = np.minimum(place.astype(int), bins - 2)
        part = place - low
        self._utterance = utterance
        self._envelope, self._noise = (
            x[:, low] * (1 - part) + x[:, low + 1] * part
            for x in (utterance.envelope, utterance.aperiodicity)
        )

    def synthesize(
        self, index: np.ndarray, pitch: np.ndarray, level: np.ndarray, rate: int
    ) -> Tensor:
        """Return sound at ``rate`` of frames that follow each other."""
        rows = np.round(index).clip(0).astype(int)
        spoken = self._utterance.sample_rate
        hz = (440.0 * 2.0 ** ((pitch - 69.0) / 12.0)).clip(40.0, 0.2 * spoken)
        voice = vocoder().synthesize(
            np.where(self._utterance.voiced[rows] & (level > 0), hz, 0.0),
            self._envelope[rows] * np.square(level)[:, None] + 1e-12,
            np.ascontiguousarray(self._noise[rows]),
            spoken,
            1000 * _FRAME_S,
        )
        return resample(torch.from_numpy(voice).float(), from_rate=spoken, to_rate=rate)


def _with_air(x: Tensor, rng: np.random.Generator, rate: int, spoken: int) -> Tensor:
    """Add what lies above the band of the speech: noise, and harmonics of its highest octave."""
    noisy, bright = float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.0, 0.5))
    top = spoken / 2
    if rate <= spoken or not bool(x.any()):
        return x
    high = band_pass(x, 0.4 * top, 0.86 * top, rate)
    air = high_pass(high.abs() * noise(rng, len(x)), 0.77 * top, rate)
    harmonics = high_pass(4 * high * normalize(high).abs(), 0.82 * top, rate)
    return x + noisy * air + bright * harmonics
