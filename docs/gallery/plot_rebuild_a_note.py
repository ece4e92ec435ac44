"""
Rebuild a note from harmonics and noise
=======================================

A sung note is taken apart into what two simple instruments can play: harmonics of one pitch, and
filtered noise. Their values - how loud each harmonic and each band of the noise is, at any time -
are found by gradient descent through the instruments. Only the pitch is not: it is estimated.
"""

# %%
# The note
# --------
# The singer is an instrument of another kind, :class:`~sonograd.synths.SourceFilter`: glottal
# pulses and breath in a vocal tract that moves from "a" to "i". The rebuilding knows nothing of
# that.

import math

import matplotlib.pyplot as plt
import torch

from sonograd.functional import track_pitch
from sonograd.losses import MultiResolutionSTFT
from sonograd.params import Curve
from sonograd.synths import Envelope, FilteredNoise, Harmonic, SourceFilter

RATE = 16_000
SAMPLES = 14_000
HOP = 128
torch.manual_seed(0)

time = torch.arange(0, SAMPLES + HOP, HOP) / RATE
vibrato = 0.25 * (time / time[-1]) * torch.sin(2 * math.pi * 5.5 * time)
pitch = 196.0 * 2 ** (vibrato / 12)
glide = torch.sigmoid((time - 0.45) / 0.08)
vowel_a = torch.tensor([[750.0], [1200.0], [2600.0], [3400.0], [4300.0]])
vowel_i = torch.tensor([[300.0], [2200.0], [3000.0], [3600.0], [4500.0]])

note = SourceFilter(RATE)(
    SAMPLES,
    frequency_hz=Curve(pitch, HOP),
    formants_hz=Curve(((1 - glide) * vowel_a + glide * vowel_i)[None], HOP),
    breath=0.15,
    generator=torch.Generator().manual_seed(3),
)
note = note * Envelope(RATE)(SAMPLES, attack_s=0.05, release_s=0.03, gate_s=0.78)

# %%
# Why the pitch is not found by gradient
# --------------------------------------
# How far a harmonic tone is from the note, as its pitch changes: the loss falls toward the truth on
# the whole, but with a ripple on the slope, and descent ends in the first of its valleys. (A loss
# on the waveform has no slope at all away from the truth.) A periodicity detector looks at all
# pitches at once; its answer is then refined by least squares
# (:func:`~sonograd.functional.track_pitch`). The small deviations in the middle are no errors of
# its: as formants pass over harmonics they turn their phases, which is a change of frequency.

piece = note[..., 3000:5048]
loss = MultiResolutionSTFT(n_ffts=(1024, 512, 256), hop_lengths=(256, 128, 64))
candidates = torch.linspace(80, 450, 223)
tones = Harmonic(RATE, harmonics=20)(2048, frequency_hz=candidates, amplitude=0.3)
with torch.no_grad():
    landscape = torch.stack([loss(tone[None], piece) for tone in tones])

