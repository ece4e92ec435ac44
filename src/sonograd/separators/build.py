"""From a configuration to its model."""

from typing import assert_never

from sonograd.config import (
    BandSplitRoFormerConfig,
    ConvTasNetConfig,
    DemucsConfig,
    HTDemucsConfig,
    HybridDemucsConfig,
    MelBandRoFormerConfig,
    OpenUnmixConfig,
    SCNetConfig,
    SeparatorConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
    TFCTDFUNetConfig,
)
from sonograd.separators.band_split_roformer import BandSplitRoFormer
from sonograd.separators.base import Separator
from sonograd.separators.conv_tasnet import ConvTasNet
from sonograd.separators.default import TFCTDFUNet
from sonograd.separators.demucs import Demucs
from sonograd.separators.htdemucs import HTDemucs
from sonograd.separators.hybrid_demucs import HybridDemucs
from sonograd.separators.mel_band_roformer import MelBandRoFormer
from sonograd.separators.open_unmix import OpenUnmix
from sonograd.separators.scnet import SCNet
from sonograd.separators.unet import SpectrogramNetLSTM, SpectrogramNetSimple, SpectrogramNetVAE

__all__ = ["build_separator"]


def build_separator(config: SeparatorConfig) -> Separator:
    """Return a freshly initialized model for ``config``, in training mode.

    Raises:
        ConfigError: If ``config`` is not valid; with all problems at once.
    """
    match config:
        case SpectrogramNetSimpleConfig():
            return SpectrogramNetSimple(config)
        case SpectrogramNetLSTMConfig():
            return SpectrogramNetLSTM(config)
        case SpectrogramNetVAEConfig():
            return SpectrogramNetVAE(config)
        case TFCTDFUNetConfig():
            return TFCTDFUNet(config)
        case SCNetConfig():
            return SCNet(config)
        case OpenUnmixConfig():
            return OpenUnmix(config)
        case DemucsConfig():
            return Demucs(config)
        case HybridDemucsConfig():
            return HybridDemucs(config)
        case HTDemucsConfig():
            return HTDemucs(config)
        case ConvTasNetConfig():
            return ConvTasNet(config)
        case BandSplitRoFormerConfig():
            return BandSplitRoFormer(config)
        case MelBandRoFormerConfig():
            return MelBandRoFormer(config)
        case _:
            assert_never(config)
