"""Statistics of generated songs, stem by stem, and the speed of making them.

If the environment variable ``STEM_FILE`` names a ``.stem.mp4`` of drums, bass, other and vocals,
its statistics stand beside them.
"""

import os
import time

import torch
from torch import Tensor

from sonograd.data import read_info, read_streams
from sonograd.data.songs import STEMS, make_song
from sonograd.data.songs.statistics import (
    BANDS_HZ,
    StemStatistics,
    average_statistics,
    stem_statistics,
)

RATE = 44_100
SONGS = 30
SECONDS = 12.0


def measure(stems: Tensor) -> list[StemStatistics]:
    return [stem_statistics(stem, sample_rate=RATE) for stem in stems]


def row(stem: str, kind: str, found: StemStatistics) -> str:
    bands = " | ".join(f"{level:.0f}" for level in found.bands_db)
    return (
        f"| {stem} | {kind} | {bands} | {found.level_db:.0f} | {found.crest_db:.0f} "
        f"| {found.silence:.2f} | {found.width_db:.0f} |"
    )


def run() -> str:
    torch.set_num_threads(1)
    make_song(0, seconds=SECONDS)  # compiles what is compiled
    start = time.process_time()
    generated = [measure(make_song(seed, seconds=SECONDS).stems) for seed in range(SONGS)]
    speed = SONGS * SECONDS / (time.process_time() - start)
    real = None
    if path := os.environ.get("STEM_FILE"):
        real = measure(read_streams(path, 0, read_info(path).samples)[1:])
    names = [f"{int(edge)}" for edge in BANDS_HZ]
    lines = [
        "## Generated songs",
        "",
        f"{SONGS} songs of {SECONDS:.0f} s from synthesis, made at {speed:.1f} times real time in "
        "processor time on one core. Bands are named by their lower edge in Hz; levels in dB.",
        "",
        f"| stem | songs | {' | '.join(names)} | level | crest | silence | width |",
        "|" + "---|" * (len(names) + 6),
    ]
    for index, stem in enumerate(STEMS):
        found = [song[index] for song in generated if song[index].silence < 1.0]
        lines.append(row(stem, "generated", average_statistics(found)))
        if real is not None:
            lines.append(row(stem, "real", real[index]))
    return "\n".join(lines)
