"""Demucs, the waveform U-Net: v2 with an LSTM at its bottom, v3 with residual branches.

Défossez, Usunier, Bottou and Bach, *Music source separation in the waveform domain*, 2019
(arXiv:1911.13254).
"""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.demucs import DemucsConfig
from sonograd.config.io import validate
from sonograd.separators.bandwise import gated_bands, map_bands, may_work_in_bands
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.demucs_blocks import BiLSTM, ResidualBranches, rescale_
from sonograd.separators.hybrid_published import demucs_plan
from sonograd.separators.published import published_arguments, rename
from sonograd.separators.survey import Blocks, LevelSurvey
from sonograd.shapes import check_batch

__all__ = ["Demucs"]

#: Zeros on each side of the sinc that doubles and halves the rate, and its cutoff.
_SINC_ZEROS, _SINC_CUTOFF = 24, 0.945


class Demucs(Separator):
    """A U-Net on the waveform, see the module.

    Whatever is too short for the strides gets silence on both sides.
    """

    config: DemucsConfig
    up_kernel: Tensor
    down_kernel: Tensor

    def __init__(self, config: DemucsConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        super().__init__()
        config = validate(config or DemucsConfig(), source="Demucs")
        self.config = config
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        inputs, maps = config.num_channels, config.num_hidden_channels
        for index in range(config.depth):
            outputs = inputs if index else config.num_channels * len(config.targets)
            self.encoder.append(_encoder(config, inputs, maps, index))
            self.decoder.insert(0, _decoder(config, maps, outputs, index))
            inputs, maps = maps, int(config.growth * maps)
        self.lstm = BiLSTM(inputs, config.lstm_layers) if config.lstm_layers else None
        rescale_(self, config.rescale)
        for name, rates in (("up_kernel", (1, 2)), ("down_kernel", (2, 1))):
            self.register_buffer(name, _sinc_kernels(*rates), persistent=False)
        shortest, step = self.valid_length(1), config.stride**config.depth
        step = step // math.gcd(step, 2) if config.resample else step
        self.plan = demucs_plan(
            config.sample_length, config.sample_rate, shortest=shortest, step=step
        )

    def valid_length(self, samples: int) -> int:
        """Return the least length, at least ``samples``, of which no stride leaves a rest."""
        config = self.config
        length = samples * 2 if config.resample else samples
        for _ in range(config.depth):
            length = max(-(-(length - config.kernel_size) // config.stride) + 1, 1)
        for _ in range(config.depth):
            length = (length - 1) * config.stride + config.kernel_size
        return -(-length // 2) if config.resample else length

    def core_inputs(self, mix: Tensor) -> tuple[Tensor]:
        """Return what :meth:`core` takes of ``(batch, channels, samples)``."""
        x, _, _ = self._standardized(mix)
        missing = self.valid_length(mix.shape[-1]) - mix.shape[-1]
        return (F.pad(x, (missing // 2, missing - missing // 2)),)

    def core(self, x: Tensor) -> Tensor:
        """Run the network itself on ``(batch, channels, samples)`` of a valid length.

        Returns:
            ``(batch, stems * channels, samples)``, or a few samples fewer.
        """
        if self.config.resample:
            x = _resample(x, self.up_kernel, 1, 2)
        skips = []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        if self.lstm is not None:
            x = self.lstm(x)
        for layer in self.decoder:
            x = x + _center(skips.pop(), x.shape[-1])
            x = layer(x)
        if self.config.resample:
            x = _resample(x, self.down_kernel, 2, 1)
        return x

    def _standardized(self, mix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network works on, and the offset and level that were taken away."""
        if not self.config.normalize:
            return mix, mix.new_zeros(()), mix.new_ones(())
        mono = mix.mean(dim=1, keepdim=True)
        mean = mono.mean(dim=-1, keepdim=True)
        count = max(mix.shape[-1] - 1, 1)
        variance = (mono - mean).square().sum(dim=-1, keepdim=True) / count
        silent = variance == 0
        deviation = variance.masked_fill(silent, 1.0).sqrt().masked_fill(silent, 0.0)
        return (mix - mean) / (1e-5 + deviation), mean, deviation

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        batch, channels, samples = mix.shape
        if not mix.numel():
            return mix.new_zeros(batch, len(self.stems), channels, samples)
        _, mean, deviation = self._standardized(mix)
        y = self.core(*self.core_inputs(mix)).to(mix.dtype) * deviation + mean
        stems: Tensor = _center(y, samples).unflatten(1, (len(self.stems), channels))
        return stems

    def survey(self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None) -> LevelSurvey:
        """Start to hear a whole mix, so that it can be standardized."""
        del blocks
        return LevelSurvey(self, self.plan if plan is None else plan)


def _activations(config: DemucsConfig) -> tuple[nn.Module, nn.Module, int]:
    """Return the activation, the gate, and how many maps the gate takes for one."""
    gate = nn.GLU(dim=1) if config.glu else nn.ReLU()
    return nn.GELU() if config.gelu else nn.ReLU(), gate, 2 if config.glu else 1


def _norm(config: DemucsConfig, maps: int, index: int) -> nn.Module:
    return nn.GroupNorm(config.norm_groups, maps) if index >= config.norm_starts else nn.Identity()


def _branches(config: DemucsConfig, maps: int, index: int) -> ResidualBranches:
    return ResidualBranches(
        maps,
        compression=config.branch_compression,
        depth=config.branch_depth,
        init=config.branch_init,
        lstm=index >= config.branch_lstm_starts,
        attention=index >= config.branch_attention_starts,
    )


class _Layer(nn.Sequential):
    """Modules one after the other; gated convolutions work on a large map band by band."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, maps, steps)`` to the maps of the next layer."""
        if not may_work_in_bands(x):
            for module in self:
                x = module(x)
            return x
        given, modules = x, list(self)
        while modules:
            module = modules.pop(0)
            if _is_gated(module, modules):
                del modules[:2]
                shape = x.shape[0], module.out_channels // 2, x.shape[-1]
                x = gated_bands(x, module, x.new_empty(shape))
            elif isinstance(module, nn.GELU) and x is not given:
                x = map_bands(module, x, x, dim=2)
            else:
                x = module(x)
        return x


def _is_gated(conv: nn.Module, after: list[nn.Module]) -> TypeGuard[nn.Conv1d]:
    """Tell whether a convolution keeps the steps, and goes into gated units as it is."""
    if len(after) < 2 or not isinstance(conv, nn.Conv1d) or conv.stride != (1,):
        return False
    return isinstance(after[0], nn.Identity) and isinstance(after[1], nn.GLU)


def _encoder(config: DemucsConfig, inputs: int, maps: int, index: int) -> nn.Sequential:
    activation, gate, factor = _activations(config)
    conv = nn.Conv1d(inputs, maps, config.kernel_size, config.stride)
    layers = [conv, _norm(config, maps, index), activation]
    if config.branch_in_encoder:
        layers.append(_branches(config, maps, index))
    if config.rewrite:
        layers += [nn.Conv1d(maps, factor * maps, 1), _norm(config, factor * maps, index), gate]
    return _Layer(*layers)


def _decoder(config: DemucsConfig, maps: int, outputs: int, index: int) -> nn.Sequential:
    activation, gate, factor = _activations(config)
    layers: list[nn.Module] = []
    if config.rewrite:
        size = 2 * config.context + 1
        layers += [
            nn.Conv1d(maps, factor * maps, size, padding=config.context),
            _norm(config, factor * maps, index),
            gate,
        ]
    if config.branch_in_decoder:
        layers.append(_branches(config, maps, index))
    layers.append(nn.ConvTranspose1d(maps, outputs, config.kernel_size, config.stride))
    if index:
        layers += [_norm(config, outputs, index), activation]
    return _Layer(*layers)


def _center(x: Tensor, samples: int) -> Tensor:
    """Return the middle of ``(..., samples)``; an odd rest is cut at the end."""
    begin = (x.shape[-1] - samples) // 2
    return x[..., begin : begin + samples]


def _sinc_kernels(before: int, after: int) -> Tensor:
    """Return a windowed sinc per phase, ``(after, 1, taps)``, for a change of rate.

    Made in single precision, in which published weights have seen it.
    """
    rate = min(before, after) * _SINC_CUTOFF
    reach = math.ceil(_SINC_ZEROS * before / rate)
    taps = torch.arange(-reach, reach + before).float()
    kernels = []
    for phase in range(after):
        place = (-phase / after + taps / before) * rate
        place = place.clamp(-_SINC_ZEROS, _SINC_ZEROS) * math.pi
        sinc = torch.where(place == 0, torch.ones(()), torch.sin(place) / place)
        kernel = sinc * torch.cos(place / _SINC_ZEROS / 2) ** 2
        kernels.append(kernel / kernel.sum())
    return torch.stack(kernels)[:, None]


def _resample(x: Tensor, kernels: Tensor, before: int, after: int) -> Tensor:
    """Change the rate of ``(batch, channels, samples)``; ends are repeated outside."""
    reach = (kernels.shape[-1] - before) // 2
    padded = F.pad(x, (reach, reach + before), mode="replicate").flatten(0, 1)[:, None]
    y = F.conv1d(padded, kernels.to(x.dtype), stride=before).mT.flatten(1)
    result: Tensor = y[:, : x.shape[-1] * after // before].unflatten(0, x.shape[:2])
    return result


def config_from_published(kwargs: Mapping[str, Any]) -> DemucsConfig:
    """Return what the arguments of the published ``Demucs`` class mean here.

    Raises:
        ConfigError: If they ask for what this model does not have; with all problems at once.
    """
    given = published_arguments(
        kwargs,
        defaults={
            "sources": None, "audio_channels": 2, "channels": 64, "growth": 2.0, "depth": 6,
            "rewrite": True, "lstm_layers": 0, "kernel_size": 8, "stride": 4, "context": 1,
            "gelu": True, "glu": True, "norm_starts": 4, "norm_groups": 4, "dconv_mode": 1,
            "dconv_depth": 2, "dconv_comp": 4, "dconv_attn": 4, "dconv_lstm": 4,
            "dconv_init": 1e-4, "normalize": True, "resample": True, "rescale": 0.1,
            "samplerate": 44100, "segment": 40,
        },
        source="Demucs",
    )  # fmt: skip
    return DemucsConfig(
        targets=given["sources"],
        num_channels=given["audio_channels"],
        num_hidden_channels=given["channels"],
        growth=given["growth"],
        depth=given["depth"],
        kernel_size=given["kernel_size"],
        stride=given["stride"],
        context=given["context"],
        rewrite=given["rewrite"],
        glu=given["glu"],
        gelu=given["gelu"],
        lstm_layers=given["lstm_layers"],
        norm_starts=given["norm_starts"],
        norm_groups=given["norm_groups"],
        branch_in_encoder=bool(given["dconv_mode"] & 1),
        branch_in_decoder=bool(given["dconv_mode"] & 2),
        branch_depth=given["dconv_depth"],
        branch_compression=given["dconv_comp"],
        branch_attention_starts=given["dconv_attn"],
        branch_lstm_starts=given["dconv_lstm"],
        branch_init=given["dconv_init"],
        normalize=given["normalize"],
        resample=given["resample"],
        sample_length=given["segment"],
        sample_rate=given["samplerate"],
        rescale=given["rescale"],
    )


def convert_state(state: Mapping[str, Tensor], config: DemucsConfig) -> dict[str, Tensor]:
    """Return the tensors of a published state dict under the names of :class:`Demucs`.

    The first generation had no normalization between a convolution and its activation, so that
    what follows has another number there.
    """
    del config
    rules = [(r"^((?:en|de)coder\.\d+\.\d+)\.layers\.", r"\1.")]
    if any(re.fullmatch(r"encoder\.\d+\.2\.weight", name) for name in state):
        rules.append((r"^((?:en|de)coder\.\d+)\.2\.", r"\1.3."))
    return rename(state, rules)
