"""Training: what feeds it, what runs it, and a step of the three U-Nets beside auralflow's.

``AURALFLOW`` names the folder of an unpacked wheel of auralflow 0.1.0 (``pip download --no-deps
--ignore-requires-python --python-version 3.7 --only-binary :all: auralflow==0.1.0``); without it
its rows say so. stempeg is used if it and an ffmpeg program (``FFMPEG``, or in the path) are there.
"""

import importlib
import os
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks._pieces import piece
from benchmarks._readers import (
    CHUNK,
    RATE,
    STEMS,
    Places,
    alternate,
    ours,
    soundfile_reads,
    stempeg_reads,
    write_songs,
    write_stem_files,
)
from benchmarks.measures import resident, trim


def loader_rows(folder: Path) -> list[str]:
    cache = folder / "cache"
    write_songs(folder / "wav", 4, ".wav")
    write_songs(folder / "flac", 4, ".flac")
    write_stem_files(folder / "mp4", 2)
    rows = []

    def row(kind: str, rival: str, count: int, songs: int, works: dict, rounds: int) -> None:
        places = Places(songs, count)
        found = alternate(
            {name: lambda read=read: places.run(read) for name, read in works.items()}, rounds
        )
        theirs = found.pop("theirs")
        for name, seconds in found.items():
            rows.append(
                f"| {kind} | {rival}: {count / theirs:.1f}/s | {name} | {count / seconds:.0f}/s "
                f"| **{theirs / seconds:.1f}x** |"
            )

    row(
        "wav", "soundfile, opened per chunk and stem", 30, 4,
        {"theirs": soundfile_reads(folder / "wav", ".wav"), "read in place": ours(folder / "wav")},
        7,
    )  # fmt: skip
    row(
        "flac", "soundfile, opened per chunk and stem", 10, 4,
        {
            "theirs": soundfile_reads(folder / "flac", ".flac"),
            "from the cache": ours(folder / "flac", cache=cache),
            "without cache": ours(folder / "flac", cache_gb=0),
        },
        5,
    )  # fmt: skip
    rival, read = stempeg_reads(folder / "mp4")
    row(
        "`.stem.mp4`", rival, 2, 2,
        {
            "theirs": read,
            "from the cache": ours(folder / "mp4", cache=cache),
            "without cache": ours(folder / "mp4", cache_gb=0),
        },
        3,
    )  # fmt: skip
    return rows


def feeding_row(folder: Path) -> str:
    """Let two workers feed steps of 50 ms that leave the processor alone, as those of a GPU do."""
    from torch.utils.data import DataLoader

    from sonograd.data import ChunkDataset, StemFolder, collate_chunks

    write_songs(folder / "wav", 4, ".wav")
    songs = StemFolder(folder / "wav", STEMS)
    data = ChunkDataset(songs, CHUNK, equalizer_bins=1025)
    results = []
    _ = data[0]
    spent = []
    for _ in range(3):
        start = time.process_time()
        collate_chunks([data[k] for k in range(1, 21)])
        spent.append((time.process_time() - start) / 20)
    cost = min(spent)
    for batch in (2, 4, 8):
        batches = [list(range(k * batch, (k + 1) * batch)) for k in range(60)]
        loader = DataLoader(
            data, batch_sampler=batches, num_workers=2, prefetch_factor=4,
            collate_fn=collate_chunks, persistent_workers=False,
        )  # fmt: skip
        times = []
        last = time.perf_counter()
        for _ in loader:
            time.sleep(0.05)
            now = time.perf_counter()
            times.append(now - last)
            last = now
        results.append(f"batch {batch}: {1000 * statistics.median(times[10:]):.1f} ms")
    return (
        f"A stereo chunk of four stems costs {1000 * cost:.0f} ms of processor time at the default "
        f"augmentation: two free cores feed steps of 50 ms with up to {int(0.1 / cost)} of them. "
        f"On the clock, at the load that the machine had then, such steps took: "
        f"{', '.join(results)} (median)."
    )


def opening_row(folder: Path) -> str:
    """Open 10,000 songs of five files each."""
    from sonograd.data import StemFolder

    root = folder / "many"
    first = folder / "one.wav"
    soundfile.write(first, np.zeros((1000, 2)), RATE, subtype="PCM_16")
    for song in range(10_000):
        place = root / f"{song:05}"
        place.mkdir(parents=True)
        for stem in ("mixture", *STEMS):
            (place / f"{stem}.wav").hardlink_to(first)
    trim()
    before, start, wall = resident("VmRSS"), time.process_time(), time.perf_counter()
    songs = StemFolder(root, STEMS)
    seconds, passed = time.process_time() - start, time.perf_counter() - wall
    memory = resident("VmRSS") - before
    assert len(songs) == 10_000
    return (
        f"10,000 songs of five files open in {seconds:.1f} s of processor time ({passed:.1f} s on "
        f"the clock) and {memory:.0f} MB."
    )


