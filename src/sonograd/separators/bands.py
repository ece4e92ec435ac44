"""Layers with weights of their own for each frequency band, a group of bands at a time.

Neighboring bands of similar width are filled up with zeros to one width and run through one batched
product, instead of one small product per band. What is filled up has no influence.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.functional.framing import may_work_in_pieces

__all__ = ["BandMasks", "BandSplit", "group_bands"]

_MOST_BANDS = 12
_MOST_WASTE = 1.25
#: Numbers inside a group that a processor works on at a time, so that they stay in its cache.
_TILE = 1 << 22


def group_bands(widths: Sequence[int]) -> list[range]:
    """Return ranges of neighboring bands that are about equally wide.

    >>> group_bands([2, 2, 2, 4, 4, 12])
    [range(0, 3), range(3, 5), range(5, 6)]
    """
    groups: list[range] = []
    begin = 0
    for band, width in enumerate(widths):
        span = [width, *widths[begin:band]]
        if band - begin == _MOST_BANDS or max(span) > _MOST_WASTE * min(span):
            groups.append(range(begin, band))
            begin = band
    return [*groups, range(begin, len(widths))]


def _uniform(shape: tuple[int, ...], inputs: int) -> nn.Parameter:
    """Return weights as those of a linear layer with ``inputs`` start."""
    return nn.Parameter(torch.empty(shape).uniform_(-1, 1) * inputs**-0.5)


class _Split(nn.Module):
    """Normalize the bins of each band of a group, and make features of them."""

    counts: Tensor
    index: Tensor

    def __init__(self, bands: Sequence[Sequence[int]], bins: int, parts: int, width: int) -> None:
        super().__init__()
        most = max(map(len, bands))
        index = [[*band, *[bins] * (most - len(band))] for band in bands]
        filled = [[1.0] * len(band) + [0.0] * (most - len(band)) for band in bands]
        count = torch.tensor([float(parts * len(band)) for band in bands], device="cpu")
        mask = torch.tensor(filled, device="cpu").repeat_interleave(parts, dim=1)
        self.register_buffer("index", torch.tensor(index, device="cpu"), persistent=False)
        # Whole numbers, which any type holds exactly.
        self.register_buffer("counts", mask * count[:, None], persistent=False)
        flat = [number for band in bands for number in band]
        is_block = flat == list(range(flat[0], flat[0] + len(bands) * most))
        self.begin = flat[0] if is_block else None
        self.gamma = nn.Parameter(torch.ones(len(bands), 1, most * parts))
        self.weight = _uniform((len(bands), most * parts, width), most * parts)
        self.bias = nn.Parameter(torch.zeros(len(bands), 1, width))

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Map ``(rows, bins + 1, parts)``, the last bin being 0, to ``(bands, rows, width)``."""
        rows, _, parts = x.shape
        bands, most = self.index.shape
        if self.begin is None:
            taken = x.index_select(1, self.index.flatten())
        else:
            taken = x[:, self.begin : self.begin + bands * most]
        taken = taken.reshape(rows, bands, most * parts).transpose(0, 1)
        level = torch.linalg.vector_norm(taken, dim=-1, keepdim=True).clamp(min=1e-12)
        weight = self.weight * (self.gamma * self.counts.sqrt()[:, None]).mT
        factors = (self.bias, taken / level, weight)
        return torch.baddbmm(*(factor.to(x.dtype) for factor in factors), out=out)


