"""Conv-TasNet: masks over a learned filterbank from a stack of dilated convolutions.

Luo and Mesgarani, *Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech
separation*, TASLP 27(8), 2019 (arXiv:1809.07454).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.conv_tasnet import ConvTasNetConfig
from sonograd.config.io import validate
from sonograd.errors import ConfigError
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.published import published_arguments, rename
from sonograd.shapes import check_batch

__all__ = ["ConvTasNet"]

_EPS = 1e-8


class _LayerNorm(nn.Module):
    """Normalize ``(batch, maps, frames)`` over maps and all, no other, or past frames."""

    def __init__(self, maps: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, then scale and shift every map."""
        if self.kind == "cumulative":
            count = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device) * x.shape[1]
            mean = x.sum(1, keepdim=True).cumsum(-1) / count
            power = x.square().sum(1, keepdim=True).cumsum(-1) / count
            # Rounding may leave a little less than nothing of what does not vary.
            variance = (power - mean.square()).clamp(min=0.0)
        else:
            dims = (1, 2) if self.kind == "global" else (1,)
            mean = x.mean(dims, keepdim=True)
            variance = (x - mean).square().mean(dims, keepdim=True)
        normed = (x - mean) / torch.sqrt(variance + _EPS)
        return normed * self.weight[:, None] + self.bias[:, None]


def _norm(maps: int, kind: str) -> nn.Module:
    return nn.BatchNorm1d(maps) if kind == "batch" else _LayerNorm(maps, kind)


