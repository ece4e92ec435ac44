"""
Masks and phases, measured
==========================

What the page *Background* says about spectra, masks and phases, on a song whose stems are known.
Everything is computed here: run it, or change a number and run it again.
"""

# %%
# A song with its stems
# ---------------------
# Six seconds by :mod:`sonograd.data.songs`. The mix is the sum of its stems, and the target is the
# voice.

import matplotlib.pyplot as plt
import torch

from sonograd import functional as F
from sonograd import plotting
from sonograd.data.songs import make_song

RATE = 22_050
GRID = {"n_fft": 1024, "hop_length": 512}

song = make_song(3, seconds=6.0, sample_rate=RATE)
stems = song.stems.double()  # (stems, channels, samples)
target = list(song.names).index("vocals")
mix = stems.sum(0)
samples = mix.shape[-1]


def invert(spectrum):
    return F.istft(spectrum, **GRID, length=samples)


def score(estimate, reference=stems[target]):
    """Return SDR and SI-SDR in dB, both channels as one signal."""
    pair = (estimate.flatten(), reference.flatten())
    return float(F.snr(*pair)), float(F.si_sdr(*pair))


plotting.compare(
    {"mix": mix.float(), "vocals": stems[target].float()}, sample_rate=RATE, n_fft=1024
)

# %%
# There and back
# --------------
# The transform and its inverse are exact as long as the squared windows add up to something
# everywhere. What is left is rounding: about -300 dB in double, -140 dB in single precision.


def error_db(x, **grid):
    spectrum = F.stft(x, **grid)
    back = F.istft(spectrum, **grid, length=x.shape[-1])
    return float(10 * torch.log10((back - x).square().sum() / x.square().sum()))


errors = {
    "double": error_db(mix, **GRID),
    "single": error_db(mix.float(), **GRID),
    "single, hop 256": error_db(mix.float(), n_fft=1024, hop_length=256),
}
for name, value in errors.items():
    print(f"{name:16} {value:7.1f} dB")

# %%
# Magnitude and phase
# -------------------
# Magnitudes look like music, phases like noise. Networks see the first and keep the second.

mix_spectrum = F.stft(mix, **GRID)
spectra = F.stft(stems, **GRID)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
level = F.amplitude_to_db(mix_spectrum[0].abs().clamp(min=1e-5))
axes[0].imshow(level, origin="lower", aspect="auto", cmap="magma", vmin=-60)
axes[0].set_title("magnitude in dB", loc="left")
axes[1].imshow(mix_spectrum[0].angle(), origin="lower", aspect="auto", cmap="twilight")
axes[1].set_title("phase", loc="left")
for ax in axes:
    ax.set(xlabel="frame", ylabel="bin")

# %%
# The best masks there are
# ------------------------
# A mask is a number for each bin and frame. Computed from the true stems, it is what a network that
# estimates such masks could reach at best:
#
# * the ratio of magnitudes, or of energies, which adds up to one over the stems;
# * the ratio of magnitudes of target and mix, cut off at 1: the best magnitude, with a wrong phase;
# * the phase-sensitive mask, the best real number between 0 and 1 for the waveform.

magnitudes = spectra.abs()
tiny = 1e-12
masks = {
    "ratio of magnitudes": magnitudes[target] / (magnitudes.sum(0) + tiny),
    "ratio of energies": magnitudes[target].square() / (magnitudes.square().sum(0) + tiny),
    "target over mix, cut off": (magnitudes[target] / (mix_spectrum.abs() + tiny)).clamp(max=1.0),
    "phase-sensitive": (spectra[target] / (mix_spectrum + tiny)).real.clamp(0.0, 1.0),
}
rows = {"the mix itself": score(mix)}
rows |= {f"mask: {name}": score(invert(mask * mix_spectrum)) for name, mask in masks.items()}

# %%
# Which phase?
# ------------
# Now the magnitudes of the target are known exactly, and only its phase is missing. The phase of
# the mix is there at once. Griffin and Lim's algorithm looks for a phase that fits the magnitudes:
# from random phases, or from those of the mix. The Wiener filter shares out the mix between stems,
# with one place in the stereo picture for each, so that its result has another phase than the mix.


def consistent(magnitude, phase, iterations):
    """Alternate between signals and the wanted magnitudes, from given phases."""
    for _ in range(iterations):
        phase = F.stft(invert(torch.polar(magnitude, phase)), **GRID).angle()
    return invert(torch.polar(magnitude, phase))


magnitude = magnitudes[target]
rows["true magnitude, phase of the mix"] = score(
    invert(torch.polar(magnitude, mix_spectrum.angle()))
)
for count in (1, 10, 100):
    rows[f"... and steps of Griffin-Lim: {count}"] = score(
        consistent(magnitude, mix_spectrum.angle(), count)
    )
random = F.griffin_lim(magnitude, **GRID, length=samples, iterations=100)
rows["true magnitude, Griffin-Lim from random phases"] = score(random)
for count in (0, 1, 2):
    filtered = F.wiener(magnitudes, mix_spectrum, iterations=count, softmask=True)
    rows[f"Wiener filter, iterations: {count}"] = score(invert(filtered[target]))
rows["true magnitude, true phase"] = score(invert(spectra[target]))

for name, (sdr, si_sdr) in rows.items():
    print(f"{name:48} SDR {sdr:6.1f} dB   SI-SDR {si_sdr:6.1f} dB")

# %%
# Random phases give a signal that sounds much like the voice and shares no waveform with it, so
# that it scores below silence. Its magnitudes are right all the same:


def magnitude_error_db(signal):
    found = F.stft(signal, **GRID).abs()
    return float(10 * torch.log10((found - magnitude).square().sum() / magnitude.square().sum()))


of_mix = invert(torch.polar(magnitude, mix_spectrum.angle()))
for name, signal in {"phase of the mix": of_mix, "Griffin-Lim": random}.items():
    print(f"{name:20} magnitudes off by {magnitude_error_db(signal):6.1f} dB")

# %%
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
names = [name for name in rows if name != "true magnitude, true phase"]
ax.barh(names, [rows[name][1] for name in names], color="tab:blue")
ax.axvline(0, color="black", linewidth=0.8)
ax.invert_yaxis()
ax.set(xlabel="SI-SDR in dB", title="what the best mask or phase of each kind would give")
plt.show()
