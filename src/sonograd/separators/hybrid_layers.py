"""Layers of the hybrid Demucs models, along frequency or along time.

Défossez, *Hybrid spectrogram and waveform source separation*, 2021 (arXiv:2111.03600).
"""

import math
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.demucs import HTDemucsConfig, HybridDemucsConfig, band_limits
from sonograd.separators.bandwise import (
    gated_bands,
    map_bands,
    may_work_in_bands,
    spread_bands,
)
from sonograd.separators.demucs_blocks import ResidualBranches

__all__ = ["BandedDecoder", "BandedEncoder", "Decoder", "Encoder", "Geometry", "HybridConfig"]

HybridConfig = HybridDemucsConfig | HTDemucsConfig


def _norm(groups: int, maps: int, wanted: bool) -> nn.Module:
    return nn.GroupNorm(groups, maps) if wanted else nn.Identity()


def _branches(config: HybridConfig, maps: int, index: int) -> ResidualBranches:
    return ResidualBranches(
        maps,
        compression=config.branch_compression,
        depth=config.branch_depth,
        init=config.branch_init,
        lstm=index >= getattr(config, "branch_lstm_starts", math.inf),
        attention=index >= getattr(config, "branch_attention_starts", math.inf),
    )


class Geometry:
    """Sizes of the layers, from the outermost to the bottom."""

    def __init__(self, config: HybridConfig) -> None:
        """Divide the bins until the layers are used up."""
        self.spectral: list[tuple[int, int, int]] = []  # kernel, stride and padding
        self.merges: int | None = None  # the layer that leaves one row
        self.rows_before: list[int] = []  # what each layer of the encoder is given
        self.rows: list[int] = []  # and what it gives
        rows = config.num_fft // 2
        #: How many layers, from the outermost on, have weights for each band.
        self.banded = 0
        if isinstance(config, HybridDemucsConfig) and config.band_edges:
            self.banded = config.banded_layers
        for index in range(config.depth):
            self.rows_before.append(rows)
            if rows == 1:
                step = getattr(config, "time_stride", 1)
                self.spectral.append((2 * step, step, step // 2))
            elif rows <= config.kernel_size:
                self.spectral.append((rows, config.stride, 0))
                self.merges, rows = index, 1
            else:
                self.spectral.append((config.kernel_size, config.stride, config.kernel_size // 4))
                rows //= config.stride
            self.rows.append(rows)

    def is_spectral(self, index: int) -> bool:
        """Tell whether a layer strides along frequency."""
        return self.merges is None or index <= self.merges


class Encoder(nn.Module):
    """A strided convolution, residual branches and a gate, along frequency or along time."""

    def __init__(
        self, config: HybridConfig, inputs: int, maps: int, index: int,
        size: tuple[int, int, int], *, spectral: bool, bare: bool = False,
    ) -> None:  # fmt: skip
        """Build layer ``index`` with kernel, stride and padding; a bare one only convolves."""
        super().__init__()
        kernel, self.stride, padding = size
        self.spectral, self.bare = spectral, bare
        normed, groups = index >= config.norm_starts, config.norm_groups
        if spectral:
            self.conv: nn.Module = nn.Conv2d(
                inputs, maps, (kernel, 1), (self.stride, 1), (padding, 0)
            )
        else:
            self.conv = nn.Conv1d(inputs, maps, kernel, self.stride, padding)
        if bare:
            return
        self.norm = _norm(groups, maps, normed)
        kind = nn.Conv2d if spectral else nn.Conv1d
        context = config.context_encoder
        self.gate = (
            kind(maps, 2 * maps, 2 * context + 1, padding=context) if config.rewrite else None
        )
        self.gate_norm = _norm(groups, 2 * maps, normed and config.rewrite)
        self.branches = _branches(config, maps, index) if config.branch_in_encoder else None

    def forward(self, x: Tensor, inject: Tensor | None = None) -> Tensor:
        """Map ``(batch, maps, [rows,] steps)``; ``inject`` comes from the other branch."""
        if not self.spectral:
            x = x.flatten(1, -2)
            x = F.pad(x, (0, -x.shape[-1] % self.stride))
        y: Tensor = self.conv(x)
        if self.bare:
            return y
        if inject is not None:
            y = y + (inject[:, :, None] if y.ndim == 4 else inject)
        gate = self.gate
        if gate is None or not _may_cut(y, self.norm, self.gate_norm) or any(gate.padding):
            y = _along_time(self.branches, F.gelu(self.norm(y)))
            return y if gate is None else F.glu(self.gate_norm(gate(y)), dim=1)
        if self.spectral:
            return gated_bands(
                y, gate, y, before=lambda band: _along_time(self.branches, F.gelu(band))
            )
        y = _along_time(self.branches, map_bands(F.gelu, y, y, dim=2))
        return gated_bands(y, gate, y)


class Decoder(nn.Module):
    """A gate, residual branches and a strided transposed convolution."""

    def __init__(
        self, config: HybridConfig, maps: int, outputs: int, index: int,
        size: tuple[int, int, int], *, spectral: bool, bare: bool = False, banded: bool = False,
    ) -> None:  # fmt: skip
        """Build layer ``index`` with kernel, stride and padding; a bare one only convolves.

        One for a band does not see beyond its rows, and is not followed by an activation.
        """
        super().__init__()
        kernel, stride, self.padding = size
        self.spectral, self.bare, self.last = spectral, bare, banded or index == 0
        #: Whether kernels reach over two strides, and half of one is cut off at each end.
        self._halves = kernel == 2 * stride and 2 * self.padding == stride
        normed, groups = index >= config.norm_starts, config.norm_groups
        if spectral:
            self.conv: nn.ConvTranspose1d | nn.ConvTranspose2d = nn.ConvTranspose2d(
                maps, outputs, (kernel, 1), (stride, 1)
            )
        else:
            self.conv = nn.ConvTranspose1d(maps, outputs, kernel, stride)
        self.norm = _norm(groups, outputs, normed)
        if bare:
            return
        kind = nn.Conv2d if spectral else nn.Conv1d
        context: Any = (0, config.context) if banded else config.context
        reach: Any = (1, 2 * config.context + 1) if banded else 2 * config.context + 1
        self.gate = kind(maps, 2 * maps, reach, padding=context) if config.rewrite else None
        self.gate_norm = _norm(groups, 2 * maps, normed and config.rewrite)
        self.branches = _branches(config, maps, index) if config.branch_in_decoder else None

    def forward(self, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the maps of the layer above, and what they were made from.

        Where no gradient is asked for, ``x`` may be overwritten.
        """
        if not self.bare:
            x = self._gated(x)
        activation = None if self.last else F.gelu
        if self._halves and _may_cut(x, self.norm):
            y = spread_bands(x, self.conv, after=activation)
            return y if self.spectral else y[..., :length], x
        y = self.norm(self.conv(x))
        if not self.spectral:
            y = y[..., self.padding : self.padding + length]
        elif self.padding:
            y = y[..., self.padding : -self.padding, :]
        return y if activation is None else activation(y), x

    def _gated(self, x: Tensor) -> Tensor:
        gate = self.gate
        if gate is None or not _may_cut(x, self.gate_norm):
            x = x if gate is None else F.glu(self.gate_norm(gate(x)), dim=1)
            return _along_time(self.branches, x)
        if x.ndim == 4:
            return gated_bands(x, gate, x, after=partial(_along_time, self.branches))
        return _along_time(self.branches, gated_bands(x, gate, x))


class BandedEncoder(nn.Module):
    """A spectral layer with weights of its own for each band of frequency."""

    def __init__(
        self, config: HybridDemucsConfig, inputs: int, maps: int, index: int,
        size: tuple[int, int, int], *, rows: int,
    ) -> None:  # fmt: skip
        """Build layer ``index``, which is given ``rows`` rows, with kernel, stride and padding."""
        super().__init__()
        self.kernel, self.stride, self.padding = size
        self.limits, _ = band_limits(rows, self.stride, config.band_edges)
        size = self.kernel, self.stride, 0
        self.bands = nn.ModuleList(
            Encoder(config, inputs, maps, index, size, spectral=True) for _ in self.limits[1:]
        )

    def forward(self, x: Tensor, inject: None = None) -> Tensor:
        """Map ``(batch, maps, rows, steps)``."""
        del inject  # the other branch comes in deeper
        x = F.pad(x, (0, 0, self.padding, self.padding))
        seen = (
            x[:, :, begin * self.stride : (end - 1) * self.stride + self.kernel]
            for begin, end in pairwise(self.limits)
        )
        return torch.cat([band(part) for band, part in zip(self.bands, seen, strict=True)], dim=2)


class BandedDecoder(nn.Module):
    """The same in the decoder: what neighboring bands give is added where it overlaps."""

    def __init__(
        self, config: HybridDemucsConfig, maps: int, outputs: int, index: int,
        size: tuple[int, int, int], *, rows: int,
    ) -> None:  # fmt: skip
        """Build layer ``index``, which gives ``rows`` rows, with kernel, stride and padding."""
        super().__init__()
        kernel, self.stride, self.padding = size
        self.last = index == 0
        _, self.limits = band_limits(rows, self.stride, config.band_edges)
        size = kernel, self.stride, 0
        self.bands = nn.ModuleList(
            Decoder(config, maps, outputs, index, size, spectral=True, banded=True)
            for _ in self.limits[1:]
        )

    def forward(self, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the maps of the layer above, and what they were made from."""
        parts: list[Tensor] = []
        overlap: Tensor | None = None
        for band, (begin, end) in zip(self.bands, pairwise(self.limits), strict=True):
            assert isinstance(band, Decoder)
            assert band.conv.bias is not None
            part, _ = band(x[:, :, begin:end], length)
            if overlap is not None:  # both have a bias there
                parts.append(overlap + (part[:, :, : self.stride] - band.conv.bias[:, None, None]))
                part = part[:, :, self.stride :]
            overlap = part[:, :, -self.stride :]
            parts.append(part[:, :, : -self.stride])
        assert overlap is not None
        y = torch.cat([*parts, overlap], dim=2)[:, :, self.padding : -self.padding]
        return y if self.last else F.gelu(y), x


def _may_cut(x: Tensor, *norms: nn.Module) -> bool:
    """Tell whether maps can be worked on band by band: nothing is normalized over all of them."""
    return all(isinstance(norm, nn.Identity) for norm in norms) and may_work_in_bands(x)


def _along_time(branches: ResidualBranches | None, x: Tensor) -> Tensor:
    """Run branches, if any, over the steps of ``(batch, maps, [rows,] steps)``, each row alone."""
    if branches is None:
        return x
    if x.ndim == 3:
        y: Tensor = branches(x)
        return y
    batch, _, rows, _ = x.shape
    y = branches(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, rows))
    return y.transpose(1, 2)