class _Block(nn.Module):
    """A pointwise, a dilated depthwise and one or two more pointwise convolutions."""

    def __init__(self, config: ConvTasNetConfig, dilation: int, *, last: bool) -> None:
        super().__init__()
        narrow, wide = config.bottleneck_channels, config.hidden_channels
        reach = (config.kernel_size - 1) * dilation
        self.margins = (reach, 0) if config.causal else (reach // 2, reach // 2)
        self.widen = nn.Conv1d(narrow, wide, 1)
        self.widen_act = nn.PReLU()
        self.widen_norm = _norm(wide, config.norm)
        self.along = nn.Conv1d(wide, wide, config.kernel_size, dilation=dilation, groups=wide)
        self.along_act = nn.PReLU()
        self.along_norm = _norm(wide, config.norm)
        # Behind the last block only its skip is heard, if there are skips.
        heard = not (last and config.skip_channels)
        self.narrow = nn.Conv1d(wide, narrow, 1) if heard else None
        self.skip = nn.Conv1d(wide, config.skip_channels, 1) if config.skip_channels else None

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return what to add to the maps, and what to add to the skips."""
        y = self.widen_norm(self.widen_act(self.widen(x)))
        y = self.along_norm(self.along_act(self.along(F.pad(y, self.margins))))
        residual = None if self.narrow is None else self.narrow(y)
        return residual, None if self.skip is None else self.skip(y)


class ConvTasNet(Separator):
    """Conv-TasNet, see the module.

    What does not fill a whole filter gets silence behind it.
    """

    config: ConvTasNetConfig

    def __init__(self, config: ConvTasNetConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        super().__init__()
        config = validate(config or ConvTasNetConfig(), source="ConvTasNet")
        self.config = config
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self.hop_length = config.hop_length
        size, hop = config.filter_length, config.hop_length
        self.encoder = nn.Conv1d(config.num_channels, config.num_filters, size, hop, bias=False)
        self.decoder = nn.ConvTranspose1d(
            config.num_filters, config.num_channels, size, hop, bias=False
        )
        self.norm = _norm(config.num_filters, config.norm)
        self.bottleneck = nn.Conv1d(config.num_filters, config.bottleneck_channels, 1)
        count = config.num_repeats * config.num_blocks
        self.blocks = nn.ModuleList(
            _Block(config, 2 ** (index % config.num_blocks), last=index == count - 1)
            for index in range(count)
        )
        last = config.skip_channels or config.bottleneck_channels
        self.head_act = nn.PReLU()
        self.head = nn.Conv1d(last, len(config.targets) * config.num_filters, 1)
        frames = max(round(config.sample_length * config.sample_rate / hop), 1)
        # What is normalized over time must not see silence behind a song: chunks end with it.
        self.plan = ChunkPlan(frames * hop, max(3 * frames // 4, 1) * hop, grid=hop, fit=(1, 1))
        self.interchangeable = config.interchangeable

    def masks(self, features: Tensor) -> Tensor:
        """Map ``(batch, filters, frames)`` to ``(batch, stems, filters, frames)``."""
        x = self.bottleneck(self.norm(features))
        total: Tensor | None = None
        for block in self.blocks:
            residual, skip = block(x)
            x = x if residual is None else x + residual
            if skip is not None:
                total = skip if total is None else total + skip
        logits: Tensor = self.head(self.head_act(x if total is None else total))
        logits = logits.unflatten(1, (len(self.stems), -1))
        match self.config.mask_act_fn:
            case "sigmoid":
                return torch.sigmoid(logits)
            case "relu":
                return F.relu(logits)
            case "softmax":
                return torch.softmax(logits, dim=1)
            case "tanh":
                return torch.tanh(logits)
            case "linear":
                return logits

    def core_inputs(self, mix: Tensor) -> tuple[Tensor]:
        """Return what :meth:`core` takes of ``(batch, channels, samples)``."""
        return (F.pad(mix, (0, max(self.config.filter_length - mix.shape[-1], 0))),)

    def core(self, mix: Tensor) -> Tensor:
        """Run the network itself on ``(batch, channels, samples)``, at least one filter long.

        Returns:
            ``(batch, stems, channels, samples)``, perhaps a few samples fewer.
        """
        features = self.encoder(mix)
        if self.config.encoder_relu:
            features = F.relu(features)
        masked = self.masks(features) * features[:, None]
        stems: Tensor = self.decoder(masked.flatten(0, 1)).unflatten(0, masked.shape[:2])
        return stems

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        batch, channels, samples = mix.shape
        if not mix.numel():
            return mix.new_zeros(batch, len(self.stems), channels, samples)
        stems = self.core(*self.core_inputs(mix))
        stems = F.pad(stems, (0, max(samples - stems.shape[-1], 0)))[..., :samples]
        return stems.to(mix.dtype)


_NORMS = {
    "gLN": "global", "GlobLN": "global", "cLN": "channel", "ChanLN": "channel",
    "cgLN": "cumulative", "CumLN": "cumulative", "bN": "batch", "BatchNorm": "batch",
}  # fmt: skip


def config_from_published(kwargs: Mapping[str, Any]) -> ConvTasNetConfig:
    """Return what the arguments of Asteroid's ``ConvTasNet`` mean here.

    ``targets``, names for its outputs, may be given, too; they are called ``speaker 1`` and so on.

    Raises:
        ConfigError: If they ask for what this model does not have; with all problems at once.
    """
    if kwargs.get("fb_name") == "FreeFB":
        kwargs = {**kwargs, "fb_name": "free"}  # the class that is called so
    given = published_arguments(
        kwargs,
        defaults={
            "n_src": 2, "targets": None, "n_blocks": 8, "n_repeats": 3, "bn_chan": 128,
            "hid_chan": 512, "skip_chan": 128, "conv_kernel_size": 3, "norm_type": "gLN",
            "mask_act": "sigmoid", "causal": False, "kernel_size": 16, "n_filters": 512,
            "stride": 8, "encoder_activation": None, "sample_rate": 8000,
        },
        ignored={"in_chan", "out_chan"},
        required={"fb_name": "free"},
        source="ConvTasNet",
    )  # fmt: skip
    norm = _NORMS.get(given["norm_type"], given["norm_type"])
    if given["causal"] and norm in {"global", "batch"}:
        norm = "channel"  # as there
    if not 1 <= given["n_src"] <= 1000:
        raise ConfigError("ConvTasNet", [f"n_src: is {given['n_src']}, expected 1 to 1000."])
    names = tuple(f"speaker {index + 1}" for index in range(given["n_src"]))
    return ConvTasNetConfig(
        targets=given["targets"] or names,
        num_filters=given["n_filters"],
        filter_length=given["kernel_size"],
        hop_length=given["stride"] or given["kernel_size"] // 2,
        bottleneck_channels=given["bn_chan"],
        hidden_channels=given["hid_chan"],
        skip_channels=given["skip_chan"] or 0,
        kernel_size=given["conv_kernel_size"],
        num_blocks=given["n_blocks"],
        num_repeats=given["n_repeats"],
        norm=norm,
        mask_act_fn=given["mask_act"],
        encoder_relu=given["encoder_activation"] == "relu",
        causal=given["causal"],
        interchangeable=given["n_src"] > 1,  # trained with any assignment, as a rule
        sample_rate=round(given["sample_rate"]),
    )


def convert_state(state: Mapping[str, Tensor], config: ConvTasNetConfig) -> dict[str, Tensor]:
    """Return the tensors of Asteroid's state dict under the names of :class:`ConvTasNet`."""
    rules = [
        (r"^(en|de)coder\.filterbank\._filters$", r"\1coder.weight"),
        (r"^masker\.bottleneck\.0\.", "norm."),
        (r"^masker\.bottleneck\.1\.", "bottleneck."),
        (r"^masker\.mask_net\.0\.", "head_act."),
        (r"^masker\.mask_net\.1\.", "head."),
        (r"^masker\.TCN\.", "blocks."),
        (r"\.shared_block\.0\.", ".widen."),
        (r"\.shared_block\.1\.", ".widen_act."),
        (r"\.shared_block\.2\.", ".widen_norm."),
        (r"\.shared_block\.3\.0\." if config.causal else r"\.shared_block\.3\.", ".along."),
        (r"\.shared_block\.4\.", ".along_act."),
        (r"\.shared_block\.5\.", ".along_norm."),
        (r"\.res_conv\.", ".narrow."),
        (r"\.skip_conv\.", ".skip."),
        (r"\.gamma$", ".weight"),
        (r"\.beta$", ".bias"),
    ]
    last = config.num_repeats * config.num_blocks - 1
    unheard = [rf"masker\.TCN\.{last}\.res_conv\..*"] if config.skip_channels else []
    return rename(state, rules, dropped=unheard)
