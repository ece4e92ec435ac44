"""
Train a filter bank inside a classifier
=======================================

A spectrogram is a fixed choice of filters. Here the filters are part of the network: a small
classifier learns to tell four sounds apart that differ in two narrow bands only, and its filters
move to where the difference is.
"""

# %%
# Four sounds in noise
# --------------------
# Every clip is noise with two quiet tones: one near 900 or 1000 Hz, one near 2400 or 2600 Hz. The
# class is which two.

import math

import matplotlib.pyplot as plt
import torch
from torch import nn

from sonograd.frontends import LearnedFilterbank, LogCompression

RATE = 8000
torch.manual_seed(0)
torch.set_num_threads(1)


def clips(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return clips of half a second, and their classes."""
    label = torch.randint(4, (count,), generator=generator)
    time = torch.arange(RATE // 2) / RATE
    low = torch.where(label % 2 == 0, 900.0, 1000.0)
    high = torch.where(label < 2, 2400.0, 2600.0)
    sound = 0.5 * torch.randn(count, len(time), generator=generator)
    for tone in (low, high):
        hz = tone * (1 + 0.005 * torch.randn(count, generator=generator))
        phase = 2 * math.pi * torch.rand(count, 1, generator=generator)
        sound += 0.15 * torch.sin(2 * math.pi * hz[:, None] * time + phase)
    return sound, label


generator = torch.Generator().manual_seed(1)
train_sound, train_label = clips(512, generator)
test_sound, test_label = clips(512, generator)

# %%
# The network
# -----------
# Twelve Gabor filters, whose centers and bandwidths are parameters: 24 numbers. The energy of
# each is averaged over time, and one linear layer decides.

bank = LearnedFilterbank(
    sample_rate=RATE,
    filters=12,
    taps=401,
    hop_length=100,
    kind="gabor",
    fmin=200.0,
    fmax=3800.0,
    output="power",
)


class Classifier(nn.Module):
    """Filters, the logarithm of their mean energy, and one linear layer."""

    def __init__(self, bank: LearnedFilterbank) -> None:
        super().__init__()
        self.bank = bank
        self.compress = LogCompression(bands=bank.filters, factor=1000.0)
        self.norm = nn.BatchNorm1d(bank.filters)
        self.decide = nn.Linear(bank.filters, 4)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        """Return one score per class."""
        energy = self.compress(self.bank(sound)).mean(-1)
        return self.decide(self.norm(energy))


network = Classifier(bank)

# %%
# What the filters look like before
# ---------------------------------


def responses() -> torch.Tensor:
    """Return the magnitude of every filter from 0 to half the sample rate."""
    with torch.no_grad():
        real, imag = bank.kernels()
    return torch.fft.fft(torch.complex(real, imag).conj(), 2048).abs()[:, :1025]


first_kernels, first_centers = responses(), bank.frequencies.detach().clone()

# %%
# Training
# --------
# The filters get a larger step than the rest: their numbers are logits, and they have far to go.

optimizer = torch.optim.Adam(
    [
        {"params": bank.parameters(), "lr": 0.02},
        {"params": network.compress.parameters(), "lr": 0.01},
        {"params": [*network.norm.parameters(), *network.decide.parameters()], "lr": 0.01},
    ]
)
history, track = [], [first_centers]
for _epoch in range(15):
    order = torch.randperm(len(train_sound), generator=generator)
    for batch in order.split(64):
        loss = nn.functional.cross_entropy(network(train_sound[batch]), train_label[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    history.append(float(loss.detach()))
    track.append(bank.frequencies.detach().clone())


def accuracy(sound: torch.Tensor, label: torch.Tensor) -> float:
    """Return the share of clips that are told right."""
    network.eval()
    with torch.no_grad():
        return float((network(sound).argmax(-1) == label).float().mean())


share = accuracy(test_sound, test_label)
f"right on new clips: {share:.0%}"

# %%
# How the kernels moved
# ---------------------
# Dashed lines are the four tones. Filters that were near them have become narrow and stand on
# them, and one more has come over from below. Of the lower two tones one is enough, since it is
# either there or not. Filters in between, which have nothing to tell, stay about where they were.

hz = torch.linspace(0, RATE / 2, 1025)
figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
for axis, kernels, title in zip(
    axes, (first_kernels, responses()), ("before", "after"), strict=True
):
    axis.plot(hz, kernels.T, linewidth=1)
    axis.set(title=f"responses {title} training", ylabel="gain")
    for tone in (900, 1000, 2400, 2600):
        axis.axvline(tone, color="black", linestyle="--", linewidth=0.7)
axes[1].set_xlabel("frequency in Hz")

# %%
# And the way there:

figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
axes[0].plot(torch.stack(track), linewidth=1)
for tone in (900, 1000, 2400, 2600):
    axes[0].axhline(tone, color="black", linestyle="--", linewidth=0.7)
axes[0].set(xlabel="epoch", ylabel="center in Hz", title="centers")
axes[1].plot(range(1, len(history) + 1), history)
axes[1].set(xlabel="epoch", ylabel="cross-entropy", title="loss", yscale="log")
plt.show()
