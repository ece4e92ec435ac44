"""The default separator: a TFC-TDF U-Net on log spectra, with masks that share out the mix.

Each block convolves over time and frequency, then mixes all frequencies of a frame through a
bottleneck, after Choi et al., "Investigating U-Nets with various intermediate blocks for
spectrogram-based singing voice separation" (ISMIR 2020). Batch normalization keeps inference
independent of the chunk; in training its statistics couple the items of a batch, which is this
model's choice.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from sonograd.config.io import validate
from sonograd.config.separators import TFCTDFUNetConfig
from sonograd.functional.spectral import istft, stft
from sonograd.separators.base import MaskEstimate, Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.shapes import check_batch

__all__ = ["TFCTDFUNet", "log_features", "mask_grid", "normalize_level"]

#: Added to powers before the logarithm: 60 dB below the level of the mix.
_POWER_FLOOR = 1e-6
#: Added to the level that a mix is divided by, so that silence stays silent.
_LEVEL_FLOOR = 1e-8


def mask_grid(n_fft: int, sample_rate: int, full_resolution_hz: float) -> NDArray[np.int64]:
    """Return the borders, in bins, of the groups of bins that share one mask value.

    Args:
        n_fft: FFT length in samples.
        sample_rate: In Hz.
        full_resolution_hz: Up to here every bin is a group of its own; over the next octave two
            bins are one, over the octave above four, and beyond sixteen.

    Returns:
        Increasing integers from 0 to ``n_fft // 2 + 1``.
    """
    bins = n_fft // 2 + 1
    octave = max(round(full_resolution_hz * n_fft / sample_rate), 1)
    starts = [
        *range(0, min(octave, bins)),
        *range(octave, min(2 * octave, bins), 2),
        *range(2 * octave, min(4 * octave, bins), 4),
        *range(4 * octave, bins, 16),
    ]
    return np.array([*starts, bins])


def normalize_level(mix: Tensor) -> tuple[Tensor, Tensor]:
    """Divide each item by its root mean square; return both.

    Moments of digital silence do not count, so that the zeros around a song do not make its first
    and last chunk louder than the others.

    Args:
        mix: ``(..., channels, samples)``.
    """
    energy = mix.square().sum(dim=(-2, -1), keepdim=True)
    sounding = (mix != 0).any(dim=-2, keepdim=True).sum(dim=-1, keepdim=True)
    level = (energy / (mix.shape[-2] * sounding.clamp(min=1)) + _LEVEL_FLOOR**2).sqrt()
    return mix / level, level


def log_features(powers: Tensor, cross: Tensor | None) -> Tensor:
    """Turn mean powers per group of bins into what the network sees.

    Args:
        powers: Power of each channel, ``(batch, channels, frames, groups)``; a stationary signal
            of unit variance has about 1.
        cross: Real part of the cross spectrum of left and right, ``(batch, frames, groups)``, or
            None for mono.

    Returns:
        Scaled logarithms, ``(batch, features, frames, groups)``: one feature for mono; left,
        right, mid and side for stereo.
    """
    if cross is not None:
        half = 0.5 * powers.sum(dim=1)
        mid_and_side = torch.stack((half + cross, half - cross), dim=1).clamp(min=0.0)
        powers = torch.cat((powers, mid_and_side), dim=1)
    return 0.4 * torch.log10(powers + _POWER_FLOOR) + 0.8


def _bands(centers_hz: NDArray[np.float64]) -> list[int]:
    """Return the borders, in groups, of the bands that the U-Net works on: finer below."""
    steps = ((500.0, 10.77), (1500.0, 21.6), (5000.0, 43.1), (float(centers_hz[-1]) + 1, 280.0))
    borders, frequency = [0], 0.0
    for upper, step in steps:
        while frequency < upper - 1e-6 and frequency < centers_hz[-1]:
            frequency = min(frequency + step, upper)
            index = int(np.searchsorted(centers_hz, frequency))
            if index > borders[-1]:
                borders.append(index)
    borders[-1] = len(centers_hz)
    return borders if len(borders) > 1 else [0, len(centers_hz)]


def _pooling(borders: list[int], rows: int) -> tuple[Tensor, Tensor]:
    """Return the matrices that average groups into ``rows`` bands and interpolate back."""
    groups, bands = borders[-1], len(borders) - 1
    down, up = np.zeros((groups, rows), np.float32), np.zeros((rows, groups), np.float32)
    centers = []
    for band, (begin, end) in enumerate(pairwise(borders)):
        down[begin:end, band] = 1 / (end - begin)
        centers.append((begin + end - 1) / 2)
    position = np.interp(np.arange(groups), centers, np.arange(bands))
    lower = np.floor(position).astype(int)
    for group, (low, part) in enumerate(zip(lower, position - lower, strict=True)):
        up[low, group] += 1 - part
        up[min(low + 1, bands - 1), group] += part
    return torch.from_numpy(down), torch.from_numpy(up)


def _normalized(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Convolve and normalize, in one pass over memory when the statistics are fixed."""
    if norm.training or norm.running_mean is None or norm.running_var is None:
        y: Tensor = norm(conv(x))
        return y
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return F.conv2d(x, weight, bias, padding=conv.padding)


