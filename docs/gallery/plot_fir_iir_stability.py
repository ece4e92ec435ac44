"""
FIR, IIR and stability
======================

Filters are the one processor that everybody learns, in two ways. Those without feedback are linear
in their taps, and solved rather than learned. Those with feedback are short and strong, and one
step of an optimizer can make them explode - unless they are written down so that no number can.
"""

# %%
# Without feedback
# ----------------
# Seven unknown taps, noise in, noise out. Adam needs hundreds of steps to what one linear system
# gives at once: the output is a sum of shifted inputs, and the taps are their weights.

import math

import matplotlib.pyplot as plt
import torch

from sonograd import functional as F

generator = torch.Generator().manual_seed(420)
true_taps = torch.randn(7, dtype=torch.float64, generator=generator)
x = torch.randn(2000, dtype=torch.float64, generator=generator)
y = F.fft_convolve(x, true_taps, mode="causal")

taps = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
optimizer = torch.optim.Adam([taps], lr=1e-2)
descent = []
for _ in range(1500):
    optimizer.zero_grad()
    loss = (F.fft_convolve(x, taps, mode="causal") - y).square().mean()
    loss.backward()
    optimizer.step()
    descent.append(float((taps - true_taps).detach().abs().max()))

shifts = torch.stack([torch.nn.functional.pad(x, (k, 0))[: len(x)] for k in range(7)], dim=1)
solved = torch.linalg.lstsq(shifts, y[:, None]).solution[:, 0]
solved_error = float((solved - true_taps).abs().max())
print(f"1500 steps of Adam: largest error of a tap {descent[-1]:.1e}")
print(f"one linear system:  largest error of a tap {solved_error:.1e}")

# %%
# With feedback
# -------------
# A resonance as two poles and a zero. Its output depends on its coefficients through all of its
# past; :func:`~sonograd.functional.sosfilt` computes it exactly, and so are its gradients. The
# common shortcut multiplies spectra instead. It is a filter that bites its own tail: what rings
# longer than the block comes in again at the start.

RATE = 16_000
sos = F.peak_biquad(
    *torch.tensor([440.0, 24.0, 30.0], dtype=torch.float64).split(1), sample_rate=RATE
)[0]
pulse = torch.zeros(4096, dtype=torch.float64)
pulse[3000:] = torch.randn(1096, dtype=torch.float64, generator=generator)
exact = F.sosfilt(pulse, sos)
bins = torch.fft.rfftfreq(4096, 1 / RATE).double()
sampled = torch.fft.irfft(
    torch.fft.rfft(pulse) * F.frequency_response(sos, bins, sample_rate=RATE), 4096
)
wrapped = float((sampled - exact).norm() / exact.norm())
print(f"error of the multiplied spectra: {100 * wrapped:.1f} %")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.9), layout="constrained")
left.semilogy(descent)
left.axhline(solved_error, color="C2", label="one linear system")
left.set(xlabel="step", ylabel="largest error of a tap", title="Seven taps")
left.legend()
right.plot(sampled, color="C3", linewidth=0.8, label="spectra multiplied")
right.plot(exact, color="C0", linewidth=0.8, label="exact")
right.set(xlabel="sample", title="The tail comes in at the front")
right.legend()
plt.show()

# %%
# Stability
# ---------
# Now the resonance shall be learned from its sound. Its two feedback coefficients are free numbers
# at first. The valley runs along the border beyond which the filter explodes, and a step of a usual
# size crosses it. In the triangle ``|a2| < 1, |a1| < 1 + a2`` the filter is stable.

noise = torch.randn(4000, dtype=torch.float64, generator=generator)
angle = 2 * math.pi * 440 / RATE
true_a = torch.tensor([1.0, -2 * 0.995 * math.cos(angle), 0.995**2], dtype=torch.float64)
heard = F.lfilter(noise, torch.tensor([0.05], dtype=torch.float64), true_a)


