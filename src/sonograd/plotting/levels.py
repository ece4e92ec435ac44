"""Levels over frequency, in bands as wide as the ear's."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional import stft
from sonograd.plotting.audio import _channels
from sonograd.plotting.style import SERIES, canvas, frequency_axis, headline, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["levels"]

_N_FFT = 8192
_LOWEST_HZ = 20.0
_QUIET_DB = -160.0
_FEW = 1 << 19  # samples that are transformed at a time


def levels(
    signals: Mapping[str, Tensor],
    *,
    sample_rate: float,
    bands_per_octave: int = 6,
    title: str = "",
) -> "Figure":
    """Draw how loud signals are in each band: the mean power, in dB of full scale.

    Args:
        signals: Title to ``(channels, samples)`` or ``(samples,)``; power is averaged over
            channels.
        sample_rate: In Hz.
        bands_per_octave: How many bands.
        title: Written above.

    Raises:
        ParameterError: If there is no signal.
        ShapeError: If a signal has another layout.
        MissingExtraError: If matplotlib is not installed.
    """
    if not signals:
        raise ParameterError("got no signals; expected at least one")
    steps = math.floor(math.log2(sample_rate / 2 / _LOWEST_HZ) * bands_per_octave)
    edges = _LOWEST_HZ * 2 ** (torch.arange(steps + 1) / bands_per_octave)
    centers = (edges[:-1] * edges[1:]).sqrt()
    figure, axes = canvas()
    ax = axes[0, 0]
    top, floor = -math.inf, math.inf
    for k, (name, signal) in enumerate(signals.items()):
        level = _band_levels(_channels(signal), edges, sample_rate)
        color = SERIES[k % len(SERIES)]
        ax.plot(centers.numpy(), level.numpy(), color=color, linewidth=1.7, label=name)
        heard = level[level > _QUIET_DB]
        if len(heard):
            top, floor = max(top, float(heard.max())), min(floor, float(heard.median()))
    frequency_axis(ax, _LOWEST_HZ, sample_rate / 2)
    if top > floor:
        ax.set_ylim(max(floor - 25, top - 140), top + 6)
    ax.set_ylabel("level per band (dB)")
    headline(ax, title)
    legend(ax, ncols=len(signals))
    return figure


def _band_levels(channels: Tensor, edges: Tensor, sample_rate: float) -> Tensor:
    """Return the level in each band, ``(bands,)`` in dB."""
    n_fft = min(_N_FFT, 1 << max(channels.shape[-1].bit_length() - 1, 4))
    power = torch.zeros(n_fft // 2 + 1, dtype=torch.float64)
    frames = 0
    for piece in channels.split(_FEW, dim=-1):
        spectrum = stft(piece, n_fft=n_fft, hop_length=n_fft // 2, pad_mode="constant")
        power += spectrum.abs().double().square().mean(0).sum(-1)
        frames += spectrum.shape[-1]
    # A sine of full scale has the power one half, spread over a Hann window.
    power = power / frames * (8 / 3) * 2 / n_fft**2
    # Bands narrower than a bin take their share of it.
    bins = torch.arange(n_fft // 2 + 2).double() * (sample_rate / n_fft) - sample_rate / n_fft / 2
    total = torch.nn.functional.pad(power.cumsum(0), (1, 0))
    place = edges.double() / (sample_rate / n_fft) + 0.5
    below = place.floor().long().clamp(0, len(bins) - 2)
    at_edge = torch.lerp(total[below], total[below + 1], (place - below).clamp(0.0, 1.0))
    return 10 * at_edge.diff().clamp_min(10 ** (_QUIET_DB / 10)).log10()
