"""
A plucked string, a drum, a voice
=================================

The settings of instruments, found from their sound. Each time the same three questions decide: what
in the sound does not depend on chance, what of it can be solved, and what is left for an optimizer,
started where the solution nearly is.
"""

# %%
# A plucked string
# ----------------
# A string of the model of Karplus and Strong is a burst of noise in a loop. The noise is another
# one at every pluck, so comparing waveforms is hopeless. But the pitch, and how fast each partial
# falls, are those of the loop alone.

import math

import matplotlib.pyplot as plt
import torch

from sonograd.functional import (
    linear_prediction,
    modal_decay,
    refine_frequency,
    reflections_to_polynomial,
    track_pitch,
)
from sonograd.synths import KarplusStrong, Modal, SourceFilter

RATE = 16_000
string = KarplusStrong(RATE)
truth = {"frequency_hz": 196.4, "decay_s": 1.7, "damping": 0.42}
heard = string(RATE, generator=4, **truth).double()[0, 0]

pitch = track_pitch(heard, sample_rate=RATE, low_hz=80, high_hz=800)
rough = float(pitch.frequency_hz[10:-10].median())
fine = float(refine_frequency(heard[800:8800], torch.tensor(rough), sample_rate=RATE).frequency_hz)
print(f"pitch: {fine:.2f} Hz, truth {truth['frequency_hz']} Hz")

# %%
# Each partial is brought down to 0 Hz, averaged over whole periods, and its level in dB followed:
# a straight line, whose slope is the decay.

PARTIALS = 5  # those above have fallen before they can be followed


