"""Compose the score of a song: form, harmony, beat, lines and melodies."""

import math

import numpy as np

from sonograd.data.songs.arrange import Frame, accompany, bass_line, drum_part
from sonograd.data.songs.genres import GENRES, Genre, Weights, check_genre
from sonograd.data.songs.melody import sing
from sonograd.data.songs.patterns import FORM, PROGRESSIONS
from sonograd.data.songs.score import Part, Score, Section, draw, stream
from sonograd.errors import ParameterError

__all__ = ["MAX_SECONDS", "SOUNDS", "check_request", "compose"]

MAX_SECONDS = 3600.0

# Roles and the sounds they are usually played on.
SOUNDS: dict[str, Weights] = {
    "pad": {"synth_pad": 4, "strings": 3, "organ": 2, "choir": 2, "noise_pad": 0.7, "fm_pad": 1.5},
    "strum": {"acoustic_guitar": 4, "clean_guitar": 3, "nylon_guitar": 1, "crunch_guitar": 1},
    "power": {"distorted_guitar": 5, "crunch_guitar": 2, "synth": 1},
    "comp": {
        "piano": 4,
        "electric_piano": 3,
        "organ": 2.5,
        "clean_guitar": 1.5,
        "acoustic_guitar": 1,
        "clavinet": 0.7,
        "accordion": 0.7,
        "vibraphone": 0.5,
    },
    "arp": {
        "synth": 3,
        "pluck_synth": 3,
        "bell": 2,
        "clean_guitar": 1.5,
        "acoustic_guitar": 1.5,
        "piano": 1.5,
        "marimba": 1,
        "harp": 1,
    },
    "lead": {
        "glide_lead": 4,
        "synth": 2,
        "lead_guitar": 3,
        "saxophone": 1,
        "trumpet": 1,
        "flute": 1,
        "fiddle": 1,
        "whistle": 1,
        "bell": 0.7,
        "talkbox": 1.5,
        "piano": 0.7,
        "theremin": 1,
    },
    "riff": {"clean_guitar": 2, "distorted_guitar": 2, "crunch_guitar": 2, "synth": 2, "brass": 1},
    "stab": {"brass": 3, "synth": 2, "supersaw": 2, "piano": 1, "organ": 1, "strings": 1},
    "scratch": {"clean_guitar": 5, "clavinet": 2, "muted_guitar": 2},
    "skank": {"clean_guitar": 4, "organ": 2, "piano": 1},
}


def compose(seed: int, *, seconds: float, genre: str | None = None) -> Score:
    """Compose a song.

    The same arguments give the same score. A request shorter than the form takes a stretch from
    somewhere inside it, not always the beginning.

    Args:
        seed: Any integer from 0 on.
        seconds: Length of the song.
        genre: One of :data:`GENRES`; drawn at random if not given.

    Returns:
        The score.

    Raises:
        ParameterError: For a genre that is not known, a length that is not positive, or a
            negative seed.
    """
    check_request(seed=seed, seconds=seconds)
    rng = stream(seed, "song")
    name = draw(rng, {genre: style.share for genre, style in GENRES.items()})
    if genre is not None:
        check_genre(genre)
        name = genre
    style = GENRES[name]
    scale = draw(rng, style.scales)
    tempo = float(np.round(rng.uniform(*style.tempo_bpm), 2))
    swing = float(rng.uniform(0.3, 0.66)) if rng.random() < style.swing else 0.0
    key = int(rng.integers(12))
    others = _others(stream(seed, "others"), style)
    sections, offset = _form(
        stream(seed, "form"), style, tempo, seconds, tuple(part for part, _, _ in others)
    )
    frame = Frame(
        seed=seed,
        tempo_bpm=tempo,
        swing=swing,
        key=key,
        scale=scale,
        offset=offset,
        seconds=seconds,
    )
    electronic = bool(stream(seed, "kit").random() < style.electronic)
    hits, kicks = drum_part(frame, style, sections)
    parts = [_bass(frame, style, sections, kicks)]
    parts += [
        Part(part, "other", role, sound, accompany(frame, part, role, sound, sections))
        for part, role, sound in others
    ]
    parts += sing(frame, style, sections)
    return Score(
        seed=seed,
        seconds=seconds,
        genre=name,
        tempo_bpm=tempo,
        swing=round(swing, 3),
        key=key,
        scale=scale,
        offset_seconds=offset,
        kit="electronic" if electronic else "acoustic",
        sections=sections,
        drums=hits,
        parts=tuple(parts),
    )


def check_request(*, seed: int, seconds: float, sample_rate: int = 44100) -> None:
    """Make sure that a song can be made.

    Raises:
        ParameterError: If the seed is negative, or the length or the rate out of range.
    """
    if seed < 0:
        raise ParameterError(f"seed is {seed}; expected an integer from 0 on.")
    if not 0 < seconds <= MAX_SECONDS:
        raise ParameterError(
            f"seconds is {seconds}; expected a positive length of at most {MAX_SECONDS:g} s."
        )
    if not 8000 <= sample_rate <= 192000:
        raise ParameterError(f"sample_rate is {sample_rate}; expected 8000 to 192000 Hz.")


