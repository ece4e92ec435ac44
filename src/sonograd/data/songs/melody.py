"""Write the sung parts: phrases, rests, syllables, second voices."""

import numpy as np

from sonograd.data.songs.arrange import Frame
from sonograd.data.songs.genres import Genre
from sonograd.data.songs.patterns import SCALES
from sonograd.data.songs.score import Note, Part, Section, draw, stream

__all__ = ["CONSONANTS", "VOWELS", "sing"]

VOWELS = ("a", "e", "i", "o", "u", "ae", "uh", "er", "ih", "aw", "ai", "ei", "ou")
CONSONANTS = (
    *("s", "sh", "f", "th", "h", "ch", "z", "v", "t", "k", "p", "d", "g", "b", "j"),
    *("m", "n", "l", "r", "w", "y", "st", "tr", "kl", "br", ""),
)
_ONSETS = dict.fromkeys(CONSONANTS, 1.0) | {
    "": 3.0,
    "s": 2.0,
    "t": 2.0,
    "m": 1.6,
    "n": 1.6,
    "l": 1.6,
}
_CODAS = {"": 9.0, "n": 2.0, "t": 1.5, "s": 1.5, "m": 1.0, "l": 1.0, "k": 0.7, "d": 1.0, "v": 0.5}

# Lowest and highest note of a melody: bass-baritone, tenor, alto, soprano in popular music.
_RANGES = {"low": (40, 60), "middle": (47, 67), "high": (55, 76), "very_high": (60, 82)}


def sing(frame: Frame, style: Genre, sections: tuple[Section, ...]) -> list[Part]:
    """Return the lead voice, then doubles, harmonies and backing voices, each a part of its own."""
    rng = stream(frame.seed, "voices")
    singing = draw(rng, style.singing)
    if rng.random() < 0.12:
        singing = str(rng.choice(["melody", "tuned", "belt", "breathy", "robot", "vowels", "rap"]))
    singer = draw(rng, {"low": 2.0, "middle": 2.0, "high": 3.0, "very_high": 3.0})
    lead = _lead(frame, singing, singer, sections)
    parts = [Part("lead", "vocals", singing, singer, lead)]
    if not lead:
        return []
    doubles = rng.random()
    if doubles < 0.3:
        for side in ("left", "right"):
            notes = _again(stream(frame.seed, "double", side), lead, 0)
            parts.append(Part(f"double_{side}", "vocals", singing, singer, notes))
    elif doubles < 0.5:
        interval = int(rng.choice([2, 2, 4, -3, 7, -7]))
        notes = _harmony(frame, stream(frame.seed, "harmony"), lead, interval, sections)
        if notes:
            parts.append(Part("harmony", "vocals", singing, singer, notes))
    if rng.random() < 0.1:
        notes = _backing(frame, sections)
        if notes:
            parts.append(Part("backing", "vocals", "backing", singer, notes))
    return parts


def _syllable(rng: np.random.Generator, singing: str) -> str:
    vowel = VOWELS[int(rng.integers(len(VOWELS)))]
    if singing == "vowels":
        return f"-{rng.choice(['a', 'o', 'u', 'uh'])}-"
    if singing == "scat":
        return f"{rng.choice(['d', 'b', 's', 'w', 'y'])}-{rng.choice(['uh', 'a', 'u', 'o'])}-"
    return f"{draw(rng, _ONSETS)}-{vowel}-{draw(rng, _CODAS)}"