def misfit(b, a):
    """Distance of the spectra in dB; what rings does not mislead it."""
    estimate = F.lfilter(noise, b, a)
    spectra = [torch.fft.rfft(s, 4096).abs().clamp_min(1e-3).log10() for s in (estimate, heard)]
    return (20 * (spectra[0] - spectra[1])).square().mean().sqrt()


def learn(to_filter, start, steps=250, lr=0.03):
    """Return the loss and the coefficients before each step, until something explodes."""
    free = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = torch.optim.Adam([free], lr=lr)
    losses, places = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        b, a = to_filter(free)
        loss = misfit(b, a)
        if not loss.isfinite():
            break
        losses.append(float(loss.detach()))
        places.append(a[1:].detach().clone())
        loss.backward()
        optimizer.step()
    return losses, torch.stack(places)


def direct(free):
    """Coefficients as they are."""
    return free[:1].exp(), torch.cat([torch.ones(1, dtype=torch.float64), free[1:]])


def stable(free):
    """Any two numbers, made into a stable denominator."""
    return free[:1].exp(), F.stable_polynomial(free[1:])


direct_losses, direct_path = learn(direct, [-2.0, -1.2, 0.6])
stable_losses, stable_path = learn(stable, [-2.0, -1.0, 0.7])


def radius(path):
    """Largest magnitude of a pole along the way."""
    roots = torch.linalg.eigvals(
        torch.stack(
            [
                torch.stack([-path[:, 0], -path[:, 1]], -1),
                torch.tensor([1.0, 0.0], dtype=path.dtype).expand(len(path), 2),
            ],
            dim=-2,
        )
    )
    return roots.abs().amax(-1)


crossings = int((radius(direct_path) >= 1).sum())
print(f"free coefficients:   {crossings} of {len(direct_path)} steps were unstable")
print(f"stable by design:    {int((radius(stable_path) >= 1).sum())} of {len(stable_path)}")
print(f"last misfit: free {direct_losses[-1]:.2f} dB, stable by design {stable_losses[-1]:.2f} dB")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.fill([-2, 0, 2], [1, -1, 1], color="0.93", label="stable")
left.plot(*direct_path.T, color="C3", marker=".", markersize=3, linewidth=0.8, label="free")
left.plot(*stable_path.T, color="C2", marker=".", markersize=3, linewidth=0.8, label="by design")
left.plot(*true_a[1:], "kx", markersize=9, label="truth")
left.set(xlabel="a1", ylabel="a2", title="The way of the coefficients", xlim=(-2.1, 0.2))
left.legend(fontsize=8)
right.semilogy(direct_losses, color="C3", label="free")
right.semilogy(stable_losses, color="C2", label="stable by design")
right.set(xlabel="step", ylabel="misfit (dB)", title="Learning a resonance")
right.legend(fontsize=8)
plt.show()

# %%
# Of any order
# ------------
# A product of sections, or reflection coefficients below one: both stay stable wherever an
# optimizer goes, and reach all that is stable. Here are ten thousand filters of order 6 from random
# numbers, and the largest pole of them all:

wild = torch.randn(10_000, 6, dtype=torch.float64, generator=generator)
polynomials = F.stable_polynomial(wild)
companion = torch.zeros(10_000, 6, 6, dtype=torch.float64)
companion[:, 0] = -polynomials[:, 1:]
companion[:, range(1, 6), range(5)] = 1
largest = torch.linalg.eigvals(companion).abs().amax(-1)
print(f"largest pole of 10 000 filters: {float(largest.max()):.6f}")
companion[:, 0] = -wild
share = float((torch.linalg.eigvals(companion).abs().amax(-1) < 1).double().mean())
print(f"with the same numbers as coefficients, {100 * share:.1f} % are stable")

# %%
# Equalizers in :mod:`sonograd.effects` need none of this: their parameters are frequencies, gains
# and widths, and every value in range is a stable filter.
