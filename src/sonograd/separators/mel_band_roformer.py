"""Attention over time and over bands that overlap as mel filters do.

Wang et al., "Mel-Band RoFormer for music source separation" (arXiv:2310.01809).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sonograd.config.io import validate
from sonograd.config.roformer import MelBandRoFormerConfig
from sonograd.errors import ParameterError
from sonograd.functional.filterbanks import mel_filterbank
from sonograd.separators.roformer import RoFormer
from sonograd.separators.roformer_weights import convert_roformer, published_values

__all__ = ["MelBandRoFormer", "config_from_published", "convert_state"]


def mel_bands(num_bands: int, num_fft: int, sample_rate: int) -> list[list[int]]:
    """Return the bins that each of a bank of mel filters lets through.

    Raises:
        ParameterError: If some bin is in no band, or some band has no bin.
    """
    with torch.device("cpu"):
        bank = mel_filterbank(
            sample_rate=sample_rate, n_fft=num_fft, n_mels=num_bands, dtype=torch.float64
        )
        bank[0, 0] = bank[-1, -1] = 1.0  # the ends, where triangles are zero
        passes = bank > 0
        if not passes.any(0).all() or not passes.any(1).all():
            raise ParameterError(
                f"{num_bands} mel bands are too many for an FFT of {num_fft} samples at "
                f"{sample_rate} Hz; expected fewer, so that each has a bin"
            )
        return [torch.nonzero(row).flatten().tolist() for row in passes]


class MelBandRoFormer(RoFormer):
    """The network with overlapping bands; it gives back every sample, up to the last."""

    config: MelBandRoFormerConfig

    def __init__(self, config: MelBandRoFormerConfig) -> None:
        """Build the model with random weights.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
            ParameterError: If there are more bands than bins at low frequencies.
        """
        config = validate(config, source="MelBandRoFormer")
        bands = mel_bands(config.num_bands, config.num_fft, config.sample_rate)
        super().__init__(config, bands, normalize=True)
        self.config = config


def convert_state(state: Mapping[str, Tensor], config: MelBandRoFormerConfig) -> dict[str, Tensor]:
    """Return published tensors under the names, and in the layout, of :class:`MelBandRoFormer`.

    Raises:
        CheckpointError: If weights of a band are missing, or positions differ between layers.
    """
    bands = mel_bands(config.num_bands, config.num_fft, config.sample_rate)
    return convert_roformer(state, config, [len(band) for band in bands])


def config_from_published(kwargs: Mapping[str, Any]) -> MelBandRoFormerConfig:
    """Return what the arguments of the published ``MelBandRoformer`` class mean here.

    Besides these, ``sources``, ``sample_rate``, ``chunk_size`` (in samples) and ``num_overlap``
    are taken.

    Raises:
        ConfigError: With every problem at once.
    """
    fields, given = published_values(
        kwargs,
        defaults={"num_bands": 60, "mask_estimator_depth": 1},
        source="MelBandRoFormer",
    )
    return validate(
        MelBandRoFormerConfig(
            **fields,
            num_bands=given["num_bands"],
            mask_depth=given["mask_estimator_depth"],
        ),
        source="MelBandRoFormer",
    )
