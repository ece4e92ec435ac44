"""Going to a multiple of the sample rate and back, for what makes new overtones."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from sonograd.errors import ParameterError

__all__ = ["oversample", "oversampling_latency"]

_REACH = 32  # half of the filter, in samples at the low rate
_BETA = 9.4  # of the Kaiser window: 93 dB


def oversampling_latency(factor: int) -> int:
    """Return the samples by which :func:`oversample` is late: those of its two filters."""
    return 0 if factor == 1 else 2 * _REACH


def oversample(
    x: Tensor,
    function: Callable[[Tensor], Tensor],
    factor: int,
    state: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Apply ``function`` at ``factor`` times the sample rate.

    Both filters are linear-phase Kaiser windows of 65 samples, flat within 0.001 dB up to 0.45 of
    the sample rate and 93 dB down from 0.55 on: overtones of ``function`` that lie between there
    and the new half rate are removed instead of folded back.

    Args:
        x: The next samples ``(batch, channels, samples)``.
        function: From and to tensors of the shape ``(batch, channels, factor * samples)``; it
            must treat each sample for itself.
        factor: From 1, which only applies ``function``.
        state: What the call before returned; None at the start.

    Returns:
        ``(batch, channels, samples)``, late by :func:`oversampling_latency`, and the state.
    """
    if factor < 1:
        raise ParameterError(f"factor is {factor}; expected at least 1")
    if factor == 1:
        return function(x), None
    up, down = (taps.to(x) for taps in _taps(factor))
    batch, channels, samples = x.shape
    if state is None:
        early = x.new_zeros(batch, channels, 2 * _REACH)
        # Before the signal there is what the function makes of silence.
        late = function(x.new_zeros(batch, channels, factor)).repeat(1, 1, 2 * _REACH)
    else:
        early, late = state
    low = torch.cat([early, x], dim=-1)
    rows = low.reshape(batch * channels, 1, -1)
    high = conv1d(rows, up)
    bent = function(high.mT.reshape(batch, channels, -1))
    full = torch.cat([late, bent], dim=-1)
    rows = full.reshape(batch * channels, -1, factor).mT
    y = conv1d(rows, down)
    begin = samples * factor
    return y.reshape(batch, channels, samples), (low[..., samples:], full[..., begin:])


@lru_cache(maxsize=16)
def _taps(factor: int) -> tuple[Tensor, Tensor]:
    """Low pass at half of the low rate, in phases, as kernels for the way up and down."""
    half = _REACH * factor
    time = torch.arange(-half, half + 1, dtype=torch.float64)
    window = torch.special.i0(_BETA * (1 - (time / half).square()).clamp_min(0).sqrt())
    taps = torch.sinc(time / factor) * window
    taps = taps / taps.sum()
    up = pad(taps, (0, factor - 1)).reshape(-1, factor).flip(0).mT.unsqueeze(1) * factor
    down = pad(taps, (factor - 1, 0)).reshape(-1, factor).flip(0, 1).mT.unsqueeze(0)
    return up.contiguous(), down.contiguous()
