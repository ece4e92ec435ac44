"""Operators that modulate each other's phase."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_option
from sonograd.functional.fm import feedback_sine
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["ALGORITHMS", "FM"]

#: Who modulates whom: for each operator its modulators, which have higher numbers (from 0).
ALGORITHMS: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {
        "pair": ((1,), ()),
        "stack": ((1,), (2,), (3,), ()),
        "pairs": ((1,), (), (3,), ()),
        "branch": ((1, 2, 3), (), (), ()),
        "shared": ((3,), (3,), (3,), ()),
        "parallel": ((), (), (), ()),
        "six": ((1,), (), (3,), (), (5,), ()),
    }
)
_FADE = 0.025  # of the sample rate: where operators fade out below half of it


class FM(Synth):
    r"""Sines that modulate the phases of sines, the last one also its own.

    .. math:: y_i = \sin\Big(2 \pi \int r_i f\,dt + \sum_{j \in M_i} L_j y_j\Big)

    and the sound is :math:`A \sum L_i y_i` over the operators that modulate no other (J. Chowning,
    *The synthesis of complex audio spectra by means of frequency modulation*, JAES 21(7), 1973).
    The last operator feeds back into itself (:func:`~sonograd.functional.feedback_sine`).

    By Carson's rule a modulator of frequency :math:`f_m` and index :math:`I` reaches
    :math:`(I + 1) f_m` beyond what it modulates; ``limit`` holds the index where that would pass
    half the sample rate. Feedback is not limited.

    Attributes:
        algorithm: A name in :data:`ALGORITHMS`, or modulators of each operator.
        limit: Whether the index is held.
    """

    params = (
        Param("frequency_hz", "Hz", 0.1, 20_000, 220, "log", moves=True),
        Param("amplitude", "1", 0, 2, 0.5, moves=True),
        Param("ratios", "1", 0.05, 32, 1, "log", moves=True),
        Param("levels", "1", 0, 20, 1, moves=True),
        Param("feedback", "rad", 0, 3, 0, moves=True),
        Param("phase_turns", "turns", 0, 1, 0),
    )

    def __init__(
        self,
        sample_rate: float,
        *,
        algorithm: Literal["pair", "stack", "pairs", "branch", "shared", "parallel", "six"]
        | tuple[tuple[int, ...], ...] = "pair",
        limit: bool = True,
    ) -> None:
        """Choose who modulates whom.

        Args:
            sample_rate: Of the sound, in Hz.
            algorithm: A name, or one tuple for each operator with the numbers of its modulators,
                which are higher than its own, from 0.
            limit: Hold the index of modulation where sidebands would alias.
        """
        super().__init__(sample_rate)
        if isinstance(algorithm, str):
            check_option(algorithm, "algorithm", tuple(ALGORITHMS))
            modulators = ALGORITHMS[algorithm]
        else:
            modulators = tuple(tuple(row) for row in algorithm)
        _check_modulators(modulators)
        self.algorithm = algorithm
        self.limit = limit
        self._modulators = modulators
        used = {j for row in modulators for j in row}
        self._carriers = tuple(i for i in range(len(modulators)) if i not in used)
        self.declare(
            self.params,
            {
                "ratios": [1.0] * len(modulators),
                "levels": [
                    1 / len(self._carriers) if i in self._carriers else 1.0
                    for i in range(len(modulators))
                ],
            },
        )

    @property
    def operators(self) -> int:
        """How many sines there are."""
        return len(self._modulators)

    @property
    def carriers(self) -> tuple[int, ...]:
        """Numbers of the operators that are heard."""
        return self._carriers

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Play the operators from the last to the first."""
        frequency = values.scalar("frequency_hz").unsqueeze(1)
        own = (values.value("ratios") * frequency).expand(-1, self.operators, samples)
        step = own / self.sample_rate
        if state.memory is None:
            start = values.scalar("phase_turns").expand(-1, self.operators)
            past = None
        else:
            start, past = state.memory
        moved = step.cumsum(-1)
        turns = torch.remainder(start.unsqueeze(-1) + moved - step, 1.0)
        end = torch.remainder(start + moved[..., -1], 1.0)
        levels = values.value("levels").expand(-1, self.operators, -1)
        heard = ((0.5 - step) / _FADE).clamp(0, 1)
        y: dict[int, Tensor] = {}
        reach: dict[int, Tensor] = {}
        for i in reversed(range(self.operators)):
            swing, reach[i] = self._modulation(i, own, levels, y, reach)
            phase = turns[:, i] + swing / (2 * torch.pi)
            if i == self.operators - 1:
                tone, past = feedback_sine(phase, values.scalar("feedback"), past=past)
            else:
                tone = (2 * torch.pi * torch.remainder(phase, 1.0)).sin()
            y[i] = heard[:, i] * tone
        total = sum((levels[:, i] * y[i] for i in self._carriers), values.zeros(1, 1))
        return values.scalar("amplitude") * total, (end, past)

    def _modulation(
        self, i: int, own: Tensor, levels: Tensor, y: dict[int, Tensor], reach: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What is added to the phase of an operator, and the highest frequency of the result."""
        swing, top = torch.zeros_like(own[:, i]), own[:, i].detach()
        modulators = self._modulators[i]
        if not modulators:
            return swing, top
        first = torch.stack([reach[j] for j in modulators]).sum(0)
        wide = torch.stack([levels[:, j].detach() * reach[j] for j in modulators]).sum(0)
        scale = torch.ones_like(top)
        if self.limit:
            room = self.sample_rate / 2 - top - first
            scale = (room / wide.clamp_min(1e-9)).clamp(0, 1)
        for j in modulators:
            swing = swing + scale * levels[:, j] * y[j]
        return swing, top + first + scale * wide


def _check_modulators(modulators: tuple[tuple[int, ...], ...]) -> None:
    if not modulators:
        raise ParameterError("algorithm has no operators; expected at least one, like ((1,), ())")
    for i, row in enumerate(modulators):
        for j in row:
            if not i < j < len(modulators):
                raise ParameterError(
                    f"algorithm: operator {i} has the modulator {j}; expected a number from "
                    f"{i + 1} to {len(modulators) - 1}"
                )
