"""SCNet: three bands of the spectrum, compressed the more the higher they are.

Tong et al., "SCNet: Sparse Compression Network for Music Source Separation" (ICASSP 2024,
arXiv:2401.13276). Each level of the encoder shortens the three bands by their own factor and
refines them along time; in the middle, recurrent layers run over frequency and time, on the
features and on their spectrum over time in turn; the decoder mirrors the encoder.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.io import validate
from sonograd.config.scnet import SCNetConfig
from sonograd.errors import ConfigError
from sonograd.functional.spectral import istft, stft
from sonograd.functional.windows import hann
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan, mirrored_plan
from sonograd.separators.published import published_arguments, rename
from sonograd.separators.scnet_layers import Decoder, DualPath, Encoder
from sonograd.separators.survey import Blocks, LevelSurvey
from sonograd.shapes import check_batch

__all__ = ["SCNet", "config_from_published", "convert_state"]


class _Core(nn.Module):
    """Everything between the spectrum of the mix and those of the stems, on real numbers."""

    def __init__(self, config: SCNetConfig) -> None:
        super().__init__()
        inputs = 2 * config.num_channels
        stems = len(config.targets)
        self.masked = config.masked
        rows = _split(config.num_fft // 2 + 1, config)
        widths = [inputs, *config.widths]
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level, (before, after) in enumerate(pairwise(widths)):
            encoder = Encoder(before, after, config, rows)
            outputs = before if level else before * stems
            self.encoder.append(encoder)
            self.decoder.insert(0, Decoder(after, outputs, config, rows, encoder.shortened()))
            rows = _split(sum(encoder.shortened()), config)
        self.dual_path = nn.ModuleList(
            DualPath(widths[-1] * (1 + index % 2), config.recurrent_factor)
            for index in range(config.num_dual_path)
        )
        if config.masked:
            self.position = nn.Parameter(torch.zeros(1, inputs, config.num_fft // 2 + 1, 1))
            nn.init.trunc_normal_(self.position, std=0.02)
            self.hidden = nn.Conv2d(inputs * stems, 64, 3, padding=1)
            self.mask = nn.Conv2d(64, inputs * stems, 1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Estimate spectra, or masks between -1 and 1.

        Args:
            spectrum: ``(batch, 2 * channels, bins, frames)``: for each channel the real and the
                imaginary part; an even number of frames.

        Returns:
            ``(batch, stems * 2 * channels, bins, frames)``.
        """
        x = spectrum + self.position if self.masked else spectrum
        skips = []
        for encoder in self.encoder:
            x, skip = encoder(x)
            skips.append(skip)
        x = self._middle(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
        for decoder in self.decoder:
            x = decoder(x, skips.pop())
        return torch.tanh(self.mask(F.gelu(self.hidden(x)))) if self.masked else x

    def _middle(self, x: Tensor) -> Tensor:
        """Map ``(batch, frames, rows, channels)`` to the same shape."""
        frames = x.shape[1]
        for index, block in enumerate(self.dual_path):
            x = block(x)
            with torch.autocast(x.device.type, enabled=False):
                x = x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
                if index % 2 == 0:
                    spectrum = torch.fft.rfft(x, dim=1, norm="ortho")
                    x = torch.cat((spectrum.real, spectrum.imag), dim=-1)
                else:
                    spectrum = torch.complex(*(part.contiguous() for part in x.chunk(2, dim=-1)))
                    x = torch.fft.irfft(spectrum, n=frames, dim=1, norm="ortho")
        return x


def _split(rows: int, config: SCNetConfig) -> list[int]:
    """Return how many of ``rows`` belong to each band."""
    low = math.ceil(rows * config.band_shares[0])
    middle = math.ceil(rows * (config.band_shares[0] + config.band_shares[1]))
    return [low, middle - low, rows - middle]


def _real_parts(spectrum: Tensor) -> Tensor:
    """Map ``(batch, channels, bins, frames)`` to ``(batch, 2 * channels, bins, frames)``."""
    return torch.view_as_real(spectrum).permute(0, 1, 4, 2, 3).flatten(1, 2)


class SCNet(Separator):
    """The network of the paper, and its variant with masks.

    A mix of silence gives silence. An item of a batch is otherwise taken as it is: the level of
    a recording matters.

    Attributes:
        core: All that is learned: from the spectrum of the mix to those of the stems.
    """

    config: SCNetConfig

    def __init__(self, config: SCNetConfig) -> None:
        """Build the model with random weights.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        super().__init__()
        config = validate(config, source="SCNet")
        self.config = config
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        length = round(config.sample_length * config.sample_rate)
        self.plan = mirrored_plan(length, config.num_overlap)
        self.core = _Core(config)

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        batch, _, samples = mix.shape
        if mix.numel() == 0:
            return mix.new_zeros(batch, len(self.stems), self.channels, samples)
        spectrum = self.spectrum(mix)
        parts = _real_parts(spectrum)
        estimate: Tensor = self.core(parts).to(parts.dtype)
        estimate = estimate.unflatten(1, (len(self.stems), self.channels, 2))
        # One stem after the other: spectra are large.
        heard = [
            self._inverse(part, spectrum if self.config.masked else None, samples)
            for part in estimate.unbind(1)
        ]
        silent: Tensor = (mix == 0).all(-1).all(-1)
        return torch.stack(heard, dim=1).masked_fill(silent[:, None, None, None], 0.0)

    def survey(
        self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None
    ) -> LevelSurvey | None:
        """Start to hear a whole mix, if it is to be standardized."""
        del blocks
        return (
            LevelSurvey(self, self.plan if plan is None else plan)
            if self.config.standardize
            else None
        )

    def core_inputs(self, mix: Tensor) -> tuple[Tensor]:
        """Return what the network takes, see :class:`~sonograd.separators.export.Core`."""
        return (_real_parts(self.spectrum(mix)),)

    def spectrum(self, mix: Tensor) -> Tensor:
        """Return the complex spectrum ``(batch, channels, bins, frames)``, frames being even."""
        hop = self.config.hop_length
        padding = hop - mix.shape[-1] % hop
        if (mix.shape[-1] + padding) // hop % 2 == 0:
            padding += hop
        padded = F.pad(mix, (0, padding))
        length = self.config.num_fft
        window = self._window(mix)
        spectrum: Tensor = stft(padded, n_fft=length, hop_length=hop, window=window)
        return spectrum / math.sqrt(length)

    def _inverse(self, parts: Tensor, mask_of: Tensor | None, samples: int) -> Tensor:
        """Return the waveform of a stem from ``(batch, channels, 2, bins, frames)``."""
        spectrum = torch.complex(*(part.contiguous() for part in parts.unbind(2)))
        spectrum = spectrum if mask_of is None else spectrum * mask_of
        length = self.config.num_fft
        return istft(
            spectrum * math.sqrt(length),
            n_fft=length,
            hop_length=self.config.hop_length,
            window=self._window(parts),
            length=samples,
        )

    def _window(self, like: Tensor) -> Tensor:
        length, dtype = self.config.num_fft, like.dtype
        if dtype in {torch.float16, torch.bfloat16}:
            dtype = torch.float32
        if self.config.masked:
            return hann(length, dtype=dtype, device=like.device)
        return torch.ones(length, dtype=dtype, device=like.device)


_BLOCK_NAMES = {"0": "norm_in", "1": "gate", "3": "depthwise", "4": "norm_out", "6": "expand"}
_RULES = [
    (r"^encoder\.(\d+)\.SDlayer\.convs\.(\d+)\.(.*)", r"core.encoder.\1.down.\2.\3"),
    *(
        (
            rf"^encoder\.(\d+)\.conv_modules\.(\d+)\.layers\.(\d+)\.{old}\.(.*)",
            rf"core.encoder.\1.blocks.\2.\3.{new}.\4",
        )
        for old, new in _BLOCK_NAMES.items()
    ),
    (r"^encoder\.(\d+)\.globalconv\.(.*)", r"core.encoder.\1.mix.\2"),
    (r"^decoder\.(\d+)\.0\.conv\.(.*)", r"core.decoder.\1.fuse.\2"),
    (r"^decoder\.(\d+)\.1\.convtrs\.(\d+)\.(.*)", r"core.decoder.\1.up.\2.\3"),
    *(
        (
            rf"^separation_net\.dp_modules\.(\d+)\.{layer}_layers\.{index}\.(.*)",
            rf"core.dual_path.\1.{path}.{layer}.\2",
        )
        for index, path in enumerate(("frequency", "time"))
        for layer in ("norm", "lstm", "linear")
    ),
    (r"^pos_embed_f$", r"core.position"),
    (r"^mask_layer\.0\.(.*)", r"core.hidden.\1"),
    (r"^mask_layer\.2\.(.*)", r"core.mask.\1"),
]


def convert_state(state: Mapping[str, Tensor], config: SCNetConfig) -> dict[str, Tensor]:
    """Give the tensors of a published SCNet the names that :class:`SCNet` has for them."""
    del config
    return rename(state, _RULES, dropped=("window",))


_NAMES = {
    "audio_channels": "num_channels",
    "nfft": "num_fft",
    "hop_size": "hop_length",
    "band_SR": "band_shares",
    "band_stride": "band_strides",
    "band_kernel": "band_kernels",
    "conv_depths": "band_depths",
    "compress": "compression",
    "num_dplayer": "num_dual_path",
    "expand": "recurrent_factor",
    "sources": "targets",
    "normalize": "standardize",
}
_DEFAULTS = SCNetConfig()


def config_from_published(kwargs: Mapping[str, Any]) -> SCNetConfig:
    """Return the configuration for the constructor arguments of a published SCNet.

    Besides these, ``sample_rate``, ``chunk_size`` (in samples), ``num_overlap`` and ``masked``
    are taken.

    Raises:
        ConfigError: With every problem at once.
    """
    ours = ("conv_kernel", "sample_rate", "num_overlap", "masked")
    names = {**_NAMES, **{name: name for name in ours}}
    values = published_arguments(
        kwargs,
        defaults={
            **{old: getattr(_DEFAULTS, new) for old, new in names.items()},
            "dims": (4, *_DEFAULTS.widths),
            "chunk_size": None,
            "win_size": None,
        },
        required={"normalized": True},
        source="SCNet",
    )
    rate, samples = values["sample_rate"], values["chunk_size"]
    problems = []
    if values["dims"][0] != 2 * values["audio_channels"]:
        problems.append(f"dims: starts with {values['dims'][0]}; expected twice audio_channels.")
    if values["win_size"] not in {None, values["nfft"]}:
        problems.append(f"win_size: {values['win_size']} is not supported; expected nfft.")
    if problems:
        raise ConfigError("SCNet", problems)
    return validate(
        SCNetConfig(
            **{new: values[old] for old, new in names.items()},
            widths=values["dims"][1:],
            sample_length=samples / rate if samples else _DEFAULTS.sample_length,
        ),
        source="SCNet",
    )
