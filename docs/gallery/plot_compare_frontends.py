"""
One sound through every layer
=============================

A time-frequency layer decides what a network gets to see. Here all of them look at the same few
seconds of music: bass, drums, chords and a voice. What is easy to see in a picture is easy to learn
from it.
"""

# %%
# The sound
# ---------
# Six seconds of a song that is composed and played by :mod:`sonograd.data.songs`, in mono.

import matplotlib.pyplot as plt
import torch

from sonograd import frontends, plotting
from sonograd.data.songs import make_song

RATE = 22_050

song = make_song(3, seconds=6.0, sample_rate=RATE)
x = song.stems.sum(0).mean(0)
plotting.waveform(x, sample_rate=RATE, title="a song")


# %%
# Pictures need decibels, and ticks where there are notes or round numbers of hertz.


def decibels(power, floor_db=-70.0):
    level = 10 * torch.log10(power.clamp(min=1e-20))
    return (level - level.max()).clamp(min=floor_db)


def show(ax, values, title, frequencies=None, marks=(), **options):
    options = {"cmap": "magma", **options}
    extent = (0, len(x) / RATE, 0, values.shape[-2])
    ax.imshow(values, origin="lower", aspect="auto", extent=extent, **options)
    ax.set_title(title, loc="left", fontsize=9)
    if frequencies is not None:
        rows = torch.searchsorted(frequencies.double(), torch.tensor(list(marks)).double())
        labels = [f"{f / 1000:g} kHz" if f >= 1000 else f"{f:g} Hz" for f in marks]
        ax.set_yticks(rows + 0.5, labels, fontsize=7)


# %%
# One bandwidth, or one per note
# ------------------------------
# The Fourier transform has the same bandwidth at all frequencies. On a linear axis most of the
# picture is treble, where little happens; ``freq_scale="log"`` only moves the bins: in the bass
# they are closer together than the transform can tell apart. Mel bands are wider where hearing is
# coarse. All three look through the same window of 93 ms.

stft = frontends.STFT(sample_rate=RATE, output="power")
log_stft = frontends.STFT(
    sample_rate=RATE, output="power", freq_scale="log", freq_bins=200, fmin=32.7, fmax=RATE / 2
)
mel = frontends.MelSpectrogram(sample_rate=RATE)

fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for ax, layer, title in zip(
    axes, (stft, log_stft, mel), ("STFT", "STFT, log scale", "MelSpectrogram"), strict=True
):
    marks = (1000, 2000, 5000, 10000) if layer is stft else (100, 500, 2000, 5000, 10000)
    show(ax, decibels(layer(x)), title, layer.frequencies, marks)

# %%
# Notes
# -----
# The atoms of a constant-Q transform all have the same number of periods: 17 with 12 bins per
# octave, 35 with the 24 of this picture. A semitone looks the same in every octave, and a melody
# that is transposed is a picture that is moved. The price is time: at 33 Hz, 35 periods are a
# second. ``VariableQ`` gives some of the sharpness in the bass away and answers sooner.

cqt = frontends.ConstantQ(sample_rate=RATE, bins_per_octave=24, n_bins=192, output="power")
vqt = frontends.VariableQ(sample_rate=RATE, bins_per_octave=24, n_bins=192, output="power")
notes = (32.7, 65.4, 130.8, 261.6, 523.3, 1046.5, 2093.0, 4186.0)

fig, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained", sharey=True)
for ax, layer, title in zip(axes, (cqt, vqt), ("ConstantQ", "VariableQ"), strict=True):
    show(ax, decibels(layer(x)), title, layer.frequencies, notes)
    ax.set_yticklabels([f"C{octave}" for octave in range(1, 9)], fontsize=7)

# %%
# Which normalization?
# --------------------
# librosa's makes noise equally loud in all bins, and tones softer by 3 dB per octave; ``"wrap"``
# makes a tone of amplitude 1 measure 1. The average over time shows the tilt between them.

fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
for normalization in ("librosa", "convolutional", "wrap"):
    layer = frontends.ConstantQ(
        sample_rate=RATE,
        bins_per_octave=24,
        n_bins=192,
        output="power",
        normalization=normalization,
    )
    ax.semilogx(layer.frequencies, 10 * layer(x).mean(-1).log10(), label=normalization)
