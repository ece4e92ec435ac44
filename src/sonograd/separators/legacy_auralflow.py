"""The networks that auralflow trained, for its checkpoints only.

auralflow's weights do not fit the spectrogram U-Nets of this package, which repair what was wrong
with its architecture. This is what its networks compute in evaluation mode, written from their
published description: magnitudes without compression, convolution before activation before
normalization, a number of frames that is fixed by the weights, and recurrent layers that see one
row of the bottleneck at a time, without any context. The latent of the variational network is its
mean.

Checkpoints exist in several dialects, which are told apart by the names of their weights: in older
ones only the third convolution of three is normalized; the first had six levels instead of five
and no normalization behind its last convolution.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.errors import CheckpointError, ConfigError
from sonograd.functional.spectral import istft, stft
from sonograd.separators.archive import Archive
from sonograd.separators.base import MaskEstimate, Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.pickles import StoredTensor
from sonograd.shapes import check_batch

__all__ = [
    "NOTE",
    "LegacyAuralflow",
    "LegacyDialect",
    "LegacySettings",
    "load_legacy_auralflow",
    "read_legacy_weights",
]

#: What users of such weights should know.
NOTE = (
    "these are weights of auralflow; they run as its own network did, with its flaws: "
    "no context in time, and chunks of a fixed length"
)
_KERNEL = 5


@dataclass(frozen=True, kw_only=True)
class LegacySettings:
    """The fields of an auralflow ``model.json``."""

    model_type: str
    targets: tuple[str, ...]
    num_channels: int = 1
    num_hidden_channels: int = 16
    sample_length: float = 3
    sample_rate: int = 44100
    leak_factor: float = 0.0
    normalize_input: bool = False
    normalize_output: bool = False
    recurrent_depth: int = 3
    hidden_size: int = 1024
    input_axis: int = 1
    mask_act_fn: str = "sigmoid"
    num_fft: int = 1024
    window_size: int = 1024
    hop_length: int = 512

    @property
    def samples(self) -> int:
        """Length of a chunk, filled up to a whole number of hops (one more if it is whole)."""
        length = round(self.sample_length * self.sample_rate)
        return (length // self.hop_length + 1) * self.hop_length

    def sizes(self, levels: int) -> list[tuple[int, int]]:
        """Return bins and frames at each level, the input first."""
        bins, frames = self.num_fft // 2 + 1, self.samples // self.hop_length + 1
        return [(bins >> level, frames >> level) for level in range(levels + 1)]


@dataclass(frozen=True, kw_only=True)
class LegacyDialect:
    """What versions of auralflow differ in.

    Attributes:
        levels: How often the U-Net halves its input.
        older: Whether only the third convolution of three is normalized.
        head_norm: Whether the last convolution is.
    """

    levels: int = 5
    older: bool = False
    head_norm: bool = True

    @classmethod
    def of(cls, weights: Mapping[str, Any]) -> "LegacyDialect":
        """Tell by the names of ``weights``."""
        return cls(
            levels=6 if any(name.startswith("down_6.") for name in weights) else 5,
            older="down_1.conv_block.conv.0.bn.weight" not in weights,
            head_norm="soft_conv.1.weight" in weights,
        )


class _Conv(nn.Module):
    def __init__(self, channels: int, out: int, slope: float, *, normalized: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding="same", bias=not normalized)
        self.bn = nn.BatchNorm2d(out) if normalized else None
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = F.leaky_relu(x, self.slope) if self.slope > 0 else F.selu(x)
        return x if self.bn is None else self.bn(x)


class _Triple(nn.Module):
    def __init__(self, channels: int, out: int, slope: float, *, older: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _Conv(channels, out, slope, normalized=not older),
            _Conv(out, out, slope, normalized=not older),
            _Conv(out, out, slope, normalized=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class _Down(nn.Module):
    def __init__(self, channels: int, out: int, slope: float, *, older: bool) -> None:
        super().__init__()
        self.conv_block = _Triple(channels, out, slope, older=older)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.conv_block(x)
        return F.max_pool2d(skip, 2), skip


class _Up(nn.Module):
    def __init__(
        self,
        channels: int,
        out: int,
        size: tuple[int, int],
        wanted: tuple[int, int],
        *,
        older: bool,
    ) -> None:
        super().__init__()
        padding = [
            math.ceil((_KERNEL - large + 2 * (small - 1)) / 2)
            for small, large in zip(size, wanted, strict=True)
        ]
        self.up = nn.ConvTranspose2d(
            channels, out, _KERNEL, stride=2, padding=(padding[0], padding[1])
        )
        self.bn = nn.BatchNorm2d(out)
        self.conv_block = _Triple(2 * out, out, 0.0, older=older)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.bn(self.up(x, output_size=list(skip.shape[-2:])))
        y: Tensor = self.conv_block(torch.cat((x, skip), dim=1))
        return y


class _LayerNorm(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer_norm = nn.ModuleDict({"layer_norm": nn.LayerNorm(shape)})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer_norm["layer_norm"](x)
        return y


class _CenterScale(nn.Module):
    def __init__(self, bins: int) -> None:
        super().__init__()
        self.center = nn.Parameter(torch.zeros(bins))
        self.scale = nn.Parameter(torch.ones(bins))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.center[:, None]) * self.scale[:, None]


class LegacyAuralflow(Separator):
    """A network of auralflow, for inference; see :func:`load_legacy_auralflow`.

    Chunks have the length that the weights were trained for. Training it is refused.
    """

    def __init__(self, settings: LegacySettings, dialect: LegacyDialect | None = None) -> None:
        """Build the network with random weights.

        Args:
            settings: What ``model.json`` says.
            dialect: What the weights say; that of the last version if None.
        """
        super().__init__()
        self.settings = settings
        self.dialect = dialect = dialect or LegacyDialect()
        self.stems = settings.targets[:1]
        self.sample_rate = settings.sample_rate
        self.channels = settings.num_channels
        kept = round(settings.sample_length * settings.sample_rate) - 2 * settings.num_fft
        self.plan = ChunkPlan(length=kept, hop=kept * 3 // 4, context=settings.num_fft)
        sizes, slope, levels = settings.sizes(dialect.levels), settings.leak_factor, dialect.levels
        widths = [settings.num_hidden_channels * 2**level for level in range(levels + 1)]
        if settings.normalize_input:
            self.input_norm = _LayerNorm((settings.num_channels, *sizes[0]))
        channels = settings.num_channels
        for level in range(levels):
            block = _Down(channels, widths[level], slope, older=dialect.older)
            self.add_module(f"down_{level + 1}", block)
            channels = widths[level]
        self.bottleneck = _Triple(channels, widths[-1], 0.0, older=dialect.older)
        if settings.model_type != "SpectrogramNetSimple":
            self._add_recurrence(channels, sizes[-1])
        for level in reversed(range(levels)):
            size, wanted = sizes[level + 1], sizes[level]
            up = _Up(widths[level + 1], widths[level], size, wanted, older=dialect.older)
            self.add_module(f"up_{levels - level}", up)
        self.soft_conv = nn.Sequential(nn.Conv2d(widths[0], settings.num_channels, 1))
        if dialect.head_norm:
            self.soft_conv.append(nn.BatchNorm2d(settings.num_channels))
        self.output_norm = _CenterScale(sizes[0][0])
        if settings.mask_act_fn == "prelu":
            self.mask_activation = nn.PReLU()
        self.eval()

    def _add_recurrence(self, channels: int, size: tuple[int, int]) -> None:
        settings = self.settings
        features = channels * size[1 if settings.input_axis == 1 else 0]
        hidden = settings.hidden_size
        if settings.model_type == "SpectrogramNetVAE":
            self.mu = nn.Linear(features, features)
            self.log_sigma = nn.Linear(features, features)
        self.lstm = nn.LSTM(features, hidden, settings.recurrent_depth, bidirectional=True)
        self.linear = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.SELU(), nn.Linear(hidden, 2 * features), nn.SELU()
        )

    def _bottom(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, bins, frames)`` to twice the channels."""
        if not hasattr(self, "lstm"):
            y: Tensor = self.bottleneck(x)
            return y
        by_row = self.settings.input_axis == 1
        z = x.permute(0, 2, 1, 3) if by_row else x.permute(0, 3, 1, 2)
        batch, rows, channels, width = z.shape
        z = z.reshape(1, batch * rows, channels * width)
        if hasattr(self, "mu"):
            z = self.mu(z)
        z = self.linear(self.lstm(z)[0]).reshape(batch, rows, 2 * channels, width)
        out: Tensor = z.permute(0, 2, 1, 3) if by_row else z.permute(0, 2, 3, 1)
        return out

    def _mask(self, magnitude: Tensor) -> Tensor:
        x = self.input_norm(magnitude) if self.settings.normalize_input else magnitude
        skips = []
        for level in range(1, self.dialect.levels + 1):
            x, skip = self.get_submodule(f"down_{level}")(x)
            skips.append(skip)
        x = self._bottom(x)
        for level in range(1, self.dialect.levels + 1):
            x = self.get_submodule(f"up_{level}")(x, skips[-level])
        return self._activate(self.output_norm(self.soft_conv(x))).clamp(0.0, 1.0)

    def _activate(self, logits: Tensor) -> Tensor:
        match self.settings.mask_act_fn:
            case "relu":
                return F.relu(logits)
            case "hardtanh":
                return F.hardtanh(logits, 0.0, 1.0)
            case "tanh":
                return torch.tanh(logits)
            case "softmax":
                return torch.softmax(logits, dim=1)
            case "prelu":
                y: Tensor = self.mask_activation(logits)
                return y
            case "selu":
                return F.selu(logits)
            case "elu":
                return F.elu(logits)
            case _:
                return torch.sigmoid(logits)

    def estimate(self, mix: Tensor) -> MaskEstimate:
        """Map chunks ``(batch, channels, samples)``, at most one chunk long, to their stem."""
        check_batch(mix, channels=self.channels)
        samples, settings = mix.shape[-1], self.settings
        padded = F.pad(mix, (0, settings.samples - samples))
        spectrum = self.transform(padded)
        masks = self._mask(spectrum.abs())[:, None]
        stems = istft(
            masks * spectrum[:, None],
            n_fft=settings.num_fft,
            hop_length=settings.hop_length,
            win_length=settings.window_size,
            length=settings.samples,
        )
        return MaskEstimate(stems[..., :samples], masks, spectrum)

    def transform(self, audio: Tensor) -> Tensor:
        """Return the spectrum ``(..., bins, frames)`` of ``(..., samples)``, as masks see it."""
        return stft(
            audio,
            n_fft=self.settings.num_fft,
            hop_length=self.settings.hop_length,
            win_length=self.settings.window_size,
            pad_mode="reflect",
        )

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, 1, channels, samples)``."""
        if mix.shape[0] == 0 or mix.shape[-1] == 0:
            return mix.new_zeros(mix.shape[0], 1, *mix.shape[1:])
        pieces = [self.estimate(x).stems for x in mix.split(self.settings.samples, dim=-1)]
        return torch.cat(pieces, dim=-1)

    def train(self, mode: bool = True) -> "LegacyAuralflow":
        """Stay in evaluation mode."""
        super().train(mode=False)
        return self


def load_legacy_auralflow(
    checkpoint: str | os.PathLike[str], model: Mapping[str, Any]
) -> LegacyAuralflow:
    """Build the network of an auralflow session folder.

    Args:
        checkpoint: Its ``checkpoint.pth``; read without executing anything in it.
        model: The content of its ``model.json``.

    Raises:
        CheckpointError: If the checkpoint is damaged or does not fit ``model``.
        ConfigError: If ``model`` lacks a setting.
    """
    path = Path(checkpoint)
    weights = read_legacy_weights(path)
    known = {field.name for field in fields(LegacySettings)}
    given = {key: value for key, value in model.items() if key in known}
    if "model_type" not in given or not given.get("targets"):
        raise ConfigError("model.json", ["model_type and targets: these keys are missing."])
    given["targets"] = tuple(given["targets"])
    for name in ("normalize_input", "normalize_output"):
        given[name] = bool(given.get(name))  # the text "False" counted as true there, too
    network = LegacyAuralflow(LegacySettings(**given), LegacyDialect.of(weights))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: does not fit its model.json: {reason}") from None
    return network.eval()


def read_legacy_weights(path: Path) -> dict[str, Tensor]:
    """Return the best weights of an auralflow checkpoint.

    Raises:
        CheckpointError: If the file is damaged, or something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.")
    archive = Archive(path)
    content = archive.content
    weights = content.get("best_model") if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: not a checkpoint of auralflow.")
    return archive.tensors(
        {str(key): value for key, value in weights.items() if isinstance(value, StoredTensor)}
    )
