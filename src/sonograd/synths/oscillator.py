"""The plain waves."""

from typing import Any, Literal

import torch
from torch import Tensor

from sonograd.functional._settings import check_option
from sonograd.functional.oscillators import oscillator
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["Oscillator"]

SHAPES = ("sine", "saw", "square", "triangle")


class Oscillator(Synth):
    """A sine, or a saw, square or triangle without audible aliases.

    See :func:`~sonograd.functional.oscillator`. The phase is accumulated in float64: an hour stays
    in tune.

    Attributes:
        shape: ``"sine"``, ``"saw"``, ``"square"`` or ``"triangle"``.
    """

    params = (
        Param("frequency_hz", "Hz", 0.1, 20_000, 440, "log", moves=True),
        Param("amplitude", "1", 0, 2, 1, moves=True),
        Param("phase_turns", "turns", 0, 1, 0),
        Param("pulse_width", "1", 0.02, 0.98, 0.5, moves=True),
    )

    def __init__(
        self, sample_rate: float, *, shape: Literal["sine", "saw", "square", "triangle"] = "sine"
    ) -> None:
        """Choose the shape of the wave; ``pulse_width`` belongs to the square alone."""
        super().__init__(sample_rate)
        check_option(shape, "shape", SHAPES)
        self.shape = shape
        if shape != "square":
            self.declare(self.params[:-1])

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Go on from the phase that the block before has reached."""
        frequency = values.scalar("frequency_hz").expand(-1, samples)
        start = values.scalar("phase_turns")[:, 0] if state.memory is None else state.memory
        y = oscillator(
            frequency,
            sample_rate=self.sample_rate,
            shape=self.shape,
            phase=start,
            pulse_width=values.scalar("pulse_width") if self.shape == "square" else 0.5,
        )
        end = torch.remainder(start + (frequency / self.sample_rate).sum(-1), 1.0)
        return values.scalar("amplitude") * y, end
