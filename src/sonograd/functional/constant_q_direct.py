"""The constant-Q transform by convolution with kernels, at one rate or octave by octave."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.functional.constant_q import ConstantQBins
from sonograd.functional.framing import PadMode, extend, flat_rows
from sonograd.functional.windows import kaiser

__all__ = ["ConvolutionPlan", "KernelGroup", "convolve_kernels", "half_band", "plan_convolution"]

_PASS_BAND = 0.4
_HALF_TAPS = 34


class KernelGroup(NamedTuple):
    """Bins whose kernels have one length and are applied at one rate."""

    first: int
    stop: int
    halvings: int
    """How often the sample rate is halved for them."""
    half_length: int
    """Samples of the kernels before and after the middle, at that rate."""


class ConvolutionPlan(NamedTuple):
    """What is convolved with what; groups go from the top down, and so do their rates."""

    hop_length: int
    groups: tuple[KernelGroup, ...]


def plan_convolution(
    bins: ConstantQBins,
    *,
    sample_rate: float,
    hop_length: int,
    reach: float | None,
    frequency_octaves: float = 0.0,
    length_octaves: float = 0.0,
) -> ConvolutionPlan:
    """Group the bins.

    Args:
        bins: Frequencies and lengths, in float64.
        sample_rate: Samples per second.
        hop_length: Samples between frames. The rate is only halved while the hop is even.
        reach: Lobes of the window's spectrum that a lower sample rate must keep; None to stay at
            one rate.
        frequency_octaves: How far the frequencies will be moved at most.
        length_octaves: How far the lengths will be moved at most.
    """
    longest = bins.lengths * 2**length_octaves
    tops = bins.frequencies * 2**frequency_octaves / sample_rate
    deepest = (hop_length & -hop_length).bit_length() - 1
    groups: list[KernelGroup] = []
    for k in reversed(range(len(longest))):
        halvings = 0
        if reach is not None and math.isfinite(reach):
            top = float(tops[k]) + reach / float(bins.lengths[k]) * 2**length_octaves
            halvings = max(0, min(deepest, math.floor(math.log2(_PASS_BAND / top))))
        half = math.ceil(float(longest[k]) / 2 / 2**halvings - 1e-9) - 1
        last = groups[-1] if groups else None
        # One group up to twice the length, so that at most half of a kernel is padding.
        if last and last.halvings == halvings and half <= 2 * _shortest(last, longest):
            groups[-1] = last._replace(first=k, half_length=max(half, last.half_length))
        else:
            groups.append(KernelGroup(k, k + 1, halvings, half))
    return ConvolutionPlan(hop_length, tuple(groups))


def _shortest(group: KernelGroup, lengths: Tensor) -> float:
    """Half of the shortest kernel of a group."""
    return float(lengths[group.stop - 1]) / (2 << group.halvings)


def half_band() -> Tensor:
    """Return the filter before the rate is halved, in float64: -100 dB of what would fold back.

    It passes 80% of the band that is left, and has no delay: an odd number of taps.
    """
    n = torch.arange(-_HALF_TAPS, _HALF_TAPS + 1, dtype=torch.float64, device="cpu")
    window = kaiser(
        2 * _HALF_TAPS + 1, beta=10.06, periodic=False, dtype=torch.float64, device="cpu"
    )
    taps = torch.sinc(n / 2) * window
    return taps / taps.sum()


def convolve_kernels(
    x: Tensor,
    kernels: Sequence[Tensor],
    low_pass: Tensor,
    plan: ConvolutionPlan,
    *,
    pad_mode: PadMode = "constant",
) -> tuple[Tensor, Tensor]:
    """Correlate signals with kernels at every frame.

    Args:
        x: Signals, ``(..., samples)``.
        kernels: For each group of ``plan`` the real and imaginary parts of its kernels,
            ``(2, bins, 2 * half_length + 1)``.
        low_pass: The filter of :func:`half_band`.
        plan: What is convolved with what.
        pad_mode: What lies outside the signal.

    Returns:
        Real and imaginary part of the transform, ``(..., bins, frames)``.
    """
    samples = x.shape[-1]
    frames = 1 + samples // plan.hop_length
    deepest = plan.groups[-1].halvings
    tail = max((g.half_length + _HALF_TAPS) << g.halvings for g in plan.groups) + (
        _HALF_TAPS << deepest
    )
    before = -(-tail >> deepest) << deepest
    stop = (frames - 1) * plan.hop_length + before
    y = extend(flat_rows(x).unsqueeze(1), -before, stop, pad_mode=pad_mode)
    parts = []
    halvings = 0
    for group, kernel in zip(plan.groups, kernels, strict=True):
        while halvings < group.halvings:
            y = _halve(y, low_pass)
            halvings += 1
        hop, half = plan.hop_length >> halvings, group.half_length
        start = (before >> halvings) - half
        heard = y[..., start : start + (frames - 1) * hop + 2 * half + 1]
        part = nnf.conv1d(heard, kernel.flatten(0, 1).unsqueeze(1), stride=hop)
        parts.append(part.unflatten(1, (2, group.stop - group.first)))
    result = torch.cat(parts[::-1], 2)
    result = result.reshape(*x.shape[:-1], *result.shape[1:])
    return result.select(-3, 0), result.select(-3, 1)


def _halve(x: Tensor, low_pass: Tensor) -> Tensor:
    """Filter ``(batch, 1, samples)`` and take every second sample."""
    return nnf.conv1d(x, low_pass[None, None], stride=2, padding=_HALF_TAPS)
