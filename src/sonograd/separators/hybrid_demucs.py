"""Hybrid Demucs (v3): a U-Net on the spectrum and one on the waveform, joined in the middle.

Défossez, *Hybrid spectrogram and waveform source separation*, 2021 (arXiv:2111.03600).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sonograd.config.demucs import HybridDemucsConfig
from sonograd.config.io import validate
from sonograd.separators.hybrid import HybridSeparator
from sonograd.separators.hybrid_published import (
    HYBRID_DEFAULTS,
    HYBRID_RULES,
    demucs_plan,
    hybrid_values,
)
from sonograd.separators.published import published_arguments, rename

__all__ = ["HybridDemucs"]


class HybridDemucs(HybridSeparator):
    """Demucs v3, see the module; the deepest maps go from the encoder straight to the decoder."""

    config: HybridDemucsConfig

    def __init__(self, config: HybridDemucsConfig | None = None) -> None:
        """Build the network; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        config = validate(config or HybridDemucsConfig(), source="HybridDemucs")
        super().__init__(config)
        self.plan = demucs_plan(config.sample_length, config.sample_rate)

    def bottom(self, x: Tensor, wave: Tensor) -> tuple[None, None]:
        """Let the decoders start from nothing: everything goes through the skips."""
        return None, None


def config_from_published(kwargs: Mapping[str, Any]) -> HybridDemucsConfig:
    """Return what the arguments of the published ``HDemucs`` class mean here.

    Raises:
        ConfigError: If they ask for what this model does not have; with all problems at once.
    """
    given = published_arguments(
        kwargs,
        defaults={
            **HYBRID_DEFAULTS, "hybrid_old": False, "depth": 6, "time_stride": 2,
            "dconv_comp": 4, "dconv_attn": 4, "dconv_lstm": 4, "segment": 40, "channels_time": None,
            "multi_freqs": None, "multi_freqs_depth": 2,
        },
        ignored={"emb_smooth", "end_iters"},
        required={"hybrid": True},
        source="HDemucs",
    )  # fmt: skip
    return HybridDemucsConfig(
        **hybrid_values(given),
        legacy_padding=given["hybrid_old"],
        time_stride=given["time_stride"],
        branch_attention_starts=given["dconv_attn"],
        branch_lstm_starts=given["dconv_lstm"],
        num_hidden_time_channels=given["channels_time"] or 0,
        band_edges=given["multi_freqs"] or (),
        banded_layers=given["multi_freqs_depth"],
    )


def convert_state(state: Mapping[str, Tensor], config: HybridDemucsConfig) -> dict[str, Tensor]:
    """Return the tensors of a published state dict under the names of :class:`HybridDemucs`."""
    del config
    return rename(state, HYBRID_RULES)