class _Block(nn.Module):
    """Two convolutions around a bottleneck over frequency, with a residual connection."""

    def __init__(self, channels: int, rows: int, factor: int) -> None:
        super().__init__()
        narrow = max(rows // factor, 1)
        self.position = nn.Parameter(torch.zeros(1, channels, 1, rows))
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm_in = nn.BatchNorm2d(channels)
        self.squeeze = nn.Parameter(torch.randn(narrow, rows) / rows**0.5)
        self.expand = nn.Parameter(torch.randn(rows, narrow) * 0.5 / narrow**0.5)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm_out = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, frames, rows)`` to the same shape."""
        y = _normalized(x, self.conv_in, self.norm_in)
        y = F.relu(y.add_(self.position.to(y.dtype)), inplace=True)
        y = self._bottleneck(y)
        return F.relu(_normalized(y, self.conv_out, self.norm_out).add_(x), inplace=True)

    def _bottleneck(self, x: Tensor) -> Tensor:
        """Add to each frame what a narrow network over all its rows makes of it."""
        batch, channels, frames, rows = x.shape
        # Channels are last in memory, so that this is a view and rows are mixed without a copy.
        y = x.permute(0, 2, 3, 1).reshape(batch * frames, rows, channels)
        squeeze = self.squeeze.expand(batch * frames, -1, -1)
        expand = self.expand.expand(batch * frames, -1, -1)
        z = F.relu(torch.bmm(squeeze, y))
        z = torch.baddbmm(y, expand.to(y.dtype), z.to(y.dtype))
        return z.reshape(batch, frames, rows, channels).permute(0, 3, 1, 2)


class TFCTDFUNet(Separator):
    """A compact U-Net whose soft-max masks share out the mix, so that the stems sum to it.

    Every item of a batch is brought to unit level first and its stems back afterwards, so that
    separation does not depend on the volume of a recording.

    Attributes:
        grid: Borders of the groups of bins that share a mask value, see :func:`mask_grid`.
        chunk_frames: Frames of a training chunk, a multiple of what the levels divide by.
    """

    config: TFCTDFUNetConfig
    window: Tensor
    _group_of_bin: Tensor
    _pool: Tensor
    _unpool: Tensor

    def __init__(self, config: TFCTDFUNetConfig) -> None:
        """Build the model with random weights.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        super().__init__()
        config = validate(config, source="TFCTDFUNet")
        self.config = config
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self._factor: int = 2**config.num_levels
        self.plan = _plan(config)
        frames = config.sample_length * config.sample_rate / config.hop_length
        self.chunk_frames: int = max(round(frames / self._factor), 1) * self._factor
        self._set_grid()
        self._set_layers()

    @property
    def chunk_samples(self) -> int:
        """Samples of a training chunk: they give exactly :attr:`chunk_frames` frames."""
        return (self.chunk_frames - 1) * self.config.hop_length

    def _set_grid(self) -> None:
        config = self.config
        self.grid = mask_grid(config.num_fft, config.sample_rate, config.full_resolution_hz)
        self._stretches = _stretches(self.grid)
        groups = np.repeat(np.arange(len(self.grid) - 1), np.diff(self.grid))
        centers = (self.grid[:-1] + self.grid[1:] - 1) / 2 * config.sample_rate / config.num_fft
        borders = _bands(centers)
        self._rows = -(-(len(borders) - 1) // self._factor) * self._factor
        down, up = _pooling(borders, self._rows)
        window = torch.hann_window(config.num_fft, dtype=torch.float64)
        self._scale = 1 / window.square().sum().sqrt().item()
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("_group_of_bin", torch.from_numpy(groups), persistent=False)
        self.register_buffer("_pool", down, persistent=False)
        self.register_buffer("_unpool", up, persistent=False)

    def _set_layers(self) -> None:
        config = self.config
        levels, factor = config.num_levels, config.bottleneck_factor
        channels = [config.num_hidden_channels * (level + 1) for level in range(levels + 1)]
        rows = [self._rows // 2**level for level in range(levels + 1)]
        features = 1 if self.channels == 1 else 4
        self.masks_per_channel = len(self.stems) + (not config.complete_targets)
        self.first = nn.Conv2d(features, channels[0], 3, padding=1)
        self.encoder = nn.ModuleList(_Block(channels[k], rows[k], factor) for k in range(levels))
        self.down = nn.ModuleList(
            nn.Conv2d(channels[k], channels[k + 1], 2, stride=2) for k in range(levels)
        )
        self.bottom = _Block(channels[-1], rows[-1], factor)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels[k + 1], channels[k], 2, stride=2) for k in range(levels)
        )
        self.decoder = nn.ModuleList(_Block(channels[k], rows[k], factor) for k in range(levels))
        self.last = nn.Conv2d(channels[0], self.masks_per_channel * self.channels, 1)

    def logits(self, features: Tensor) -> Tensor:
        """Run the network.

        Args:
            features: See :func:`log_features`, ``(batch, features, frames, groups)``.

        Returns:
            One value per mask and group of bins, ``(batch, masks, channels, frames, groups)``.
        """
        frames = features.shape[2]
        x = torch.matmul(features, self._pool)
        x = F.pad(x, (0, 0, 0, -frames % self._factor))
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for block, down in zip(self.encoder, self.down, strict=True):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for up, block, skip in zip(
            reversed(self.up), reversed(self.decoder), reversed(skips), strict=True
        ):
            x = block(up(x) + skip)
        x = self.last(x)[:, :, :frames]
        x = torch.matmul(x, self._unpool.to(x.dtype))
        shape = (self.masks_per_channel, self.channels)
        masks: Tensor = x.unflatten(1, shape)
        return masks

    def spectrum(self, x: Tensor) -> Tensor:
        """Return the scaled spectrum ``(..., bins, frames)`` of ``(..., samples)``."""
        return stft(
            x,
            n_fft=self.config.num_fft,
            hop_length=self.config.hop_length,
            window=self.window * self._scale,
            pad_mode="constant",
        )

    def transform(self, audio: Tensor) -> Tensor:
        """Return the spectrum ``(..., bins, frames)`` of ``(..., samples)``, as masks see it."""
        return self.spectrum(audio) / self._scale

    def _waveform(self, spectrum: Tensor, samples: int) -> Tensor:
        return istft(
            spectrum,
            n_fft=self.config.num_fft,
            hop_length=self.config.hop_length,
            window=self.window * self._scale,
            length=samples,
        )

    def _features(self, spectrum: Tensor) -> Tensor:
        """Features of a normalized mix spectrum ``(batch, channels, bins, frames)``."""
        x = spectrum.mT
        width = self._group_of_bin.bincount()
        powers = self._sum_groups(x.real.square() + x.imag.square()) / width
        cross = None
        if self.channels == 2:
            product = x[:, 0].real * x[:, 1].real + x[:, 0].imag * x[:, 1].imag
            cross = self._sum_groups(product) / width
        return log_features(powers, cross)

    def _sum_groups(self, x: Tensor) -> Tensor:
        total = x.new_zeros(*x.shape[:-1], len(self.grid) - 1)
        return torch.index_add(total, -1, self._group_of_bin, x)

    def estimate(self, mix: Tensor) -> MaskEstimate:
        """Map ``(batch, channels, samples)`` to stems, masks and the spectrum of the mix."""
        check_batch(mix, channels=self.channels)
        batch, channels, samples = mix.shape
        if mix.numel() == 0:
            frames = 1 + samples // self.config.hop_length
            shape = (batch, channels, self.config.num_fft // 2 + 1, frames)
            masks = mix.new_zeros(batch, len(self.stems), *shape[1:])
            stems = mix.new_zeros(batch, len(self.stems), channels, samples)
            return MaskEstimate(
                stems, masks, torch.complex(mix.new_zeros(shape), mix.new_zeros(shape))
            )
        stems, masks, spectrum = self._separate(mix)
        masks = masks.index_select(-1, self._group_of_bin).mT
        return MaskEstimate(stems, masks, spectrum)

    def _separate(self, mix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return stems, masks per group ``(..., frames, groups)`` and the spectrum of the mix."""
        scaled, level = normalize_level(mix)
        spectrum = self.spectrum(scaled)
        logits = self.logits(self._features(spectrum)).to(mix.dtype)
        masks = torch.softmax(logits, dim=1)[:, : len(self.stems)]
        stems = self._waveform(self._masked(masks, spectrum), mix.shape[-1])
        return stems * level[:, None], masks, spectrum * level[..., None] / self._scale

    def _masked(self, masks: Tensor, spectrum: Tensor) -> Tensor:
        """Return the spectra ``(batch, stems, channels, bins, frames)`` of all stems.

        Stretches of groups of one width are multiplied as they are, so that masks are not
        repeated for every bin.
        """
        parts = torch.view_as_real(spectrum.mT)[:, None]
        stretches = []
        for begin, end, width in self._stretches:
            first = int(self.grid[begin])
            bins = parts[..., first : first + (end - begin) * width, :].unflatten(-2, (-1, width))
            product = masks[..., begin:end, None, None] * bins
            stretches.append(product.flatten(-3, -2))
        return torch.view_as_complex(torch.cat(stretches, dim=-2)).mT

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        if mix.numel() == 0:
            return self.estimate(mix).stems
        return self._separate(mix)[0]


def _stretches(grid: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return where groups of one width begin and end, and that width."""
    widths = np.diff(grid)
    borders = [0, *(np.flatnonzero(np.diff(widths)) + 1), len(widths)]
    return [(int(begin), int(end), int(widths[begin])) for begin, end in pairwise(borders)]


def _plan(config: TFCTDFUNetConfig) -> ChunkPlan:
    """Lay chunks so that the halvings of the time axis fall on the same frames in each.

    A chunk is about ten seconds, with at least 0.7 s of context on both sides, and neighbors
    cross-fade over a third of a second.
    """
    step = 2**config.num_levels * config.hop_length
    context = math.ceil(0.7 * config.sample_rate / step) * step
    hop = max(round(9 * config.sample_rate / step), 1) * step
    length = hop + step - config.hop_length
    return ChunkPlan(length=length, hop=hop, context=context, grid=step)