def _bass(
    frame: Frame, style: Genre, sections: tuple[Section, ...], kicks: tuple[float, ...]
) -> Part:
    rng = stream(frame.seed, "bass")
    line = draw(rng, style.bass_lines)
    sounds: Weights = dict(style.bass_sounds)
    if rng.random() < 0.2:  # a sound from anywhere
        sounds = {sound: 1.0 for genre in GENRES.values() for sound in genre.bass_sounds}
    sound = draw(rng, sounds)
    return Part("bass", "bass", line, sound, bass_line(frame, line, sound, sections, kicks))


def _others(rng: np.random.Generator, style: Genre) -> list[tuple[str, str, str]]:
    """Return (name, role, instrument) of the accompanying parts."""
    count = int(rng.integers(style.parts[0], style.parts[1] + 1))
    weights: Weights = dict(style.roles)
    if rng.random() < 0.25:
        weights = {role: weights.get(role, 0.0) + 1.0 for role in SOUNDS}
    chosen: list[tuple[str, str, str]] = []
    for index in range(count):
        role = draw(rng, weights)
        weights[role] *= 0.25
        sounds = style.sounds.get(role, SOUNDS[role])
        if rng.random() < 0.25:
            sounds = SOUNDS[role]
        chosen.append((f"{role}{index + 1}", role, draw(rng, sounds)))
    return chosen


def _form(
    rng: np.random.Generator,
    style: Genre,
    tempo: float,
    seconds: float,
    parts: tuple[str, ...],
) -> tuple[tuple[Section, ...], float]:
    """Return the sections and how many seconds into the first of them the song starts."""
    bar_seconds = 240.0 / tempo
    needed = math.ceil(seconds / bar_seconds) + 1
    has_vocals = rng.random() < style.vocals
    has_drums = rng.random() < style.drums
    has_bass = rng.random() < 0.97
    chord_beats = int(rng.choice([4, 4, 4, 2, 8]))
    pool = [PROGRESSIONS[int(i)] for i in rng.choice(len(PROGRESSIONS), 3, replace=False)]
    chords = {"verse": pool[0], "chorus": pool[1], "bridge": pool[2]}
    if rng.random() < 0.3:
        chords["chorus"] = pool[0]
    unit = int(rng.choice([4, 8, 8]))
    sections: list[Section] = []
    bar = 0
    form = list(FORM) if seconds > 45 or rng.random() < 0.4 else list(FORM[1:-1])
    while bar < needed + (unit * 3 if seconds < 45 else 0):
        for name, energy in form:
            bars = unit if name not in {"intro", "outro", "bridge"} else max(unit // 2, 4)
            sections.append(
                _section(
                    rng,
                    name,
                    bar,
                    bars,
                    chords.get(name, pool[0]),
                    chord_beats,
                    energy,
                    parts,
                    (has_drums, has_bass, has_vocals),
                )
            )
            bar += bars
        form = list(FORM[1:])
    spare = max(bar * bar_seconds - seconds - bar_seconds, 0.0)
    offset = float(rng.uniform(0.0, spare)) if seconds < 45 else -float(rng.uniform(0.0, 0.6))
    if seconds < 45 and rng.random() < 0.3:  # start on the bar line
        offset = math.floor(offset / bar_seconds) * bar_seconds
    keep = [
        s
        for s in sections
        if (s.first_bar + s.bars) * bar_seconds > offset
        and s.first_bar * bar_seconds < offset + seconds
    ]
    return tuple(keep), offset


def _section(
    rng: np.random.Generator,
    name: str,
    bar: int,
    bars: int,
    chords: tuple[int, ...],
    chord_beats: int,
    energy: float,
    parts: tuple[str, ...],
    present: tuple[bool, bool, bool],
) -> Section:
    """Decide who plays in a section."""
    has_drums, has_bass, has_vocals = present
    edge = name in {"intro", "outro"}
    thin = edge or name == "bridge"
    drums = int(
        rng.choice([0, 1, 2, 3], p=[0.3, 0.2, 0.2, 0.3] if thin else [0.04, 0.04, 0.1, 0.82])
    )
    bass = rng.random() < (0.55 if thin else 0.95)
    vocals = rng.random() < (0.15 if edge else 0.7 if name == "bridge" else 0.94)
    share = 0.5 + 0.5 * energy
    others = tuple(part for part in parts if rng.random() < share)
    if not others and parts and (thin or rng.random() < 0.8):
        others = (parts[int(rng.integers(len(parts)))],)
    return Section(
        name=name,
        first_bar=bar,
        bars=bars,
        chords=chords,
        chord_beats=chord_beats,
        drums=drums * has_drums,
        bass=bass and has_bass,
        others=others,
        vocals=bool(vocals and has_vocals),
        energy=float(np.clip(energy + rng.normal(0.0, 0.08), 0.1, 1.0)),
    )
