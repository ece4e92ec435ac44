"""Layers of SCNet."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.scnet import SCNetConfig
from sonograd.separators.bandwise import map_bands, may_work_in_bands

__all__ = ["Decoder", "DualPath", "Encoder"]


class _Block(nn.Module):
    """A narrow convolution along time with a gate, one frequency at a time."""

    def __init__(self, channels: int, compression: float, kernel: int) -> None:
        super().__init__()
        hidden = int(channels / compression)
        self.norm_in = nn.GroupNorm(1, channels)
        self.gate = nn.Conv1d(channels, 2 * hidden, kernel, padding=kernel // 2)
        self.depthwise = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.norm_out = nn.GroupNorm(1, hidden)
        self.expand = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(rows, channels, frames)`` to the same shape."""
        y = F.glu(self.gate(self.norm_in(x)), dim=1)
        y = F.silu(self.norm_out(self.depthwise(y)))
        result: Tensor = x + self.expand(y)
        return result


class Encoder(nn.Module):
    """Shorten each band, refine it, and let the bands see each other."""

    def __init__(self, inputs: int, outputs: int, config: SCNetConfig, bands: list[int]) -> None:
        """Set maps before and after, and the rows of each band."""
        super().__init__()
        self.bands = bands
        self.strides = config.band_strides
        self.kernels = config.band_kernels
        self.down = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(self.kernels, self.strides, strict=True)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(_Block(outputs, config.compression, config.conv_kernel) for _ in range(depth))
            )
            for depth in config.band_depths
        )
        self.mix = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(batch, inputs, rows, frames)`` to the next level, and to its skip."""
        parts = []
        for band, down, blocks, pad in zip(
            x.split(self.bands, dim=2), self.down, self.blocks, self._padding(), strict=True
        ):
            y = down(F.pad(band, (0, 0, *pad)))
            batch, channels, rows, frames = y.shape
            y = y.transpose(1, 2).reshape(batch * rows, channels, frames)
            refine = partial(_refined, blocks)
            # Rows do not see each other.
            y = map_bands(refine, y, y, dim=0) if may_work_in_bands(y) else refine(y)
            parts.append(y.unflatten(0, (batch, rows)).transpose(1, 2))
        skip = torch.cat(parts, dim=2)
        return self.mix(skip), skip

    def _padding(self) -> list[tuple[int, int]]:
        totals = [
            kernel - 1 if stride == 1 else -length % stride
            for length, kernel, stride in zip(self.bands, self.kernels, self.strides, strict=True)
        ]
        return [(total // 2, total - total // 2) for total in totals]

    def shortened(self) -> list[int]:
        """Return the rows of each band on the next level."""
        return [
            (length + sum(pad) - kernel) // stride + 1
            for length, pad, kernel, stride in zip(
                self.bands, self._padding(), self.kernels, self.strides, strict=True
            )
        ]


def _refined(blocks: nn.Module, x: Tensor) -> Tensor:
    return F.gelu(blocks(x))


class Decoder(nn.Module):
    """Join a level with its skip, and lengthen each band again."""

    def __init__(
        self, inputs: int, outputs: int, config: SCNetConfig, bands: list[int], short: list[int]
    ) -> None:
        """Set maps before and after, and the rows of each band above and on this level."""
        super().__init__()
        self.bands = bands
        self.short = short
        self.outputs = outputs
        self.fuse = nn.Conv2d(2 * inputs, 2 * inputs, 3, padding=1)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(config.band_kernels, config.band_strides, strict=True)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``(batch, inputs, rows, frames)`` to the level above.

        Where no gradient is asked for, ``x`` is overwritten.
        """
        if not may_work_in_bands(x):
            return torch.cat(list(self._bands(self._fused(x + skip))), dim=2)
        x = self._fused(x.add_(skip))
        result = x.new_empty(x.shape[0], self.outputs, sum(self.bands), x.shape[3])
        for place, band in zip(result.split(self.bands, dim=2), self._bands(x), strict=True):
            place.copy_(band)
        return result

    def _bands(self, x: Tensor) -> Iterator[Tensor]:
        """Yield each band at the length it has above."""
        for part, up, length in zip(x.split(self.short, dim=2), self.up, self.bands, strict=True):
            y = up(part)
            start = abs(length - y.shape[2]) // 2
            yield y[:, :, start : start + length]

    def _fused(self, x: Tensor) -> Tensor:
        """Return the gated convolution of maps that the published network stacks on themselves."""
        # Both halves of the weights see the same maps, so that their sum does.
        weight = torch.add(*self.fuse.weight.chunk(2, dim=1))
        if not may_work_in_bands(x):
            return F.glu(F.conv2d(x, weight, self.fuse.bias, padding=1), dim=1)

        def gated(band: Tensor) -> Tensor:
            return F.glu(F.conv2d(band, weight, self.fuse.bias, padding=(0, 1)), dim=1)

        return map_bands(gated, x, x, dim=2, reach=1)


class _Path(nn.Module):
    """A recurrent layer with a residual connection, over one axis."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.lstm = nn.LSTM(channels, channels * factor, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * channels * factor, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Recur over the last but one axis of ``(batch, rows, steps, channels)``."""
        batch = x.shape[0]
        normed = (
            F.group_norm(x.reshape(batch, 1, -1), 1, eps=self.norm.eps).reshape(x.shape)
            * self.norm.weight
            + self.norm.bias
        )
        y = normed.flatten(0, 1)
        # Sequences do not see each other.
        y = map_bands(self._along, y, y, dim=0) if may_work_in_bands(y) else self._along(y)
        return x + y.reshape(x.shape)

    def _along(self, x: Tensor) -> Tensor:
        """Recur over ``(sequences, steps, channels)``."""
        y: Tensor = self.linear(self.lstm(x)[0])
        return y


class DualPath(nn.Module):
    """Recur over frequency, then over time."""

    def __init__(self, channels: int, factor: int) -> None:
        """Set maps, and units per map."""
        super().__init__()
        self.frequency = _Path(channels, factor)
        self.time = _Path(channels, factor)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, frames, rows, channels)`` to the same shape."""
        x = self.frequency(x)
        result: Tensor = self.time(x.transpose(1, 2)).transpose(1, 2)
        return result
