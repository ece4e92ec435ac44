"""What the hybrid Demucs models share: two U-Nets, one on the spectrum and one on the waveform.

Défossez, *Hybrid spectrogram and waveform source separation*, 2021 (arXiv:2111.03600). Layers of
the spectral branch stride along frequency, those of the temporal branch along time; where one row
is left, both have steps of one length and become one.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.demucs import HybridDemucsConfig
from sonograd.functional.spectral import istft, stft
from sonograd.functional.wiener import wiener
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.demucs_blocks import rescale_
from sonograd.separators.hybrid_layers import (
    BandedDecoder,
    BandedEncoder,
    Decoder,
    Encoder,
    Geometry,
    HybridConfig,
)
from sonograd.separators.survey import Blocks, LevelSurvey
from sonograd.shapes import check_batch

__all__ = ["HybridSeparator"]

#: Frames that share one spatial model where magnitudes are estimated.
_WIENER_FRAMES = 300


def _standardize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return items of mean 0 and deviation 1, their mean and their deviation."""
    dims = tuple(range(1, x.ndim))
    count = x[0].numel()
    mean = x.mean(dims, keepdim=True)
    # The gradient of a square root at zero is not finite; there, the deviation is zero anyway.
    variance = (x - mean).square().sum(dims, keepdim=True) / max(count - 1, 1)
    silent = variance == 0
    deviation = variance.masked_fill(silent, 1.0).sqrt().masked_fill(silent, 0.0)
    return (x - mean) / (1e-5 + deviation), mean, deviation


