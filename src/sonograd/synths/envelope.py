"""The level of a note over time."""

from typing import Any

from torch import Tensor

from sonograd.functional.envelopes import adsr
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["Envelope"]


class Envelope(Synth):
    """Attack, decay, sustain and release, with gradients to their times.

    See :func:`~sonograd.functional.adsr`. Multiply another instrument's sound by it, or steer a
    parameter with it: ``Curve(envelope(samples)[:, 0])``.
    """

    params = (
        Param("attack_s", "s", 0.0005, 10, 0.01, "log"),
        Param("decay_s", "s", 0.001, 20, 0.2, "log"),
        Param("sustain", "1", 0, 1, 0.7),
        Param("release_s", "s", 0.001, 20, 0.1, "log"),
        Param("gate_s", "s", 0, 3600, 1),
        Param("amplitude", "1", 0, 2, 1),
    )

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Draw the next part of the curve."""
        attack, decay, sustain, release, gate = (
            values.scalar(param.name)[:, 0] for param in self.params[:-1]
        )
        level = adsr(
            samples,
            sample_rate=self.sample_rate,
            attack_s=attack,
            decay_s=decay,
            sustain=sustain,
            release_s=release,
            gate_s=gate,
            start=state.position,
            dtype=values.dtype,
        )
        return values.scalar("amplitude") * level, None
