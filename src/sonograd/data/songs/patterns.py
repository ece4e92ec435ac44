"""Stock of scales, progressions, drum beats and rhythms that songs are composed from."""

from dataclasses import dataclass

__all__ = ["BEATS", "FILLS", "FORM", "PERCUSSION", "PROGRESSIONS", "SCALES", "Beat"]

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "pentatonic": (0, 2, 3, 5, 7, 9, 10),
    "blues": (0, 2, 3, 5, 7, 9, 10),
}
"""Semitones above the tonic, seven per octave (the five-note ones are filled up for chords)."""

PROGRESSIONS: tuple[tuple[int, ...], ...] = (
    (0, 4, 5, 3),
    (0, 3, 4, 4),
    (5, 3, 0, 4),
    (0, 5, 3, 4),
    (0, 0, 3, 4),
    (1, 4, 0, 0),
    (0, 6, 3, 0),
    (0, 2, 3, 4),
    (0, 6, 5, 6),
    (0, 3, 0, 4),
    (0, 0, 0, 0),
    (5, 4, 3, 4),
    (0, 5, 2, 6),
    (3, 4, 2, 5),
    (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),
    (0, 5, 1, 4),
    (3, 0, 4, 5),
    (0, 6),
    (0, 3),
    (5, 6, 0, 0),
)
"""Scale degrees, counted from 0."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One bar of drumming in sixteenths: ``x`` always, ``o`` softly, ``?`` sometimes.

    Attributes:
        kick: Kick drum.
        snare: Backbeat.
        time: What keeps the time.
        keeper: The drums that may keep it, by preference.
        backbeat: The drums that may play the backbeat.
    """

    kick: str
    snare: str
    time: str
    keeper: tuple[str, ...] = ("hat", "hat", "hat", "ride", "open_hat", "shaker")
    backbeat: tuple[str, ...] = ("snare", "snare", "snare", "snare", "clap")


