"""Sums of harmonics, or of nearly harmonic partials."""

from typing import Any

from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.partials import additive_stream, inharmonic_ratios
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["Harmonic"]


class Harmonic(Synth):
    r"""Harmonics of one frequency, with a distribution of loudness among them.

    .. math:: y = A \sum_k \frac{d_k}{\sum_j d_j} \sin 2 \pi \Big(\varphi + r_k \int f\,dt\Big)

    with :math:`r_k = k \sqrt{1 + B k^2}` (:func:`~sonograd.functional.inharmonic_ratios`).
    Partials above half the sample rate are silent, and fade over the last 5 % below it; the others
    do not grow for it (:func:`~sonograd.functional.partials`). The parameters are those of
    J. Engel et al., *DDSP: differentiable digital signal processing*, ICLR 2020.

    Attributes:
        harmonics: Number of partials.
    """

    params = (
        Param("frequency_hz", "Hz", 0.1, 20_000, 440, "log", moves=True),
        Param("amplitude", "1", 0, 2, 1, moves=True),
        Param("distribution", "1", 0, 1, 0.5, moves=True),
        Param("inharmonicity", "1", 0, 0.02, 0, moves=True),
        Param("phase_turns", "turns", 0, 1, 0),
    )

    def __init__(self, sample_rate: float, *, harmonics: int = 64) -> None:
        """Choose the number of partials; the default distribution is that of a saw."""
        super().__init__(sample_rate)
        if harmonics < 1:
            raise ParameterError(f"harmonics is {harmonics}; expected at least 1")
        self.harmonics = harmonics
        self.declare(self.params, {"distribution": [1 / k for k in range(1, harmonics + 1)]})

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Go on from the phases that the block before has reached."""
        distribution = values.value("distribution").to(values.dtype)
        total = distribution.sum(-2, keepdim=True)
        shares = distribution / total.clamp_min(1e-9)
        stiffness, ratios = values.scalar("inharmonicity"), None
        if stiffness.requires_grad or bool((stiffness != 0).any()):
            # (batch, 1 or samples) becomes (batch, partials, 1 or samples).
            ratios = inharmonic_ratios(self.harmonics, stiffness).mT
        start = values.scalar("phase_turns") if state.memory is None else state.memory
        y, end = additive_stream(
            values.scalar("frequency_hz").expand(-1, samples),
            shares,
            sample_rate=self.sample_rate,
            ratios=ratios,
            phase=start.expand(-1, self.harmonics),
        )
        return values.scalar("amplitude") * y, end
