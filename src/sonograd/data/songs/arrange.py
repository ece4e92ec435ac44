"""Write out what the drums, the bass and the accompanying parts play."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sonograd.data.songs.genres import Genre
from sonograd.data.songs.patterns import BEATS, FILLS, PERCUSSION, SCALES, Beat
from sonograd.data.songs.score import Hit, Note, Section, draw, stream

__all__ = ["Frame", "accompany", "bass_line", "drum_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What all parts of a song share: its clock and its key."""

    seed: int
    tempo_bpm: float
    swing: float
    key: int
    scale: str
    offset: float
    seconds: float

    @property
    def beat(self) -> float:
        """Seconds per beat."""
        return 60.0 / self.tempo_bpm

    def time(self, beats: float) -> float:
        """Return when a position in beats sounds, off-beats swung."""
        inside = beats % 1.0
        if self.swing and abs(inside - 0.5) < 1e-6:
            beats += self.swing * 0.25
        elif self.swing and abs(inside % 0.5 - 0.25) < 1e-6:
            beats += self.swing * 0.06
        return beats * self.beat - self.offset

    def inside(self, start: float, duration: float) -> bool:
        """Tell whether any of a note can be heard."""
        return start < self.seconds - 0.02 and start + duration > 0.0

    def degree(self, degree: int) -> int:
        """Return the semitones of a scale degree above the tonic."""
        scale = SCALES[self.scale]
        return scale[degree % 7] + 12 * (degree // 7)


def _chords(section: Section) -> Iterator[tuple[float, int, float]]:
    """Yield (first beat, scale degree, beats) of every chord of a section."""
    total = section.bars * 4
    first = section.first_bar * 4
    position = 0
    index = 0
    while position < total:
        length = min(section.chord_beats, total - position)
        yield first + position, section.chords[index % len(section.chords)], length
        position += section.chord_beats
        index += 1


def _steps(
    pattern: str, rng: np.random.Generator, chance: float = 0.4
) -> Iterator[tuple[int, float]]:
    """Yield (sixteenth, loudness) of the strokes in a pattern."""
    for step, sign in enumerate(pattern):
        if sign == "x" or (sign == "?" and rng.random() < chance):
            yield step, 1.0
        elif sign == "o":
            yield step, 0.4


def drum_part(
    frame: Frame, style: Genre, sections: tuple[Section, ...]
) -> tuple[tuple[Hit, ...], tuple[float, ...]]:
    """Return every stroke, and the kick's places within a bar in beats, for the bass to follow."""
    rng = stream(frame.seed, "drums")
    names = list(BEATS)
    name = names[int(rng.integers(len(names)))] if rng.random() < 0.12 else draw(rng, style.beats)
    beat = BEATS[name][int(rng.integers(len(BEATS[name])))]
    if rng.random() < 0.15:
        beat = _random_beat(rng, beat)
    keeper = beat.keeper[int(rng.integers(len(beat.keeper)))]
    loud_keeper = str(rng.choice([keeper, keeper, "ride", "open_hat", "crash"]))
    backbeat = beat.backbeat[int(rng.integers(len(beat.backbeat)))]
    loop = None
    if rng.random() < style.percussion:
        drum = list(PERCUSSION)[int(rng.integers(len(PERCUSSION)))]
        loop = (drum, PERCUSSION[drum][int(rng.integers(len(PERCUSSION[drum])))])
    human = float(rng.uniform(0.0, 0.009)) * (0.2 if style.electronic > 0.8 else 1.0)
    fills = float(rng.uniform(0.2, 0.9))
    roll = name == "trap" and rng.random() < 0.8
    hits: list[Hit] = []

    def strike(beats: float, drum: str, loudness: float) -> None:
        start = frame.time(beats) + float(rng.normal(0.0, human))
        velocity = float(np.clip(loudness * rng.uniform(0.82, 1.0), 0.05, 1.0))
        if frame.inside(start, 0.05) and start >= 0.0:
            hits.append(Hit(start, drum, velocity))

    for section in sections:
        if section.drums == 0:
            continue
        loud = section.energy > 0.8
        for bar in range(section.bars):
            first = (section.first_bar + bar) * 4.0
            last = bar == section.bars - 1
            fill = FILLS[int(rng.integers(len(FILLS)))] if last and rng.random() < fills else None
            if bar == 0 and section.drums == 3 and rng.random() < 0.75:
                strike(first, "crash", 0.9)
            _bar(strike, rng, first, beat, section, fill)
            for step, level in _steps(beat.time, rng):
                if fill and fill[step]:
                    continue
                drum = loud_keeper if loud else keeper
                if drum == "hat" and rng.random() < 0.04:
                    drum = "open_hat"
                strike(first + step / 4, drum, level * (0.75 if step % 4 else 0.95))
                if roll and rng.random() < 0.08:
                    strike(first + step / 4 + 0.125, drum, 0.6)
            if section.drums >= 2:
                for step, level in _steps(beat.snare, rng):
                    if not (fill and fill[step]):
                        strike(first + step / 4, backbeat, level * (0.9 + 0.1 * loud))
                        if backbeat == "snare" and loud and rng.random() < 0.05:
                            strike(first + step / 4, "clap", 0.7)
            if loop and section.energy > 0.45:
                for step, level in _steps(loop[1], rng):
                    strike(first + step / 4, loop[0], 0.75 * level)
    kicks = tuple(step / 4 for step, sign in enumerate(beat.kick) if sign == "x")
    return tuple(sorted(hits, key=lambda hit: (hit.start, hit.drum))), kicks


def _bar(
    strike: Callable[[float, str, float], None],
    rng: np.random.Generator,
    first: float,
    beat: Beat,
    section: Section,
    fill: tuple[str, ...] | None,
) -> None:
    """Play the kick and the fill of one bar."""
    if section.drums == 3:
        for step, level in _steps(beat.kick, rng):
            strike(first + step / 4, "kick", level * 0.95)
    for step, drum in enumerate(fill or ()):
        if drum:
            strike(first + step / 4, drum, 0.7 + 0.02 * step)


def _random_beat(rng: np.random.Generator, beat: Beat) -> Beat:
    """Return ``beat`` with kick strokes moved about."""
    kick = ["."] * 16
    for step in rng.choice(16, int(rng.integers(2, 6)), replace=False):
        kick[int(step)] = "x"
    kick[0] = "x"
    return Beat("".join(kick), beat.snare, beat.time, beat.keeper, beat.backbeat)


def bass_line(
    frame: Frame,
    line: str,
    sound: str,
    sections: tuple[Section, ...],
    kicks: tuple[float, ...],
) -> tuple[Note, ...]:
    """Return the notes of the bass."""
    rng = stream(frame.seed, "bass line")
    floor = 23 if sound in {"sub", "eight_o_eight", "reese", "saw", "growl"} else 28
    if floor == 28:
        floor += int(rng.choice([0, 0, 3, 5, 7, 12]))
    top = floor + int(rng.choice([12, 12, 14, 19]))
    if sound in {"growl", "acid", "fm"} and rng.random() < 0.5:
        floor, top = floor + 7, top + 7
    legato = float(rng.uniform(0.55, 1.05))
    human = float(rng.uniform(0.0, 0.008))
    pushes = [float(p) for p in rng.choice([0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 3.5], 3, replace=False)]
    riff = [
        (
            float(step) / 4,
            int(rng.choice([0, 0, 0, 4, 7, 2, -3])),
            float(rng.choice([0.25, 0.5, 1])),
        )
        for step in sorted(rng.choice(16, int(rng.integers(4, 8)), replace=False))
    ]
    notes: list[Note] = []
    for section in sections:
        if not section.bass:
            continue
        for first, degree, length in _chords(section):
            root = frame.key + frame.degree(degree)
            root = floor + (root - floor) % 12
            third = frame.degree(degree + 2) - frame.degree(degree)
            fifth = frame.degree(degree + 4) - frame.degree(degree)
            for where, beats, step in _bass_pattern(
                rng, line, length, third, fifth, kicks, pushes, riff
            ):
                pitch = root + step
                while pitch > top + 5:
                    pitch -= 12
                start = frame.time(first + where) + float(rng.normal(0.0, human))
                duration = max(beats * frame.beat * legato, 0.06)
                if frame.inside(start, duration):
                    notes.append(Note(start, duration, pitch, float(rng.uniform(0.7, 1.0))))
    return tuple(notes)


def _bass_pattern(
    rng: np.random.Generator,
    line: str,
    length: float,
    third: int,
    fifth: int,
    kicks: tuple[float, ...],
    pushes: list[float],
    riff: list[tuple[float, int, float]],
) -> list[tuple[float, float, int]]:
    """Return (beat, beats long, semitones above the root) within one chord."""
    if line == "eighth":
        return [(x / 2, 0.5, 0) for x in range(int(length * 2))]
    if line == "sixteenth":
        return [(x / 4, 0.25, 12 if x % 4 == 2 else 0) for x in range(int(length * 4)) if x % 4]
    if line == "octave":
        return [(x / 2, 0.5, 12 * (x % 2)) for x in range(int(length * 2))]
    if line == "offbeat":
        return [(x + 0.5, 0.5, 0) for x in range(int(length))]
    if line == "walk":
        steps = [0, third, fifth, int(rng.choice([9, 10, 12, 11, -1]))]
        return [(float(x), 1.0, steps[x % 4]) for x in range(int(length))]
    if line == "alternating":
        return [(float(x), 1.6, fifth - 12 if x % 4 else 0) for x in range(0, int(length), 2)]
    if line == "tumbao":
        marks = ((1.5, 1.5, fifth - 12), (3.0, 2.0, 0))
        bars = range(0, max(int(length), 1), 4)
        return [(b + x, d, s) for b in bars for x, d, s in marks if b + x < length] or [(0, 1, 0)]
    if line == "follow":
        bars = range(0, max(int(length), 1), 4)
        return [(b + k, 0.7, 0) for b in bars for k in kicks if b + k < length] or [(0, length, 0)]
    if line == "riff":
        bars = range(0, max(int(length), 1), 4)
        return [(b + x, d, s) for b in bars for x, s, d in riff if b + x < length] or [(0, 1, 0)]
    if line == "syncopated":
        found = [(0.0, 0.75, 0)]
        for push in pushes:
            if push < length and rng.random() < 0.8:
                found.append((push, 0.5, int(rng.choice([0, 0, fifth, 12, third]))))
        return sorted(found)
    return [(float(x), min(4.0, length - x), 0) for x in range(0, max(int(length), 1), 4)]


@dataclass(frozen=True, slots=True)
class _Habit:
    """What an accompanying part keeps doing through the song."""

    octave: int
    steps: tuple[float, ...]
    order: tuple[int, ...]
    grid: float
    seventh: bool
    eighths: bool
    motif: tuple[tuple[float, int, float], ...]
    human: float


def _habit(rng: np.random.Generator, role: str) -> _Habit:
    octave = int(rng.choice([36, 48, 48, 60, 60, 72]))
    if role in {"power", "riff"}:
        octave = int(rng.choice([36, 40, 48]))
    elif role in {"lead"}:
        octave = int(rng.choice([60, 60, 72]))
    elif role in {"scratch", "skank"}:
        octave = 60
    steps = np.sort(rng.choice(16, int(rng.integers(3, 8)), replace=False)) / 4
    motif = []
    position, degree = float(rng.choice([0.0, 0.0, 0.5, 1.0])), int(rng.integers(0, 8))
    while position < 4.0:
        length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.0, 1.5, 2.0]))
        if rng.random() < 0.85:
            motif.append((position, degree, length))
        degree = int(np.clip(degree + rng.choice([-3, -2, -1, -1, 1, 1, 2, 4]), -2, 10))
        position += length
    return _Habit(
        octave,
        tuple(float(step) for step in steps),
        tuple(int(i) for i in rng.integers(0, 6, 8)),
        float(rng.choice([0.25, 0.25, 0.5, 0.5, 1.0])),
        bool(rng.random() < 0.3),
        bool(rng.random() < 0.5),
        tuple(motif) or ((0.0, 0, 1.0),),
        float(rng.uniform(0.0, 0.01)),
    )


