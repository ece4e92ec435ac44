"""Scores of the default model and of the models without weights, per stem.

On synthetic songs that no training saw; and, if the environment variable ``STEM_FILE`` names a
``.stem.mp4`` of drums, bass, other and vocals, on that real recording.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

import sonograd
from sonograd.data import read_info, read_streams
from sonograd.data.songs import STEMS, make_song
from sonograd.functional import si_sdr, snr

RATE = 44_100
HELD_OUT = range(7_000_000, 7_000_008)
# Which stem of a model without weights stands for a stem of a song.
CLASSICAL: Mapping[str, tuple[str, str]] = {
    "drums": ("hpss", "percussive"),
    "bass": ("hpss", "harmonic"),
    "other": ("center", "sides"),
    "vocals": ("center", "center"),
}


def songs() -> Iterator[tuple[str, Tensor]]:
    """Yield names and true stems ``(4, 2, samples)``."""
    for seed in HELD_OUT:
        yield "synthetic", make_song(seed, seconds=20.0, sample_rate=RATE).stems
    if path := os.environ.get("STEM_FILE"):
        info = read_info(path)
        yield Path(path).name.removesuffix(".stem.mp4"), read_streams(path, 0, info.samples)[1:]


def score(estimates: Mapping[str, Tensor], truth: Tensor) -> dict[str, tuple[float, float]]:
    """Return SDR and SI-SDR per stem, both channels as one signal; silent stems are left out."""
    result = {}
    for stem, reference in zip(STEMS, truth.double(), strict=True):
        if stem in estimates and reference.square().mean() > 1e-8:
            pair = (estimates[stem].double().flatten(), reference.flatten())
            result[stem] = (float(snr(*pair)), float(si_sdr(*pair)))
    return result


def systems() -> dict[str, Callable[[Tensor], dict[str, Tensor]]]:
    """Return what is compared, each from a mix to stems by name."""
    default = sonograd.load("default")
    classical = {name: sonograd.load(name) for name in ("hpss", "center")}

    def without_weights(mix: Tensor) -> dict[str, Tensor]:
        stems = {
            (name, stem): audio
            for name, model in classical.items()
            for stem, audio in zip(model.stems, model.separate(mix), strict=True)
        }
        return {target: stems[source] for target, source in CLASSICAL.items()}

    return {
        "the mix itself": lambda mix: dict.fromkeys(STEMS, mix),
        "without weights": without_weights,
        "default": lambda mix: dict(zip(default.stems, default.separate(mix), strict=True)),
    }


def run() -> str:
    lines = ["## The default model", "", "Mean SDR / SI-SDR in dB.", ""]
    lines += [f"| songs | system | {' | '.join(STEMS)} | mean |", "|---|---|---|---|---|---|---|"]
    scores: dict[tuple[str, str], list[dict[str, tuple[float, float]]]] = {}
    compared = systems()
    for kind, truth in songs():
        mix = truth.sum(0)
        for name, separate in compared.items():
            scores.setdefault((kind, name), []).append(score(separate(mix), truth))
    for (kind, name), items in scores.items():
        cells = []
        for stem in STEMS:
            values = torch.tensor([item[stem] for item in items if stem in item])
            cells.append(values.mean(0))
        mean = torch.stack(cells).mean(0)
        row = " | ".join(f"{float(c[0]):.1f} / {float(c[1]):.1f}" for c in [*cells, mean])
        lines.append(f"| {kind} ({len(items)}) | {name} | {row} |")
    lines += [
        "",
        "Without weights: "
        + ", ".join(f"{t} is {s} of {m}" for t, (m, s) in CLASSICAL.items())
        + ".",
    ]
    return "\n".join(lines)
