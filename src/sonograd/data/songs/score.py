"""What a song is before it sounds: notes, hits, parts and sections, all in seconds."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["STEMS", "Hit", "Note", "Part", "Score", "Section", "draw", "stream"]

STEMS = ("drums", "bass", "other", "vocals")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random stream that belongs to ``names`` within the song ``seed``.

    Each part of a song draws from its own stream, so that a change in one leaves the others alone.
    """
    keys = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *keys]))


def draw(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Return one key of ``weights``, with probability proportional to its value."""
    names = list(weights)
    values = np.array([weights[name] for name in names], dtype=np.float64)
    return names[int(rng.choice(len(names), p=values / values.sum()))]


@dataclass(frozen=True, slots=True)
class Note:
    """One note.

    Attributes:
        start: Onset in seconds from the beginning of the song; may lie before it.
        duration: Length in seconds, release not counted.
        pitch: MIDI note number, fractions allowed.
        velocity: Loudness, 0 to 1.
        syllable: What a voice sings, as ``onset-vowel-coda``; empty for instruments.
    """

    start: float
    duration: float
    pitch: float
    velocity: float
    syllable: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """One stroke on a drum: onset in seconds, the drum's name, loudness 0 to 1."""

    start: float
    drum: str
    velocity: float


@dataclass(frozen=True, slots=True)
class Part:
    """The notes of one player.

    Attributes:
        name: Unique within the song; also names its random stream.
        stem: The stem it sounds in.
        role: What it does (``bass``, ``pad``, ``lead``, ...).
        instrument: The family of sounds it is played on.
        notes: In order of onset.
    """

    name: str
    stem: str
    role: str
    instrument: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of the form.

    Attributes:
        name: ``intro``, ``verse``, ``chorus``, ...
        first_bar: Where it starts, in bars.
        bars: How long it is.
        chords: Scale degrees of its progression, one per chord.
        chord_beats: Beats each chord lasts.
        drums: 0 silent, 1 hats only, 2 sparse, 3 the full beat.
        bass: Whether the bass plays.
        others: Names of the accompanying parts that play.
        vocals: Whether there is singing.
        energy: 0 to 1.
    """

    name: str
    first_bar: int
    bars: int
    chords: tuple[int, ...]
    chord_beats: int
    drums: int
    bass: bool
    others: tuple[str, ...]
    vocals: bool
    energy: float


@dataclass(frozen=True, slots=True)
class Score:
    """A whole song, before any sound.

    Attributes:
        seed: What it was drawn from.
        seconds: Its length.
        genre: One of :data:`~sonograd.data.songs.GENRES`.
        tempo_bpm: Beats per minute.
        swing: How late off-beats come, as a share of half a beat; 0 is straight.
        key: Pitch class of the tonic, 0 is C.
        scale: ``major``, ``minor``, ``dorian``, ...
        offset_seconds: How far into its first section the song starts.
        sections: The form.
        kit: ``acoustic`` or ``electronic``.
        drums: Every stroke.
        parts: Bass, accompaniment and voices.
    """

    seed: int
    seconds: float
    genre: str
    tempo_bpm: float
    swing: float
    key: int
    scale: str
    offset_seconds: float
    kit: str
    sections: tuple[Section, ...] = field(default=())
    drums: tuple[Hit, ...] = field(default=())
    parts: tuple[Part, ...] = field(default=())

    def of_stem(self, stem: str) -> tuple[Part, ...]:
        """Return the parts that sound in ``stem``."""
        return tuple(part for part in self.parts if part.stem == stem)
