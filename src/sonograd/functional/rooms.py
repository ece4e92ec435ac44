"""Impulse responses of rooms: image sources, and noise in bands."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["band_noise", "image_source_room"]

_SPEED = 343.0  # of sound, m/s
_HALF = 32  # of the windowed sinc that puts an image between samples


def image_source_room(
    size_m: Tensor,
    absorption: Tensor,
    *,
    source: Sequence[float],
    receivers: Sequence[Sequence[float]],
    order: int,
    samples: int,
    sample_rate: float,
) -> Tensor:
    r"""Compute the impulse response of a rectangular room by image sources.

    Each reflection is an image of the source, behind walls, at distance :math:`r`: an impulse of
    :math:`(1 - \alpha)^{k/2} / r` after :math:`k` walls at time :math:`r / c` (J. Allen and
    D. Berkley, JASA 65(4), 1979), put between samples by a windowed sinc of 64 taps, so that the
    result is differentiable in the room. The direct sound has level 1 and comes at sample 32.

    Args:
        size_m: Width, depth and height, ``(..., 3)``.
        absorption: Of the walls, energy lost per reflection, in [0, 1], ``(...)``.
        source: Place of the source, as fractions of the size.
        receivers: Places of the receivers, one per output channel.
        order: Largest number of reflections.
        samples: Length of the result; later images are left out.
        sample_rate: In Hz.

    Returns:
        ``(..., receivers, samples)``, dtype of ``size_m``.
    """
    for place in (source, *receivers):
        if len(place) != 3 or not all(0 < coordinate < 1 for coordinate in place):
            raise ParameterError(
                f"a place in the room is {list(place)}; expected three fractions between 0 and 1"
            )
    if order < 0 or samples <= 2 * _HALF:
        raise ParameterError(
            f"order is {order} and samples {samples}; expected order >= 0, samples > {2 * _HALF}"
        )
    shift, sign, bounces = (part.to(size_m) for part in _images(order))
    places = torch.tensor([list(place) for place in receivers], dtype=size_m.dtype)
    places = places.to(size_m.device)
    start = torch.tensor(list(source), dtype=size_m.dtype, device=size_m.device)
    # Images lie at (2 m + s x) in units of the room, s = 1 or -1.
    offset = (shift + sign * start)[None] - places[:, None]
    distance = torch.linalg.vector_norm(offset * size_m[..., None, None, :], dim=-1)
    direct = torch.linalg.vector_norm((start - places) * size_m[..., None, :], dim=-1)
    nearest = direct.amin(-1, keepdim=True)
    keep = (1 - absorption)[..., None, None].clamp_min(1e-12).sqrt()
    level = nearest[..., None] / distance * keep**bounces
    delay = (distance - nearest[..., None]) * (sample_rate / _SPEED) + _HALF
    return _place_impulses(level, delay, samples)


@lru_cache(maxsize=8)
def _images(order: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shift in rooms, sign and number of reflections of every image, ``(images, 3)``, last 1-D."""
    reach = torch.arange(-order, order + 1)
    grid = torch.cartesian_prod(reach, reach, reach)
    bounces = grid.abs().sum(-1)
    grid, bounces = grid[bounces <= order], bounces[bounces <= order]
    odd = grid.remainder(2)
    return grid + odd, 1 - 2 * odd, bounces


def _place_impulses(level: Tensor, delay: Tensor, samples: int) -> Tensor:
    """Sum impulses ``(..., images)`` between samples to ``(..., samples)``."""
    first = delay.detach().floor()
    rest = (delay - first)[..., None]
    taps = torch.arange(1 - _HALF, _HALF + 1, device=delay.device)
    distance = taps.to(delay) - rest
    window = torch.cos(math.pi / (2 * (_HALF + 1)) * distance).square()
    value = level[..., None] * torch.sinc(distance) * window
    index = first.long()[..., None] + taps
    inside = (index >= 0) & (index < samples)
    value = torch.where(inside, value, 0.0)
    index = index.clamp(0, samples - 1).flatten(-2)
    result = torch.zeros(*level.shape[:-1], samples, dtype=level.dtype, device=level.device)
    return result.scatter_add(-1, index, value.flatten(-2))


def band_noise(
    bands: int, channels: int, samples: int, *, sample_rate: float, seed: int
) -> tuple[Tensor, list[float]]:
    """Draw noise and split it into bands of equal width on a logarithmic scale.

    The bands lie between 20 Hz and ``min(20 kHz, 0.49 sample_rate)``, the outer ones are open;
    their responses cross over in raised cosines and sum to 1.

    Args:
        bands: Number of bands, from 2.
        channels: Independent channels.
        samples: Length.
        sample_rate: In Hz.
        seed: Of the noise.

    Returns:
        ``(bands, channels, samples)``, float64, whose sum over the bands has unit variance, and
        the center frequencies in Hz.
    """
    # From numpy: torch draws no numbers under vmap.
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal((channels, samples)))
    low, high = math.log(20.0), math.log(min(20_000.0, 0.49 * sample_rate))
    width = (high - low) / bands
    n_fft = 2 * samples
    frequencies = torch.fft.rfftfreq(n_fft, 1 / sample_rate, dtype=torch.float64)
    place = (frequencies.clamp_min(1e-3).log() - low) / width - 0.5
    place = place.clamp(0, bands - 1)
    weights = [torch.cos(math.pi / 2 * (place - k).clamp(-1, 1)).square() for k in range(bands)]
    spectrum = torch.fft.rfft(noise, n_fft)
    parts = [torch.fft.irfft(weight * spectrum, n_fft)[..., :samples] for weight in weights]
    centers = [math.exp(low + (k + 0.5) * width) for k in range(bands)]
    return torch.stack(parts), centers
