"""
Losses and phase
================

Two sounds that are the same to the ear can be far apart as waveforms: a shift of phase is enough.
What this does to learning is seen best on the smallest thing that can be learned, a gain. After
that, six measures judge five kinds of damage, and do not agree.
"""

# %%
# A gain to be found
# ------------------
# A sine is turned down to 0.15, and its phase is moved by a quarter of a period. Nobody hears the
# second.

import math

import matplotlib.pyplot as plt
import torch

from sonograd import functional as F
from sonograd.data.songs import make_song
from sonograd.losses import L1, MultiResolutionSTFT, SpectralMagnitude
from sonograd.metrics import RelativeVolumeMel

RATE = 16_000
TRUE_GAIN = 0.15

phase = 2 * math.pi * 300 * torch.arange(RATE // 2) / RATE
dry = torch.sin(phase)
wet = TRUE_GAIN * torch.cos(phase)

fig, ax = plt.subplots(figsize=(7, 2.2))
ax.plot(dry[:160], label="dry")
ax.plot(wet[:160], label="wet: quieter, and a quarter period early")
ax.set(xlabel="sample", ylabel="amplitude")
ax.legend(loc="upper right", fontsize=8)
fig.tight_layout()

# %%
# What gradient descent sees
# --------------------------
# Each loss for all gains between 0 and 1. The absolute error of waveforms is least where nothing
# sounds at all: wherever the two signs disagree, and that is half of the time, less is better. The
# spectral magnitudes meet where they should.

losses = {
    "L1": L1(),
    "SpectralMagnitude": SpectralMagnitude(),
    "MultiResolutionSTFT": MultiResolutionSTFT(n_ffts=(1024, 512, 256)),
}
gains = torch.linspace(0, 1, 101)

fig, axes = plt.subplots(1, 3, figsize=(9, 2.6))
for ax, (name, loss) in zip(axes, losses.items(), strict=True):
    with torch.no_grad():
        values = torch.stack([loss(gain * dry, wet) for gain in gains])
    ax.plot(gains, values)
    ax.axvline(TRUE_GAIN, color="gray", linestyle=":", label="truth")
    ax.plot(gains[values.argmin()], values.min(), "o", color="C3", label="minimum")
    ax.set(title=name, xlabel="gain")
axes[0].legend(fontsize=8)
axes[0].set_ylabel("loss")
fig.tight_layout()

# %%
# Descent
# -------
# The same optimizer, the same start, two losses.


def fit(loss: torch.nn.Module, steps: int = 200) -> list[float]:
    """Return the gain after every step."""
    gain = torch.nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([gain], lr=0.01)
    history = []
    for _ in range(steps):
        history.append(gain.item())
        optimizer.zero_grad()
        loss(gain * dry, wet).backward()
        optimizer.step()
    return history


paths = {name: fit(losses[name]) for name in ("L1", "SpectralMagnitude")}

fig, ax = plt.subplots(figsize=(7, 2.6))
for name, path in paths.items():
    ax.plot(path, label=f"{name}: ends at {path[-1]:.2f}")
ax.axhline(TRUE_GAIN, color="gray", linestyle=":", label=f"truth: {TRUE_GAIN}")
ax.set(xlabel="step", ylabel="gain")
ax.legend(fontsize=8)
fig.tight_layout()

# %%
# So waveforms are the wrong thing to compare where phases do not line up. Where they do, as for
# stems that are cut out of a mix, phase is information that spectral magnitudes throw away: then
# :class:`~sonograd.losses.L1` or :class:`~sonograd.losses.ComplexMultiResolution` is right.
#
# Five kinds of damage
# --------------------
# The vocals of a synthetic song are damaged in five ways. For a fair start, noise, bleeding and
# clipping are set to the same signal-to-noise ratio, 15 dB. The low-pass filter takes what lies
# above 2 kHz, and the delay is half a millisecond.

song = make_song(3, seconds=4.0, sample_rate=RATE)
vocals = song.stems[song.names.index("vocals")]
others = song.stems.sum(0) - vocals
generator = torch.Generator().manual_seed(0)


def at_snr(noise: torch.Tensor, snr_db: float = 15.0) -> torch.Tensor:
    """Add ``noise`` at a ratio to the vocals."""
    scale = vocals.norm() / noise.norm() * 10 ** (-snr_db / 20)
    return vocals + scale * noise


def clip_to(snr_db: float = 15.0) -> torch.Tensor:
    """Clip the vocals where that makes the given ratio, found by bisection."""
    low, high = 0.0, float(vocals.abs().max())
    for _ in range(40):
        middle = (low + high) / 2
        clipped = vocals.clamp(-middle, middle)
        error = (clipped - vocals).norm()
        if 20 * math.log10(vocals.norm() / error.clamp(min=1e-9)) < snr_db:
            low = middle
        else:
            high = middle
    return clipped


low_pass = F.butterworth(4, 2000.0, kind="low_pass", sample_rate=RATE)
damaged = {
    "noise": at_snr(torch.randn(vocals.shape, generator=generator)),
    "bleeding": at_snr(others),
    "clipping": clip_to(),
    "low-pass": F.sosfilt(vocals, low_pass.to(vocals)),
    "delay": torch.nn.functional.pad(vocals, (8, 0))[..., :-8],
}

# %%
# Six measures
# ------------
# Ratios of energies see the waveform; the other four see spectra. All are turned so that higher is
# better.

stft_distance = MultiResolutionSTFT()
volume = RelativeVolumeMel(sample_rate=RATE)
measures = {
    "SNR (dB)": lambda e: F.snr(e, vocals).mean(),
    "SI-SDR (dB)": lambda e: F.si_sdr(e, vocals).mean(),
    "-RVM (dB)": lambda e: -volume(e, vocals)["rvm"],
    "-log-spectral distance (dB)": lambda e: -F.log_spectral_distance(e, vocals).mean(),
    "-multi-resolution STFT": lambda e: -stft_distance(e, vocals),
    "L1 frequency (%)": lambda e: F.l1_frequency(e, vocals).mean(),
}
table = torch.tensor(
    [[float(measure(estimate)) for estimate in damaged.values()] for measure in measures.values()]
)
ranks = table.argsort(dim=1, descending=True).argsort(dim=1) + 1

fig, ax = plt.subplots(figsize=(8, 3.6))
ax.imshow(ranks, cmap="RdYlGn_r", aspect="auto", alpha=0.6)
ax.set_xticks(range(len(damaged)), list(damaged))
ax.set_yticks(range(len(measures)), list(measures))
for row, _ in enumerate(measures):
    for column, _ in enumerate(damaged):
        text = f"{table[row, column]:.1f}\n(rank {ranks[row, column]})"
        ax.text(column, row, text, ha="center", va="center", fontsize=8)
ax.set_title("What is the least damage? Rank 1 is the best score of its row")
fig.tight_layout()

# %%
# Noise, bleeding and clipping are alike to the ratios, by construction. The delay, which nobody
# hears, is the worst of all to them, and the least to everything that looks at magnitudes. The
# filter comes next: its phase costs more than the little energy that it takes. To distances of
# logarithms it is the worst damage, since what is gone is far down. The measure of volumes per band
# minds noise most, which fills every band where nothing was.
#
# No number is the right one: report what your listeners would mind, say which, and train on
# something that has a gradient towards it.

plt.show()
