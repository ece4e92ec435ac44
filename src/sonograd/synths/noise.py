"""Noise of any color."""

from typing import Any

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.noise import filtered_noise
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["FilteredNoise"]


class FilteredNoise(Synth):
    """White noise through a filter that changes over time.

    See :func:`~sonograd.functional.filtered_noise`. The gains are read at every ``hop_length``-th
    sample; filters in between are crossfaded.

    Attributes:
        bands: Number of gains, evenly spaced from 0 Hz to half the sample rate.
        hop_length: Samples between two filters.
    """

    params = (
        Param("amplitude", "1", 0, 2, 0.2, moves=True),
        Param("magnitudes", "1", 0, 2, 1, moves=True),
    )
    random = True

    def __init__(self, sample_rate: float, *, bands: int = 65, hop_length: int = 64) -> None:
        """Choose the resolution in frequency and in time."""
        super().__init__(sample_rate)
        if bands < 2:
            raise ParameterError(f"bands is {bands}; expected at least 2")
        if hop_length < 1:
            raise ParameterError(f"hop_length is {hop_length}; expected at least 1")
        self.bands = bands
        self.hop_length = hop_length
        self.declare(self.params, {"magnitudes": [1.0] * bands})

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Noise has no memory: any stretch of it can be computed alone."""
        assert state.seed is not None
        reach = self.bands - 1
        first = max((state.position - reach) // self.hop_length - 2, 0)
        last = (state.position + samples + reach) // self.hop_length + 2
        places = torch.arange(first, last + 1, device=values.device) * self.hop_length
        magnitudes = values.at("magnitudes", places).to(values.dtype)
        magnitudes = magnitudes.expand(-1, self.bands, -1).mT
        y = filtered_noise(
            state.seed.to(values.device),
            magnitudes,
            samples,
            hop_length=self.hop_length,
            start=state.position,
            first_frame=first,
        )
        return values.scalar("amplitude") * y, None