ax.set(xlabel="frequency (Hz)", ylabel="mean power (dB)")
ax.legend(fontsize=8)

# %%
# The constant-Q transform that can be undone
# -------------------------------------------
# Each octave has its own rate, just what its bandwidth needs; drawn above each other they are the
# picture. What lies below and above the bins is kept as well, so the signal comes back.

invertible = frontends.InvertibleConstantQ(sample_rate=RATE, bins_per_octave=24)
spectrum = invertible(x)
error = (invertible.inverse(spectrum) - x).norm() / x.norm()
f"relative error of the round trip: {float(error):.1e}"

# %%
# The number beside each octave is that of its frames: the lowest needs hardly any.

top = max(float(octave.abs().max()) for octave in spectrum.octaves)
heights = [octave.shape[-2] for octave in reversed(spectrum.octaves)]
fig, axes = plt.subplots(
    len(heights), 1, figsize=(7, 4.2), sharex=True, height_ratios=heights,
    gridspec_kw={"hspace": 0.05},
)  # fmt: skip
for ax, octave in zip(axes, reversed(spectrum.octaves), strict=True):
    level = 20 * torch.log10((octave.abs() / top).clamp(min=1e-4))
    show(ax, level, "", vmin=-70, vmax=0)
    ax.set_yticks([])
    ax.set_ylabel(octave.shape[-1], fontsize=7, rotation=0, labelpad=14)
axes[0].set_title("InvertibleConstantQ, octave by octave", loc="left", fontsize=9)

# %%
# Hearing, pitch, pitch classes
# -----------------------------
# Gammatone filters are those of the ear: broad, and quick in the treble. The product of spectrum
# and cepstrum keeps what is a partial *and* a period: fundamentals. Chroma forgets the octave, and
# cepstral coefficients describe the shape of the spectrum without its pitch.

gammatone = frontends.GammatoneSpectrogram(sample_rate=RATE)
periodicity = frontends.CombinedFrequencyPeriodicity(sample_rate=RATE)
chroma = frontends.Chroma(sample_rate=RATE)
mfcc = frontends.MFCC(sample_rate=RATE)

fig, axes = plt.subplots(2, 2, figsize=(11, 6), layout="constrained")
show(
    axes[0, 0], decibels(gammatone(x)), "GammatoneSpectrogram", gammatone.frequencies,
    (100, 200, 500, 1000, 2000, 5000),
)  # fmt: skip
show(
    axes[0, 1], decibels(periodicity(x), -40), "CombinedFrequencyPeriodicity",
    periodicity.frequencies, (100, 200, 400, 800),
)  # fmt: skip
show(axes[1, 0], chroma(x), "Chroma", cmap="viridis")
axes[1, 0].set_yticks(torch.tensor([0, 2, 4, 5, 7, 9, 11]) + 0.5, list("CDEFGAB"), fontsize=7)
show(axes[1, 1], mfcc(x)[1:], "MFCC, without the first", cmap="coolwarm")

# %%
# Levels
# ------
# A network that hears the same word near and far wants levels out of the way. A logarithm turns
# factors into offsets; per-channel energy normalization divides each band by its own recent level,
# so that what changes stands out.

fig, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
energy = mel(x)
show(axes[0], energy / energy.max(), "mel power")
show(axes[1], frontends.LogCompression(trainable=False)(energy / energy.max()), "LogCompression")
show(axes[2], frontends.PCEN(trainable=False)(energy), "PCEN")

# %%
# Tones and strokes
# -----------------
# Medians along time keep what is steady, medians along frequency what is sudden.

harmonic, percussive = frontends.HarmonicPercussive(sample_rate=RATE)(x).unbind(-2)
fig, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
for ax, part, title in zip(axes, (harmonic, percussive), ("harmonic", "percussive"), strict=True):
    show(ax, decibels(log_stft(part)), title, log_stft.frequencies, (100, 500, 2000, 5000))

# %%
# All of these are modules: ``trainable=True`` makes their kernels parameters, and any of them can
# be the first layer of a network.
