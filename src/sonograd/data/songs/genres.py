"""Genres: what each takes from the common stock of tempos, scales, beats, lines and sounds.

Every table maps a name to a weight; a song draws from them, and now and then from all genres at
once, because thousands of songs should fill the space between the clear cases too.
"""

from dataclasses import dataclass
from typing import TypeAlias

from sonograd.config import suggest
from sonograd.errors import ParameterError

__all__ = ["GENRES", "Genre", "Weights", "check_genre"]

Weights: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Genre:
    """What a genre prefers.

    Attributes:
        tempo_bpm: Range of tempos.
        swing: Probability of swung off-beats.
        scales: Weights of scales.
        beats: Weights of drum patterns.
        electronic: Probability of an electronic kit.
        bass_lines: Weights of the ways the bass moves.
        bass_sounds: Weights of the bass's instruments.
        roles: Weights of the accompanying roles.
        sounds: Instruments that replace the usual ones of a role, by role.
        parts: Fewest and most accompanying parts.
        singing: Weights of the ways to sing.
        percussion: Probability of extra percussion.
        vocals: Probability that the song has singing at all.
        drums: Probability that the song has drums at all.
        drive: 0 clean to 1 distorted, loud and dense.
        share: How often songs are of it, relative to the others: rock and pop fill most of the
            multitrack recordings that exist, and most of what people want taken apart.
    """

    tempo_bpm: tuple[float, float]
    swing: float
    scales: Weights
    beats: Weights
    electronic: float
    bass_lines: Weights
    bass_sounds: Weights
    roles: Weights
    sounds: dict[str, Weights]
    parts: tuple[int, int]
    singing: Weights
    percussion: float = 0.25
    vocals: float = 0.95
    drums: float = 0.98
    drive: float = 0.4
    share: float = 1.0


_STRINGS = {"finger": 4.0, "pick": 3.0, "muted": 1.0}
_SYNTHS = {
    "saw": 2.0,
    "square": 1.0,
    "sub": 2.0,
    "fm": 1.0,
    "reese": 1.0,
    "growl": 1.5,
    "acid": 1.0,
}

