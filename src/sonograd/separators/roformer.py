"""What the transformers over bands and time share; the bands are all that tells them apart.

Positions turn pairs of features (Su et al., "RoFormer", arXiv:2104.09864). Here the first half of
a head's features pairs with the second half; published weights have neighbors as pairs.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.roformer import RoFormerConfig
from sonograd.functional.spectral import istft, stft
from sonograd.functional.windows import hann
from sonograd.separators.bands import BandMasks, BandSplit
from sonograd.separators.bandwise import map_bands, may_work_in_bands
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan, mirrored_plan
from sonograd.separators.survey import Blocks, LevelSurvey
from sonograd.shapes import check_batch

__all__ = ["RoFormer"]


#: Cosine and sine of the angles by which features are turned, each ``(steps, head_width / 2)``.
_Turn: TypeAlias = tuple[Tensor, Tensor]


class _Norm(nn.Module):
    """Bring features to unit mean square, then scale each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.root = width**0.5

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(..., width)``."""
        result: Tensor = F.normalize(x, dim=-1) * (self.gamma * self.root)
        return result


class _Attention(nn.Module):
    """Attention along a sequence, with rotary positions and a gate per head."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.dropout_p = config.attention_dropout_p
        inner = config.num_heads * config.head_width
        self.norm = _Norm(config.width)
        self.qkv = nn.Linear(config.width, 3 * inner, bias=False)
        self.gates = nn.Linear(config.width, config.num_heads)
        self.out = nn.Linear(inner, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout_p)

    def forward(self, x: Tensor, turn: _Turn | None) -> Tensor:
        """Map ``(rows, steps, width)`` to the same shape."""
        assert turn is not None
        normed = self.norm(x)
        qkv = self.qkv(normed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        attended = F.scaled_dot_product_attention(
            _turned(query, turn),
            _turned(key, turn),
            value,
            dropout_p=self.dropout_p if self.training else 0.0,
        )
        gates = self.gates(normed).sigmoid().unsqueeze(-1)
        y: Tensor = self.dropout(self.out((attended.transpose(1, 2) * gates).flatten(-2)))
        return y


def _turned(x: Tensor, turn: _Turn) -> Tensor:
    """Turn each pair of features by the angle of its position."""
    cos, sin = (part.to(x.dtype) for part in turn)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class _LinearAttention(nn.Module):
    """Attention between features instead of steps, after El-Nouby et al., arXiv:2106.09681."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        inner = config.num_heads * config.head_width
        self.norm = _Norm(config.width)
        self.qkv = nn.Linear(config.width, 3 * inner, bias=False)
        self.temperature = nn.Parameter(torch.ones(config.num_heads, 1, 1))
        self.out = nn.Linear(inner, config.width, bias=False)

    def forward(self, x: Tensor, turn: _Turn | None) -> Tensor:
        """Map ``(rows, steps, width)`` to the same shape; positions do not matter."""
        del turn
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)
        query, key, value = qkv.unbind(0)
        query = F.normalize(query, dim=-1) * self.temperature.exp()
        weights = (8 * query @ F.normalize(key, dim=-1).mT).softmax(-1)
        y: Tensor = self.out((weights @ value).permute(0, 3, 1, 2).flatten(-2))
        return y


class _Layer(nn.Module):
    """Attention, then a network on each step, both with residual connections."""

    def __init__(self, config: RoFormerConfig, *, linear: bool) -> None:
        super().__init__()
        self.attention = _LinearAttention(config) if linear else _Attention(config)
        self.norm = _Norm(config.width)
        self.expand = nn.Linear(config.width, 4 * config.width)
        self.reduce = nn.Linear(4 * config.width, config.width)
        self.dropout = nn.Dropout(config.dropout_p)

    def forward(self, x: Tensor, turn: _Turn | None) -> Tensor:
        """Map ``(rows, steps, width)`` to the same shape."""
        x = x + self.attention(x, turn)
        y = self.dropout(F.gelu(self.expand(self.norm(x))))
        result: Tensor = x + self.dropout(self.reduce(y))
        return result


class _Transformer(nn.Module):
    """Layers along one axis."""

    def __init__(
        self, config: RoFormerConfig, depth: int, *, linear: bool = False, normalize: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config, linear=linear) for _ in range(depth))
        self.norm = _Norm(config.width) if normalize else nn.Identity()
        # Queries, keys and values, and turned copies of them; or what networks expand to.
        inner = 3 * config.num_heads * config.head_width
        self._expansion = 2 * max(inner // config.width, 4)

    def forward(self, x: Tensor, turn: _Turn | None = None) -> Tensor:
        """Map ``(batch, rows, steps, width)`` to the same shape."""
        y = x.flatten(0, 1)
        if may_work_in_bands(y):  # rows do not see each other, and what is in between is wide
            y = map_bands(
                lambda rows: self._along(rows, turn), y, torch.empty_like(y), dim=0,
                expansion=self._expansion,
            )  # fmt: skip
        else:
            y = self._along(y, turn)
        result: Tensor = y.unflatten(0, x.shape[:2])
        return result

    def _along(self, y: Tensor, turn: _Turn | None) -> Tensor:
        for layer in self.layers:
            y = layer(y, turn)
        result: Tensor = self.norm(y)
        return result


class _Block(nn.Module):
    """Attention over everything (if wanted), over time, then over bands."""

    def __init__(self, config: RoFormerConfig, *, normalize: bool) -> None:
        super().__init__()
        self.linear = (
            _Transformer(config, config.linear_depth, linear=True, normalize=normalize)
            if config.linear_depth
            else None
        )
        self.time = _Transformer(config, config.time_depth, normalize=normalize)
        self.band = _Transformer(config, config.band_depth, normalize=normalize)

    def forward(self, x: Tensor, before: Tensor | None, turns: list[_Turn]) -> Tensor:
        """Map ``(batch, frames, bands, width)`` to the same shape; ``before`` is added on the way.

        Args:
            x: Features.
            before: What blocks before gave, if they are connected; else None.
            turns: Positions in time, and of bands.
        """
        time, band = turns
        if self.linear is not None:
            x = self.linear(x.flatten(1, 2).unsqueeze(1)).reshape(x.shape)
        if before is not None:
            x = x + before
        x = self.time(x.transpose(1, 2), time).transpose(1, 2)
        result: Tensor = self.band(x, band)
        return result


class _Core(nn.Module):
    """Everything between the spectrum of the mix and the masks, on real numbers."""

    time_frequencies: Tensor
    band_frequencies: Tensor

    def __init__(
        self, config: RoFormerConfig, bands: Sequence[Sequence[int]], *, normalize: bool
    ) -> None:
        super().__init__()
        bins, parts = config.num_fft // 2 + 1, 2 * config.num_channels
        self.skip_connection = config.skip_connection
        self.split = BandSplit(bands, bins, parts, config.width)
        exponent = torch.arange(0, config.head_width, 2) / config.head_width
        self.register_buffer("time_frequencies", 10000.0**-exponent)
        self.register_buffer("band_frequencies", 10000.0**-exponent)
        self.blocks = nn.ModuleList(
            _Block(config, normalize=normalize) for _ in range(config.depth)
        )
        self.norm = nn.Identity() if normalize else _Norm(config.width)
        self.masks = nn.ModuleList(
            BandMasks(
                bands,
                bins,
                parts,
                inputs=config.width,
                hidden=config.width * config.mask_expansion,
                depth=config.mask_depth,
            )
            for _ in config.targets
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Estimate masks.

        Args:
            spectrum: ``(batch, frames, bins, 2 * channels)``: for each channel the real and the
                imaginary part.

        Returns:
            ``(batch, stems, frames, bins, 2 * channels)``.
        """
        x = self.split(spectrum)
        batch, frames = x.shape[:2]
        turns = self._turns(frames, x.shape[2])
        before: Tensor | None = None  # the sum of what all blocks gave
        for block in self.blocks:
            x = block(x, before, turns)
            if self.skip_connection:
                before = x if before is None else before + x
        features = self.norm(x).flatten(0, 1).transpose(0, 1)
        return torch.stack(
            [mask(features).unflatten(0, (batch, frames)) for mask in self.masks], dim=1
        )

    def _turns(self, frames: int, bands: int) -> list[_Turn]:
        turns = []
        for count, frequencies in (
            (frames, self.time_frequencies),
            (bands, self.band_frequencies),
        ):
            steps = torch.arange(count, device=frequencies.device, dtype=frequencies.dtype)
            angles = steps[:, None] * frequencies
            turns.append((angles.cos(), angles.sin()))
        return turns


class RoFormer(Separator):
    """Masks for the spectrum of a mix, from attention over time and bands in turn.

    Attributes:
        bands: Bins of each band.
        core: All that is learned: from the spectrum of the mix to the masks.
    """

    def __init__(
        self, config: RoFormerConfig, bands: Sequence[Sequence[int]], *, normalize: bool
    ) -> None:
        """Build the model with random weights.

        Args:
            config: A valid configuration.
            bands: Bins of each band.
            normalize: Normalize behind every transformer instead of once at the end.
        """
        super().__init__()
        self.bands = bands
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self.zero_dc = config.zero_dc
        self._standardize = config.standardize
        self._num_fft, self._hop = config.num_fft, config.hop_length
        length = round(config.sample_length * config.sample_rate)
        self.plan = mirrored_plan(length, config.num_overlap)
        self.core = _Core(config, bands, normalize=normalize)

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        batch, _, samples = mix.shape
        if mix.numel() == 0:
            return mix.new_zeros(batch, len(self.stems), self.channels, samples)
        spectrum = self._spectrum(mix)
        parts = _real_parts(spectrum)
        masks: Tensor = self.core(parts).to(parts.dtype).unflatten(-1, (self.channels, 2))
        complex_masks = torch.view_as_complex(masks.contiguous()).permute(0, 1, 4, 3, 2)
        stems = spectrum.unsqueeze(1) * complex_masks
        if self.zero_dc:
            stems = stems.index_fill(3, torch.zeros(1, dtype=torch.long, device=mix.device), 0.0)
        return istft(
            stems,
            n_fft=self._num_fft,
            hop_length=self._hop,
            window=self._window(spectrum.real),
            length=samples,
        )

    def survey(
        self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None
    ) -> LevelSurvey | None:
        """Start to hear a whole mix, if it is to be standardized."""
        del blocks
        return LevelSurvey(self, self.plan if plan is None else plan) if self._standardize else None

    def core_inputs(self, mix: Tensor) -> tuple[Tensor]:
        """Return what the network takes, see :class:`~sonograd.separators.export.Core`."""
        return (_real_parts(self._spectrum(mix)),)

    def _spectrum(self, mix: Tensor) -> Tensor:
        mix = mix.float() if mix.dtype in {torch.float16, torch.bfloat16} else mix
        return stft(mix, n_fft=self._num_fft, hop_length=self._hop, window=self._window(mix))

    def _window(self, like: Tensor) -> Tensor:
        return hann(self._num_fft, dtype=like.dtype, device=like.device)


def _real_parts(spectrum: Tensor) -> Tensor:
    """Map ``(batch, channels, bins, frames)`` to ``(batch, frames, bins, 2 * channels)``."""
    return torch.view_as_real(spectrum).permute(0, 3, 2, 1, 4).flatten(3)