class HybridSeparator(Separator):
    """Base of the hybrid models; :meth:`bottom` is what differs between them."""

    config: HybridConfig
    window: Tensor

    def __init__(self, config: HybridConfig) -> None:
        """Build both U-Nets."""
        super().__init__()
        self.config = config
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self.num_fft = config.num_fft
        self._hop = config.num_fft // 4
        self._geometry = Geometry(config)
        self._legacy = isinstance(config, HybridDemucsConfig) and config.legacy_padding
        self.register_buffer("window", torch.hann_window(config.num_fft), persistent=False)
        self._build_layers()
        rescale_(self, config.rescale)

    def _build_layers(self) -> None:
        config, geometry = self.config, self._geometry
        outputs = len(self.stems) * self.channels
        parts = 2 if config.complex_channels else 1
        time_size = (config.kernel_size, config.stride, config.kernel_size // 4)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.time_encoder, self.time_decoder = nn.ModuleList(), nn.ModuleList()
        maps = config.num_hidden_channels
        time_maps = getattr(config, "num_hidden_time_channels", 0) or maps
        above, time_above = parts * self.channels, self.channels
        for index in range(config.depth):
            spectral, merges = geometry.is_spectral(index), index == geometry.merges
            if merges:
                maps = time_maps = max(maps, time_maps)
            self.encoder.append(self._layer(Encoder, BandedEncoder, above, maps, index))
            if spectral:
                self.time_encoder.append(
                    Encoder(
                        config, time_above, time_maps, index, time_size, spectral=False, bare=merges
                    )
                )
            if index == 0:
                above, time_above = parts * outputs, outputs
            self.decoder.insert(0, self._layer(Decoder, BandedDecoder, maps, above, index))
            if spectral:
                self.time_decoder.insert(
                    0,
                    Decoder(
                        config, time_maps, time_above, index, time_size, spectral=False, bare=merges
                    ),
                )
            above, time_above = maps, time_maps
            maps, time_maps = maps * config.growth, time_maps * config.growth
        self.frequencies: nn.Embedding | None = None
        if config.frequency_embedding:
            self.frequencies = _frequency_embedding(
                geometry.rows[0], config.num_hidden_channels, config.embedding_scale
            )

    def _layer(
        self,
        plain: type[Encoder | Decoder],
        banded: type[BandedEncoder | BandedDecoder],
        inputs: int,
        outputs: int,
        index: int,
    ) -> nn.Module:
        """Return a layer of the spectral branch, or of both where they are one."""
        config, geometry = self.config, self._geometry
        size = geometry.spectral[index]
        if index < geometry.banded:
            assert isinstance(config, HybridDemucsConfig)
            rows = geometry.rows_before[index]
            return banded(config, inputs, outputs, index, size, rows=rows)
        return plain(config, inputs, outputs, index, size, spectral=geometry.is_spectral(index))

    def bottom(self, x: Tensor, wave: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Map the deepest maps of both branches to what the decoders start from."""
        raise NotImplementedError

    def core(self, features: Tensor, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network itself, without transforms.

        Args:
            features: Standardized spectrum, ``(batch, maps, num_fft / 2, frames)``, real and
                imaginary parts of a channel as neighboring maps.
            wave: Standardized audio, ``(batch, channels, samples)``.

        Returns:
            The spectrum of the stems, maps of all stems in order, and their waveforms,
            ``(batch, stems * channels, samples)``.
        """
        skips, time_skips, lengths, x = [], [], [], features
        for index, encode in enumerate(self.encoder):
            inject = None
            if index < len(self.time_encoder):
                lengths.append(wave.shape[-1])
                layer = self.time_encoder[index]
                wave = layer(wave)
                if layer.bare:
                    inject = wave
                else:
                    time_skips.append(wave)
            lengths_of_frames = x.shape[-1]
            x = encode(x, inject)
            if index == 0 and self.frequencies is not None:
                scale = self.config.embedding_scale * self.config.frequency_embedding
                x = x + scale * self.frequencies.weight.mT[:, :, None]
            skips.append((x, lengths_of_frames))
        start, wave_start = self.bottom(x, wave)
        first_time = len(self.decoder) - len(self.time_decoder)
        for index, decode in enumerate(self.decoder):
            x, length = skips.pop()
            if start is not None and start.ndim < x.ndim:
                start = start.unflatten(1, (x.shape[1], -1))
            x = x.clone() if start is None else start + x
            start = None  # maps are large: none is kept longer than it is needed
            x, before = decode(x, length)
            start = x
            if index < first_time:
                continue
            layer, length = self.time_decoder[index - first_time], lengths.pop()
            if layer.bare:
                wave = before[:, :, 0]
            else:
                assert wave_start is not None
                wave = wave_start + time_skips.pop()
            del before, wave_start
            wave_start, _ = layer(wave, length)
        assert wave_start is not None
        return x, wave_start

    def core_inputs(self, mix: Tensor) -> tuple[Tensor, Tensor]:
        """Return what :meth:`core` takes of ``(batch, channels, samples)``."""
        features, _, _ = _standardize(self._features(self.transform(mix)))
        return features, _standardize(mix)[0]

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        batch, channels, samples = mix.shape
        if not mix.numel():
            return mix.new_zeros(batch, len(self.stems), channels, samples)
        shape = (len(self.stems), channels)
        with torch.autocast(mix.device.type, enabled=False):
            spectrum = self.transform(mix)
            features, mean, deviation = _standardize(self._features(spectrum))
            wave, wave_mean, wave_deviation = _standardize(mix)
        result, waves = self.core(features, wave)
        with torch.autocast(mix.device.type, enabled=False):
            result = result.unflatten(1, (len(self.stems), -1))
            # One stem after the other, where they do not need each other: spectra are large.
            parts = result.split(1, dim=1) if self.config.complex_channels else [result]
            heard = [
                self._inverse(
                    self._spectra(
                        part.to(mix.dtype) * deviation[:, None] + mean[:, None], spectrum
                    ),
                    samples,
                )
                for part in parts
            ]
            waves = waves.to(mix.dtype).unflatten(1, shape)
            waves = waves * wave_deviation[:, None] + wave_mean[:, None]
            stems: Tensor = waves + torch.cat(heard, dim=1)
            return stems

    def survey(self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None) -> LevelSurvey:
        """Start to hear a whole mix, so that it can be standardized."""
        del blocks
        return LevelSurvey(self, self.plan if plan is None else plan)

    def transform(self, audio: Tensor) -> Tensor:
        """Return the spectrum ``(..., num_fft / 2, frames)`` without the topmost bin.

        There is a frame per hop, rounded up, and the middle of frame ``m`` is that of hop ``m``,
        as with a strided convolution.
        """
        hop = self._hop
        frames = -(-audio.shape[-1] // hop)
        before = hop // 2 * 3
        after = before + frames * hop - audio.shape[-1]
        pad = F.pad if self._legacy else _reflect
        padded = pad(audio, (before, after))
        spectrum = stft(
            padded, n_fft=self.num_fft, hop_length=hop, window=self.window, center=False
        )
        return spectrum[..., :-1, :frames] / math.sqrt(self.num_fft)

    def _inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        """Return ``(..., samples)`` from what :meth:`transform` gives."""
        hop = self._hop
        padded = F.pad(spectrum, (2, 2, 0, 1)) * math.sqrt(self.num_fft)
        begin = 0 if self._legacy else hop // 2 * 3
        signal = istft(
            padded, n_fft=self.num_fft, hop_length=hop, window=self.window, length=begin + samples
        )
        return signal[..., begin:]

    def _features(self, spectrum: Tensor) -> Tensor:
        """Turn ``(batch, channels, bins, frames)`` into real maps."""
        if not self.config.complex_channels:
            return spectrum.abs()
        return torch.stack((spectrum.real, spectrum.imag), dim=2).flatten(1, 2)

    def _spectra(self, result: Tensor, mix: Tensor) -> Tensor:
        """Turn ``(batch, stems, maps, bins, frames)`` into complex spectra of all channels."""
        config = self.config
        if config.complex_channels:
            parts = result.unflatten(2, (self.channels, 2))
            return torch.complex(parts[:, :, :, 0].contiguous(), parts[:, :, :, 1].contiguous())
        if config.wiener_iterations < 0:
            mix = mix[:, None]
            return mix / (1e-8 + mix.abs()) * result
        pieces = [
            wiener(
                magnitudes, part, iterations=config.wiener_iterations,
                residual=config.wiener_residual,
            )
            for magnitudes, part in zip(
                result.split(_WIENER_FRAMES, -1), mix.split(_WIENER_FRAMES, -1), strict=True
            )
        ]  # fmt: skip
        return torch.cat(pieces, dim=-1)[:, : len(self.stems)]


def _frequency_embedding(rows: int, maps: int, scale: float) -> nn.Embedding:
    """Return one vector per row, smooth over frequency."""
    embedding = nn.Embedding(rows, maps)
    with torch.no_grad():
        walk = embedding.weight.cumsum(0) / torch.arange(1, rows + 1).sqrt()[:, None]
        embedding.weight.copy_(walk / (scale or 1.0))
    return embedding


def _reflect(x: Tensor, margins: tuple[int, int]) -> Tensor:
    """Mirror a signal at its ends; one shorter than the margins gets zeros first."""
    before, after = margins
    missing = max(max(before, after) - x.shape[-1] + 1, 0)
    behind = min(after, missing)
    x = F.pad(x, (missing - behind, behind))
    return F.pad(x, (before - (missing - behind), after - behind), mode="reflect")
