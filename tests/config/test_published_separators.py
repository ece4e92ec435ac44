"""Configurations of the published models say what contradicts itself, with a remedy."""

import pytest

from sonograd.config import (
    ConvTasNetConfig,
    DemucsConfig,
    HTDemucsConfig,
    HybridDemucsConfig,
    OpenUnmixConfig,
    SeparatorConfig,
    parse_config,
    to_dict,
)
from sonograd.errors import ConfigError


@pytest.mark.parametrize(
    "kind", [ConvTasNetConfig, DemucsConfig, HTDemucsConfig, HybridDemucsConfig, OpenUnmixConfig]
)
def test_round_trip(kind):
    config = kind()
    assert parse_config(to_dict(config), SeparatorConfig) == config


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DemucsConfig, {"stride": 9}, "stride: 9 is more than kernel_size"),
        (DemucsConfig, {"norm_groups": 5}, "norm_groups: 5 does not divide 1024"),
        (DemucsConfig, {"branch_compression": 3.0}, "for 4 heads of attention"),
        (DemucsConfig, {"num_hidden_channels": 2}, "leaves none of 2 maps; expected at most 2"),
        (DemucsConfig, {"targets": ("a", "a")}, "'a' is listed twice"),
        (HybridDemucsConfig, {"num_fft": 2048}, "branches meet at steps of"),
        (HybridDemucsConfig, {"band_edges": [0.5, 0.2]}, "leave a band without rows in layer 0"),
        (HybridDemucsConfig, {"band_edges": [0.001]}, "band_edges: 0.001 leave a band without"),
        (HybridDemucsConfig, {"band_edges": [0.5], "banded_layers": 5}, "are normalized over all"),
        (
            HybridDemucsConfig,
            {"band_edges": [0.5], "banded_layers": 5, "norm_starts": 9},
            "banded_layers: 5; expected at most 4",
        ),
        (HybridDemucsConfig, {"num_fft": 1028}, "1028 is no multiple of 8"),
        (HybridDemucsConfig, {"depth": 3}, "the branches never meet"),
        (HybridDemucsConfig, {"stride": 2}, "kernel_size: 8 is not twice the stride"),
        (HTDemucsConfig, {"depth": 5}, "depth: 5 layers leave one row"),
        (HTDemucsConfig, {"transformer_heads": 7}, "7 heads do not share 512 features"),
        (OpenUnmixConfig, {"hop_length": 4000}, "expected at most 2048"),
        (OpenUnmixConfig, {"max_bin": 3000}, "max_bin: 3000 is more than the bins"),
        (OpenUnmixConfig, {"num_fft": 4097}, "4097 is odd"),
        (OpenUnmixConfig, {"residual_target": "vocals"}, "'vocals' is listed twice"),
        (ConvTasNetConfig, {"hop_length": 20}, "so that samples would be left out"),
        (ConvTasNetConfig, {"causal": True}, "a causal model needs 'channel' or 'cumulative'"),
        (ConvTasNetConfig, {"kernel_size": 4}, "4 is even"),
    ],
)
def test_contradictions(kind, values, message):
    with pytest.raises(ConfigError, match=message):
        kind(**values)
