"""
A gain control
==============

The smallest thing that gradient descent can find in sound is a gain: one number between a dry and
a processed signal. It is a well-known first exercise, and it holds more than it seems to. The first
fit never comes to rest; a shift of phase that nobody hears sends it to silence; a loss that hears
nothing of phase finds the gain, but not its sign. In the end a single line does better than all
three hundred steps. Every number on this page is computed here, and tested.
"""

# %%
# The signals
# -----------
# The exercise as it is usually written makes ``sr // 2`` samples of
# ``sin(linspace(0, 2 * pi * 300, sr // 2))`` and calls that 300 Hz. But half a second holds all 300
# periods, so the tone has 600 Hz; and since ``linspace`` includes both ends, a little more:

import math

import matplotlib.pyplot as plt
import torch

from sonograd import functional as F
from sonograd.effects import LinearGain
from sonograd.errors import AudioError
from sonograd.losses import L1, L2, SpectralMagnitude
from sonograd.plotting import animate_fit, loss_landscape

RATE = 16_000
TRUE_GAIN = 0.15

phase = torch.linspace(0, 2 * math.pi * 300, RATE // 2)
dry = torch.sin(phase)
wet = TRUE_GAIN * dry

frequency = float(F.estimate_frequency(dry, sample_rate=RATE).frequency_hz)
print(f"the tone has {frequency:.3f} Hz")

# %%
# Descent
# -------
# A gain as a module, the mean absolute error, stochastic gradient descent: three hundred steps from
# a gain of one.


def fit(loss, target, lr=0.01, steps=300):
    """Return the gain before each step, and after the last."""
    effect = LinearGain(1.0)
    optimizer = torch.optim.SGD(effect.parameters(), lr=lr)
    gains = [effect.gain.item()]
    for _ in range(steps):
        optimizer.zero_grad()
        loss(effect(dry), target).backward()
        optimizer.step()
        gains.append(effect.gain.item())
    return gains


in_phase = fit(L1(), wet)
film = animate_fit(
    torch.tensor(in_phase)[:, None] * dry,
    wet,
    sample_rate=RATE,
    values={"gain": in_phase},
    truth={"gain": TRUE_GAIN},
)
film

# %%
# (``film.save("fit.mp4")`` and ``film.save("fit.gif")`` write it to a file.)
#
# It looks as if it had arrived. It has not: the last gains are

print([round(gain, 6) for gain in in_phase[-4:]])

# %%
# and it would go on like that forever. The derivative of ``mean |g x - 0.15 x|`` is ``mean |x|``,
# with the sign of ``g - 0.15``: however near the truth, the slope is the same, and so is the step.
# The truth lies between two places one step apart, and the descent goes to and fro.

step = 0.01 * float(dry.abs().mean())
arrived = next(k for k, gain in enumerate(in_phase) if abs(gain - TRUE_GAIN) < 0.01)
print(f"learning rate times mean |x|: {step:.7f}")
print(f"distance of the two gains:    {in_phase[-2] - in_phase[-1]:.7f}")
print(f"within 0.01 of the truth after {arrived} steps")

# %%
# The squared error has a slope that falls to zero with the distance, so it does come to rest, but
# the same learning rate is now far too small. Its curvature is ``mean x²``, one half, times two:
# with a learning rate of one, the step is nearly Newton's, and there is nothing left to do after
# two.

squared = fit(L2(), wet)
newton = fit(L2(), wet, lr=1.0)
print(f"L2, learning rate 0.01: {squared[-1]:.5f} after 300 steps")
print(f"L2, learning rate 1:    {newton[2]:.7f} after 2 steps")

# %%
# A shift of phase
# ----------------
# The same tone as a cosine. That is often called a shift by 180 degrees; it is one of 90. Nobody
# hears it, but this descent ends in silence:

shifted = TRUE_GAIN * torch.cos(phase)
collapsed = fit(L1(), shifted)
print(f"L1, a quarter period apart: {collapsed[-1]:.6f}")

# %%
# It does what it was told. The mean of ``|g sin - 0.15 cos|`` over a period is
# :math:`\frac{2}{\pi} \sqrt{g^2 + 0.15^2}`: nothing is closer to a cosine than no sine at all.

grid = torch.linspace(0, 1, 501)
landscape = torch.stack([L1()(gain * dry, shifted) for gain in grid])
formula = 2 / math.pi * (grid**2 + TRUE_GAIN**2).sqrt()
print(f"largest distance from the formula: {float((landscape - formula).abs().max()):.1e}")
print(f"loss at a gain of zero: {float(landscape[0]):.4f}")

figure = loss_landscape(
    landscape,
    ("gain", grid),
    path=collapsed[::10],
    truth=TRUE_GAIN,
    title="L1 of waveforms, a quarter period apart",
)
figure

# %%
# What the ear compares
# ---------------------
# Magnitudes of spectra do not know of phase. The loss has its minimum where it should be, and
# descent goes there:

spectral = fit(SpectralMagnitude(), shifted)
fine = torch.linspace(0, 1, 1001)
landscape = torch.stack([SpectralMagnitude()(gain * dry, shifted) for gain in fine])
lowest = float(fine[landscape.argmin()])
print(f"spectral magnitudes: {spectral[-1]:.6f} after 300 steps")
print(f"least loss: {float(landscape.min()):.4f}, at a gain of {lowest:.3f}")

figure = loss_landscape(
    landscape,
    ("gain", fine),
    path=spectral[::10],
    truth=TRUE_GAIN,
    title="Magnitudes of spectra, a quarter period apart",
)
figure

# %%
# The least loss is not zero: a whole number of periods would make it so, but here, sine and cosine
# leak into the neighboring bins in different ways. And again the descent does not rest, with larger
# steps than before, as the slope is larger:

tail = spectral[-10:]
band = (min(tail), max(tail))
print(f"the last ten gains lie between {band[0]:.4f} and {band[1]:.4f}")

# %%
# Power instead of magnitude (``power=2``) seems a small change. But the peak of this transform is
# 4000 high, and 16 million when squared: the first step leads to a gain of -79, and each of the
# next ones further away.

diverging = LinearGain(1.0)
optimizer = torch.optim.SGD(diverging.parameters(), lr=0.01)
gains = [1.0]
try:
    for _ in range(300):
        optimizer.zero_grad()
        SpectralMagnitude(power=2)(diverging(dry), shifted).backward()
        optimizer.step()
        gains.append(diverging.gain.item())
except AudioError as error:
    print(f"{[f'{gain:.3g}' for gain in gains[:4]]} ... after {len(gains)} steps: {error}")

# %%
# A true shift by 180 degrees
# ---------------------------
# ... turns the signal over, and then the waveform is no problem at all: the gain is negative.
# Spectral magnitudes cannot tell: to them both signs are equally good.

turned = fit(L1(), -wet)
blind = fit(SpectralMagnitude(), -wet)
print(f"L1:                 {turned[-1]:.6f}")
print(f"spectral magnitude: {blind[-1]:+.6f}")

both = torch.linspace(-0.5, 1, 601)
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for ax, (name, loss) in zip(
    axes, {"L1": L1(), "SpectralMagnitude": SpectralMagnitude()}.items(), strict=True
):
    ax.plot(both, [float(loss(gain * dry, -wet)) for gain in both])
    ax.axvline(-TRUE_GAIN, color="gray", linestyle=":", label="truth: -0.15")
    ax.set(title=f"{name}, 180 degrees", xlabel="gain", ylabel="loss")
    ax.legend()
plt.show()

# %%
# No loop at all
# --------------
# The gain that makes the squared error least is a ratio of two sums, exact where the phase is right
# and zero where it is a quarter period off. Where only the level counts, the ratio of the levels is
# the answer. Neither needs a start, a learning rate, or a second step.

least_squares = float(dry.double() @ wet.double() / (dry.double() @ dry.double()))
off = float(dry.double() @ shifted.double() / (dry.double() @ dry.double()))
levels = float(shifted.norm() / dry.norm())
print(f"least squares, in phase:          {least_squares:.9f}")
print(f"least squares, a quarter off:     {off:.9f}")
print(f"ratio of levels, a quarter off:   {levels:.6f}")

# %%
# What to take along: a constant step needs a slope that vanishes at the goal; a loss must hear what
# matters and be deaf to what does not; and what can be solved should not be searched for. A quarter
# period is only a delay, 0.417 ms here. To a solver that has the delay among its unknowns, the two
# tones are a perfect match; the pages on longer chains are built like that.

paths = {
    "L1, in phase": in_phase,
    "L1, cosine": collapsed,
    "spectral, cosine": spectral,
    "L1, turned over": turned,
    "L2": squared,
}
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for name, path in paths.items():
    ax.plot(path, label=f"{name}: {path[-1]:.4f}")
for gain in (TRUE_GAIN, -TRUE_GAIN):
    ax.axhline(gain, color="gray", linestyle=":", linewidth=1)
ax.set(xlabel="step", ylabel="gain", title="Five descents")
ax.legend(fontsize=8)
plt.show()