def slopes(x, frequency_hz):
    """Fall of each partial, ``(partials,)`` in dB per second."""
    time = torch.arange(len(x), dtype=torch.float64) / RATE
    width = 8 * round(RATE / frequency_hz)
    found = []
    for k in range(1, PARTIALS + 1):
        down = x * torch.exp(-2j * math.pi * k * frequency_hz * time)
        level = down.unfold(0, width, width // 2).mean(-1).abs()
        decibels = 20 * level.clamp_min(1e-9).log10()
        clear = decibels > decibels.max() - 45
        moments = torch.arange(len(level), dtype=torch.float64) * (width // 2) / RATE
        line = torch.stack([moments[clear], torch.ones(int(clear.sum()), dtype=torch.float64)], 1)
        found.append(torch.linalg.lstsq(line, decibels[clear][:, None]).solution[0, 0])
    return torch.stack(found)


def loop_slopes(values):
    """The same for a string with other settings, plucked with another noise."""
    decay_s, damping = values
    sound = string(RATE, generator=99, frequency_hz=fine, decay_s=decay_s, damping=damping)
    return slopes(sound.double()[0, 0], fine)


measured = slopes(heard, fine)
values = torch.tensor([3.0, 0.2], dtype=torch.float64)
string_path = [values]
for _ in range(8):
    base = loop_slopes(values)
    steps = torch.tensor([0.05, 0.02], dtype=torch.float64)
    columns = [
        (loop_slopes(values + step * unit) - base) / step
        for step, unit in zip(steps, torch.eye(2, dtype=torch.float64), strict=True)
    ]
    step = torch.linalg.lstsq(torch.stack(columns, 1), (measured - base)[:, None]).solution[:, 0]
    values = (values + step.clamp(-0.8, 0.8)).clamp(
        torch.tensor([0.1, 0.0]), torch.tensor([10.0, 1.0])
    )
    string_path.append(values)
string_found = {"decay_s": float(values[0]), "damping": float(values[1])}
print({name: round(value, 3) for name, value in string_found.items()}, "truth:", truth)

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(range(1, PARTIALS + 1), measured, "o", label="measured")
ax.plot(range(1, PARTIALS + 1), loop_slopes(values), label="loop with the settings found")
ax.set(xlabel="partial", ylabel="dB per second", title="How fast the partials fall")
ax.legend()
plt.show()

# %%
# A drum
# ------
# A membrane is a few modes: frequency, decay and level each, and no chance at all. The loudest
# peaks of a spectrum give the frequencies to within a bin; Gauss-Newton through the exact
# derivatives of :func:`~sonograd.functional.modal_decay` does the rest, all modes together.

MODES = 5
drum = Modal(RATE, body="membrane", modes=MODES)
struck = drum(8000, frequency_hz=143.7).double()[0, 0]

n_fft = 1 << 15
spectrum = torch.fft.rfft(struck * torch.hann_window(8000, periodic=False).double(), n_fft).abs()
inside = (spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] > spectrum[2:])
peaks = torch.where(inside, spectrum[1:-1], 0.0)
rough_hz, rough_level = [], []
while len(rough_hz) < MODES:
    k = int(peaks.argmax())
    rough_hz.append((k + 1) * RATE / n_fft)
    rough_level.append(float(peaks[k]))
    peaks[max(k - 24, 0) : k + 24] = 0
order = sorted(range(MODES), key=lambda k: rough_hz[k])
theta = torch.cat(
    [
        torch.tensor([rough_hz[k] for k in order]).double(),
        torch.full((MODES,), math.log(0.4)).double(),
        torch.tensor([rough_level[k] for k in order]).double() / 800,
    ]
)


def play(theta):
    frequencies, decays, levels = theta.split(MODES)
    return modal_decay(frequencies, decays.exp(), levels, 8000, sample_rate=RATE)


nulls = []
damping = 1e-2
for _ in range(40):
    residual = struck - play(theta)
    nulls.append(float(10 * (struck.square().sum() / residual.square().sum()).log10()))
    jacobian = torch.func.jacfwd(play)(theta)
    normal = jacobian.T @ jacobian
    step = torch.linalg.solve(normal + damping * normal.diagonal().diag(), jacobian.T @ residual)
    better = (struck - play(theta + step)).norm() < residual.norm()
    theta, damping = (theta + step, damping / 5) if better else (theta, damping * 5)
drum_hz = theta[:MODES]
print("modes (Hz):", [round(float(f), 3) for f in drum_hz])
print("ratios to the first:", [round(float(f / drum_hz[0]), 4) for f in drum_hz])
print(f"what remains: {-nulls[-1]:.0f} dB")

# %%
# A voice
# -------
# Pulses of the glottis and breath, through a tract with five resonances. The pitch is tracked; the
# resonances are the poles of the filter that explains how each sample follows from those before it,
# :func:`~sonograd.functional.linear_prediction`: a linear system, again.

formants = torch.tensor([660.0, 1180.0, 2500.0, 3400.0, 4600.0])
voice = SourceFilter(RATE)
sung = voice(
    12_000,
    frequency_hz=118.0,
    formants_hz=formants[None],
    breath=0.02,
    rd=0.8,
    generator=torch.Generator().manual_seed(2),
).double()[0, 0]

voice_pitch = track_pitch(sung, sample_rate=RATE, low_hz=70, high_hz=300)
voice_hz = float(voice_pitch.frequency_hz[8:-8].median())
flat = sung[1:] - 0.94 * sung[:-1]  # the glottis falls with frequency; take that out first
window = torch.hann_window(len(flat), dtype=torch.float64)
reflections, _ = linear_prediction(flat * window, 14)
polynomial = reflections_to_polynomial(reflections)
companion = torch.zeros(14, 14, dtype=torch.float64)
companion[0] = -polynomial[1:]
companion[range(1, 14), range(13)] = 1
poles = torch.linalg.eigvals(companion)
frequency = poles.angle() * RATE / (2 * math.pi)
bandwidth = -poles.abs().log() * RATE / math.pi
narrow = (frequency > 200) & (bandwidth < 500)
voice_formants = frequency[narrow].sort().values
print(f"pitch: {voice_hz:.2f} Hz, truth 118 Hz")
print("formants:", [round(float(f)) for f in voice_formants], "truth:", formants.tolist())

figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
bins = torch.fft.rfftfreq(len(flat), 1 / RATE).double()
ax.plot(bins, 20 * torch.fft.rfft(flat * window).abs().clamp_min(1e-4).log10(), linewidth=0.6)
response = torch.fft.rfft(polynomial, 8192).abs().reciprocal()
ax.plot(torch.fft.rfftfreq(8192, 1 / RATE), 20 * response.log10() - 30, linewidth=2)
for f in formants:
    ax.axvline(float(f), color="gray", linestyle=":")
ax.set(xlabel="Hz", ylabel="dB", xlim=(0, 6000), title="The tract, found by linear prediction")
plt.show()

# %%
# Where values move, as they do in music, the same is done piece by piece, or by descent through the
# instrument from such a start: :doc:`plot_rebuild_a_note` does that.
