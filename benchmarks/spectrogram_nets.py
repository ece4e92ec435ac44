"""The three spectrogram U-Nets: size, work, training speed, criteria, and scores of the presets.

Training speed is taken from processor time, so that other programs on the machine matter less.
Every row is a piece of its own, see ``BENCHMARK_PIECES`` in :mod:`benchmarks._pieces`.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import sonograd
from benchmarks._pieces import piece
from benchmarks.default_model import score
from sonograd.config.io import write_config
from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import Chunk
from sonograd.data.songs import STEMS, make_song
from sonograd.data.stems import Example
from sonograd.functional import resample
from sonograd.jobs.configure import model_config
from sonograd.jobs.songs import write_songs
from sonograd.jobs.train import train
from sonograd.losses import SISDR
from sonograd.separators import build_separator, load_separator
from sonograd.training.criteria import training_loss
from sonograd.training.validation import median_scores, score_song

MODELS = ("SpectrogramNetSimple", "SpectrogramNetLSTM", "SpectrogramNetVAE")
CRITERIA = ("si_sdr", "rmse", "l1", "l2", "component", "mask", "kl_div")
FULL = {
    "normalize_input": True,
    "normalize_output": True,
    "num_fft": 2048,
    "window_size": 2048,
    "hop_length": 1024,
}
SMALL = {
    **{"num_hidden_channels": 4, "hidden_size": 32, "recurrent_depth": 1, "dropout_p": 0.0},
    **{"sample_rate": 8000, "sample_length": 2, "num_fft": 512, "window_size": 512},
    **{"hop_length": 256, "normalize_input": True, "normalize_output": True},
}
HELD_OUT = range(7_000_000, 7_000_004)
EPOCHS, STEPS, BATCH = 8, 24, 4


def millions(separator: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in separator.parameters()) / 1e6:.3g} million"


def sizes(kind: str) -> list[str]:
    """Return rows about a network, at full size, untrained, and at that of its preset."""
    preset = sonograd.load(kind)
    full = build_separator(model_config(kind, settings=FULL))
    score = f"{_mean_score(kind)[0]:.1f} dB"
    return [
        f"| `{kind}` | full | {_cost(full, batch=2)} | not trained here |",
        f"| `{kind}` | preset | {_cost(preset, batch=4)} | {score} |",
    ]


def _cost(separator: sonograd.separators.Separator, batch: int) -> str:
    """Return cells: parameters, work, and training speed on chunks of three seconds."""
    seconds = 3
    mix = torch.randn(batch, 1, seconds * separator.sample_rate)
    with FlopCounterMode(display=False) as counter, torch.backends.mkldnn.flags(enabled=False):
        separator(mix)
    reference = mix[:, None].expand(-1, len(separator.stems), -1, -1)
    optimizer = torch.optim.AdamW(separator.parameters(), 1e-4)
    separator.train()
    spent = []
    for _ in range(4):
        begin = time.process_time()
        optimizer.zero_grad()
        SISDR()(separator(mix), reference).backward()
        optimizer.step()
        spent.append(time.process_time() - begin)
    flops = counter.get_total_flops() / (batch * seconds) / 1e9
    return f"{millions(separator)} | {flops:.2f} | {batch / min(spent):.2f}"


def separated(
    separator: sonograd.separators.Separator, mix: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Separate each channel by itself, at the model's rate; return stems at that of the mix."""
    rate = separator.sample_rate
    heard = resample(mix, from_rate=44_100, to_rate=rate)
    stems = torch.cat([separator.separate(channel[None]) for channel in heard], dim=1)
    back = resample(stems, from_rate=rate, to_rate=44_100)[..., : mix.shape[-1]]
    return dict(zip(separator.stems, back, strict=True))


def presets(name: str) -> list[str]:
    """Return a row about a preset, or the mix: SI-SDR per stem, and how much that is above it."""
    _, cells = _mean_score(name)
    size = millions(sonograd.load(name)) if name in MODELS else ""
    return [f"| {name} | {size} | {' | '.join(cells)} |"]


@cache
def _mean_score(name: str) -> tuple[float, list[str]]:
    """Return the mean SI-SDR of a model, and cells for every stem and their mean."""
    separator = sonograd.load(name) if name in MODELS else None
    found: dict[str, list[tuple[float, float]]] = {stem: [] for stem in STEMS}
    for seed in HELD_OUT:
        truth = make_song(seed, seconds=12.0, sample_rate=44_100).stems
        mix = truth.sum(0)
        before = after = score(dict.fromkeys(STEMS, mix), truth)
        if separator is not None:
            after = score(separated(separator, mix), truth)
        for stem, (_, value) in after.items():
            found[stem].append((value, value - before[stem][1]))
    means = [torch.tensor(found[stem]).mean(0) for stem in STEMS]
    means.append(torch.stack(means).mean(0))
    return float(means[-1][0]), [f"{float(m[0]):.1f} ({float(m[1]):+.1f})" for m in means]