track = track_pitch(note[0, 0], sample_rate=RATE, low_hz=90, hop_length=HOP)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
left.plot(candidates, landscape)
left.axvline(float(pitch[4000 // HOP]), color="0.6", linestyle="--", label="true pitch")
left.set(xlabel="pitch of the tone (Hz)", ylabel="loss", title="The landscape of the pitch")
left.legend()
right.plot(time, pitch, color="0.6", linewidth=4, label="true")
heard = track.periodicity > 0.8
shown = track.frequency_hz.where(heard, torch.nan)
right.plot(time[: len(shown)], shown, label="tracked")
right.set(xlabel="time (s)", ylabel="Hz", title="The pitch that was sung", ylim=(180, 212))
right.legend()

# %%
# Two instruments and their values
# --------------------------------
# Every 8 ms the harmonics have a loudness and a distribution, and the noise has a gain in each of
# 33 bands. The instruments read these curves at any sample, along straight lines. What is learned
# are unbounded numbers; exponentials make them positive.

HARMONICS, BANDS = 36, 33
frames = len(time)
held = track.frequency_hz.where(heard, track.frequency_hz[heard].median())
frequency = Curve(torch.cat([held, held[-1:].expand(frames - len(held))]), HOP)

harmonic = Harmonic(RATE, harmonics=HARMONICS)
noise = FilteredNoise(RATE, bands=BANDS, hop_length=HOP)
levels = torch.full((1, HARMONICS, frames), -5.0, requires_grad=True)
gains = torch.full((1, BANDS, frames), -5.0, requires_grad=True)


def play(seed):
    """Render both instruments from the values as they are."""
    loudness = levels.exp()
    total = loudness.sum(1)
    tone = harmonic(
        SAMPLES,
        frequency_hz=frequency,
        amplitude=Curve(total, HOP),
        distribution=Curve(loudness / total[:, None], HOP),
    )
    generator = torch.Generator().manual_seed(seed)
    wind = noise(SAMPLES, amplitude=1.0, magnitudes=Curve(gains.exp(), HOP), generator=generator)
    return tone, wind


# %%
# Descent
# -------
# The loss compares short-time spectra at several resolutions. It does not look at phases, which
# for noise would be hopeless; the noise is another one at every step.

optimizer = torch.optim.Adam([levels, gains], lr=0.2)
loss = MultiResolutionSTFT(n_ffts=(1024, 512, 256), hop_lengths=(256, 128, 64))
history = []
for step in range(75):
    optimizer.zero_grad()
    tone, wind = play(step)
    value = loss(tone + wind, note)
    value.backward()
    optimizer.step()
    history.append(float(value.detach()))

with torch.no_grad():
    tone, wind = play(1000)

# %%
# The vowels appear in the harmonics, the breath in the noise, although nobody said which is which.


def spectrum_db(x):
    """Short-time level in dB."""
    short = torch.stft(x[0, 0], 1024, 128, window=torch.hann_window(1024), return_complex=True)
    return 20 * short.abs().clamp_min(1e-3).log10()


figure, axes = plt.subplots(2, 2, figsize=(10, 6), layout="constrained", sharex=True, sharey=True)
pictures = {"the note": note, "rebuilt": tone + wind, "its harmonics": tone, "its noise": wind}
for ax, (title, sound) in zip(axes.flat, pictures.items(), strict=True):
    ax.imshow(
        spectrum_db(sound),
        origin="lower",
        aspect="auto",
        extent=(0, SAMPLES / RATE, 0, RATE / 2000),
        vmin=-45,
        vmax=35,
        cmap="magma",
    )
    ax.set_title(title)
for ax in axes[:, 0]:
    ax.set_ylabel("kHz")
for ax in axes[1]:
    ax.set_xlabel("time (s)")

# %%
# Found values are values like any others: they can be changed. Here the note is sung a fifth
# higher, with the same harmonics and more breath.

with torch.no_grad():
    loudness = levels.exp()
    higher = harmonic(
        SAMPLES,
        frequency_hz=Curve(frequency.values * 1.5, HOP),
        amplitude=Curve(loudness.sum(1), HOP),
        distribution=Curve(loudness / loudness.sum(1, keepdim=True), HOP),
    )
found = track_pitch(higher[0, 0], sample_rate=RATE, low_hz=90, hop_length=HOP).frequency_hz
ratio = (found[20:90] / frequency.values[20:90]).median()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
left.semilogy(history)
left.set(xlabel="step", ylabel="loss", title=f"Descent: {history[0]:.2f} to {history[-1]:.2f}")
right.imshow(
    spectrum_db(higher + 3 * wind),
    origin="lower",
    aspect="auto",
    extent=(0, SAMPLES / RATE, 0, RATE / 2000),
    vmin=-45,
    vmax=35,
    cmap="magma",
)
right.set(xlabel="time (s)", ylabel="kHz", title=f"pitch times {float(ratio):.3f}, more breath")
plt.show()
