"""The spectrogram U-Nets: soft masks on the magnitude of the mix, with the phase of the mix.

Their size, and their work per second of audio that they see in chunks of three seconds
(multiplications and additions count as one operation each), in mono with 16 hidden channels, both
normalizations and an FFT of 2048 with hop 1024 at 44.1 kHz:

========================  ============  =============
architecture              parameters    GFLOP/s audio
========================  ============  =============
SpectrogramNetSimple      7.69 million  1.22
SpectrogramNetLSTM        31.4 million  1.05
SpectrogramNetVAE         36.7 million  1.08
========================  ============  =============

Chunks with the default overlap see 1.4 seconds per second of song. With ``input_axis`` 0 the
recurrent ones need no projection of all frequencies: 23.6 and 24.9 million parameters.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.io import validate
from sonograd.config.separators import (
    SpectrogramNetConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
)
from sonograd.functional.spectral import istft, stft
from sonograd.separators.base import MaskEstimate, Separator
from sonograd.separators.blocks import PerBinAffine, UNet
from sonograd.separators.bottlenecks import ConvBottleneck, RecurrentBottleneck
from sonograd.separators.chunking import ChunkPlan
from sonograd.shapes import check_batch

if TYPE_CHECKING:
    from sonograd.config import SeparatorConfig

__all__ = [
    "SpectrogramNet",
    "SpectrogramNetLSTM",
    "SpectrogramNetSimple",
    "SpectrogramNetVAE",
    "mask_features",
]


def mask_features(spectrum: Tensor) -> Tensor:
    r"""Return what the network sees of a spectrum: compressed, leveled, standardized magnitudes.

    With the level :math:`\ell^2 = \sum_t P_t^2 / \sum_t P_t`, the energy-weighted mean of the
    frame powers :math:`P_t`, the features are :math:`(|X|^2 / \ell^2 + 10^{-8})^{0.15}`, shifted
    and scaled to energy-weighted mean 0 and variance 1 over each item. They do not depend on the
    gain of an item, nor on silence around it, and magnitudes of six decades stay within a few
    units. Silence gives zeros.

    Args:
        spectrum: Complex, ``(batch, channels, bins, frames)``.

    Returns:
        Real features of the same shape.
    """
    parts = torch.view_as_real(spectrum)
    peak = parts.detach().abs().amax(dim=(1, 2, 3, 4), keepdim=True)
    # The peak cancels below; dividing by it first keeps squares in range.
    power = (parts / torch.where(peak > 0, peak, 1.0)).square().sum(dim=-1)
    tiny = 1e-20
    frame_power = power.mean(dim=(1, 2), keepdim=True) + tiny
    weights = frame_power / frame_power.sum(dim=-1, keepdim=True)
    level = (weights * frame_power).sum(dim=-1, keepdim=True)
    compressed = (power / level + 1e-8) ** 0.15

    def mean(x: Tensor) -> Tensor:
        return (weights * x.mean(dim=(1, 2), keepdim=True)).sum(dim=-1, keepdim=True)

    centered = compressed - mean(compressed)
    return centered / torch.sqrt(mean(centered.square()) + 1e-4)


class SpectrogramNet(Separator):
    """What the three spectrogram U-Nets share; only the bottleneck differs.

    The mix is transformed, a U-Net of six levels turns :func:`mask_features` into one mask per
    stem and channel, and each stem is the inverse transform of its mask times the spectrum of the
    mix. Any number of samples is accepted. Masks do not depend on the gain of the mix, nor on the
    other items of the batch, in training and in evaluation.

    The masks are in [0, 1] with ``sigmoid``, ``tanh`` (which is mapped to ``(1 + tanh) / 2``) and
    ``softmax`` (over the targets, so that the stems add up to the mix); with ``relu`` they have
    no upper limit, and with ``leaky_relu`` they may also be slightly negative. None is clamped,
    so that none loses its gradient. The topmost bin shares the mask of the bin below it, so that
    the network sees ``num_fft // 2`` bins.
    """

    def __init__(self, config: SpectrogramNetConfig, bottleneck: nn.Module) -> None:
        """Build the network around its ``bottleneck``."""
        super().__init__()
        self.stems = config.targets
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self.plan = _chunk_plan(config)
        bins = config.num_fft // 2
        stems = len(config.targets)
        self._settings = config
        self.input_norm = PerBinAffine(bins) if config.normalize_input else nn.Identity()
        self.output_norm = PerBinAffine(bins, stems) if config.normalize_output else nn.Identity()
        self.unet = UNet(
            config.num_channels,
            stems * config.num_channels,
            config.num_hidden_channels,
            config.dropout_p,
            bottleneck,
        )

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        return self.estimate(mix).stems

    def estimate(self, mix: Tensor) -> MaskEstimate:
        """Return the stems of ``mix`` with the masks, the spectrum and the latent behind them.

        Args:
            mix: ``(batch, channels, samples)``, any number of samples.

        Raises:
            ShapeError: If ``mix`` has another layout or number of channels.
        """
        check_batch(mix, channels=self.channels)
        with torch.autocast(mix.device.type, enabled=False):
            spectrum = self.transform(mix)
            features = mask_features(spectrum)[..., :-1, :]
        logits, latent = self._network(features)
        with torch.autocast(mix.device.type, enabled=False):
            masks = self._activate(logits.to(features.dtype))
            stems = self._inverse(masks * spectrum.unsqueeze(1), mix.shape[-1])
        return MaskEstimate(stems.to(mix.dtype), masks, spectrum, latent)

    def _network(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Return logits ``(batch, stems * channels, bins, frames)`` and the latent."""
        features = features.to(self.unet.head.weight.dtype)
        logits, latent = self.unet(self.input_norm(features))
        return self.output_norm(logits), latent

    def _activate(self, logits: Tensor) -> Tensor:
        """Turn logits into masks ``(batch, stems, channels, bins, frames)``."""
        logits = logits.unflatten(1, (len(self.stems), self.channels))
        logits = torch.cat([logits, logits[..., -1:, :]], dim=-2)
        match self._settings.mask_act_fn:
            case "sigmoid":
                return torch.sigmoid(logits)
            case "softmax":
                return torch.softmax(logits, dim=1)
            case "tanh":
                return 0.5 * (1.0 + torch.tanh(logits))
            case "relu":
                return F.relu(logits)
            case "leaky_relu":
                return F.leaky_relu(logits, self._settings.leak_factor)

    def transform(self, audio: Tensor) -> Tensor:
        """Return the spectrum ``(..., bins, frames)`` of ``(..., samples)``, as masks see it."""
        settings = self._settings
        # Silence around the signal, and as many frames as it takes to restore its last sample.
        return stft(
            audio,
            n_fft=settings.num_fft,
            hop_length=settings.hop_length,
            win_length=settings.window_size,
            pad_mode="constant",
            pad_end=True,
        )

    def _inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        return istft(
            spectrum,
            n_fft=self._settings.num_fft,
            hop_length=self._settings.hop_length,
            win_length=self._settings.window_size,
            length=samples,
        )


