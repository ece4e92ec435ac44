"""Typed configuration: frozen dataclasses, JSON files, every error at once.

Nothing here imports torch. A configuration is read with :func:`read_config`, written with
:func:`write_config`, and validated as a whole, so that one run names all its problems.
"""

from sonograd.config.conv_tasnet import ConvTasNetConfig
from sonograd.config.dataset import AugmentationConfig
from sonograd.config.demucs import DemucsConfig, HTDemucsConfig, HybridDemucsConfig
from sonograd.config.io import parse_config, read_config, suggest, to_dict, validate, write_config
from sonograd.config.open_unmix import OpenUnmixConfig
from sonograd.config.output import SeparationRecord, SeparationSettings
from sonograd.config.roformer import BandSplitRoFormerConfig, MelBandRoFormerConfig
from sonograd.config.scnet import SCNetConfig
from sonograd.config.separators import (
    SeparatorConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
    TFCTDFUNetConfig,
)
from sonograd.config.training import TrainingConfig

__all__ = [
    "AugmentationConfig",
    "BandSplitRoFormerConfig",
    "ConvTasNetConfig",
    "DemucsConfig",
    "HTDemucsConfig",
    "HybridDemucsConfig",
    "MelBandRoFormerConfig",
    "OpenUnmixConfig",
    "SCNetConfig",
    "SeparationRecord",
    "SeparationSettings",
    "SeparatorConfig",
    "SpectrogramNetLSTMConfig",
    "SpectrogramNetSimpleConfig",
    "SpectrogramNetVAEConfig",
    "TFCTDFUNetConfig",
    "TrainingConfig",
    "parse_config",
    "read_config",
    "suggest",
    "to_dict",
    "validate",
    "write_config",
]