BEATS: dict[str, tuple[Beat, ...]] = {
    "rock": (
        Beat("x.......x.?.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
        Beat("x.....x.x.......", "....x.......x...", "x.x.x.x.x.x.x.x."),
        Beat("x..?....x.x.....", "....x.......x...", "x...x...x...x..."),
        Beat("x.x.....x.x..?..", "....x..o.o..x...", "x.x.x.x.x.x.x.x."),
    ),
    "half": (
        Beat("x.....?...x..?..", "........x.......", "x.x.x.x.x.x.x.x."),
        Beat("x.........?.....", "........x.......", "x...x...x...x..."),
        Beat("x..x......x.....", "........x.....?o", "xxxxxxxxxxxxxxxx"),
    ),
    "driving": (
        Beat("x.x...x.x.x...x.", "....x.......x...", "x.x.x.x.x.x.x.x.", ("hat", "ride", "crash")),
        Beat("x...x...x...x...", "....x.......x...", "x.x.x.x.x.x.x.x.", ("open_hat", "ride")),
        Beat("x.x.....x.x.....", "x...x...x...x...", "x.x.x.x.x.x.x.x.", ("hat", "crash", "ride")),
    ),
    "skank": (
        Beat("x...x...x...x...", "..x...x...x...x.", "x...x...x...x...", ("hat", "ride", "crash")),
        Beat("x..x..x.x..x..x.", "..x...x...x...x.", "x.x.x.x.x.x.x.x.", ("hat", "open_hat")),
    ),
    "double_kick": (
        Beat("xxxxxxxxxxxxxxxx", "....x.......x...", "x...x...x...x...", ("ride", "crash", "hat")),
        Beat("x.xxx.xxx.xxx.xx", "........x.......", "x...x...x...x...", ("crash", "ride", "hat")),
        Beat("xx.xx.x.xx.xx.x.", "....x.......x...", "x.x.x.x.x.x.x.x.", ("hat", "open_hat")),
    ),
    "four": (
        Beat("x...x...x...x...", "....x.......x...", "..x...x...x...x.", ("open_hat", "hat")),
        Beat("x...x...x...x...", "....x.......x...", "x.xxx.xxx.xxx.xx", ("hat", "shaker")),
        Beat("x...x...x...x..?", "................", "..x...x...x...x.", ("open_hat", "hat")),
        Beat("x...x...x...x...", "....x..o.o..x...", "xxxxxxxxxxxxxxxx", ("hat", "shaker")),
    ),
    "syncopated": (
        Beat("x..x..x...x..?..", "....x.......x..?", "x.x.x.x.x.x.x.x."),
        Beat("x.....x..x....x.", "....x.......x...", "xxxxxxxxxxxxxxxx"),
    ),
    "funk": (
        Beat("x.x...?...x..x..", "....x..o.o..x..o", "xxxxxxxxxxxxxxxx", ("hat", "hat", "ride")),
        Beat("x..x..x.....?.x.", "....x..o.oo.x...", "x.x.x.x.x.x.x.x.", ("hat", "hat", "ride")),
        Beat("x.....x...xx....", "....x.o..o..x.o.", "x.xxx.xxx.xxx.xx", ("hat",)),
    ),
    "brushes": (
        Beat(
            "x.......?.......",
            "....o.......o...",
            "x.oxx.oxx.oxx.ox",
            ("brush", "shaker"),
            ("snare", "rim"),
        ),
        Beat(
            "x.......x.......",
            "....o.......o...",
            "o.o.o.o.o.o.o.o.",
            ("brush", "hat"),
            ("rim", "snare"),
        ),
        Beat(
            "x.........x.....",
            "....x.......x...",
            "x...x...x...x...",
            ("brush", "tambourine"),
            ("rim",),
        ),
    ),
    "train": (
        Beat("x...x...x...x...", "o.oxo.oxo.oxo.ox", "x...x...x...x...", ("hat", "brush")),
        Beat("x.......x.......", "o.x.o.x.o.x.o.x.", "..x...x...x...x.", ("hat", "tambourine")),
    ),
    "shuffle": (
        Beat("x.......x.....?.", "....x.......x...", "x.x.x.x.x.x.x.x.", ("hat", "ride")),
        Beat("x.....x.x.......", "....x.o...o.x...", "x.x.x.x.x.x.x.x.", ("ride", "hat")),
    ),
    "ride": (
        Beat(
            "?.....?...?.....", "......?...?...o.", "x...x.x.x...x.x.", ("ride",), ("snare", "rim")
        ),
        Beat(
            "o...o...o...o...",
            "...?..o....?....",
            "x...x.x.x...x.x.",
            ("ride", "brush"),
            ("snare", "rim"),
        ),
    ),
    "bossa": (
        Beat(
            "x..xx..xx..xx..x",
            "x..x..x...x..x..",
            "x.x.x.x.x.x.x.x.",
            ("hat", "shaker", "brush"),
            ("rim",),
        ),
        Beat(
            "x..xx..xx..xx..x", "...x..x..x..x...", "xxxxxxxxxxxxxxxx", ("shaker", "hat"), ("rim",)
        ),
    ),
    "boom_bap": (
        Beat("x..x......xx....", "....x.......x..?", "x.x.x.x.x.x.x.x.", ("hat",)),
        Beat("x.....?.x.x.....", "....x..?....x...", "x.x.x.xxx.x.x.x.", ("hat", "open_hat")),
        Beat("x.x.......x..x..", "....x.......x...", "x.x.x.x.x.x.x.x.", ("hat", "shaker")),
    ),
    "trap": (
        Beat(
            "x.....x...x.....",
            "........x.......",
            "x.x.x.xxx.x.xxxx",
            ("hat",),
            ("clap", "snare", "snare"),
        ),
        Beat(
            "x..x..x.....?...", "........x.......", "xxxxx.xxxxx.xxxx", ("hat",), ("clap", "snare")
        ),
        Beat(
            "x.........x..x..", "........x.......", "x.xxx.x.x.xxx.x.", ("hat",), ("clap", "snare")
        ),
    ),
    "break": (
        Beat("x.x.......xx....", "....x..o.o..x..o", "x.x.x.x.x.x.x.x.", ("ride", "hat")),
        Beat("x.........x.....", "....x.......x...", "x.x.x.x.x.x.x.x.", ("hat", "ride")),
        Beat("x.x....?..x.....", "....x..o.o.ox...", "x.x.xxx.x.x.xxx.", ("hat", "shaker")),
    ),
    "dembow": (
        Beat(
            "x...x...x...x...",
            "...x..x....x..x.",
            "x.x.x.x.x.x.x.x.",
            ("hat", "shaker"),
            ("snare", "rim", "clap"),
        ),
        Beat(
            "x.......x.......",
            "...x..x....x..x.",
            "..x...x...x...x.",
            ("hat", "shaker"),
            ("snare", "rim"),
        ),
    ),
    "one_drop": (
        Beat(
            "........x.......", "........x.......", "..x...x...x...x.", ("hat",), ("rim", "snare")
        ),
        Beat(
            "x...x...x...x...",
            "........x.......",
            "x.x.x.x.x.x.x.x.",
            ("hat", "shaker"),
            ("rim", "snare"),
        ),
    ),
    "montuno": (
        Beat(
            "x.....x.x.....x.",
            "..x.x.....x..x..",
            "x.xxx.xxx.xxx.xx",
            ("shaker", "ride", "hat"),
            ("rim", "conga"),
        ),
        Beat(
            "....x.......x...",
            "x..x..x...x.x...",
            "x.x.x.x.x.x.x.x.",
            ("cowbell", "shaker"),
            ("rim",),
        ),
    ),
}
"""Drum beats by style."""

FILLS: tuple[tuple[str, ...], ...] = (
    ("", "", "", "", "", "", "", "", "", "", "", "", "snare", "snare", "tom_mid", "tom_low"),
    (*("",) * 8, *("tom_high",) * 2, *("tom_mid",) * 2, *("tom_low",) * 2, "snare", "kick"),
    ("", "", "", "", "", "", "", "", "", "", "", "", "tom_high", "", "tom_low", ""),
    (*("",) * 8, "snare", "", *("snare",) * 6),
    (
        *("snare", "", "", "snare", "", "", "snare", ""),
        *("tom_high", "", "tom_mid", "", "tom_low", "", "kick", ""),
    ),
    (*("",) * 14, "open_hat", ""),
    ("",) * 16,
)
"""What fills a bar at the end of a section, in sixteenths."""

PERCUSSION: dict[str, tuple[str, ...]] = {
    "shaker": ("xoxoxoxoxoxoxoxo", "x.o.x.o.x.o.x.o."),
    "tambourine": ("....x.......x...", "x.o.x.o.x.o.x.o.", "..x...x...x...x."),
    "conga": ("x..ox.xox..ox.xx", "..x...xx..x...xx", "x.x..x.xx.x..x.x"),
    "cowbell": ("x...x...x...x...", "x..x..x...x.x..."),
    "clap": ("....x.......x...", "....x..x....x..x"),
    "perc": ("...x..x....x....", "x..x..x..x..x.x.", "......x.......xx"),
    "rim": ("...x......x.....", "x..x..x...x..x.."),
}
"""Percussion loops, in sixteenths."""

FORM: tuple[tuple[str, float], ...] = (
    ("intro", 0.35),
    ("verse", 0.55),
    ("chorus", 0.9),
    ("verse", 0.6),
    ("chorus", 0.95),
    ("bridge", 0.5),
    ("chorus", 1.0),
    ("outro", 0.4),
)
"""The usual order of sections, with their energy."""
