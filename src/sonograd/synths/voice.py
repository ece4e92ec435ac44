"""A voice: pulses and breath through a vocal tract."""

from typing import Any, Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._settings import check_option
from sonograd.functional.glottal import glottal_harmonics
from sonograd.functional.lattice import (
    formant_polynomial,
    lattice_filter,
    polynomial_to_reflections,
)
from sonograd.functional.noise import seeded_noise
from sonograd.functional.partials import additive_stream
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["SourceFilter"]

_STEP = 64  # samples for which the tract and the shape of the pulse are held or interpolated
_MOST_HARMONICS = 1024
_AT_ONCE = 1 << 21  # harmonics x samples computed at once, which bounds the memory
_FORMANTS = (700.0, 1220.0, 2600.0, 3300.0, 4200.0)
_BANDWIDTHS = (90.0, 100.0, 140.0, 200.0, 280.0)


class SourceFilter(Synth):
    """The source-filter model of speech and song.

    The source is the glottal pulse of Liljencrants and Fant, without aliases
    (:func:`~sonograd.functional.glottal_harmonics`), and breath: white noise that follows the
    opening of the glottis. The tract is an all-pole filter in the normalized lattice
    (:func:`~sonograd.functional.lattice_filter`), described by formants, one pair of poles each,
    or directly by reflection coefficients. Tract and pulse shape are read every 64 samples: the
    tract is held in between, the spectrum of the pulse is interpolated.

    Attributes:
        tract: ``"formants"`` or ``"reflections"``.
        formants: Number of formants; there are twice as many reflection coefficients.
    """

    params = (
        Param("frequency_hz", "Hz", 20, 5_000, 140, "log", moves=True),
        Param("amplitude", "1", 0, 2, 0.5, moves=True),
        Param("rd", "1", 0.3, 2.7, 1, "log", moves=True),
        Param("breath", "1", 0, 1, 0.02, moves=True),
        Param("phase_turns", "turns", 0, 1, 0),
    )
    tract_params = (
        Param("formants_hz", "Hz", 100, 12_000, 500, "log", moves=True),
        Param("bandwidths_hz", "Hz", 20, 2_000, 100, "log", moves=True),
    )
    random = True

    def __init__(
        self,
        sample_rate: float,
        *,
        tract: Literal["formants", "reflections"] = "formants",
        formants: int = 5,
    ) -> None:
        """Choose how the tract is described; the default is an open vowel."""
        super().__init__(sample_rate)
        check_option(tract, "tract", ("formants", "reflections"))
        if not 1 <= formants <= 16:
            raise ParameterError(f"formants is {formants}; expected a number from 1 to 16")
        self.tract = tract
        self.formants = formants
        # Formants that do not fit below half the sample rate lie near it, and wide.
        centers = [*_FORMANTS, *(5300.0 + 1000.0 * k for k in range(11))][:formants]
        widths = [*_BANDWIDTHS, *([400.0] * 11)][:formants]
        if tract == "formants":
            self.declare(
                (*self.params, *self.tract_params),
                {"formants_hz": centers, "bandwidths_hz": widths},
            )
        else:
            polynomial = formant_polynomial(
                torch.tensor(centers, dtype=torch.float64).clamp_max(0.45 * sample_rate),
                torch.tensor(widths, dtype=torch.float64),
                sample_rate=sample_rate,
            )
            reflections = Param("reflections", "1", -0.9999, 0.9999, 0, moves=True)
            self.declare(
                (*self.params, reflections),
                {"reflections": polynomial_to_reflections(polynomial).tolist()},
            )

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Go on from the phase of the source and from what is in the tract."""
        phase, inside, waiting = state.memory or (None, None, None)
        source, phase = self._source(samples, state, values, phase)
        if waiting is not None:
            source = torch.cat([waiting, source], -1)
        skip = state.position % _STEP
        first = (state.position - skip) // _STEP
        frames = -(-source.shape[-1] // _STEP)
        places = torch.arange(first, first + frames, device=values.device) * _STEP
        tract = self._reflections(values, places)
        y, inside = lattice_filter(source, tract, hop_length=_STEP, state=inside)
        # A frame that is not complete is computed again from its beginning.
        waiting = source[:, source.shape[-1] // _STEP * _STEP :]
        return values.scalar("amplitude") * y[:, skip:], (phase, inside, waiting)

    def _source(
        self, samples: int, state: SynthState, values: Controls, phase: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Pulses and breath, ``(batch, samples)``, and the phase of each harmonic after them."""
        frequency = values.scalar("frequency_hz").expand(state.batch, samples)
        lowest = float(frequency.detach().min()) if frequency.numel() else 1.0
        count = int(self.sample_rate / 2 / max(lowest, 1.0)) + 1
        count = min(count, _MOST_HARMONICS)
        if phase is None:
            phase = values.scalar("phase_turns")[:, 0]
        moved = (frequency / self.sample_rate).cumsum(-1)
        turns = phase.unsqueeze(-1) + moved - frequency / self.sample_rate
        parts = []
        length = max(_AT_ONCE // (count * state.batch), _STEP)
        number = torch.arange(1, count + 1, dtype=frequency.dtype, device=frequency.device)
        for begin in range(0, samples, length):
            piece = frequency[:, begin : begin + length]
            position = state.position + begin
            pulses, _ = additive_stream(
                piece,
                self._pulse_spectrum(piece.shape[-1], position, values, count),
                sample_rate=self.sample_rate,
                phase=torch.remainder(turns[:, begin, None] * number, 1.0),
            )
            parts.append(pulses)
        assert state.seed is not None
        noise = seeded_noise(
            state.seed.to(values.device), samples, start=state.position, dtype=values.dtype
        )
        opening = (torch.pi * turns).sin().square().to(values.dtype)
        source = torch.cat(parts, -1) + values.scalar("breath") * opening * noise
        return source, torch.remainder(phase + moved[:, -1], 1.0)

    def _pulse_spectrum(self, samples: int, position: int, values: Controls, count: int) -> Tensor:
        """Complex amplitudes ``(1 or batch, harmonics, 1 or samples)`` from ``position`` on."""
        complex_dtype = torch.complex128 if values.dtype == torch.float64 else torch.complex64
        first = position // _STEP
        last = (position + samples) // _STEP + 1 if values.moves("rd") else first
        places = torch.arange(first, last + 1, device=values.device) * _STEP
        points = glottal_harmonics(values.at("rd", places)[:, 0], count).mT.to(complex_dtype)
        if not values.moves("rd"):
            return points
        share = torch.arange(_STEP, device=values.device) / _STEP
        change = (points[..., 1:] - points[..., :-1]).unsqueeze(-1)
        lines = (points[..., :-1].unsqueeze(-1) + change * share).flatten(-2)
        return lines[..., position - first * _STEP :][..., :samples]

    def _reflections(self, values: Controls, places: Tensor) -> Tensor:
        if self.tract == "reflections":
            return values.at("reflections", places).expand(-1, 2 * self.formants, -1).mT
        centers, widths = (
            values.at(name, places).expand(-1, self.formants, -1).mT
            for name in ("formants_hz", "bandwidths_hz")
        )
        polynomial = formant_polynomial(centers, widths, sample_rate=self.sample_rate)
        return polynomial_to_reflections(polynomial)