class BandSplit(nn.Module):
    """From the bins of all bands to features of equal width."""

    def __init__(self, bands: Sequence[Sequence[int]], bins: int, parts: int, width: int) -> None:
        """Draw random weights.

        Args:
            bands: Bins of each band.
            bins: Number of bins.
            parts: Real numbers per bin.
            width: Features of a band.
        """
        super().__init__()
        self.width = width
        self.groups = group_bands([len(band) for band in bands])
        self.layers = nn.ModuleList(
            _Split(bands[group.start : group.stop], bins, parts, width) for group in self.groups
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, frames, bins, parts)`` to ``(batch, frames, bands, width)``."""
        padded = F.pad(x.flatten(0, 1), (0, 0, 0, 1))
        lower = torch.is_autocast_enabled(x.device.type)
        if lower or not may_work_in_pieces(x, *self.parameters()):
            features = torch.cat([layer(padded) for layer in self.layers])
        else:
            features = x.new_empty(self.groups[-1].stop, padded.shape[0], self.width)
            for group, layer in zip(self.groups, self.layers, strict=True):
                layer(padded, features[group.start : group.stop])
        result: Tensor = features.transpose(0, 1).unflatten(0, x.shape[:2])
        return result


class _Masks(nn.Module):
    """A small network per band of a group, with a gate at its end."""

    def __init__(self, widths: Sequence[int], inputs: int, hidden: int, depth: int) -> None:
        super().__init__()
        bands, most = len(widths), max(widths)
        sizes = [inputs, *[hidden] * depth]
        self.weights = nn.ParameterList(
            _uniform((bands, before, after), before) for before, after in pairwise(sizes)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(bands, 1, after)) for after in sizes[1:]
        )
        self.weight = _uniform((bands, sizes[-1], 2 * most), sizes[-1])
        self.bias = nn.Parameter(torch.zeros(bands, 1, 2 * most))
        self.widths = widths

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map ``(bands, rows, inputs)`` to one ``(rows, width)`` per band."""
        bands = len(self.widths)
        step = bands
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            step = min(max(_TILE // max(x.shape[1] * self.weight.shape[1], 1), 1), bands)
        found = [self._masks(x, slice(k, k + step)) for k in range(0, bands, step)]
        masks = [band for some in found for band in some]
        return [band[:, :width] for band, width in zip(masks, self.widths, strict=True)]

    def _masks(self, x: Tensor, part: slice) -> Tensor:
        """Return the masks of some bands, filled up: ``(bands, rows, widest)``."""
        y = x[part]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            y = torch.baddbmm(bias[part].to(x.dtype), y, weight[part].to(x.dtype)).tanh_()
        last = torch.baddbmm(self.bias[part].to(x.dtype), y, self.weight[part].to(x.dtype))
        return F.glu(last, dim=-1)


class BandMasks(nn.Module):
    """From features of all bands to masks of their bins; where bands overlap, the mean counts."""

    index: Tensor
    counts: Tensor

    def __init__(
        self,
        bands: Sequence[Sequence[int]],
        bins: int,
        parts: int,
        *,
        inputs: int,
        hidden: int,
        depth: int,
    ) -> None:
        """Draw random weights.

        Args:
            bands: Bins of each band; together all bins.
            bins: Number of bins.
            parts: Real numbers per bin.
            inputs: Features of a band.
            hidden: Features inside.
            depth: Layers before the last.
        """
        super().__init__()
        self.parts = parts
        self.groups = group_bands([len(band) for band in bands])
        self.layers = nn.ModuleList(
            _Masks([parts * len(band) for band in bands[group.start : group.stop]], inputs,
                   hidden, depth)
            for group in self.groups
        )  # fmt: skip
        places: list[list[int]] = [[] for _ in range(bins)]
        for place, number in enumerate(number for band in bands for number in band):
            places[number].append(place)
        most, nowhere = max(map(len, places)), sum(map(len, bands))
        index = [[*found, *[nowhere] * (most - len(found))] for found in places]
        counts = [[float(len(found))] for found in places]
        self.register_buffer("index", torch.tensor(index, device="cpu").mT, persistent=False)
        self.register_buffer("counts", torch.tensor(counts, device="cpu"), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(bands, rows, inputs)`` to ``(rows, bins, parts)``."""
        parts = [
            band
            for group, layer in zip(self.groups, self.layers, strict=True)
            for band in layer(x[group.start : group.stop])
        ]
        masks: Tensor = torch.cat(parts, dim=-1).unflatten(-1, (-1, self.parts))
        if len(self.index) == 1:
            return masks  # bands lie side by side
        masks = F.pad(masks, (0, 0, 0, 1))
        total = masks.index_select(1, self.index[0])
        for places in self.index[1:]:
            total = total + masks.index_select(1, places)
        return total / self.counts.to(total.dtype)
