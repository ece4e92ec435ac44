"""Bars, bells, plates and bodies: what rings in modes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._settings import check_option
from sonograd.functional.modal import modal_decay, modal_filter
from sonograd.params import Param
from sonograd.shapes import check_audio
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["MODES", "Modal"]

#: Frequencies of the modes of some bodies, relative to the first.
MODES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        # Free bar: ((2 k + 1) / 3.0112) ** 2, k > 1 (N. Fletcher and T. Rossing, *The Physics of
        # Musical Instruments*, section 2.14); membrane: zeros of Bessel functions, section 3.3.
        "bar": (1.0, 2.7565, 5.4039, 8.9330, 13.3443, 18.6379, 24.8137, 31.8717),
        "marimba": (1.0, 3.93, 9.54, 16.7, 25.0),
        "membrane": (1.0, 1.5934, 2.1356, 2.2954, 2.6531, 2.9173, 3.1555, 3.5002, 3.5985, 3.6475),
        "bell": (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.667, 3.0, 4.0, 5.333),
        "harmonic": tuple(float(k) for k in range(1, 17)),
    }
)


class Modal(Synth):
    """A struck body: decaying partials at any frequencies.

    See :func:`~sonograd.functional.modal_decay`; J.-M. Adrien, *The missing link: modal synthesis*,
    1991. :meth:`drive` lets another sound excite it.

    Attributes:
        body: Where the default ratios come from.
        modes: Number of modes.
    """

    params = (
        Param("frequency_hz", "Hz", 20, 20_000, 330, "log"),
        Param("amplitude", "1", 0, 2, 0.5),
        Param("ratios", "1", 0.1, 64, 1, "log"),
        Param("levels", "1", 0, 1, 0.5),
        Param("decays_s", "s", 0.005, 60, 1, "log"),
    )

    def __init__(
        self,
        sample_rate: float,
        *,
        body: Literal["bar", "marimba", "membrane", "bell", "harmonic"] = "bar",
        modes: int | None = None,
    ) -> None:
        """Choose a body, or its number of modes (those it lacks lie ever higher)."""
        super().__init__(sample_rate)
        check_option(body, "body", tuple(MODES))
        ratios = list(MODES[body])
        if modes is not None and modes < 1:
            raise ParameterError(f"modes is {modes}; expected at least 1")
        self.body = body
        self.modes = len(ratios) if modes is None else modes
        while len(ratios) < self.modes:
            ratios.append(ratios[-1] + ratios[-1] / len(ratios))
        ratios = ratios[: self.modes]
        self.declare(
            self.params,
            {
                "ratios": ratios,
                "levels": [1 / (1 + k) for k in range(self.modes)],
                "decays_s": [2.0 / max(ratio, 1.0) for ratio in ratios],
            },
        )

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Every sample is known in closed form."""
        frequencies, decays, levels = self._modes(values)
        y = modal_decay(
            frequencies,
            decays,
            levels.to(values.dtype),
            samples,
            sample_rate=self.sample_rate,
            start=state.position,
        )
        return values.scalar("amplitude") * y, None

    def drive(self, excitation: Tensor, **values: Any) -> Tensor:
        """Let a sound excite the body, as a bow or a loudspeaker would.

        Args:
            excitation: ``(batch, 1, samples)``.
            **values: As in calling.

        Returns:
            ``(batch, 1, samples)``. A single 1 at the first sample gives what calling gives.
        """
        check_audio(excitation, name="excitation", channels=1)
        if excitation.ndim != 3:
            raise ShapeError(
                f"excitation has shape {tuple(excitation.shape)}; expected (batch, 1, samples)"
            )
        controls = self.controls(max(excitation.shape[0], self._count(values)), values)
        frequencies, decays, levels = self._modes(controls)
        levels = levels * controls.value("amplitude")[..., 0]
        y = modal_filter(
            excitation[:, 0], frequencies, decays, levels, sample_rate=self.sample_rate
        )
        return y.unsqueeze(1)

    def _modes(self, values: Controls) -> tuple[Tensor, Tensor, Tensor]:
        ratios, levels, decays = (
            values.value(name)[..., 0].expand(-1, self.modes)
            for name in ("ratios", "levels", "decays_s")
        )
        return ratios * values.scalar("frequency_hz"), decays, levels
