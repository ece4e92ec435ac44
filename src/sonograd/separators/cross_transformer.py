"""A transformer over two sequences, by turns within each and across both.

Rouard, Massa and Défossez, *Hybrid transformers for music source separation*, 2022
(arXiv:2211.08553).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.demucs import HTDemucsConfig
from sonograd.separators.demucs_blocks import LayerScale

__all__ = ["CrossTransformer", "plane_positions", "positions"]

_LAYER_SCALE_INIT = 1e-4


def positions(steps: int, features: int, max_period: float, *, device: torch.device) -> Tensor:
    """Return cosines, then sines, of each step at periods up to ``max_period``.

    They are made in single precision, in which published weights have seen them.

    Returns:
        ``(steps, features)``.
    """
    half = features // 2
    step = torch.arange(steps, device=device)[:, None]
    phase = step / max_period ** (torch.arange(half, device=device) / (half - 1))
    return torch.cat((phase.cos(), phase.sin()), dim=-1)


def plane_positions(
    rows: int, steps: int, features: int, max_period: float, *, device: torch.device
) -> Tensor:
    """Return the place in a plane: half of the features tell the step, the others the row.

    Returns:
        ``(features, rows, steps)``, sines and cosines by turns, in single precision.
    """
    half = features // 2
    rate = torch.exp(torch.arange(0.0, half, 2) * -(math.log(max_period) / half))

    def waves(count: int) -> Tensor:
        phase = torch.arange(0.0, count)[:, None] * rate
        return torch.stack((phase.sin(), phase.cos()), dim=-1).flatten(1).mT

    along = waves(steps)[:, None, :].expand(-1, rows, -1)
    across = waves(rows)[:, :, None].expand(-1, -1, steps)
    return torch.cat((along, across)).to(device)


class _GroupNorm(nn.GroupNorm):
    """Normalization over all steps and features of ``(batch, steps, features)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x``."""
        return super().forward(x.mT).mT


class _Layer(nn.Module):
    """Attention of one sequence to itself or to another, then a feed-forward network."""

    def __init__(self, config: HTDemucsConfig, features: int, *, cross: bool) -> None:
        super().__init__()
        hidden = int(features * config.transformer_expansion)
        self.heads, self.cross = config.transformer_heads, cross
        self.norm_first = config.transformer_norm_first
        self.dropout_p = config.transformer_dropout
        self.attention = nn.Linear(features, 3 * features)
        self.attention_out = nn.Linear(features, features)
        self.expand = nn.Linear(features, hidden)
        self.reduce = nn.Linear(hidden, features)
        self.activation = nn.GELU() if config.transformer_gelu else nn.ReLU()
        self.norm_query = nn.LayerNorm(features)
        # Published layers across have this norm even where nothing passes through it.
        self.norm_key = nn.LayerNorm(features) if cross and self.norm_first else None
        self.norm_expand = nn.LayerNorm(features)
        wanted = config.transformer_norm_first and config.transformer_norm_out
        self.norm_out = _GroupNorm(1, features) if wanted else nn.Identity()
        scaled = config.transformer_layer_scale
        self.scale_attention, self.scale_expand = (
            LayerScale(features, _LAYER_SCALE_INIT, last=True) if scaled else nn.Identity()
            for _ in range(2)
        )

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Map ``(batch, steps, features)``; ``other`` is ``x`` itself or another sequence."""
        if not self.norm_first:
            x = self.norm_query(x + self.scale_attention(self._attend(x, other)))
            result: Tensor = self.norm_expand(x + self.scale_expand(self._feed(x)))
            return result
        query = self.norm_query(x)
        key = query if self.norm_key is None else self.norm_key(other)
        x = x + self.scale_attention(self._attend(query, key))
        x = x + self.scale_expand(self._feed(self.norm_expand(x)))
        normed: Tensor = self.norm_out(x)
        return normed

    def _attend(self, x: Tensor, other: Tensor) -> Tensor:
        if self.cross:
            size = x.shape[-1]
            weight, bias = self.attention.weight, self.attention.bias
            q = F.linear(x, weight[:size], bias[:size])
            k, v = F.linear(other, weight[size:], bias[size:]).chunk(2, dim=-1)
        else:
            q, k, v = self.attention(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        dropout_p = self.dropout_p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p)
        return self._drop(self.attention_out(y.transpose(1, 2).flatten(2)))

    def _feed(self, x: Tensor) -> Tensor:
        return self._drop(self.reduce(self._drop(self.activation(self.expand(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout_p, self.training)


class CrossTransformer(nn.Module):
    """Layers over the spectral and the temporal branch, by turns within and across."""

    def __init__(self, config: HTDemucsConfig, features: int) -> None:
        """Build the layers for sequences of so many ``features``."""
        super().__init__()
        self.weight, self.max_period = config.position_weight, config.position_max_period
        normed = config.transformer_norm_in
        self.norm_in = nn.LayerNorm(features) if normed else nn.Identity()
        self.time_norm_in = nn.LayerNorm(features) if normed else nn.Identity()
        first = int(config.transformer_cross_first)
        kinds = [index % 2 != first for index in range(config.transformer_layers)]
        self.layers = nn.ModuleList(_Layer(config, features, cross=cross) for cross in kinds)
        self.time_layers = nn.ModuleList(_Layer(config, features, cross=cross) for cross in kinds)

    def forward(self, x: Tensor, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(batch, features, rows, frames)`` and ``(batch, features, steps)``."""
        _, features, rows, frames = x.shape
        plane = plane_positions(rows, frames, features, self.max_period, device=x.device)
        line = positions(wave.shape[-1], features, self.max_period, device=x.device)
        # A step of the sequence is a row of a frame, frame by frame.
        x, plane = x.transpose(2, 3).flatten(2).mT, plane.transpose(1, 2).flatten(1).mT
        x = self.norm_in(x) + self.weight * plane.to(x.dtype)
        wave = self.time_norm_in(wave.mT) + self.weight * line.to(wave.dtype)
        for layer, time_layer in zip(self.layers, self.time_layers, strict=True):
            if layer.cross:
                x, wave = layer(x, wave), time_layer(wave, x)
            else:
                x, wave = layer(x, x), time_layer(wave, wave)
        return x.mT.unflatten(2, (frames, rows)).transpose(2, 3), wave.mT
