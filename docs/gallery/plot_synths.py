"""
Instruments
===========

Nine instruments, each a function from a few values to sound. All are differentiable: the gradient
of anything computed from the sound reaches every value, constant or moving. Each picture shows the
sound over time and frequency; :doc:`the guide </synths>` has the formulas.
"""

# %%
# A small frame for the pictures.

import math

import matplotlib.pyplot as plt
import torch

from sonograd.params import Curve
from sonograd.synths import (
    FM,
    Envelope,
    FilteredNoise,
    Harmonic,
    KarplusStrong,
    Modal,
    Note,
    Oscillator,
    SourceFilter,
    Wavetable,
    render_notes,
)

RATE = 22_050
SECOND = RATE


def seed(number=1):
    """Noise is a function of its seed alone."""
    return torch.Generator().manual_seed(number)


def draw(sounds, zoom_ms=None):
    """Draw short-time spectra, and the first milliseconds below if wanted."""
    rows = 1 if zoom_ms is None else 2
    size = (11, 2.9 * rows)
    _, axes = plt.subplots(rows, len(sounds), figsize=size, layout="constrained", squeeze=False)
    for column, (title, sound) in enumerate(sounds.items()):
        x = sound.detach()[0].reshape(-1)
        short = torch.stft(x, 1024, 128, window=torch.hann_window(1024), return_complex=True)
        level = 20 * short.abs().clamp_min(1e-6).log10()
        ax = axes[0, column]
        ax.imshow(
            level - level.max(),
            origin="lower",
            aspect="auto",
            extent=(0, len(x) / RATE, 0, RATE / 2000),
            vmin=-80,
            vmax=0,
            cmap="magma",
        )
        ax.set(title=title, xlabel="time (s)", ylabel="kHz" if column == 0 else "")
        if zoom_ms is not None:
            shown = x[: int(zoom_ms * RATE / 1000)]
            axes[1, column].plot(torch.arange(len(shown)) * 1000 / RATE, shown, linewidth=1)
            axes[1, column].set(xlabel="time (ms)")


# %%
# Oscillator
# ----------
# A glide over five octaves. Harmonics stop at half the sample rate; none comes back down.

glide = Curve(torch.logspace(math.log10(110), math.log10(3520), 50), SECOND // 49)
draw(
    {
        shape: Oscillator(RATE, shape=shape)(SECOND, frequency_hz=glide)
        for shape in ("sine", "triangle", "square", "saw")
    },
    zoom_ms=20,
)

# %%
# Harmonic
# --------
# A distribution of loudness among harmonics, which moves; on the right the partials of a stiff
# string, stretched.

k = torch.arange(1, 33)
fading = torch.stack([1.0 / k, 1.0 / k**3], -1)[None]
draw(
    {
        "bright to dark": Harmonic(RATE, harmonics=32)(
            SECOND, frequency_hz=220.0, distribution=Curve(fading, SECOND)
        ),
        "inharmonicity 0.002": Harmonic(RATE, harmonics=32)(
            SECOND, frequency_hz=220.0, inharmonicity=0.002
        ),
    }
)

# %%
# FilteredNoise
# -------------
# The gains of 33 bands at two moments; filters in between are crossfaded.

band = torch.linspace(0, 1, 33)
low, high = torch.exp(-((band - 0.15) ** 2) / 0.004), torch.exp(-((band - 0.7) ** 2) / 0.02)
wind = FilteredNoise(RATE, bands=33)
draw(
    {
        "steady": wind(SECOND, magnitudes=low, generator=seed()),
        "rising": wind(
            SECOND, magnitudes=Curve(torch.stack([low, high], -1)[None], SECOND), generator=seed()
        ),
    }
)

# %%
# Wavetable
# ---------
# A row of four waves - sine, triangle, square, saw - read from one end to the other.

row = Wavetable(RATE)
draw(
    {
        "one place": row(SECOND, frequency_hz=220.0, position=1.0),
        "from sine to saw": row(
            SECOND, frequency_hz=220.0, position=Curve(torch.tensor([0.0, 1.0]), SECOND)
        ),
    }
)

# %%
# FM
# --
# The index of a pair rises from 0 to 8; then a sine that modulates itself, ever more, on its way
# to a saw and to noise.

levels = torch.tensor([[[1.0, 1.0], [0.0, 8.0]]])
draw(
    {
        "rising index": FM(RATE)(
            SECOND,
            frequency_hz=440.0,
            ratios=torch.tensor([1.0, 1.5]),
            levels=Curve(levels, SECOND),
        ),
        "feedback": FM(RATE, algorithm=((),))(
            SECOND, frequency_hz=440.0, feedback=Curve(torch.tensor([0.0, 2.8]), SECOND)
        ),
    }
)

# %%
# KarplusStrong
# -------------
# Strings: the pick position leaves out every fourth partial, damping takes the high ones first.

string = KarplusStrong(RATE)
draw(
    {
        title: string(SECOND, frequency_hz=220.0, generator=seed(), **values)
        for title, values in {
            "picked at a quarter": {"pick_position": 0.25, "damping": 0.05, "brightness": 1.0},
            "damped": {"damping": 0.9, "decay_s": 2.0},
        }.items()
    },
    zoom_ms=40,
)

# %%
# Modal
# -----
# Bodies are known by the ratios of their modes.

draw(
    {
        body: Modal(RATE, body=body)(SECOND, frequency_hz=330.0)
        for body in ("bar", "membrane", "bell")
    }
)

# %%
# SourceFilter
# ------------
# A voice: from pressed to breathy (``rd``), and from vowel to vowel (formants). Below, the pulses
# of the glottis through the tract.

voice = SourceFilter(RATE)
vowels = torch.tensor(
    [
        [[750.0, 300.0], [1200.0, 2200.0], [2600.0, 3000.0], [3400.0, 3600.0], [4300.0, 4500.0]],
    ]
)
draw(
    {
        "pressed to breathy": voice(
            SECOND,
            frequency_hz=130.0,
            rd=Curve(torch.tensor([0.4, 2.6]), SECOND),
            breath=Curve(torch.tensor([0.0, 0.4]), SECOND),
            generator=seed(),
        ),
        "a to i": voice(
            SECOND, frequency_hz=130.0, formants_hz=Curve(vowels, SECOND), generator=seed()
        ),
    },
    zoom_ms=30,
)

# %%
# Envelope and notes
# ------------------
# An envelope gives a note its beginning and end; a list of notes becomes sound, any number at a
# time.

figure, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
for attack_s in (0.01, 0.1, 0.3):
    level = Envelope(RATE)(SECOND, attack_s=attack_s, gate_s=0.6)[0, 0]
    ax.plot(torch.arange(SECOND) / RATE, level, label=f"attack_s = {attack_s}")
ax.set(xlabel="time (s)", title="Envelope")
ax.legend()

chord = [Note.from_pitch(0.12 * n, 1.2 - 0.12 * n, 57 + p) for n, p in enumerate((0, 4, 7, 12))]
draw(
    {
        "strings": render_notes(string, chord, generator=seed()),
        "bells": render_notes(Modal(RATE, body="bell"), chord, tail_s=0.5),
        "pads": render_notes(
            Harmonic(RATE, harmonics=16), chord, envelope={"attack_s": 0.2, "release_s": 0.1}
        ),
    }
)
plt.show()
