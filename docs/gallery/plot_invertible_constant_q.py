"""
There and back: editing sound in pitch and time
===============================================

A constant-Q transform shows music as a score does: pitch upwards, time to the right. With
:class:`~sonograd.frontends.InvertibleConstantQ` one can also write into that score, since the
signal comes back from it. Here some hiss goes, and then the bass.
"""

# %%
# The sound
# ---------
# Four seconds of plucked notes over a bass, and the same with a hiss over it.

import matplotlib.pyplot as plt
import torch

from sonograd.frontends import InvertibleConstantQ

RATE = 22_050


def note(midi: int, start: float, seconds: float, level: float) -> torch.Tensor:
    """Play a note whose upper harmonics die away first."""
    t = (torch.arange(4 * RATE) / RATE - start).clamp(min=0)
    pitch = 440 * 2 ** ((midi - 69) / 12)
    harmonics = torch.arange(1, min(13, int(RATE / 2 / pitch)))[:, None]
    waves = torch.sin(2 * torch.pi * pitch * harmonics * t) / harmonics
    return level * (waves * torch.exp(-t * (2 + harmonics) / seconds)).sum(0)


melody = (69, 72, 76, 74, 72, 71, 67, 69, 76, 77, 79, 76, 74, 72, 71, 69)
clean = sum(note(midi, 0.25 * k, 1.0, 0.2) for k, midi in enumerate(melody))
clean += sum(note(midi, 1.0 * k, 3.0, 0.3) for k, midi in enumerate((33, 36, 38, 33)))
hiss = 0.15 * clean.std() * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
noisy = clean + hiss


def error_below_db(estimate: torch.Tensor) -> float:
    """How far an error lies below the clean sound."""
    return float(20 * torch.log10(clean.norm() / (estimate - clean).norm()))


# %%
# There
# -----
# Bins of an octave share a rate, an octave higher they have twice that rate. So the result is a
# tensor for each octave, and two more for what lies below the lowest and above the highest bin.

layer = InvertibleConstantQ(sample_rate=RATE, fmin=55.0, n_bins=7 * 24, bins_per_octave=24)
spectrum = layer(noisy)


def draw(axis: plt.Axes, title: str, x: torch.Tensor) -> None:
    """Draw the magnitudes of all bins on one raster."""
    levels = 20 * layer.magnitudes(layer(x), frames=600).clamp(min=1e-5).log10()
    axis.imshow(levels, origin="lower", aspect="auto", vmin=-80, vmax=-20, cmap="magma",
                extent=(0, len(x) / RATE, 0, len(levels)), interpolation="nearest")  # fmt: skip
    octaves = range(0, len(levels), 24)
    axis.set_yticks(list(octaves), [f"{layer.frequencies[k]:.0f} Hz" for k in octaves])
    axis.set_title(title)
    axis.set_xlabel("time in s")


fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
shapes = ", ".join(f"{octave.shape[0]} x {octave.shape[1]}" for octave in spectrum.octaves)
fig.suptitle(
    f"{layer.redundancy(len(noisy)):.2f} numbers for each sample, in octaves of {shapes}",
    fontsize=9,
)
draw(axes[0], "the song", clean)
draw(axes[1], f"with hiss {error_below_db(noisy):.1f} dB below it", noisy)

# %%
# And back
# --------
# If nothing is changed, the signal that comes back differs by rounding alone.

error = layer.inverse(spectrum) - noisy
fig, axis = plt.subplots(figsize=(10, 2.5), layout="constrained")
axis.plot(torch.arange(len(error)) / RATE, error)
axis.set_title(
    f"what the round trip changed: {float(error.norm() / noisy.norm()):.0e} of the sound"
)
axis.set_xlabel("time in s")

# %%
# An edit in between: less hiss
# -----------------------------
# Music gathers in few coefficients, hiss is spread over all. So whatever does not stand out of
# the hiss is turned down: a Wiener gain, which compares the power around each coefficient with that
# of the hiss in its bin. Here we know it from the hiss itself; in a recording a pause would tell.

noise = layer(hiss)
edited = []
for octave, floor in zip(spectrum.octaves, noise.octaves, strict=True):
    power = torch.nn.functional.avg_pool1d(octave.abs().square(), 5, 1, 2)
    level = floor.abs().square().mean(-1, keepdim=True)
    edited.append(octave * (1 - 1.2 * level / power).clamp(min=0.05))

cleaned = layer.inverse(spectrum._replace(octaves=tuple(edited), high=0.05 * spectrum.high))

fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
draw(axes[0], f"error {error_below_db(noisy):.1f} dB below the song", noisy)
draw(axes[1], f"error {error_below_db(cleaned):.1f} dB below the song", cleaned)

# %%
# Another edit: no bass
# ---------------------
# What lies below 110 Hz is the lowest octave and what is under it. Setting both to zero is a
# filter with a very steep edge, and nothing else of the sound is touched.

octaves = list(spectrum.octaves)
octaves[0] = torch.zeros_like(octaves[0])
thin = layer.inverse(spectrum._replace(octaves=tuple(octaves), low=torch.zeros_like(spectrum.low)))


def level_db(x: torch.Tensor, below_hz: float) -> float:
    """Energy below a frequency, in dB."""
    power = torch.fft.rfft(x).abs().square()
    return float(10 * torch.log10(power[: round(below_hz * len(x) / RATE)].sum()))


fig, axis = plt.subplots(figsize=(10, 4), layout="constrained")
change = level_db(thin, 100) - level_db(noisy, 100)
draw(axis, f"no bass: {change:.0f} dB below 100 Hz", thin)

# %%
# Files without end
# -----------------
# In slices the same works on streams, block by block, in memory that does not depend on how long
# they go on. Slices overlap, so that there are a third more numbers.

sliced = InvertibleConstantQ(
    sample_rate=RATE, fmin=55.0, n_bins=7 * 24, bins_per_octave=24, sliced=True
)
analysis, synthesis = sliced.stream(), sliced.inverse_stream()
out = []
for block in noisy.split(10_000):
    part = analysis.push(block)  # Edit part.octaves here.
    out.append(synthesis.push(part))
out.append(synthesis.push(analysis.finish()))
restored = torch.cat(out)

error = restored - noisy
fig, axis = plt.subplots(figsize=(10, 2.5), layout="constrained")
axis.plot(torch.arange(len(error)) / RATE, error)
axis.set_title(f"what streaming changed: {float(error.norm() / noisy.norm()):.0e} of the sound")
axis.set_xlabel("time in s")
