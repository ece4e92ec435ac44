"""Peak memory and speed of ``sonograd separate`` against the length of the song."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
# (model, minutes of audio)
CASES = [("center", 20), ("center", 180), ("SpectrogramNetSimple", 2), ("SpectrogramNetSimple", 12)]


def make_song(path: Path, minutes: int) -> None:
    """Write a stereo file of decaying tones and noise, in blocks."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(RATE * 10) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 220 * time_axis) * np.exp(-(time_axis % 0.5) * 6)
    block = np.stack([tone, np.roll(tone, 300)], 1)
    block = (block + 0.05 * rng.standard_normal(block.shape)).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(minutes * 6):
            file.write(block)


def make_session(folder: Path) -> str:
    """Write a session folder with an untrained U-Net of the default size, in stereo."""
    from sonograd.config import SpectrogramNetSimpleConfig, write_config
    from sonograd.separators import build_separator, save_separator

    folder.mkdir()
    config = SpectrogramNetSimpleConfig(
        num_channels=2, num_fft=2048, window_size=2048, hop_length=1024
    )
    write_config(config, folder / "model.json")
    save_separator(build_separator(config), folder / "weights.safetensors")
    return str(folder)


def measure(command: list[str]) -> tuple[float, float]:
    """Return wall seconds and peak resident megabytes of a whole process."""
    program = (
        "import json, resource, subprocess, sys, time;"
        "start = time.perf_counter();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL,"
        " stderr=subprocess.DEVNULL);"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024;"
        "print(json.dumps([time.perf_counter() - start, peak]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], check=True, capture_output=True, text=True
    )
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def run() -> str:
    rows = [
        "## Memory does not depend on the length of the song",
        "",
        "`sonograd separate`, whole program, stereo 44.1 kHz, 16-bit wav in, float wav out.",
        "",
        "| model | song | wall time | real-time factor | peak memory |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER")) as name:
        folder = Path(name)
        session = make_session(folder / "unet")
        for model, minutes in CASES:
            song = folder / f"{minutes}.wav"
            make_song(song, minutes)
            target = session if model.startswith("Spectrogram") else model
            program = str(Path(sys.executable).parent / "sonograd")
            seconds, peak = measure(
                [program, "separate", target, str(song), "--save", str(folder / "out"), "--quiet"]
            )
            subprocess.run(["rm", "-rf", str(folder / "out"), str(song)], check=True)
            rows.append(
                f"| {model} | {minutes} min | {seconds:.0f} s "
                f"| {seconds / (60 * minutes):.3f} | {peak:.0f} MB |"
            )
    return "\n".join(rows)
