"""Random changes of stems by effects: dynamics, rooms, codecs, noise.

As in :mod:`sonograd.data.augment` each is a function of ``(stems, generator)``. Each stem is
changed on its own, or not, with the given probability, so that the mix stays the sum of the stems:
what a codec loses is lost from the stems, and noise belongs to the stem that it came with.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonograd.data.audio import AudioFile
from sonograd.data.resample import resample_audio
from sonograd.data.writer import write_audio
from sonograd.effects import Compressor
from sonograd.functional import fft_convolve
from sonograd.functional.reverbs import noise_reverb_impulse

__all__ = ["add_noise", "code_stems", "compress_stems", "invert_stems", "reverberate_stems"]

Stems = NDArray[np.float32]

#: Formats of codec damage, and the kbit/s they are used at.
CODECS = (("mp3", (96, 320)), ("m4a", (64, 256)), ("opus", (32, 192)))
#: The rate that all of them hold, and the others that mp3 and AAC do.
_CODEC_RATE = 48_000
_CODEC_RATES = (8000, 16000, 24000, 32000, 44100)


def invert_stems(stems: Stems, generator: np.random.Generator, *, probability: float) -> Stems:
    """Change the sign of some stems."""
    flip = generator.random(len(stems)) < probability
    result: Stems = np.where(flip[:, None, None], -stems, stems)
    return result


def compress_stems(
    stems: Stems, generator: np.random.Generator, *, probability: float, sample_rate: int
) -> Stems:
    """Compress the dynamics of some stems, and give them their level back.

    The threshold lies between 15 dB below and 3 dB above the root mean square, the ratio between
    2 and 10, attack and release are drawn from what engineers use.
    """
    chance, height, ratio, attack, release = generator.random((5, len(stems)))
    level = np.sqrt(np.square(stems).mean(axis=(1, 2), dtype=np.float64))
    rows = np.flatnonzero((chance < probability) & (level > 1e-6))
    if not rows.size:
        return stems
    threshold_db = 20 * np.log10(level) - 15 + 18 * height
    values = {
        "threshold_db": np.clip(threshold_db, -60, 0),
        "ratio": 2 * 5**ratio,
        "attack_ms": 0.5 * 60**attack,
        "release_ms": 30 * 10**release,
    }
    compressor = Compressor(sample_rate)
    with torch.no_grad():
        out = compressor(
            torch.from_numpy(stems[rows]),
            **{
                name: torch.from_numpy(value[rows].astype(np.float32))
                for name, value in values.items()
            },
        ).numpy()
    result = stems.copy()
    after = np.sqrt(np.square(out).mean(axis=(1, 2), dtype=np.float64))
    result[rows] = out * (level[rows] / np.maximum(after, 1e-9)).astype(np.float32)[:, None, None]
    return result


def reverberate_stems(
    stems: Stems, generator: np.random.Generator, *, probability: float, sample_rate: int
) -> Stems:
    """Put some stems into a room that reverberates for 0.2 to 2.5 seconds, 3 to 25 dB below."""
    chance, time, wet, dark = generator.random((4, len(stems)))
    seeds = generator.integers(2**62, size=len(stems))
    result = stems
    for row in np.flatnonzero(chance < probability):
        source = torch.Generator().manual_seed(int(seeds[row]))
        cutoff_hz = min(2000 * 8 ** dark[row], 0.45 * sample_rate)
        impulse = noise_reverb_impulse(
            0.2 * 12.5 ** time[row],
            sample_rate=sample_rate,
            generator=source,
            channels=stems.shape[1],
            predelay_s=0.01,
            low_cut_hz=min(150.0, 0.2 * sample_rate),
            high_cut_hz=cutoff_hz,
        )
        room = fft_convolve(torch.from_numpy(stems[row]), impulse, mode="causal").numpy()
        if result is stems:
            result = stems.copy()
        result[row] += np.float32(10 ** (-(3 + 22 * wet[row]) / 20)) * room[:, : stems.shape[-1]]
    return result


def code_stems(
    stems: Stems, generator: np.random.Generator, *, probability: float, sample_rate: int
) -> Stems:
    """Encode and decode some stems as mp3, AAC or Opus at a random bit rate.

    Where a codec does not hold the sample rate, stems pass through it at 48 kHz.
    """
    chance, place = generator.random((2, len(stems)))
    kinds = generator.integers(len(CODECS), size=len(stems))
    result = stems
    for row in np.flatnonzero(chance < probability):
        name, (low, high) = CODECS[kinds[row]]
        x = stems[row]
        peak = float(np.abs(x).max())
        if peak == 0 or x.shape[0] > 2:
            continue
        kbps = round(low * (high / low) ** place[row])
        scale = np.float32(min(1.0, 0.98 / peak))
        if result is stems:
            result = stems.copy()
        result[row] = _round_trip(x * scale, name, kbps, sample_rate) / scale
    return result


def _round_trip(x: Stems, name: str, kbps: int, sample_rate: int) -> Stems:
    """Return what a codec leaves of ``(channels, samples)``, at the same place and length."""
    with tempfile.TemporaryDirectory(prefix="sonograd-codec-") as folder:
        path = Path(folder, f"a.{name}")
        audio = torch.from_numpy(np.ascontiguousarray(x))
        rate = sample_rate if name != "opus" and sample_rate in _CODEC_RATES else _CODEC_RATE
        if rate != sample_rate:
            audio = resample_audio(audio, sample_rate, rate)
        write_audio(path, audio, rate, bitrate_kbps=kbps)
        with AudioFile(path) as file:
            decoded = file.read()
        if rate != sample_rate:
            decoded = resample_audio(decoded, rate, sample_rate)
    found: Stems = decoded.numpy()
    result = np.zeros_like(x)
    count = min(x.shape[-1], found.shape[-1])
    result[:, :count] = found[:, :count]
    return result


def add_noise(
    stems: Stems, generator: np.random.Generator, *, probability: float, level_db: float
) -> Stems:
    """Add noise to some stems, with a spectrum between white and brown.

    Args:
        stems: Silent ones stay silent.
        generator: Source of randomness.
        probability: Of each stem.
        level_db: Its root mean square, relative to that of the stem, at most; at least 30 dB less.
    """
    chance, height, tilt = generator.random((3, len(stems)))
    seeds = generator.integers(2**62, size=len(stems))
    level = np.sqrt(np.square(stems).mean(axis=(1, 2), dtype=np.float64))
    result = stems
    for row in np.flatnonzero((chance < probability) & (level > 0)):
        white = np.random.default_rng(seeds[row]).standard_normal(stems.shape[1:], np.float32)
        spectrum = np.fft.rfft(white)
        bins = np.arange(spectrum.shape[-1])
        colored = np.fft.irfft(spectrum * np.maximum(bins, 1.0) ** -tilt[row], n=white.shape[-1])
        colored /= np.sqrt(np.square(colored).mean())
        if result is stems:
            result = stems.copy()
        result[row] += (level[row] * 10 ** ((level_db - 30 * height[row]) / 20) * colored).astype(
            np.float32
        )
    return result