def criteria(criterion: str) -> list[str]:
    """Return a row for every network that a criterion fits."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write_songs(root / "songs", count=10, seconds=8.0, sample_rate=8000, seed=5)
        kinds = MODELS if criterion != "kl_div" else MODELS[-1:]  # which needs a latent
        return [_trained(root, kind, criterion) for kind in kinds]


def rows(name: str, make: Callable[[str], list[str]], keys: Sequence[str]) -> list[str]:
    found = [piece("spectrogram_nets", f"{name}-{k}", lambda k=k: make(k)) for k in keys]
    return [row for part in found for row in part]


def _trained(root: Path, kind: str, criterion: str) -> str:
    """Train a small network; return its errors and scores before and after, and its speed."""
    folder = root / f"{kind}-{criterion}"
    folder.mkdir()
    config = model_config(kind, targets=["drums", "vocals"], settings=SMALL)
    write_config(config, folder / "model.json")
    torch.manual_seed(0)
    before = build_separator(config).eval()
    settings = {
        **{"criterion": criterion, "max_epochs": EPOCHS, "max_samples": STEPS * BATCH},
        **{"batch_size": BATCH, "lr": 1e-3, "lr_lstm": 1e-3, "num_workers": 0, "ema": 0.9},
        **{"validation_songs": 0, "clip_grad": True, "max_grad_norm": 1.0},
    }
    start = time.process_time()
    train(folder, root / "songs", settings=settings, device="cpu")
    speed = EPOCHS * STEPS * BATCH / (time.process_time() - start)
    after = load_separator(folder / "weights.safetensors")
    errors = " → ".join(f"{_error(model, criterion):.3g}" for model in (before, after))
    scores = " → ".join(f"{_score(model):.1f} dB" for model in (before, after))
    return f"| `{criterion}` | {kind} | {errors} | {scores} | {speed:.0f} |"


@cache
def _songs() -> list[tuple[tuple[str, ...], torch.Tensor]]:
    songs = [make_song(seed, seconds=8.0, sample_rate=8000) for seed in HELD_OUT]
    return [(tuple(song.names), song.stems.mean(1, keepdim=True)) for song in songs]


def _ordered(separator: sonograd.separators.Separator) -> list[torch.Tensor]:
    """Return the held-out songs, with the stems of the model first."""
    found = []
    for names, stems in _songs():
        order = [names.index(name) for name in separator.stems]
        found.append(stems[order + [k for k in range(len(stems)) if k not in order]])
    return found


def _error(separator: sonograd.separators.Separator, criterion: Any) -> float:
    """Return the value of a criterion, on pieces of the held-out songs as long as in training."""
    samples = int(SMALL["sample_length"] * SMALL["sample_rate"])
    songs = torch.stack(_ordered(separator))
    pieces = torch.cat(songs[..., : songs.shape[-1] // samples * samples].split(samples, dim=-1))
    batch = Chunk(pieces, torch.ones(*pieces.shape[:2], 2), ("",) * len(pieces))
    with torch.inference_mode():
        return float(training_loss(separator, batch, TrainingConfig(criterion=criterion)))


def _score(separator: sonograd.separators.Separator) -> float:
    scores = [score_song(separator, Example("", stems)) for stems in _ordered(separator)]
    return median_scores(scores).get("si_sdr", math.nan)  # no number where all estimates are silent


def run() -> str:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lines = [
            "## The spectrogram U-Nets",
            "",
            "Work in operations per second of audio, multiplications and additions counted, in "
            "chunks of 3 s; training speed in such chunks per second of processor time on one "
            "core, with SI-SDR as the loss; SI-SDR of the presets on the held-out songs below.",
            "",
            "| model | size | parameters | GFLOP per second | chunks per second | SI-SDR |",
            "|---|---|---|---|---|---|",
            *rows("size", sizes, MODELS),
            "",
            f"The presets on {len(HELD_OUT)} synthetic songs that no training saw: mean SI-SDR in "
            "dB (and how much that is above the mix).",
            "",
            f"| model | parameters | {' | '.join(STEMS)} | mean |",
            "|---|---|---|---|---|---|---|",
            *rows("preset", presets, ("the mix itself", *MODELS)),
            "",
            f"Small networks after {EPOCHS} epochs of {STEPS} steps of {BATCH} chunks of 2 s at "
            "8 kHz with each criterion: its value on held-out songs, before → after (lower is "
            "better), SI-SDR there, mean of drums and vocals, and chunks per second of processor "
            "time, with reading, logs and saving. `kl_div` needs the latent of a variational "
            "network.",
            "",
            "| criterion | model | validation error | SI-SDR | chunks per second |",
            "|---|---|---|---|---|",
            *rows("criterion", criteria, CRITERIA),
        ]
    finally:
        torch.set_num_threads(threads)
    return "\n".join(lines)
