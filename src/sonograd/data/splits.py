"""Which songs are trained and which are validated on."""

import hashlib
from collections.abc import Sequence

__all__ = ["MUSDB_VALIDATION", "choose_held_out"]

#: The songs of MUSDB18's training set that are kept for validation by common practice.
MUSDB_VALIDATION = frozenset(
    {
        "Actions - One Minute Smile",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Johnny Lokke - Promises & Lies",
        "Patrick Talbot - A Reason To Leave",
        "Triviul - Angelsaint",
        "Alexander Ross - Goodbye Bolero",
        "Fergessen - Nos Palpitants",
        "Leaf - Summerghost",
        "Skelpolu - Human Mistakes",
        "Young Griffo - Pennies",
        "ANiMAL - Rockshow",
        "James May - On The Line",
        "Meaxic - Take A Step",
        "Traffic Experiment - Sirens",
    }
)


def choose_held_out(names: Sequence[str], count: int, *, seed: int = 0) -> set[str]:
    """Choose songs to validate on, always the same for the same seed.

    Those of MUSDB18's standard validation set if all of them are there; otherwise at most a fifth
    of the songs, but at least one of several. A song that is added to a data set moves few others.

    >>> sorted(choose_held_out(["a", "b", "c", "d", "e"], 14, seed=3))
    ['a']
    """
    standard = sorted(MUSDB_VALIDATION.intersection(names))
    if len(standard) == len(MUSDB_VALIDATION):
        return set(standard[:count])
    count = min(count, max(len(names) // 5, min(len(names) - 1, 1)))
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return set(ranked[:count])