def accompany(
    frame: Frame, name: str, role: str, sound: str, sections: tuple[Section, ...]
) -> tuple[Note, ...]:
    """Return the notes of one accompanying part."""
    rng = stream(frame.seed, "part", name)
    habit = _habit(rng, role)
    octave = 48 if sound in {"choir", "strings"} and habit.octave > 60 else habit.octave
    notes: list[Note] = []
    for section in sections:
        if name not in section.others:
            continue
        for first, degree, length in _chords(section):
            tones = [frame.degree(degree + step) for step in (0, 2, 4)]
            if habit.seventh:
                tones.append(frame.degree(degree + 6))
            base = octave + (frame.key if frame.key < 7 else frame.key - 12)
            chord = [base + tone - (12 if tone > 13 else 0) for tone in tones]
            root = base + tones[0]
            for where, beats, pitch, loud in _voicing(
                rng, frame, role, habit, length, chord, root - (12 if tones[0] > 7 else 0), base
            ):
                start = frame.time(first + where) + float(rng.normal(0.0, habit.human))
                duration = max(beats * frame.beat, 0.05)
                if frame.inside(start, duration):
                    notes.append(Note(start, duration, pitch, loud))
    return tuple(sorted(notes, key=lambda note: (note.start, note.pitch)))


def _voicing(
    rng: np.random.Generator,
    frame: Frame,
    role: str,
    habit: _Habit,
    length: float,
    chord: list[int],
    root: int,
    base: int,
) -> Iterator[tuple[float, float, int, float]]:
    """Yield (beat, beats long, pitch, loudness) of one chord in one role."""
    if role == "pad":
        for pitch in chord:
            yield 0.0, length * 0.98, pitch, 0.7
    elif role == "strum":
        tones = sorted([*chord, chord[0] - 12, chord[0] + 12])
        for index in range(int(length * 2)):
            if rng.random() < (0.9 if index % 2 == 0 else 0.65):
                order = tones[::-1] if index % 2 else tones
                loud = float(rng.uniform(0.5, 1.0))
                lag = float(rng.uniform(0.004, 0.014)) / frame.beat
                for place, pitch in enumerate(order):
                    yield index / 2 + place * lag, 0.8, pitch, loud
    elif role == "power":
        grid = 0.5 if habit.eighths else length
        for index in range(max(int(length / grid), 1)):
            for step in (0, 7, 12):
                yield index * grid, grid * (0.85 if habit.eighths else 0.97), root + step, 0.9
    elif role in {"comp", "stab", "scratch", "skank"}:
        yield from _rhythm(rng, role, habit, length, chord)
    elif role == "arp":
        tones = sorted([*chord, *(pitch + 12 for pitch in chord)])
        for index in range(int(length / habit.grid)):
            pitch = tones[habit.order[index % 8] % len(tones)]
            yield index * habit.grid, habit.grid * 1.1, pitch, float(rng.uniform(0.6, 1.0))
    else:
        for where, degree, beats in habit.motif:
            for bar in range(0, max(int(length), 1), 4):
                if where + bar < length and rng.random() < 0.9:
                    move = int(rng.integers(-2, 3)) if role == "lead" and rng.random() < 0.3 else 0
                    pitch = base + frame.degree(degree + move)
                    yield where + bar, beats * 0.95, pitch, float(rng.uniform(0.7, 1.0))


def _rhythm(
    rng: np.random.Generator, role: str, habit: _Habit, length: float, chord: list[int]
) -> Iterator[tuple[float, float, int, float]]:
    """Yield chords struck in a rhythm."""
    if role == "skank":
        places = [(x + 0.5, 0.22) for x in range(int(length))]
    elif role == "scratch":
        places = [(x / 4, 0.16) for x in range(int(length * 4)) if (x / 4) % 4 in habit.steps]
        places += [(x / 4, 0.08) for x in range(int(length * 4)) if rng.random() < 0.25]
    elif role == "stab":
        places = [
            (bar + step, 0.3)
            for bar in range(0, max(int(length), 1), 4)
            for step in habit.steps
            if bar + step < length
        ]
    else:
        every = 1.0 if habit.eighths else max(habit.grid, 0.5) * 2
        places = [(x * every, every * 0.9) for x in range(max(int(length / every), 1))]
    for where, beats in sorted(places):
        loud = float(rng.uniform(0.55, 1.0))
        for pitch in chord:
            yield where, beats, pitch, loud