def _lead(
    frame: Frame, singing: str, singer: str, sections: tuple[Section, ...]
) -> tuple[Note, ...]:
    """Return the lead melody: per kind of section a motif, sung with small changes."""
    rng = stream(frame.seed, "melody")
    low, high = _RANGES[singer]
    rap = singing == "rap"
    motifs: dict[str, list[list[tuple[float, float, int]]]] = {}
    density = float(rng.uniform(0.75, 1.4)) * (1.6 if rap else 1.0)
    notes: list[Note] = []
    lyrics: dict[str, list[str]] = {}
    for section in sections:
        if not section.vocals:
            continue
        if section.name not in motifs:
            lift = 2 if section.name == "chorus" else 0
            motifs[section.name] = [_phrase(rng, density, rap, lift) for _ in range(2)]
            lyrics[section.name] = [_syllable(rng, singing) for _ in range(64)]
        count = 0
        repeat = section.name == "chorus"
        for bar in range(0, section.bars, 2):
            phrase = motifs[section.name][(bar // 2) % 2]
            if rng.random() < 0.12:  # leave a hole
                continue
            for where, beats, degree in phrase:
                move = int(rng.choice([0, 0, 0, 0, -1, 1]))
                pitch = _place(frame, degree + move, low, high)
                start = frame.time((section.first_bar + bar) * 4 + where)
                start += float(rng.normal(0.0, 0.012))
                duration = max(beats * frame.beat * float(rng.uniform(0.82, 1.0)), 0.07)
                words = lyrics[section.name]
                text = words[count % 64] if repeat else _syllable(rng, singing)
                count += 1
                if frame.inside(start, duration):
                    notes.append(Note(start, duration, pitch, float(rng.uniform(0.6, 1.0)), text))
    return _separate(notes)


def _phrase(
    rng: np.random.Generator, density: float, rap: bool, lift: int
) -> list[tuple[float, float, int]]:
    """Return (beat, beats long, scale degree) of a phrase of up to two bars."""
    lengths = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
    weights = np.array([1.5, 4.0, 1.0, 3.0, 1.2, 1.2, 0.5])
    if rap:
        weights = np.array([6.0, 2.5, 0.5, 0.3, 0.0, 0.0, 0.0])
    else:
        weights = weights * lengths ** -(density - 1.0)
    weights /= weights.sum()
    position = float(rng.choice([0.0, 0.0, 0.5, 0.5, 1.0, 1.5, 2.0]))
    end = float(rng.choice([6.0, 6.5, 7.0, 7.5, 8.0]))
    degree = int(rng.integers(1, 9)) + lift
    found: list[tuple[float, float, int]] = []
    while position < end - 0.2:
        length = float(rng.choice(lengths, p=weights))
        length = min(length, end - position)
        if rng.random() < 0.93:
            found.append((position, length, degree))
        position += length
        moves = [-1, 0, 0, 0, 0, 1] if rap else [-3, -2, -1, -1, 0, 0, 1, 1, 2, 3]
        degree = int(np.clip(degree + rng.choice(moves), 0, 11))
    if found and not rap and rng.random() < 0.6:  # hold the last note
        where, length, degree = found[-1]
        found[-1] = (where, min(length + float(rng.uniform(0.5, 1.5)), 8.0 - where), degree)
    return found


def _place(frame: Frame, degree: int, low: int, high: int) -> float:
    """Return the pitch of a degree, folded into the singer's range."""
    base = low + (frame.key - low) % 12 - (12 if (frame.key - low) % 12 > 6 else 0)
    pitch = base + frame.degree(degree)
    while pitch > high:
        pitch -= 12
    while pitch < low - 2:
        pitch += 12
    return float(pitch)


def _separate(notes: list[Note]) -> tuple[Note, ...]:
    """Cut notes so that one voice never sings two at once."""
    notes = sorted(notes, key=lambda note: note.start)
    result: list[Note] = []
    for note, following in zip(notes, [*notes[1:], None], strict=False):
        room = following.start - note.start if following else note.duration
        duration = min(note.duration, room)
        if duration > 0.05:
            result.append(Note(note.start, duration, note.pitch, note.velocity, note.syllable))
    return tuple(result)


def _again(rng: np.random.Generator, notes: tuple[Note, ...], shift: int) -> tuple[Note, ...]:
    """Return the same line sung once more: other timing, same words."""
    again = []
    for note in notes:
        start = note.start + float(rng.normal(0.0, 0.014))
        again.append(Note(start, note.duration, note.pitch + shift, note.velocity, note.syllable))
    return _separate(again)


def _harmony(
    frame: Frame,
    rng: np.random.Generator,
    notes: tuple[Note, ...],
    interval: int,
    sections: tuple[Section, ...],
) -> tuple[Note, ...]:
    """Return a second voice some scale steps away, in the loud sections."""
    scale = SCALES[frame.scale]
    spans = [
        (frame.time(s.first_bar * 4), frame.time((s.first_bar + s.bars) * 4))
        for s in sections
        if s.energy > 0.7 or rng.random() < 0.3
    ]
    second = []
    for note in _again(rng, notes, 0):
        if any(low <= note.start < high for low, high in spans):
            above = round(note.pitch - frame.key)
            octave, inside = divmod(above, 12)
            index = min(range(7), key=lambda i: abs(scale[i] - inside)) + interval
            pitch = frame.key + 12 * (octave + index // 7) + scale[index % 7]
            second.append(Note(note.start, note.duration, pitch, note.velocity, note.syllable))
    return _separate(second)


def _backing(frame: Frame, sections: tuple[Section, ...]) -> tuple[Note, ...]:
    """Return long vowels on the chords, as a choir behind the lead sings them."""
    rng = stream(frame.seed, "backing")
    vowel = str(rng.choice(["a", "o", "u", "uh"]))
    onset = str(rng.choice(["", "", "h", "d", "l"]))
    notes = []
    for section in sections:
        if not section.vocals or rng.random() < 0.5:
            continue
        for bar in range(section.bars):
            degree = section.chords[(bar * 4 // section.chord_beats) % len(section.chords)]
            start = frame.time((section.first_bar + bar) * 4.0)
            duration = 4 * frame.beat * 0.93
            if frame.inside(start, duration):
                for step in (0, 2, 4):
                    pitch = 54 + (frame.key + frame.degree(degree + step) - 54) % 12
                    notes.append(Note(start, duration, pitch, 0.6, f"{onset}-{vowel}-"))
    return tuple(notes)
