"""Small tools that the instruments share: seeded noise, mixing in place, random tone controls."""

import math

import numpy as np
import torch
from torch import Tensor

from sonograd.functional import (
    band_pass_biquad,
    butterworth,
    has_fast_kernels,
    high_shelf_biquad,
    low_shelf_biquad,
    peak_biquad,
    pulse_train,
    sosfilt,
)
from sonograd.functional._kernels import cascade

__all__ = [
    "add",
    "aired_pulses",
    "band_pass",
    "fade",
    "filtered",
    "generator",
    "high_pass",
    "log_uniform",
    "low_pass",
    "midi_to_hz",
    "noise",
    "normalize",
    "pan",
    "random_eq",
    "resonance",
    "time_axis",
]


#: Root mean square of a pulse train, whatever its rate.
_PULSE_LEVEL = 0.67


def midi_to_hz(pitch: float) -> float:
    """Return the frequency of a MIDI note number."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from ``low`` to ``high``, uniform in the logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def noise(rng: np.random.Generator, *shape: int) -> Tensor:
    """Draw white Gaussian noise."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def generator(rng: np.random.Generator) -> torch.Generator:
    """Return a generator of torch seeded from ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(1 << 62)))


def time_axis(samples: int, sample_rate: float) -> Tensor:
    """Return the time of every sample in seconds."""
    return torch.arange(samples, dtype=torch.float32) / sample_rate


def add(buffer: Tensor, position: int, sound: Tensor) -> None:
    """Add ``sound`` to ``buffer`` from a sample on, in place; what lies outside is cut."""
    skip = max(-position, 0)
    start = max(position, 0)
    room = min(sound.shape[-1] - skip, buffer.shape[-1] - start)
    if room > 0:
        buffer[..., start : start + room] += sound[..., skip : skip + room]


def _below(frequency_hz: float, sample_rate: float) -> float:
    return min(max(frequency_hz, 5.0), 0.45 * sample_rate)


def filtered(x: Tensor, sections: Tensor) -> Tensor:
    """Filter ``(..., samples)`` with ``sections (sections, 6)``, as :func:`~.sosfilt` does.

    Songs are made of thousands of short sounds, for which a compiled loop is up to forty times as
    fast as blocks are.
    """
    if not x.numel():
        return x
    rows = x.reshape(-1, x.shape[-1])
    if not has_fast_kernels() or rows.numel() * (len(sections) - 4) > 500_000:
        return sosfilt(x, sections)
    y = torch.empty_like(rows, memory_format=torch.contiguous_format)
    wide = sections.double()
    cascade(rows.contiguous().numpy(), (wide / wide[:, 3:4]).numpy(), y.numpy())
    return y.reshape(x.shape)


def low_pass(x: Tensor, frequency_hz: float, sample_rate: float, order: int = 2) -> Tensor:
    """Filter with a Butterworth low-pass; one beyond the sample rate does nothing."""
    if frequency_hz >= 0.45 * sample_rate:
        return x
    return filtered(
        x, butterworth(order, _below(frequency_hz, sample_rate), sample_rate=sample_rate)
    )


def high_pass(x: Tensor, frequency_hz: float, sample_rate: float, order: int = 2) -> Tensor:
    """Filter with a Butterworth high-pass."""
    hz = _below(frequency_hz, sample_rate)
    return filtered(x, butterworth(order, hz, sample_rate=sample_rate, kind="high_pass"))


def aired_pulses(hz: Tensor, air: Tensor, air_hz: float, sample_rate: float) -> Tensor:
    """Return what vocal folds give: pulses below ``air_hz``, and noise as strong as them above.

    Args:
        hz: Rate of the pulses, ``(samples,)``.
        air: White noise of unit variance, of the same shape.
        air_hz: Where pulses give way to noise, at 12 dB per octave.
        sample_rate: In Hz.
    """
    pulses = pulse_train(hz, sample_rate=sample_rate)
    if air_hz >= 0.45 * sample_rate:
        return pulses
    breath = high_pass(_PULSE_LEVEL * air, air_hz, sample_rate)
    return low_pass(pulses, air_hz, sample_rate) + breath


def band_pass(x: Tensor, low_hz: float, high_hz: float, sample_rate: float) -> Tensor:
    """Filter with a gentle high-pass and low-pass."""
    return low_pass(high_pass(x, low_hz, sample_rate, 1), high_hz, sample_rate, 1)


def resonance(x: Tensor, frequency_hz: float, q: float, sample_rate: float) -> Tensor:
    """Filter with one band-pass of peak gain 1."""
    return filtered(
        x, band_pass_biquad(_below(frequency_hz, sample_rate), q, sample_rate=sample_rate)[None]
    )


def random_eq(
    rng: np.random.Generator, sample_rate: float, *, peaks: int = 3, amount_db: float = 4.0
) -> Tensor:
    """Draw an equalizer: ``peaks`` bells and two shelves, gains around 0 dB.

    Returns:
        Sections ``(peaks + 2, 6)``.
    """
    sections = [
        peak_biquad(
            _below(log_uniform(rng, 80.0, 12000.0), sample_rate),
            float(np.clip(rng.normal(0.0, 0.8 * amount_db), -15, 12)),
            float(rng.uniform(0.4, 2.5)),
            sample_rate=sample_rate,
        )
        for _ in range(peaks)
    ]
    low, high = rng.normal(0.0, 0.6 * amount_db, 2).clip(-12, 9)
    low_hz, high_hz = float(rng.uniform(80, 350)), float(rng.uniform(2500, 9000))
    sections.append(
        low_shelf_biquad(_below(low_hz, sample_rate), float(low), sample_rate=sample_rate)
    )
    sections.append(
        high_shelf_biquad(_below(high_hz, sample_rate), float(high), sample_rate=sample_rate)
    )
    return torch.stack(sections)


def normalize(x: Tensor) -> Tensor:
    """Scale to peak 1; silence stays silence."""
    return x / x.abs().max().clamp_min(1e-9) if x.numel() else x


def pan(x: Tensor, position: float) -> Tensor:
    """Place a mono signal ``(samples,)`` between left (-1) and right (1), at constant power."""
    angle = (float(np.clip(position, -1.0, 1.0)) + 1.0) * math.pi / 4.0
    return torch.stack((x * math.cos(angle), x * math.sin(angle))) * math.sqrt(2.0)


def fade(x: Tensor, samples: int) -> Tensor:
    """Fade out the last ``samples`` in place, so that a cut does not click."""
    count = min(samples, x.shape[-1])
    if count:
        x[..., -count:] *= torch.linspace(1.0, 0.0, count)
    return x
