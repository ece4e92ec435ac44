"""
Your plug-in as a preset
========================

A plug-in is a black box: sound goes in, sound comes out, and its project file opens nowhere else.
But what it does to sound can be written down. This page puts three boxes through
:func:`~sonograd.matching.match`: one whose knobs we can turn, one that we may only listen to, and
one that is not what it seems.
"""

# %%
# Something to send through
# -------------------------

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from sonograd import plotting
from sonograd.data.songs import make_song
from sonograd.effects import export, from_preset
from sonograd.matching import match
from sonograd.params import Param

RATE = 11_025

song = make_song(3, seconds=3.0, sample_rate=RATE)
dry = song.stems.sum(0).mean(0, keepdim=True)
dry = 0.6 * dry / dry.abs().max()

# %%
# A box with knobs
# ----------------
# Any callable from ``(channels, samples)`` to the same, here of numpy, with two knobs. A plug-in in
# `pedalboard <https://spotify.github.io/pedalboard/>`_ is such a callable as well: ``lambda x,
# **knobs: board_with(knobs)(x.numpy(), RATE)``. Its derivatives are taken by differences; the
# solver is the same.


def saturator(x, drive_db, mix):
    """A box that we cannot look into."""
    x = np.asarray(x)
    return (1 - mix) * x + mix * np.tanh(10 ** (drive_db / 20) * x)


knobs = [
    Param("drive_db", "dB", 0.0, 24.0, 3.0),
    Param("mix", "1", 0.05, 1.0, 0.9),
]
recorded = torch.from_numpy(saturator(dry, drive_db=11.3, mix=0.62))
turned = match(dry, recorded, process=saturator, parameters=knobs, sample_rate=RATE)
for stage, name, value, unit, error, _ in turned.rows():
    print(f"{stage}.{name}: {value:.4f} ± {error:.1g} {unit}")
print(f"null depth {turned.score.null_db:.0f} dB")

# %%
# A box to listen to
# ------------------
# Now there are no knobs, only a recording of what came out: a compressor with a gain, written here
# as a loop over samples, as plug-ins are. Our own compressor is fitted to it, and what comes out is
# a preset, which opens here and, as code, in other programs.


def hardware(x):
    """A compressor, sample by sample: 3.5:1 above -26 dB, 8 ms, 110 ms, and 4 dB of makeup."""
    attack, release = (math.exp(-2 * math.pi * 1000 / (RATE * ms)) for ms in (8.0, 110.0))
    threshold, level, out = 10 ** (-26 / 20), 0.0, []
    for sample in x[0].tolist():
        peak = abs(sample)
        pole = attack if peak > level else release
        level = peak + pole * (level - peak)
        gain = 1.0 if level < threshold else (level / threshold) ** (1 / 3.5 - 1)
        out.append(gain * sample * 10 ** (4 / 20))
    return torch.tensor([out])


heard = hardware(dry)
found = match(dry, heard, "compressor,gain", sample_rate=RATE)
print(*found.verdict, sep="\n")
print(export(found.effect, found.values, "pedalboard"))

# %%
# The preset does to other material what the box does to it:

other = make_song(8, seconds=2.0, sample_rate=RATE).stems.sum(0).mean(0, keepdim=True)
other = 0.5 * other / other.abs().max()
chain, values = from_preset(found.preset)
ours, theirs = chain(other, **values), hardware(other)
transfer_db = float(20 * (theirs.norm() / (ours - theirs).norm()).log10())
print(f"on another song, box and preset null to -{transfer_db:.0f} dB")

trace = found.gain_trace
figure = plotting.gain_reduction(
    {"measured": trace.measured_db, "preset": trace.fitted_db},
    time_s=trace.time_s,
    title="The needle of the box, and ours",
)
figure

# %%
# A box that is something else
# ----------------------------
# The saturator again, but asked as if it were a compressor. The answer is the best compressor there
# is, one so fast that it bends the waveform itself, and it comes surprisingly near. Two things say
# that it is not what was there: the null depth is far from that of an exact match, and values that
# mean nothing here are reported as not identifiable.

wrong = match(dry, recorded, "compressor,gain", sample_rate=RATE)
print(f"null depth {wrong.score.null_db:.1f} dB")
print(*wrong.verdict, *wrong.warnings, sep="\n")
figure = plotting.levels(
    {"wet": wrong.wet, "what a compressor leaves": wrong.residual()},
    sample_rate=RATE,
    title="Not a compressor",
)
figure

# %%
# ``sonograd match dry.wav wet.wav`` does the second of these for files, and tries chains by itself
# if it is not told which.

plt.close("all")
