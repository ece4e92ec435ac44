"""Lay a processed signal over the dry one: delay, polarity, gain, and whether they belong."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sonograd.functional.convolution import fast_length, fft_convolve

__all__ = [
    "REACH",
    "Overlay",
    "coherence",
    "cross_spectra",
    "overlay",
    "shift_kernels",
    "shift_slope",
    "shifted",
]

_UNSURE = 0.8  # coherence below which there may be more than one path
_ONE_PATH = 0.6  # how much of the excess phase one delay has to explain
_NEAR = 96  # samples by which filters may move a peak of the correlation
_FINER = 8
REACH = 1024  # samples on either side that a shift between samples depends on


@dataclass(frozen=True)
class Overlay:
    """Where wet lies on dry.

    Attributes:
        delay: Whole samples by which wet is late.
        fraction: The rest, in [-0.5, 0.5].
        polarity: 1 or -1.
        coherence: Mean magnitude-squared coherence, weighted by energy.
        other: What else it may be, where echoes or a reverb hide the first arrival: no delay.
    """

    delay: int
    fraction: float
    polarity: int
    coherence: float
    other: "Overlay | None" = None


def overlay(dry: Tensor, wet: Tensor, *, max_delay: int, origin: int = 0) -> Overlay:
    """Find delay and polarity by correlation.

    Two correlations are looked at, the plain one and one whose spectrum is flat, which has the
    sharper peak; the lag with more coherence wins. Filters move both peaks, low ones by many
    samples, so the delay is then read from the phase that a filter of minimum phase with the same
    magnitude does not have.

    Args:
        dry: ``(channels, samples)``.
        wet: ``(channels, samples)``, any length.
        max_delay: Largest delay that is looked for, either way.
        origin: Position of the first sample of ``wet`` less that of ``dry``.
    """
    a, b = _mono(dry), _mono(wet)
    size = fast_length(a.numel() + b.numel())
    # Single precision is enough for the place of a peak.
    cross = torch.fft.rfft(a.float(), size).conj() * torch.fft.rfft(b.float(), size)
    strength = cross.abs()
    floor = 1e-3 * strength.mean() + 1e-30
    lags = torch.arange(-(a.numel() - 1), b.numel()) + origin
    # Short overlaps correlate by chance: at least half of the shorter one has to lie on the other.
    shorter = min(a.numel(), b.numel())
    place = lags - origin
    common = torch.minimum(place + a.numel(), torch.tensor(b.numel())) - place.clamp_min(0)
    allowed = (lags.abs() <= max_delay) & (2 * common >= shorter)
    found: list[Overlay] = []
    zero = 1
    for spectrum in (cross / (strength + floor), cross):
        full = torch.fft.irfft(spectrum, size).double()
        line = torch.cat([full[size - a.numel() + 1 :], full[: b.numel()]])
        line = torch.where(allowed, line, torch.zeros_like(line))
        peak = int(line.abs().argmax())
        sides = line[max(peak - 1, 0) : peak + 2].abs()
        fraction = _parabola(sides) if sides.numel() == 3 else 0.0
        delay = int(lags[peak])
        if bool((lags == 0).any()):
            zero = 1 if float(line[lags == 0][0]) >= 0 else -1
        known = {item.delay: item.coherence for item in found}
        found.append(
            Overlay(
                delay,
                fraction,
                1 if float(line[peak]) >= 0 else -1,
                known[delay] if delay in known else _coherence_at(a, b, delay - origin),
            )
        )
    best = max(found, key=lambda item: item.coherence)
    # The sharp peak is right about the fraction wherever both agree.
    if abs(found[0].delay - best.delay) <= 1 and found[0].coherence > 0.98 * best.coherence:
        best = found[0]
    begin = best.delay - origin
    first, second = a[max(-begin, 0) :], b[max(begin, 0) :]
    samples = min(first.numel(), second.numel())
    excess = _excess_delay(first[:samples], second[:samples])
    if excess is not None and excess[2] > _ONE_PATH:
        exact = best.delay + excess[0]
        delay = round(exact)
        best = replace(best, delay=delay, fraction=exact - delay, polarity=excess[1])
        unsure = best.coherence < _UNSURE
    else:
        unsure = abs(found[0].delay - found[1].delay) > 1 or best.coherence < _UNSURE
    if best.delay and unsure and bool((allowed & (lags == 0)).any()):
        best = replace(best, other=Overlay(0, 0.0, zero, _coherence_at(a, b, -origin)))
    return best


def _excess_delay(x: Tensor, y: Tensor) -> tuple[float, int, float] | None:
    """Measure the delay in excess of minimum phase.

    Args:
        x: ``(samples,)``.
        y: Laid over it to within some samples.

    Returns:
        By how many samples ``y`` is late, the polarity, and how much of the excess phase this
        explains, in [0, 1]; None where the signals are too short to tell.
    """
    size = 8192
    if x.numel() < 2 * size:
        return None
    power_x, power_y, cross, _ = cross_spectra(x, y, size, overlap=2)
    heard = power_x > 1e-10 * power_x.max()
    weight = cross.abs().square() / (power_x * power_y).clamp_min(1e-300) * heard
    total = float(weight.sum())
    if total <= 0:
        return None
    level = (cross.abs().clamp_min(1e-300) / power_x.clamp_min(1e-300)).log()
    smooth = _smooth_over_octaves(level, weight)
    spread = torch.fft.irfft(smooth, size)
    spread[1 : size // 2] *= 2
    spread[size // 2 + 1 :] = 0
    excess = weight * torch.exp(1j * (cross.angle() - torch.fft.rfft(spread).imag))
    line = torch.fft.irfft(excess, _FINER * size) * (_FINER * size / (2 * total))
    line = torch.roll(line, _NEAR * _FINER)[: 2 * _NEAR * _FINER + 1]
    peak = int(line.abs().argmax())
    if not 0 < peak < line.numel() - 1:
        return None
    value = float(line[peak])
    place = peak + _parabola(line[peak - 1 : peak + 2].abs())
    return place / _FINER - _NEAR, 1 if value >= 0 else -1, min(1.0, abs(value))


def _smooth_over_octaves(level: Tensor, weight: Tensor, bands: int = 16) -> Tensor:
    """Average over parts of an octave and join the means by lines; the ends go on as they are."""
    bins = torch.arange(level.numel(), dtype=level.dtype).clamp_min(0.5).log2()
    band = ((bins - bins[0]) * bands).round().long()
    count = int(band[-1]) + 1
    mass = torch.zeros(count, dtype=level.dtype).index_add(0, band, weight)
    at = torch.zeros_like(mass).index_add(0, band, weight * bins)
    mean = torch.zeros_like(mass).index_add(0, band, weight * level)
    told = mass > 1e-6 * mass.max()
    at, mean = at[told] / mass[told], mean[told] / mass[told]
    if at.numel() < 2:
        return mean[:1].expand_as(level)
    right = torch.searchsorted(at, bins).clamp(1, at.numel() - 1)
    share = ((bins - at[right - 1]) / (at[right] - at[right - 1])).clamp(0, 1)
    return mean[right - 1] + share * (mean[right] - mean[right - 1])


def _mono(x: Tensor) -> Tensor:
    """Sum of the channels, or the loudest where they cancel."""
    total = x.sum(0)
    loud = x[int(x.square().sum(-1).argmax())]
    return total if float(total.square().sum()) >= float(loud.square().sum()) else loud


def _parabola(sides: Tensor) -> float:
    left, middle, right = sides.tolist()
    bend = left - 2 * middle + right
    return max(-0.5, min(0.5, 0.5 * (left - right) / bend)) if bend < 0 else 0.0


def _coherence_at(a: Tensor, b: Tensor, delay: int) -> float:
    """Coherence of the overlap at a lag."""
    first, second = a[max(-delay, 0) :], b[max(delay, 0) :]
    samples = min(first.numel(), second.numel())
    if samples < 256:
        return 0.0
    # Coherence needs several windows to mean anything.
    sizes = sorted({min(size, max(128, samples // 8)) for size in (4096, 16384)})
    best = 0.0
    for size in sizes:
        best = max(best, coherence(first[:samples], second[:samples], size))
        if best > _UNSURE:  # longer windows are for long echoes
            break
    return best


def cross_spectra(
    x: Tensor, y: Tensor, size: int, *, overlap: int = 4
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Average spectra over Hann windows.

    Args:
        x: ``(..., samples)``; leading dimensions are averaged over.
        y: As ``x``.
        size: Samples of a window.
        overlap: Windows that cover a sample.

    Returns:
        Power of x, power of y, cross spectrum ``conj(X) Y``, each ``(bins,)``, and how many
        windows went in.
    """
    size = min(size, x.shape[-1])
    window = torch.hann_window(size, dtype=x.dtype)
    hop = max(size // overlap, 1)
    frames = [v.unfold(-1, size, hop).reshape(-1, size) for v in (x, y)]
    power_x = power_y = cross = torch.zeros(size // 2 + 1, dtype=x.dtype)
    step = max(1, (1 << 22) // size)  # windows at a time, which bounds the memory
    for begin in range(0, frames[0].shape[0], step):
        a, b = (torch.fft.rfft(f[begin : begin + step] * window) for f in frames)
        power_x = power_x + a.abs().square().sum(0)
        power_y = power_y + b.abs().square().sum(0)
        cross = cross + (a.conj() * b).sum(0)
    return power_x, power_y, cross, frames[0].shape[0]


def coherence(x: Tensor, y: Tensor, size: int) -> float:
    """Mean magnitude-squared coherence, weighted by the energies, freed of its bias."""
    power_x, power_y, cross, count = cross_spectra(x, y, size, overlap=2)
    both = power_x * power_y
    value = cross.abs().square() / both.clamp_min(1e-300)
    weight = both.sqrt()
    total = float(weight.sum())
    if total <= 1e-200:
        return 0.0
    mean = float((value * weight).sum()) / total
    bias = 1 / max(1.0, 0.8 * count)  # overlapping windows are not independent
    return max(0.0, (mean - bias) / (1 - bias)) if bias < 1 else 0.0


def shift_kernels(fraction: float) -> tuple[Tensor, Tensor]:
    """Design filters that read a signal ``fraction`` samples later, and the slope in it.

    A sinc under a Kaiser window of 2049 samples, flat to 0.997 of half the sample rate.
    """
    time = torch.arange(-REACH, REACH + 1, dtype=torch.float64) + fraction
    window = torch.special.i0(12.0 * (1 - (time / (REACH + 1)).square()).clamp_min(0).sqrt())
    window = window / torch.special.i0(torch.tensor(12.0, dtype=torch.float64))
    angle = math.pi * time
    small = time.abs() < 1e-6
    safe = torch.where(small, torch.ones_like(time), time)
    slope = torch.where(
        small, -(math.pi**2) * time / 3, torch.cos(angle) / safe - torch.sinc(time) / safe
    )
    return torch.sinc(time) * window, slope * window


def shifted(x: Tensor, fraction: float) -> Tensor:
    """Read ``x`` at ``fraction`` samples after each of its samples but :data:`REACH` at the ends.

    Args:
        x: ``(..., REACH + samples + REACH)``.
        fraction: In samples, of either sign, small.
    """
    if fraction == 0.0:
        return x[..., REACH : x.shape[-1] - REACH]
    # y[n] = sum_k x[n + k] s(k - fraction), a convolution with the kernel turned around.
    return fft_convolve(x, shift_kernels(fraction)[0])[..., 2 * REACH : x.shape[-1]]


def shift_slope(x: Tensor, fraction: float) -> Tensor:
    """Return the derivative of :func:`shifted` in ``fraction``."""
    return fft_convolve(x, shift_kernels(fraction)[1])[..., 2 * REACH : x.shape[-1]]