def loop_row() -> str:
    """Run steps of our loop and of the shortest loop that trains, in turns."""
    from lightning.pytorch import Callback

    from sonograd.config import SpectrogramNetSimpleConfig
    from sonograd.config.training import TrainingConfig
    from sonograd.data.chunks import Chunk
    from sonograd.separators import build_separator
    from sonograd.training.criteria import training_loss
    from sonograd.training.loop import fit

    steps, warm = 16, 3
    model_config = SpectrogramNetSimpleConfig(num_fft=2048, window_size=2048, hop_length=1024)
    config = TrainingConfig(
        criterion="l1", batch_size=2, max_samples=2 * steps, max_epochs=1, num_workers=0,
        validation_songs=0, schedule="constant", lr=1e-4,
    )  # fmt: skip
    chunk = Chunk(0.1 * torch.randn(2, 1, CHUNK), torch.ones(2, 1025), ("a", "b"))
    batch = Chunk(torch.stack([chunk.stems] * 2), torch.stack([chunk.equalizer] * 2), ("a", "b"))
    torch.manual_seed(0)
    model = build_separator(model_config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, betas=(0.9, 0.98))
    spent: dict[str, list[float]] = {"bare": [], "ours": []}

    class Same(torch.utils.data.Dataset):
        samples = CHUNK

        def __getitem__(self, index: int) -> Chunk:
            return chunk

    class Turns(Callback):
        """After each of our steps, takes a bare one of its own, which does not count as ours."""

        last = 0.0

        def on_train_epoch_start(self, *_: object) -> None:
            self.last = time.process_time()

        def on_train_batch_end(self, *_: object) -> None:
            start = time.process_time()
            spent["ours"].append(start - self.last)
            optimizer.zero_grad()
            training_loss(model, batch, config).backward()
            optimizer.step()
            self.last = time.process_time()
            spent["bare"].append(self.last - start)

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        fit(build_separator(model_config), Same(), config, folder=Path(folder), callbacks=[Turns()])
    bare, full = (statistics.median(spent[name][warm:]) for name in ("bare", "ours"))
    return (
        f"A step of SpectrogramNetSimple on two chunks of three seconds takes {1000 * bare:.0f} ms "
        f"in a bare loop and {1000 * full:.0f} ms in ours, with data loader, gradient norms, "
        f"moving average, logs, clock and seeds, in turns: **{100 * (full / bare - 1):+.1f} %** "
        f"({100 * (min(spent['ours'][warm:]) / min(spent['bare'][warm:]) - 1):+.1f} % between the "
        "fastest of each)."
    )


