"""Raw tones that the instruments shape: tables, strings, partials, frequency modulation."""

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.sound import generator, noise, time_axis
from sonograd.functional import adsr, harmonic_table, plucked_string, wavetable_oscillator

__all__ = ["click", "fm_tone", "modal_tone", "partials", "string_tone", "table_tone", "wave_table"]


def partials(shape: str, frequency_hz: float, sample_rate: float, *, limit: int = 400) -> Tensor:
    """Return the harmonics of a plain wave that fit below the sample rate."""
    count = int(np.clip(0.45 * sample_rate / max(frequency_hz, 10.0), 1, limit))
    index = torch.arange(1, count + 1, dtype=torch.float32)
    odd = (index % 2).bool()
    if shape == "saw":
        return 0.64 / index
    if shape == "square":
        return torch.where(odd, 1.27 / index, torch.zeros(()))
    if shape == "triangle":
        sign = torch.where((index % 4) == 1, 1.0, -1.0)
        return torch.where(odd, 0.81 * sign / index.square(), torch.zeros(()))
    if shape == "pulse":
        return 1.27 * torch.sin(torch.pi * index * 0.2) / index
    return torch.tensor([1.0])


def wave_table(amplitudes: Tensor) -> Tensor:
    """Return one period with the given harmonics."""
    return harmonic_table(amplitudes, size=2048 if len(amplitudes) < 1000 else 4096)


def table_tone(
    frequency_hz: float | Tensor,
    samples: int,
    sample_rate: float,
    table: Tensor,
    phase: float = 0.0,
) -> Tensor:
    """Play a table at a constant or changing pitch."""
    if not isinstance(frequency_hz, Tensor):
        frequency_hz = torch.full((samples,), frequency_hz)
    return wavetable_oscillator(frequency_hz, table, sample_rate=sample_rate, phase=phase)


def string_tone(
    rng: np.random.Generator,
    frequency_hz: float,
    gate_s: float,
    sample_rate: int,
    *,
    ring_s: float,
    decay_s: float,
    damping: float,
    brightness: float,
    pick: float,
) -> Tensor:
    """Pluck a string and damp it when the note ends."""
    frequency_hz = min(frequency_hz, 0.12 * sample_rate)
    samples = int((gate_s + 4 * ring_s) * sample_rate) + 1
    y = plucked_string(
        frequency_hz,
        samples,
        sample_rate=sample_rate,
        generator=generator(rng),
        decay_s=decay_s,
        damping=damping,
        brightness=brightness,
        pick_position=pick,
    )
    return y * adsr(
        samples,
        sample_rate=sample_rate,
        attack_s=0.0015,
        decay_s=1.0,
        sustain=1.0,
        release_s=ring_s,
        gate_s=gate_s,
    )


def modal_tone(
    rng: np.random.Generator,
    ratios: np.ndarray,
    levels: np.ndarray,
    decays_s: np.ndarray,
    frequency_hz: float,
    seconds: float,
    sample_rate: int,
) -> Tensor:
    """Add decaying partials, those below the sample rate."""
    time = time_axis(int(seconds * sample_rate) + 1, sample_rate)
    y = torch.zeros(len(time))
    for ratio, level, decay in zip(ratios, levels, decays_s, strict=True):
        hz = float(ratio) * frequency_hz
        if hz > 0.45 * sample_rate or level < 1e-3:
            continue
        length = min(int(7.0 * float(decay) * sample_rate) + 1, len(time))
        part = time[:length]
        phase = float(rng.random())
        y[:length] += (
            float(level)
            * torch.sin(2 * torch.pi * (hz * part + phase))
            * torch.exp(-part / float(decay))
        )
    return y


def fm_tone(
    frequency_hz: float, samples: int, sample_rate: float, ratio: float, index: Tensor | float
) -> Tensor:
    """Modulate the phase of a sine by another; the index is held where sidebands would alias."""
    time = time_axis(samples, sample_rate)
    ratio = min(ratio, 0.3 * sample_rate / frequency_hz)
    most = max(0.4 * sample_rate / (frequency_hz * max(ratio, 0.25)) - 1.0, 0.3)
    index = index.clamp(max=most) if isinstance(index, Tensor) else min(index, most)
    turn = 2 * torch.pi * frequency_hz
    return torch.sin(turn * time + index * torch.sin(turn * ratio * time))


def click(rng: np.random.Generator, samples: int, sample_rate: float, decay_s: float) -> Tensor:
    """Return a short burst of noise, as of a hammer or a key."""
    length = min(int(8 * decay_s * sample_rate) + 1, samples)
    y = torch.zeros(samples)
    y[:length] = noise(rng, length) * torch.exp(-time_axis(length, sample_rate) / decay_s)
    return y
