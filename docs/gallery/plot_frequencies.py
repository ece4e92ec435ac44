"""
Frequencies
===========

Gains can be found by descent; frequencies cannot. The misfit of two tones has one narrow valley
around the truth and dozens of false ones beside it. This page counts them, watches a descent fall
into the wrong ones, and then finds frequencies as exactly as the noise allows any method to.
"""

# %%
# The landscape
# -------------
# A sixteenth of a second of a tone of 100 Hz, and how far tones of other frequencies are from it,
# for a loss on waveforms and for one on magnitudes of spectra.

import math

import matplotlib.pyplot as plt
import torch

from sonograd.functional import estimate_frequency, frequency_bound_hz
from sonograd.losses import L1, SpectralMagnitude

RATE = 16_000
SAMPLES = 1000
TRUTH = 100.0

time = torch.arange(SAMPLES, dtype=torch.float64) / RATE


def tone(frequency_hz):
    return torch.sin(2 * math.pi * frequency_hz * time)


target = tone(TRUTH)
losses = {"waveform": L1(), "spectral magnitude": SpectralMagnitude()}
grid = torch.arange(20, 400).double()
landscapes = {
    name: torch.stack([loss(tone(frequency), target) for frequency in grid])
    for name, loss in losses.items()
}


def valleys(values):
    """Where a curve is lower than on both sides."""
    return grid[1:-1][(values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])]


counts = {name: len(valleys(values)) for name, values in landscapes.items()}
figure, axes = plt.subplots(2, 1, figsize=(8, 4.6), layout="constrained", sharex=True)
for ax, (name, values) in zip(axes, landscapes.items(), strict=True):
    ax.plot(grid, values)
    low = valleys(values)
    ax.plot(low, values[(low - 20).long()], ".", color="C3", label=f"{len(low)} minima")
    ax.axvline(TRUTH, color="gray", linestyle=":", label="truth")
    ax.set(ylabel="loss", title=f"{name}")
    ax.legend(loc="lower right")
axes[1].set_xlabel("frequency (Hz)")
plt.show()

# %%
# Both have their lowest point where it should be, and both lead there only from nearby: the piece
# holds six periods, and a tone with one more or less of them does not agree with it at all.
#
# Descent
# -------
# Adam, which forgives much, from a few starting points. It always arrives somewhere.


def descend(loss, start, steps=200, lr=1.0):
    frequency = torch.nn.Parameter(torch.tensor(float(start), dtype=torch.float64))
    optimizer = torch.optim.Adam([frequency], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    path = [frequency.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        loss(tone(frequency), target).backward()
        optimizer.step()
        schedule.step()
        path.append(frequency.item())
    return path


starts = (50, 85, 98, 103, 120, 180, 300)
ends = {}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", sharey=True)
for ax, (name, loss) in zip(axes, losses.items(), strict=True):
    for start in starts:
        path = descend(loss, start)
        ends[name, start] = path[-1]
        right = abs(path[-1] - TRUTH) < 0.5
        ax.plot(path, color="C2" if right else "C3", linewidth=1.2)
    ax.axhline(TRUTH, color="gray", linestyle=":")
    ax.set(xlabel="step", title=f"{name}: green arrives")
axes[0].set_ylabel("frequency (Hz)")
plt.show()

# %%
# Look first, then step
# ---------------------
# The remedy is older than gradient descent on sound. The peak of a Fourier transform that was
# padded with zeros lies in the right valley, unless noise is much louder than the tone. From there,
# Gauss-Newton on the frequency alone - amplitude and phase are solved for at each step, exactly -
# comes to the bottom in a few steps: :func:`~sonograd.functional.estimate_frequency`.

found = estimate_frequency(target, sample_rate=RATE)
print(f"found {float(found.frequency_hz):.10f} Hz")

# %%
# As good as possible
# -------------------
# No unbiased method can scatter less than the Cramér-Rao bound, whatever it does. Five hundred
# tones of random frequency, phase and amplitude, at four levels of noise, against that bound:

generator = torch.Generator().manual_seed(5)
trials = 500
snrs = (40.0, 20.0, 10.0, 0.0)
errors, bounds = [], []
for snr in snrs:
    uniform = torch.rand(3, trials, 1, dtype=torch.float64, generator=generator)
    frequency = 60 + 7000 * uniform[0]
    amplitude = 0.1 + uniform[2]
    x = amplitude * torch.sin(2 * math.pi * (frequency * time + uniform[1]))
    noise = torch.randn(trials, SAMPLES, dtype=torch.float64, generator=generator)
    x = x + noise * amplitude / math.sqrt(2) * 10 ** (-snr / 20)
    error = estimate_frequency(x, sample_rate=RATE).frequency_hz - frequency[:, 0]
    errors.append(float(error.square().mean().sqrt()))
    bounds.append(frequency_bound_hz(SAMPLES, snr, sample_rate=RATE))
    print(f"{snr:4.0f} dB: error {errors[-1]:.5f} Hz, bound {bounds[-1]:.5f} Hz")

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.semilogy(snrs, bounds, color="gray", label="Cramér-Rao bound")
ax.semilogy(snrs, errors, "o", color="C2", label="root mean square error of 500 tones")
ax.semilogy(snrs, [RATE / SAMPLES] * 4, ":", color="C3", label="one bin of the transform")
ax.set(xlabel="signal-to-noise ratio (dB)", ylabel="Hz")
ax.legend()
plt.show()

# %%
# Where a frequency moves, :func:`~sonograd.functional.track_pitch` does the same frame by frame,
# with all harmonics. Everything that has a period - the rate of a tremolo, the time of an echo - is
# to be treated like this: look at all of the range on a fine grid, then step.
