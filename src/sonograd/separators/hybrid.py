"""What the hybrid Demucs models share: two U-Nets, one on the spectrum and one on the waveform.

Défossez, *Hybrid spectrogram and waveform source separation*, 2021 (arXiv:2111.03600). Layers of
the spectral branch stride along frequency, those of the temporal branch along time; where one row
is left, both have steps of one length and become one.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.demucs import HTDemucsConfig, HybridDemucsConfig
from sonograd.functional.spectral import istft, stft
from sonograd.functional.wiener import wiener
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.demucs_blocks import ResidualBranches, rescale_
from sonograd.separators.survey import Blocks, LevelSurvey
from sonograd.shapes import check_batch

__all__ = [
    "HYBRID_DEFAULTS",
    "HYBRID_RULES",
    "HybridSeparator",
    "demucs_plan",
    "hybrid_values",
]

HybridConfig = HybridDemucsConfig | HTDemucsConfig
#: Frames that share one spatial model where magnitudes are estimated.
_WIENER_FRAMES = 300


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


class _Geometry:
    """Sizes of the layers, from the outermost to the bottom."""

    def __init__(self, config: HybridConfig) -> None:
        self.spectral: list[tuple[int, int, int]] = []  # kernel, stride and padding
        self.merges: int | None = None  # the layer that leaves one row
        self.rows: list[int] = []  # after each layer
        rows = config.num_fft // 2
        for index in range(config.depth):
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


class _Encoder(nn.Module):
    """A strided convolution, residual branches and a gate, along frequency or along time."""

    def __init__(
        self, config: HybridConfig, inputs: int, maps: int, index: int,
        size: tuple[int, int, int], *, spectral: bool, bare: bool = False,
    ) -> None:  # fmt: skip
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
        y = F.gelu(self.norm(y))
        if self.branches is not None:
            y = _along_time(self.branches, y)
        return y if self.gate is None else F.glu(self.gate_norm(self.gate(y)), dim=1)


class _Decoder(nn.Module):
    """A gate, residual branches and a strided transposed convolution."""

    def __init__(
        self, config: HybridConfig, maps: int, outputs: int, index: int,
        size: tuple[int, int, int], *, spectral: bool, bare: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        kernel, stride, self.padding = size
        self.maps, self.spectral, self.bare, self.last = maps, spectral, bare, index == 0
        normed, groups = index >= config.norm_starts, config.norm_groups
        if spectral:
            self.conv: nn.Module = nn.ConvTranspose2d(maps, outputs, (kernel, 1), (stride, 1))
        else:
            self.conv = nn.ConvTranspose1d(maps, outputs, kernel, stride)
        self.norm = _norm(groups, outputs, normed)
        if bare:
            return
        kind = nn.Conv2d if spectral else nn.Conv1d
        size_of_gate = 2 * config.context + 1
        self.gate = (
            kind(maps, 2 * maps, size_of_gate, padding=config.context) if config.rewrite else None
        )
        self.gate_norm = _norm(groups, 2 * maps, normed and config.rewrite)
        self.branches = _branches(config, maps, index) if config.branch_in_decoder else None

    def forward(self, x: Tensor, skip: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """Return the maps of the layer above, and what they were made from."""
        if self.spectral and x.ndim == 3:
            x = x.unflatten(1, (self.maps, -1))
        if not self.bare:
            x = x if skip is None else x + skip
            if self.gate is not None:
                x = F.glu(self.gate_norm(self.gate(x)), dim=1)
            if self.branches is not None:
                x = _along_time(self.branches, x)
        y: Tensor = self.norm(self.conv(x))
        if not self.spectral:
            y = y[..., self.padding : self.padding + length]
        elif self.padding:
            y = y[..., self.padding : -self.padding, :]
        return y if self.last else F.gelu(y), x


def _along_time(branches: ResidualBranches, x: Tensor) -> Tensor:
    """Run branches over the steps of ``(batch, maps, [rows,] steps)``, each row alone."""
    if x.ndim == 3:
        y: Tensor = branches(x)
        return y
    batch, _, rows, _ = x.shape
    y = branches(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, rows))
    return y.transpose(1, 2)


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
        self._geometry = _Geometry(config)
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
        above, time_above = parts * self.channels, self.channels
        for index, size in enumerate(geometry.spectral):
            spectral, merges = geometry.is_spectral(index), index == geometry.merges
            self.encoder.append(_Encoder(config, above, maps, index, size, spectral=spectral))
            if spectral:
                self.time_encoder.append(
                    _Encoder(
                        config, time_above, maps, index, time_size, spectral=False, bare=merges
                    )
                )
            if index == 0:
                above, time_above = parts * outputs, outputs
            self.decoder.insert(0, _Decoder(config, maps, above, index, size, spectral=spectral))
            if spectral:
                self.time_decoder.insert(
                    0,
                    _Decoder(
                        config, maps, time_above, index, time_size, spectral=False, bare=merges
                    ),
                )
            above = time_above = maps
            maps *= config.growth
        self.frequencies: nn.Embedding | None = None
        if config.frequency_embedding:
            self.frequencies = _frequency_embedding(
                geometry.rows[0], config.num_hidden_channels, config.embedding_scale
            )

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
            skip, length = skips.pop()
            x, before = decode(skip, None, length) if start is None else decode(start, skip, length)
            start = x
            if index < first_time:
                continue
            layer, length = self.time_decoder[index - first_time], lengths.pop()
            if layer.bare:
                wave_start, _ = layer(before[:, :, 0], None, length)
            else:
                wave_start, _ = layer(wave_start, time_skips.pop(), length)
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
            result = result.to(mix.dtype).unflatten(1, (len(self.stems), -1))
            result = result * deviation[:, None] + mean[:, None]
            waves = waves.to(mix.dtype).unflatten(1, shape)
            waves = waves * wave_deviation[:, None] + wave_mean[:, None]
            stems: Tensor = waves + self._inverse(self._spectra(result, spectrum), samples)
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


def demucs_plan(
    seconds: float, sample_rate: int, *, shortest: int = 1, step: int = 1, overlap: float = 0.25
) -> ChunkPlan:
    """Return how the Demucs models cut a song.

    Weights rise and fall over the whole chunk. A chunk that the end of the song cuts short is
    seen as it is, or with as much of the song before it, and of silence behind it, as it takes to
    have one of the lengths ``shortest + k * step``.
    """
    length = max(math.floor(seconds * sample_rate + 1e-6), 1)
    return ChunkPlan(
        length=length,
        hop=max(int((1 - overlap) * length), 1),
        fade=-(-length // 2),
        fade_start=1,
        fit=(shortest, step),
    )


#: Arguments that both published classes have, and their defaults.
HYBRID_DEFAULTS: Mapping[str, Any] = {
    "sources": None, "audio_channels": 2, "channels": 48, "growth": 2, "nfft": 4096,
    "wiener_iters": 0, "wiener_residual": False, "cac": True, "depth": 4, "rewrite": True,
    "freq_emb": 0.2, "emb_scale": 10, "kernel_size": 8, "stride": 4, "context": 1,
    "context_enc": 0, "norm_starts": 4, "norm_groups": 4, "dconv_mode": 1, "dconv_depth": 2,
    "dconv_comp": 8, "dconv_init": 1e-3, "rescale": 0.1, "samplerate": 44100, "segment": 10,
}  # fmt: skip

#: From published names of tensors to ours.
HYBRID_RULES = (
    (r"^tencoder\.", "time_encoder."),
    (r"^tdecoder\.", "time_decoder."),
    (r"(encoder\.\d+)\.norm1\.", r"\1.norm."),
    (r"(encoder\.\d+)\.norm2\.", r"\1.gate_norm."),
    (r"(decoder\.\d+)\.norm1\.", r"\1.gate_norm."),
    (r"(decoder\.\d+)\.norm2\.", r"\1.norm."),
    (r"(coder\.\d+)\.rewrite\.", r"\1.gate."),
    (r"(coder\.\d+)\.conv_tr\.", r"\1.conv."),
    (r"(coder\.\d+)\.dconv\.layers\.", r"\1.branches."),
    (r"^freq_emb\.embedding\.", "frequencies."),
)


def hybrid_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that both configurations have from arguments of the published classes."""
    return {
        "targets": given["sources"],
        "num_channels": given["audio_channels"],
        "num_hidden_channels": given["channels"],
        "growth": given["growth"],
        "num_fft": given["nfft"],
        "complex_channels": given["cac"],
        "wiener_iterations": max(given["wiener_iters"], -1),
        "wiener_residual": given["wiener_residual"],
        "depth": given["depth"],
        "kernel_size": given["kernel_size"],
        "stride": given["stride"],
        "context": given["context"],
        "context_encoder": given["context_enc"],
        "rewrite": given["rewrite"],
        "frequency_embedding": float(given["freq_emb"] or 0),
        "embedding_scale": given["emb_scale"],
        "norm_starts": given["norm_starts"],
        "norm_groups": given["norm_groups"],
        "branch_in_encoder": bool(given["dconv_mode"] & 1),
        "branch_in_decoder": bool(given["dconv_mode"] & 2),
        "branch_depth": given["dconv_depth"],
        "branch_compression": given["dconv_comp"],
        "branch_init": given["dconv_init"],
        "sample_length": given["segment"],
        "sample_rate": given["samplerate"],
        "rescale": given["rescale"],
    }
