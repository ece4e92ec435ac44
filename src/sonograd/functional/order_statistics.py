"""Medians by sorting networks: elementwise minima and maxima only, fast and differentiable.

A running median shares its work: the sorted values under a window of 16 are merged from two
windows of 8, which neighbors use too, and so on down to single values.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_count
from sonograd.shapes import check_floating

__all__ = ["median", "median_filter"]

_BLOCK = 1 << 15  # values that are sorted together: their runs stay in the cache


def median(values: Sequence[Tensor]) -> Tensor:
    """Elementwise median of tensors of one shape; the lower one of an even number.

    >>> median([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 4.0]), torch.tensor([2.0, 9.0])])
    tensor([2., 5.])
    """
    if not values:
        raise ParameterError("median of no tensors; expected at least one")
    half = 1 << (len(values) - 1).bit_length() >> 1
    if not half:
        return values[0]
    rank = (len(values) - 1) // 2
    return _select(_sorted(values[:half]), _sorted(values[half:]), rank)


def median_filter(x: Tensor, *, length: int, dim: int = -1) -> Tensor:
    """Running median along one dimension, mirrored at its ends (the end values twice).

    Args:
        x: Any shape.
        length: Values under the median, odd.
        dim: The dimension to run along.

    Returns:
        The shape of ``x``.

    Raises:
        ParameterError: If ``length`` is even or below 1.

    >>> median_filter(torch.tensor([1.0, 1.0, 9.0, 1.0, 2.0, 3.0]), length=3)
    tensor([1., 1., 1., 2., 2., 3.])
    """
    check_floating(x)
    check_count("length", length)
    if length % 2 == 0:
        raise ParameterError(f"length is {length}; expected an odd number of values, at least 1")
    if length == 1 or x.numel() == 0:
        return x
    x = x.movedim(dim, 0)
    shape, count = x.shape, x.shape[0]
    half = length // 2
    position = torch.arange(-half, count + half, device=x.device) % (2 * count)
    rows = x.reshape(count, -1)[torch.minimum(position, 2 * count - 1 - position)]
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return _running_median(rows, length).reshape(shape).movedim(0, dim)
    # Blocks are tall, since neighboring blocks share length - 1 rows. Others take all at once.
    step = min(count, 8 * length)
    width = max(32, _BLOCK // (step + length - 1))
    blocks = []
    for begin in range(0, count, step):
        block = rows[begin : begin + step + length - 1]
        parts = [_running_median(part.contiguous(), length) for part in block.split(width, dim=-1)]
        blocks.append(torch.cat(parts, dim=-1))
    return torch.cat(blocks).reshape(shape).movedim(0, dim)


def _running_median(block: Tensor, length: int) -> Tensor:
    """Return the medians of ``length`` successive rows, ``length - 1`` rows fewer."""
    half = 1 << (length - 1).bit_length() >> 1
    count = block.shape[0] - length + 1
    runs: dict[int, list[Tensor]] = {1: [block]}

    def run(size: int) -> list[Tensor]:
        """Sort the values of ``size`` successive rows, for every position that has them."""
        if size not in runs:
            first = 1 << (size - 1).bit_length() >> 1
            rows = block.shape[0] - size + 1
            lower = [x[:rows] for x in run(first)]
            upper = [x[first : first + rows] for x in run(size - first)]
            runs[size] = _merge(lower, upper)
        return runs[size]

    def part(first: int, size: int) -> list[Tensor]:
        return [x[first : first + count] for x in run(size)]

    if length == half + 1 and half > 1:
        # One value beside an even number of others: it is clamped between their middle two.
        quarter = half // 2
        lower, upper = part(0, quarter), part(quarter, quarter)
        below, above = _select(lower, upper, quarter - 1), _select(lower, upper, quarter)
        return torch.minimum(torch.maximum(block[half:], below), above)
    return _select(part(0, half), part(half, length - half), length // 2)


def _sorted(values: Sequence[Tensor]) -> list[Tensor]:
    if len(values) == 1:
        return list(values)
    half = 1 << (len(values) - 1).bit_length() >> 1
    return _merge(_sorted(values[:half]), _sorted(values[half:]))


def _merge(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    """Merge two sorted lists, of any lengths, by Batcher's odd-even network."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        return [torch.minimum(a[0], b[0]), torch.maximum(a[0], b[0])]
    even, odd = _merge(a[::2], b[::2]), _merge(a[1::2], b[1::2])
    result = even[:1]
    pairs = min(len(odd), len(even) - 1)
    for x, y in zip(odd[:pairs], even[1 : 1 + pairs], strict=True):
        result += [torch.minimum(x, y), torch.maximum(x, y)]
    return result + odd[pairs:] + even[1 + pairs :]


def _select(a: list[Tensor], b: list[Tensor], rank: int) -> Tensor:
    """Return the value of ``rank`` (0 is the smallest) in the union of two sorted lists."""
    best: Tensor | None = None
    for taken in range(max(0, rank + 1 - len(b)), min(len(a), rank + 1) + 1):
        rest = rank + 1 - taken
        if taken and rest:
            bound = torch.maximum(a[taken - 1], b[rest - 1])
        else:
            bound = a[taken - 1] if taken else b[rest - 1]
        best = bound if best is None else torch.minimum(best, bound)
    if best is None:
        raise ParameterError(f"rank is {rank}; expected less than {len(a) + len(b)}")
    return best