class SpectrogramNetSimple(SpectrogramNet):
    """The U-Net with three residual blocks in its bottleneck."""

    def __init__(self, config: SpectrogramNetSimpleConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        config = validate(config or SpectrogramNetSimpleConfig(), source="SpectrogramNetSimple")
        super().__init__(config, ConvBottleneck(_deepest(config)))
        self.config: SeparatorConfig | None = config


class SpectrogramNetLSTM(SpectrogramNet):
    """The U-Net with a recurrence over time, or over frequency, in its bottleneck."""

    def __init__(self, config: SpectrogramNetLSTMConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        config = validate(config or SpectrogramNetLSTMConfig(), source="SpectrogramNetLSTM")
        super().__init__(config, _recurrent(config, variational=False))
        self.config: SeparatorConfig | None = config


class SpectrogramNetVAE(SpectrogramNet):
    """The recurrent U-Net over a Gaussian latent, which is drawn only in training.

    :meth:`estimate` returns the latent, for a criterion that regularizes it.
    """

    def __init__(self, config: SpectrogramNetVAEConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        config = validate(config or SpectrogramNetVAEConfig(), source="SpectrogramNetVAE")
        super().__init__(config, _recurrent(config, variational=True))
        self.config: SeparatorConfig | None = config


def _deepest(config: SpectrogramNetConfig) -> int:
    """Return the maps that reach the bottleneck."""
    return config.num_hidden_channels * UNet.levels[-1].widening


def _recurrent(
    config: SpectrogramNetLSTMConfig | SpectrogramNetVAEConfig, *, variational: bool
) -> RecurrentBottleneck:
    return RecurrentBottleneck(
        _deepest(config),
        -(-(config.num_fft // 2) // UNet.bin_stride),
        hidden_size=config.hidden_size,
        recurrent_depth=config.recurrent_depth,
        dropout_p=config.dropout_p,
        input_axis=config.input_axis,
        variational=variational,
    )


def _chunk_plan(config: SpectrogramNetConfig) -> ChunkPlan:
    """Keep ``sample_length`` seconds of each chunk, with context up to whole strides of frames.

    The network rounds its frames up to a multiple of its stride on its lowest levels; there, real
    context costs no more than those zeros. At least one FFT length of context lies on either side.
    Chunks overlap by about a quarter, and start where the frames, and if it can be the strides, of
    their neighbors lie.
    """
    frame, stride = config.hop_length, config.hop_length * UNet.frame_stride
    length = max(round(config.sample_length * config.sample_rate), 1)
    context = -(-config.num_fft // frame)
    frames = -(-length // frame) + 2 * context + 1
    context += -frames % UNet.frame_stride // 2
    hop = 3 * length // 4
    grid = stride if hop >= stride else frame
    hop = hop // grid * grid or length
    return ChunkPlan(length=length, hop=hop, context=context * frame, grid=grid)
