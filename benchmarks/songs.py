"""Statistics of generated songs of both sources, stem by stem, and the speed of making them.

If the environment variable ``STEM_FILE`` names a ``.stem.mp4`` of drums, bass, other and vocals,
its statistics stand beside them.
"""

import math
import os
import time

import torch
from torch import Tensor

from sonograd.data import read_info, read_streams
from sonograd.data.songs import STEMS, make_song
from sonograd.data.songs.render import Source
from sonograd.data.songs.sampled import check_programs
from sonograd.data.songs.statistics import (
    BANDS_HZ,
    StemStatistics,
    average_statistics,
    stem_statistics,
)
from sonograd.errors import SonogradError

RATE = 44_100
SONGS = 30
SECONDS = 12.0


def measure(stems: Tensor) -> list[StemStatistics]:
    return [stem_statistics(stem, sample_rate=RATE) for stem in stems]


def row(stem: str, kind: str, found: StemStatistics) -> str:
    bands = " | ".join(f"{level:.0f}" for level in found.bands_db)
    pitch = "-" if math.isnan(found.pitch_hz[0]) else " ".join(f"{hz:.0f}" for hz in found.pitch_hz)
    return (
        f"| {stem} | {kind} | {bands} | {found.level_db:.0f} | {found.crest_db:.0f} "
        f"| {found.silence:.2f} | {found.width_db:.0f} | {found.onsets_hz:.1f} "
        f"| {found.periodicity:.2f} | {pitch} |"
    )


def sources() -> list[Source]:
    try:
        check_programs()
    except SonogradError as error:
        print(f"only from synthesis: {error}")
        return ["synthesis"]
    return ["synthesis", "sampled"]


def run() -> str:
    torch.set_num_threads(1)
    make_song(0, seconds=SECONDS)  # compiles what is compiled
    start = time.process_time()
    for seed in range(SONGS):
        make_song(seed, seconds=SECONDS)
    speed = SONGS * SECONDS / (time.process_time() - start)
    generated = {
        source: [
            measure(make_song(seed, seconds=SECONDS, source=source).stems) for seed in range(SONGS)
        ]
        for source in sources()
    }
    real = None
    if path := os.environ.get("STEM_FILE"):
        real = measure(read_streams(path, 0, read_info(path).samples)[1:])
    names = [f"{int(edge)}" for edge in BANDS_HZ]
    lines = [
        "## Generated songs",
        "",
        f"{SONGS} songs of {SECONDS:.0f} s from each source; from synthesis made at {speed:.1f} "
        "times real time in processor time on one core. Bands are named by their lower edge in "
        "Hz; levels in dB; silence as a share of time; onsets per second; periodicity from 0 to "
        "1; pitch in Hz, its 10, 50 and 90 percent quantiles. Definitions: "
        "`sonograd.data.songs.StemStatistics`.",
        "",
        f"| stem | songs | {' | '.join(names)} | level | crest | silence | width "
        "| onsets | periodicity | pitch |",
        "|" + "---|" * (len(names) + 9),
    ]
    for index, stem in enumerate(STEMS):
        for source, songs in generated.items():
            found = [song[index] for song in songs if song[index].silence < 1.0]
            lines.append(row(stem, source, average_statistics(found)))
        if real is not None:
            lines.append(row(stem, "real", real[index]))
    return "\n".join(lines)
