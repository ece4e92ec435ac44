"""Convolution with a bank of long complex kernels, exact to rounding and fast on the CPU.

Kernels of a constant-Q transform are short where they are dense in frequency and long where they
are sparse. Short ones are multiplied with frames of the signal. Long ones are applied in the
frequency domain: of the spectrum of a block of ``M`` samples only what a kernel lets through is
taken, its aliases at the rate of the frames are added, and an inverse transform of ``M / hop``
points gives the frames.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonograd.functional.framing import extend

__all__ = ["KernelBank"]

#: Kernels longer than this are applied in the frequency domain.
_LONG = 1024
#: What a kernel lets through less of than this, relative to its peak, is left out.
_TOLERANCE = 3e-7
#: Frames that are multiplied at a time, which keeps them in the cache.
_ROWS = 64


class KernelBank(nn.Module):
    r"""Correlate signals with kernels at every ``hop_length``-th sample.

    .. math::
        y[k, t] = \sum_n \overline{g_k[n]} \, x[t H + n]
    """

    def __init__(self, kernels: NDArray[Any], *, hop_length: int) -> None:
        """Arrange the kernels by length.

        Args:
            kernels: Complex, ``(bins, width)``, ``n = 0`` at ``width // 2``.
            hop_length: Samples between frames.
        """
        super().__init__()
        self.hop_length = hop_length
        self.bins = kernels.shape[0]
        half = kernels.shape[1] // 2
        reach = [_reach(kernel, half) for kernel in kernels]
        short = [k for k in range(self.bins) if 2 * reach[k] <= _LONG]
        long = [k for k in range(self.bins) if 2 * reach[k] > _LONG]
        groups: list[_Group] = []
        for members in _octaves(short, reach):
            groups.append(_Frames(kernels, members, max(reach[k] for k in members)))
        if long:
            groups.append(_Blocks(kernels, long, max(reach[k] for k in long), hop_length))
        self.groups = nn.ModuleList(groups)
        order = [k for group in groups for k in group.members]
        self._order = np.argsort(order).tolist()

    def forward(self, x: Tensor, *, origin: int, frames: int) -> Tensor:
        """Return ``(batch, bins, frames)`` of real signals ``(batch, samples)``.

        Args:
            x: Signals; outside of them is silence.
            origin: The sample that is ``n = 0`` for the first frame.
            frames: How many.
        """
        parts = [group(x, origin, frames, self.hop_length) for group in self.groups]
        return torch.cat(parts, 1)[:, self._order]


class _Group(nn.Module):
    """Kernels that are applied together."""

    members: list[int]
    matrix: Tensor
    index: Tensor
    weights: Tensor


class _Frames(_Group):
    """Kernels as a matrix."""

    def __init__(self, kernels: NDArray[Any], members: list[int], reach: int) -> None:
        super().__init__()
        self.members, self.reach = members, reach
        middle = kernels.shape[1] // 2
        cut = kernels[members, middle - reach : middle + reach].conj().T
        matrix = np.concatenate([cut.real, cut.imag], 1).astype(np.float64)
        self.register_buffer("matrix", torch.from_numpy(matrix).float(), persistent=False)

    def forward(self, x: Tensor, origin: int, frames: int, hop: int) -> Tensor:
        start = origin - self.reach
        stop = origin + (frames - 1) * hop + self.reach
        x = extend(x, start, stop, pad_mode="constant")
        windows = x.unfold(-1, 2 * self.reach, hop)
        matrix = self.matrix.to(x.dtype)
        real, imaginary = torch.cat(
            [part @ matrix for part in windows.split(_ROWS, dim=1)], 1
        ).chunk(2, -1)
        return torch.complex(real, imaginary).mT


class _Blocks(_Group):
    """Kernels as the parts of a spectrum that they let through."""

    def __init__(self, kernels: NDArray[Any], members: list[int], reach: int, hop: int) -> None:
        super().__init__()
        self.members = members
        # Frames before and after those that a block is for: they see its other end.
        self.overlap = math.ceil(reach / hop)
        self.points = 2 ** math.ceil(math.log2(6 * self.overlap + 2))
        size = self.points * hop
        middle = kernels.shape[1] // 2
        bands = [_response(kernels[k], middle, size) for k in members]
        rows = [_support(band, self.points) for band in bands]
        # A hop so short that all rows matter takes every row once.
        count = min(hop, max(number for _, number in rows))
        index = np.array([[(first + r) % hop for r in range(count)] for first, _ in rows])
        weights = np.stack(
            [band.reshape(hop, -1)[chosen] for band, chosen in zip(bands, index, strict=True)]
        )
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        taken = torch.from_numpy(weights / hop).to(torch.complex64)
        self.register_buffer("weights", taken, persistent=False)

    def forward(self, x: Tensor, origin: int, frames: int, hop: int) -> Tensor:
        inner = self.points - 2 * self.overlap
        pieces = [
            self._block(x, origin + (first - self.overlap) * hop, hop)
            for first in range(0, frames, inner)
        ]
        return torch.cat(pieces, -1)[..., :frames]

    def _block(self, x: Tensor, start: int, hop: int) -> Tensor:
        block = extend(x, start, start + self.points * hop, pad_mode="constant")
        spectrum = torch.fft.fft(block).unflatten(-1, (hop, self.points))
        weights = self.weights.to(spectrum.dtype)
        folded = torch.stack(
            [(spectrum[:, rows] * w).sum(1) for rows, w in zip(self.index, weights, strict=True)],
            1,
        )
        frames: Tensor = torch.fft.ifft(folded)
        return frames[..., self.overlap : self.points - self.overlap]


def _response(kernel: NDArray[Any], middle: int, size: int) -> NDArray[Any]:
    """Return the conjugate spectrum of a kernel at ``size`` points, its middle at sample 0."""
    wrapped = np.zeros(size, dtype=np.complex128)
    wrapped[:middle], wrapped[size - middle :] = kernel[middle:], kernel[:middle]
    return np.fft.fft(wrapped).conj()


def _reach(kernel: NDArray[Any], middle: int) -> int:
    """Return how far a kernel extends from its middle, at least one sample."""
    there = np.flatnonzero(kernel)
    return max(middle - int(there[0]), int(there[-1]) + 1 - middle, 1) if there.size else 1


def _octaves(members: list[int], reach: list[int]) -> list[list[int]]:
    """Group kernels of about one length."""
    groups: dict[int, list[int]] = {}
    for k in members:
        groups.setdefault(math.ceil(math.log2(reach[k])), []).append(k)
    return list(groups.values())


def _support(band: NDArray[Any], points: int) -> tuple[int, int]:
    """Return the first row of ``points`` bins that matters, maybe below 0, and how many do."""
    size = band.size
    level = np.abs(band)
    center = int(level.argmax())
    signed = (np.arange(size) - center + size // 2) % size - size // 2 + center
    matters = signed[level > _TOLERANCE * level.max()]
    first, last = int(matters.min()) // points, int(matters.max()) // points
    return first, last - first + 1