def original_networks() -> types.ModuleType | None:
    """Import the networks of auralflow 0.1.0, without what else it needs."""
    place = os.environ.get("AURALFLOW")
    if not place:
        return None
    empty = types.SimpleNamespace(Spectrogram=object, InverseSpectrogram=object, MelScale=object)
    stubs = {
        "torchaudio": {"transforms": empty},
        "fast_bss_eval": {"si_sdr_loss": None},
        "auralflow": {"__path__": [str(Path(place, "auralflow"))]},
        "auralflow.models": {"__path__": [str(Path(place, "auralflow", "models"))]},
    }
    for name, content in stubs.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules.setdefault(name, module)
    return importlib.import_module("auralflow.models.architectures")


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class Original(nn.Module):
    """An original network with the transform and the loss that auralflow gives it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("window", torch.hann_window(2048))

    def spectrum(self, audio: torch.Tensor) -> torch.Tensor:
        audio = F.pad(audio, (0, 1024 - audio.shape[-1] % 1024))
        flat = audio.flatten(0, 1)
        spectrum = torch.stft(flat, 2048, 1024, 2048, self.window, return_complex=True)
        return spectrum.unflatten(0, audio.shape[:2])

    def forward(self, mix: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        magnitude = self.spectrum(mix).abs()
        estimate = self.network(magnitude) * magnitude
        return F.l1_loss(estimate, self.spectrum(target).abs())


def step_rows(kind: str) -> list[str]:
    """Compare a step of a network with that of the original's of as many parameters."""
    from sonograd import config as C
    from sonograd.config.training import TrainingConfig
    from sonograd.data.chunks import Chunk
    from sonograd.separators import build_separator
    from sonograd.training.criteria import training_loss

    networks = original_networks()
    if networks is None:
        return [f"| SpectrogramNet{kind} | auralflow 0.1.0 is not here (`AURALFLOW`) | | | |"]
    stems = 0.1 * torch.randn(2, 2, 1, CHUNK)
    chunk = Chunk(stems, torch.ones(2, 2, 1025), ("",) * 2)
    mix, target = stems.sum(1), stems[:, 0]
    config = TrainingConfig(criterion="l1")
    extra = {} if kind == "Simple" else {"input_axis": 1, "hidden_size": 512}
    theirs = Original(
        getattr(networks, f"SpectrogramNet{kind}")(
            num_fft_bins=1025, num_frames=130 + 1, hidden_channels=8, **extra
        )
    )
    wanted = count(theirs)

    def make(channels: int) -> nn.Module:
        settings = {"num_fft": 2048, "window_size": 2048, "hop_length": 1024}
        kinds = getattr(C, f"SpectrogramNet{kind}Config")
        return build_separator(kinds(num_hidden_channels=channels, **settings))

    with torch.device("meta"):
        sizes = {channels: count(make(channels)) for channels in range(8, 33)}
    model = make(min(sizes, key=lambda channels: abs(sizes[channels] - wanted)))
    losses = {
        "theirs": (theirs, lambda: theirs(mix, target)),
        "ours": (model, lambda: training_loss(model, chunk, config)),
    }
    found: dict[str, tuple[float, float]] = {}
    for _ in range(3):
        for name, (network, loss) in losses.items():
            network.train()
            seconds, memory = _step(network, loss)
            before = found.get(name, (seconds, memory))
            found[name] = min(before[0], seconds), max(before[1], memory)
    (a, memory_a), (b, memory_b) = found["theirs"], found["ours"]
    return [
        f"| SpectrogramNet{kind} | {wanted / 1e6:.1f} M: {a:.2f} s, {memory_a:.0f} MB "
        f"| {count(model) / 1e6:.1f} M: {b:.2f} s, {memory_b:.0f} MB | **{a / b:.1f}x** "
        f"| {memory_a / memory_b:.1f}x |"
    ]


def _step(network: nn.Module, loss: Callable[[], torch.Tensor]) -> tuple[float, float]:
    """Return processor seconds of a step, and peak megabytes beyond weights and optimizer."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-5)
    times, peak = [], 0.0
    for number in range(3):
        trim()
        Path("/proc/self/clear_refs").write_text("5")
        before, start = resident("VmRSS"), time.process_time()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if number:  # the first step also makes the optimizer's state
            times.append(time.process_time() - start)
            peak = max(peak, resident("VmHWM") - before)
    optimizer.zero_grad()
    return min(times), peak


def run() -> str:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        rows = piece("training", "loader", lambda: loader_rows(folder / "loader"))
        feeding = piece("training", "feeding", lambda: [feeding_row(folder / "feeding")])
        opening = piece("training", "opening", lambda: [opening_row(folder)])
    steps = [
        row
        for kind in ("Simple", "LSTM", "VAE")
        for row in piece("training", f"step-{kind}", lambda kind=kind: step_rows(kind))
    ]
    return "\n".join(
        [
            "## Training",
            "",
            "Random three-second chunks of four stereo stems at 44.1 kHz, tracks of half a minute; "
            "chunks per second of processor time on one core, files in the page cache, the best of "
            "several runs in turns:",
            "",
            "| files | rival | sonograd | | ratio |",
            "|---|---|---|---|---|",
            *rows,
            "",
            *feeding,
            "",
            *opening,
            "",
            *piece("training", "loop", lambda: [loop_row()]),
            "",
            "A training step (forward, backward, AdamW) on one core: two mono chunks of three "
            "seconds, FFT of 2048, l1 on magnitudes, beside the networks of auralflow 0.1.0 at as "
            "many parameters; the least processor time of six steps, and peak memory beyond "
            "weights and optimizer. The recurrent networks of the original recur over the items of "
            "a batch, ours over time.",
            "",
            "| network | auralflow 0.1.0 | sonograd | faster | less memory |",
            "|---|---|---|---|---|",
            *steps,
        ]
    )