GENRES: dict[str, Genre] = {
    "rock": Genre(
        tempo_bpm=(95, 150),
        swing=0.05,
        scales={"major": 3, "minor": 3, "mixolydian": 2, "pentatonic": 1},
        beats={"rock": 6, "half": 2, "driving": 2, "syncopated": 1},
        electronic=0.03,
        bass_lines={"eighth": 4, "root": 2, "follow": 3, "syncopated": 1},
        bass_sounds={**_STRINGS, "driven": 2},
        roles={"power": 4, "strum": 3, "riff": 3, "lead": 3, "comp": 1, "pad": 1, "arp": 1},
        sounds={"power": {"distorted_guitar": 5, "crunch_guitar": 2}, "lead": {"lead_guitar": 4}},
        parts=(2, 4),
        singing={"melody": 6, "shout": 1.5, "belt": 2},
        drive=0.7,
        share=5.0,
    ),
    "punk": Genre(
        tempo_bpm=(150, 200),
        swing=0.0,
        scales={"major": 4, "minor": 2},
        beats={"driving": 4, "skank": 3, "rock": 2},
        electronic=0.0,
        bass_lines={"eighth": 6, "root": 1},
        bass_sounds={"pick": 4, "driven": 4},
        roles={"power": 6, "riff": 2, "strum": 1, "lead": 1},
        sounds={"power": {"distorted_guitar": 6}, "lead": {"lead_guitar": 3}},
        parts=(1, 3),
        singing={"shout": 4, "melody": 3},
        percussion=0.05,
        drive=0.9,
        share=2.0,
    ),
    "metal": Genre(
        tempo_bpm=(90, 190),
        swing=0.0,
        scales={"minor": 4, "phrygian": 3, "harmonic_minor": 2},
        beats={"double_kick": 5, "half": 2, "driving": 2, "skank": 1},
        electronic=0.03,
        bass_lines={"eighth": 3, "follow": 4},
        bass_sounds={"pick": 3, "driven": 5},
        roles={"power": 6, "riff": 4, "lead": 3, "pad": 1},
        sounds={
            "power": {"distorted_guitar": 6},
            "riff": {"distorted_guitar": 6},
            "lead": {"lead_guitar": 5},
        },
        parts=(2, 4),
        singing={"growl": 3, "shout": 2, "belt": 2, "melody": 1},
        percussion=0.03,
        drive=1.0,
        share=2.5,
    ),
    "pop": Genre(
        tempo_bpm=(85, 130),
        swing=0.1,
        scales={"major": 5, "minor": 3},
        beats={"four": 3, "rock": 3, "half": 2, "dembow": 1, "syncopated": 1},
        electronic=0.6,
        bass_lines={"root": 3, "eighth": 2, "syncopated": 2, "follow": 2, "octave": 1},
        bass_sounds={**_SYNTHS, "finger": 3},
        roles={"pad": 3, "comp": 3, "arp": 3, "stab": 2, "lead": 2, "strum": 2},
        sounds={},
        parts=(2, 5),
        singing={"melody": 5, "tuned": 3, "belt": 2, "breathy": 2},
        percussion=0.4,
        drive=0.4,
        share=4.0,
    ),
    "ballad": Genre(
        tempo_bpm=(58, 88),
        swing=0.1,
        scales={"major": 4, "minor": 3},
        beats={"half": 4, "rock": 2, "brushes": 2},
        electronic=0.15,
        bass_lines={"root": 5, "syncopated": 1},
        bass_sounds={"finger": 5, "upright": 2, "sub": 1},
        roles={"comp": 5, "pad": 4, "arp": 3, "strum": 2, "lead": 2},
        sounds={"comp": {"piano": 5, "electric_piano": 2}, "pad": {"strings": 4, "choir": 1}},
        parts=(1, 4),
        singing={"melody": 4, "breathy": 3, "belt": 3},
        drums=0.75,
        drive=0.15,
        share=2.0,
    ),
    "folk": Genre(
        tempo_bpm=(75, 130),
        swing=0.15,
        scales={"major": 4, "dorian": 2, "mixolydian": 2},
        beats={"brushes": 3, "rock": 1, "train": 2},
        electronic=0.0,
        bass_lines={"root": 4, "alternating": 4},
        bass_sounds={"upright": 4, "finger": 3},
        roles={"strum": 5, "arp": 4, "lead": 2, "comp": 1},
        sounds={
            "strum": {"acoustic_guitar": 6, "banjo": 1, "nylon_guitar": 2},
            "arp": {"acoustic_guitar": 4, "nylon_guitar": 3, "banjo": 2, "harp": 1},
            "lead": {"fiddle": 3, "flute": 2, "harmonica": 2, "whistle": 1},
        },
        parts=(1, 3),
        singing={"melody": 6, "breathy": 2},
        percussion=0.5,
        drums=0.5,
        drive=0.1,
        share=1.5,
    ),
    "country": Genre(
        tempo_bpm=(90, 140),
        swing=0.25,
        scales={"major": 5, "mixolydian": 2},
        beats={"train": 4, "rock": 3, "brushes": 1},
        electronic=0.0,
        bass_lines={"alternating": 6, "root": 2, "walk": 1},
        bass_sounds={"finger": 4, "upright": 3, "muted": 2},
        roles={"strum": 5, "arp": 2, "lead": 4, "comp": 2, "riff": 2},
        sounds={
            "strum": {"acoustic_guitar": 5},
            "arp": {"banjo": 3, "clean_guitar": 2},
            "lead": {"steel_guitar": 4, "fiddle": 3, "clean_guitar": 2, "harmonica": 1},
        },
        parts=(2, 4),
        singing={"melody": 5, "belt": 1},
        drive=0.25,
        share=1.5,
    ),
    "blues": Genre(
        tempo_bpm=(60, 130),
        swing=0.85,
        scales={"blues": 4, "mixolydian": 3, "pentatonic": 2},
        beats={"shuffle": 5, "rock": 1, "brushes": 1},
        electronic=0.0,
        bass_lines={"walk": 5, "root": 1, "eighth": 1},
        bass_sounds={"finger": 4, "upright": 3},
        roles={"comp": 4, "lead": 4, "riff": 3, "strum": 1},
        sounds={
            "comp": {"piano": 3, "organ": 3, "clean_guitar": 2},
            "lead": {"lead_guitar": 4, "harmonica": 2, "saxophone": 2},
            "riff": {"crunch_guitar": 4},
        },
        parts=(1, 3),
        singing={"melody": 3, "belt": 3, "shout": 1},
        percussion=0.05,
        drive=0.4,
    ),
    "jazz": Genre(
        tempo_bpm=(70, 190),
        swing=0.8,
        scales={"dorian": 3, "major": 3, "mixolydian": 2},
        beats={"ride": 6, "brushes": 3, "bossa": 2},
        electronic=0.0,
        bass_lines={"walk": 7, "syncopated": 1},
        bass_sounds={"upright": 7, "finger": 1},
        roles={"comp": 5, "lead": 5, "stab": 2},
        sounds={
            "comp": {"piano": 5, "clean_guitar": 2, "electric_piano": 2, "vibraphone": 1},
            "lead": {"saxophone": 4, "trumpet": 3, "flute": 1, "vibraphone": 1, "clean_guitar": 1},
            "stab": {"brass": 4},
        },
        parts=(1, 3),
        singing={"melody": 3, "breathy": 3, "scat": 3},
        percussion=0.05,
        vocals=0.85,
        drive=0.1,
        share=0.7,
    ),
    "funk": Genre(
        tempo_bpm=(92, 122),
        swing=0.25,
        scales={"dorian": 5, "mixolydian": 3, "pentatonic": 1},
        beats={"funk": 6, "syncopated": 3},
        electronic=0.1,
        bass_lines={"syncopated": 5, "octave": 3, "riff": 3},
        bass_sounds={"slap": 5, "finger": 3, "growl": 1, "muted": 1},
        roles={"scratch": 4, "stab": 4, "comp": 3, "riff": 2, "lead": 1},
        sounds={"comp": {"clavinet": 4, "electric_piano": 3}, "stab": {"brass": 5}},
        parts=(2, 4),
        singing={"melody": 4, "shout": 2, "belt": 2},
        percussion=0.5,
        drive=0.35,
    ),
    "soul": Genre(
        tempo_bpm=(65, 115),
        swing=0.4,
        scales={"major": 2, "minor": 3, "dorian": 3},
        beats={"funk": 2, "rock": 2, "half": 2, "boom_bap": 2},
        electronic=0.3,
        bass_lines={"syncopated": 5, "root": 2, "walk": 1},
        bass_sounds={"finger": 5, "sub": 2, "muted": 2, "growl": 1},
        roles={"comp": 5, "pad": 3, "stab": 2, "scratch": 2, "lead": 1},
        sounds={"comp": {"electric_piano": 5, "organ": 2, "piano": 2}},
        parts=(1, 4),
        singing={"melody": 4, "breathy": 2, "belt": 3, "runs": 3},
        percussion=0.35,
        drive=0.25,
        share=1.5,
    ),
    "hiphop": Genre(
        tempo_bpm=(70, 105),
        swing=0.45,
        scales={"minor": 4, "phrygian": 1, "dorian": 2, "pentatonic": 2},
        beats={"boom_bap": 5, "trap": 5},
        electronic=0.85,
        bass_lines={"follow": 4, "root": 2, "syncopated": 2, "riff": 1},
        bass_sounds={"sub": 4, "eight_o_eight": 5, "finger": 1, "growl": 1.5, "upright": 1},
        roles={"comp": 3, "arp": 3, "pad": 3, "lead": 2, "stab": 2},
        sounds={
            "arp": {"bell": 3, "pluck_synth": 3, "piano": 2, "harp": 1},
            "lead": {"flute": 1, "glide_lead": 3, "bell": 1},
        },
        parts=(1, 3),
        singing={"rap": 7, "tuned": 3, "melody": 1},
        percussion=0.3,
        drive=0.45,
        share=2.0,
    ),
    "house": Genre(
        tempo_bpm=(116, 132),
        swing=0.2,
        scales={"minor": 4, "dorian": 2, "major": 1},
        beats={"four": 8},
        electronic=0.97,
        bass_lines={"offbeat": 4, "syncopated": 3, "octave": 2, "riff": 2},
        bass_sounds=_SYNTHS,
        roles={"stab": 4, "pad": 3, "arp": 4, "lead": 3, "comp": 2},
        sounds={
            "stab": {"synth": 4, "piano": 3, "supersaw": 2},
            "lead": {"glide_lead": 2, "synth": 2},
        },
        parts=(2, 4),
        singing={"melody": 3, "tuned": 3, "chops": 1, "belt": 2},
        percussion=0.6,
        vocals=0.8,
        drive=0.5,
        share=1.2,
    ),
    "synthwave": Genre(
        tempo_bpm=(80, 118),
        swing=0.0,
        scales={"minor": 5, "major": 2, "dorian": 1},
        beats={"rock": 4, "four": 3, "half": 1},
        electronic=0.95,
        bass_lines={"eighth": 4, "octave": 3, "sixteenth": 3},
        bass_sounds={"saw": 4, "square": 2, "fm": 2, "growl": 2, "reese": 1},
        roles={"pad": 4, "arp": 4, "lead": 4, "stab": 2},
        sounds={
            "pad": {"synth_pad": 4, "strings": 1},
            "lead": {"glide_lead": 3, "synth": 2, "lead_guitar": 1},
        },
        parts=(2, 4),
        singing={"melody": 4, "breathy": 2, "robot": 1},
        vocals=0.8,
        drive=0.45,
    ),
    "drum_and_bass": Genre(
        tempo_bpm=(160, 178),
        swing=0.05,
        scales={"minor": 4, "phrygian": 2, "dorian": 1},
        beats={"break": 7, "half": 1},
        electronic=0.6,
        bass_lines={"root": 3, "syncopated": 3, "riff": 3},
        bass_sounds={"reese": 5, "growl": 4, "sub": 2, "acid": 1},
        roles={"pad": 4, "arp": 2, "stab": 3, "lead": 2},
        sounds={},
        parts=(1, 3),
        singing={"melody": 3, "chops": 1, "rap": 2, "breathy": 1},
        vocals=0.75,
        drive=0.6,
        share=0.7,
    ),
    "reggae": Genre(
        tempo_bpm=(65, 95),
        swing=0.35,
        scales={"minor": 3, "major": 3, "dorian": 1},
        beats={"one_drop": 6, "rock": 1, "dembow": 1},
        electronic=0.15,
        bass_lines={"riff": 5, "syncopated": 4, "walk": 1},
        bass_sounds={"finger": 4, "muted": 4, "sub": 2},
        roles={"skank": 7, "comp": 2, "lead": 1, "riff": 1, "stab": 1},
        sounds={"comp": {"organ": 5}, "skank": {"clean_guitar": 4, "piano": 2, "organ": 2}},
        parts=(1, 3),
        singing={"melody": 5, "rap": 1},
        percussion=0.5,
        drive=0.2,
        share=0.8,
    ),
    "latin": Genre(
        tempo_bpm=(88, 130),
        swing=0.0,
        scales={"minor": 3, "major": 3, "harmonic_minor": 2},
        beats={"dembow": 3, "bossa": 3, "montuno": 4},
        electronic=0.35,
        bass_lines={"tumbao": 6, "root": 1, "alternating": 1},
        bass_sounds={"upright": 2, "finger": 4, "sub": 2, "muted": 1},
        roles={"comp": 3, "arp": 3, "stab": 3, "strum": 2, "lead": 2},
        sounds={
            "comp": {"piano": 5},
            "stab": {"brass": 5},
            "strum": {"nylon_guitar": 5},
            "lead": {"trumpet": 3, "flute": 2, "nylon_guitar": 2},
        },
        parts=(2, 4),
        singing={"melody": 5, "belt": 2, "tuned": 1, "rap": 1},
        percussion=0.9,
        drive=0.25,
        share=0.8,
    ),
    "ambient": Genre(
        tempo_bpm=(60, 110),
        swing=0.0,
        scales={"major": 3, "lydian": 3, "minor": 3, "dorian": 1},
        beats={"half": 3, "four": 1, "brushes": 1},
        electronic=0.8,
        bass_lines={"root": 6},
        bass_sounds={"sub": 4, "saw": 2, "growl": 1},
        roles={"pad": 6, "arp": 3, "lead": 3},
        sounds={"pad": {"synth_pad": 3, "choir": 2, "strings": 2, "noise_pad": 1}},
        parts=(2, 4),
        singing={"breathy": 4, "vowels": 4},
        vocals=0.6,
        drums=0.55,
        drive=0.1,
        share=0.5,
    ),
}
"""The genres, by name."""


def check_genre(name: str) -> Genre:
    """Return the genre called ``name``.

    Raises:
        ParameterError: If there is none, with the nearest name.
    """
    if name not in GENRES:
        hint = suggest(name, GENRES) or f" Choose from: {', '.join(sorted(GENRES))}."
        raise ParameterError(f"genre is {name!r}, which is not known.{hint}")
    return GENRES[name]
