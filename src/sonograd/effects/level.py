"""Level and stereo image: gain, pan, width, mid and side, delay of channels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sonograd.effects.base import Effect
from sonograd.functional import db_to_amplitude
from sonograd.params import Param

__all__ = [
    "Gain",
    "LinearGain",
]


class LinearGain(nn.Module):
    """A gain that owns its value: ``gain * x``, for any shape of input."""

    gain: nn.Parameter

    def __init__(self, gain: float = 1.0) -> None:
        """Start from ``gain``, a factor; negative ones turn the polarity."""
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``gain * x``."""
        return self.gain * x

    def values(self) -> dict[str, Any]:
        """Return the gain in dB."""
        return {"gain_db": 20 * torch.log10(self.gain.abs())}


class Gain(Effect):
    """Louder or quieter: ``y = 10^(gain_db / 20) x``, with turned polarity if ``invert``."""

    params = (Param("gain_db", "dB", -60.0, 24.0, 0.0, moves=True),)

    def __init__(self, sample_rate: float, *, invert: bool = False) -> None:
        """Choose the polarity."""
        super().__init__(sample_rate)
        self.invert = invert

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply."""
        gain = db_to_amplitude(values["gain_db"]).to(x.dtype)
        return (-gain if self.invert else gain) * x, None
