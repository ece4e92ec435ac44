"""Attention over time and over bands that lie side by side.

Lu et al., "Music source separation with band-split RoPE transformer" (arXiv:2309.02612).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sonograd.config.io import validate
from sonograd.config.roformer import BandSplitRoFormerConfig
from sonograd.separators.roformer import RoFormer
from sonograd.separators.roformer_weights import convert_roformer, published_values

__all__ = ["BandSplitRoFormer", "config_from_published", "convert_state"]


def side_by_side(bins_per_band: Sequence[int]) -> list[list[int]]:
    """Return the bins of bands that lie side by side.

    >>> side_by_side([2, 1])
    [[0, 1], [2]]
    """
    bands, begin = [], 0
    for count in bins_per_band:
        bands.append(list(range(begin, begin + count)))
        begin += count
    return bands


class BandSplitRoFormer(RoFormer):
    """The network with bands side by side."""

    config: BandSplitRoFormerConfig

    def __init__(self, config: BandSplitRoFormerConfig) -> None:
        """Build the model with random weights.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        config = validate(config, source="BandSplitRoFormer")
        super().__init__(config, side_by_side(config.bins_per_band), normalize=False)
        self.config = config


def convert_state(
    state: Mapping[str, Tensor], config: BandSplitRoFormerConfig
) -> dict[str, Tensor]:
    """Return published tensors under the names, and in the layout, of :class:`BandSplitRoFormer`.

    Raises:
        CheckpointError: If weights of a band are missing, or positions differ between layers.
    """
    return convert_roformer(state, config, config.bins_per_band)


def config_from_published(kwargs: Mapping[str, Any]) -> BandSplitRoFormerConfig:
    """Return what the arguments of the published ``BSRoformer`` class mean here.

    Besides these, ``sources``, ``sample_rate``, ``chunk_size`` (in samples) and ``num_overlap``
    are taken.

    Raises:
        ConfigError: With every problem at once.
    """
    own = BandSplitRoFormerConfig()
    fields, given = published_values(
        kwargs,
        defaults={
            "freqs_per_bands": own.bins_per_band,
            "mask_estimator_depth": 2,
        },
        source="BandSplitRoFormer",
    )
    return validate(
        BandSplitRoFormerConfig(
            **fields,
            bins_per_band=given["freqs_per_bands"],
            mask_depth=given["mask_estimator_depth"] - 1,
        ),
        source="BandSplitRoFormer",
    )
