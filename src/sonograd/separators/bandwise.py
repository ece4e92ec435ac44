"""Layers that work on a large map band by band, where no gradient is asked for.

What a convolution network makes of a song is large: maps, their gates, and copies of them in
between. Rows or steps that do not see each other need these for a band at a time only, which then
stays in the cache of the processor, too.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.functional.framing import may_work_in_pieces

__all__ = ["bands", "gated_bands", "map_bands", "may_work_in_bands", "spread_bands"]

#: Elements of a band, about: more than a few megabytes would not stay in a cache.
BAND_ELEMENTS = 1 << 20


def may_work_in_bands(x: Tensor) -> bool:
    """Tell whether ``x`` is better worked on band by band: on a CPU, where nothing follows it."""
    return x.device.type == "cpu" and may_work_in_pieces(x)


def bands(x: Tensor, dim: int, expansion: int = 1) -> Iterator[tuple[int, int]]:
    """Yield the limits of bands of an axis, each of about ``BAND_ELEMENTS`` elements of ``x``.

    Or fewer, where what is in between is larger by ``expansion``.
    """
    count = x.shape[dim]
    size = max(BAND_ELEMENTS * count // max(x.numel() * expansion, 1), 1)
    for begin in range(0, count, size):
        yield begin, min(begin + size, count)


def map_bands(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    into: Tensor,
    *,
    dim: int,
    reach: int = 0,
    factor: int = 1,
    expansion: int = 1,
) -> Tensor:
    """Apply a function to a tensor band by band.

    Args:
        function: Maps a band with ``reach`` more at each side, zeros beyond the ends of ``x``, to
            what takes its place.
        x: What is cut.
        into: What the results are written to; may be ``x`` where ``factor`` is 1.
        dim: The axis that is cut.
        reach: What a band sees of its neighbors.
        factor: How many times as long as the band is what takes its place.
        expansion: How many times as large as the band is what it becomes in between.

    Returns:
        ``into``.
    """
    count = x.shape[dim]
    before = _zeros(x, dim, reach)
    for begin, end in bands(x, dim, expansion):
        band = x.narrow(dim, begin, end - begin)
        if reach:
            behind = min(reach, count - end)
            after = x.narrow(dim, end, behind), _zeros(x, dim, reach - behind)
            band = torch.cat((before, band, *after), dim)
            before = band.narrow(dim, band.shape[dim] - 2 * reach, reach)
        into.narrow(dim, begin * factor, (end - begin) * factor).copy_(function(band))
    return into


def _zeros(x: Tensor, dim: int, size: int) -> Tensor:
    shape = list(x.shape)
    shape[dim] = size
    return x.new_zeros(()).expand(shape)


def gated_bands(
    x: Tensor,
    conv: nn.Conv1d | nn.Conv2d,
    into: Tensor,
    *,
    before: Callable[[Tensor], Tensor] | None = None,
    after: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Write the gated linear units of a convolution into ``into``, which may be ``x``.

    Args:
        x: ``(batch, maps, rows, steps)``, or ``(batch, maps, steps)``.
        conv: Of one row or step for each that comes in.
        into: ``(batch, outputs, ...)``.
        before: What bands go through first, if the kernel sees one row or step only.
        after: What they go through then.

    Returns:
        ``into``.
    """

    def gated(band: Tensor) -> Tensor:
        band = band if before is None else before(band)
        if band.ndim == 4:
            y = F.conv2d(band, conv.weight, conv.bias, padding=(0, int(conv.padding[1])))
        else:
            y = F.conv1d(band, conv.weight, conv.bias)
        y = F.glu(y, dim=1)
        return y if after is None else after(y)

    return map_bands(gated, x, into, dim=2, reach=int(conv.padding[0]))


def spread_bands(
    x: Tensor,
    conv: nn.ConvTranspose1d | nn.ConvTranspose2d,
    *,
    after: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return a transposed convolution without its margins: exactly ``stride`` times as long.

    Args:
        x: ``(batch, maps, rows, steps)``, or ``(batch, maps, steps)``.
        conv: Along rows, or along steps, with a kernel of two strides.
        after: What its bands go through then.
    """
    stride = int(conv.stride[0])
    margin = stride + stride // 2  # what the band before gives, and half of what overlaps

    def spread(band: Tensor) -> Tensor:
        y: Tensor = conv(band)
        y = y.narrow(2, margin, (band.shape[2] - 2) * stride)
        return y if after is None else after(y)

    shape = [x.shape[0], conv.out_channels, x.shape[2] * stride, *x.shape[3:]]
    return map_bands(spread, x, x.new_empty(shape), dim=2, reach=1, factor=stride)
