"""Filters and equalizers."""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sonograd.effects._options import check_option
from sonograd.effects.base import Effect
from sonograd.errors import ParameterError
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.biquads import (
    high_pass_biquad,
    high_shelf_biquad,
    low_pass_biquad,
    low_shelf_biquad,
    notch_biquad,
    peak_biquad,
)
from sonograd.functional.moving_filters import BiquadKind, biquad_stream, first_order_stream
from sonograd.functional.recursion import sosfilt_stream
from sonograd.params import Param

__all__ = [
    "AllPass",
    "BandPass",
    "HighPass",
    "HighShelf",
    "LowPass",
    "LowShelf",
    "Notch",
    "ParametricEQ",
    "Peak",
    "ResonantHighPass",
    "ResonantLowPass",
    "Tilt",
]

_FLAT = math.sqrt(0.5)
_MOST_BANDS = 256
_DESIGNS: dict[str, Callable[..., Tensor]] = {
    "low_shelf": low_shelf_biquad,
    "peak": peak_biquad,
    "high_shelf": high_shelf_biquad,
    "low_pass": low_pass_biquad,
    "high_pass": high_pass_biquad,
    "notch": notch_biquad,
}
_FREQUENCY = Param("frequency_hz", "Hz", 20.0, 20_000.0, 1000.0, scale="log", moves=True)
_GAIN = Param("gain_db", "dB", -24.0, 24.0, 0.0, moves=True)
_CUTOFF = Param("cutoff_hz", "Hz", 20.0, 20_000.0, 1000.0, scale="log", moves=True)


def _quality(default: float, *, name: str = "q", moves: bool = True) -> Param:
    return Param(name, "1", 0.1, 18.0, default, scale="log", moves=moves)


class _Biquad(Effect):
    """One second-order section, which may move."""

    kind: ClassVar[BiquadKind]

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Filter; see :func:`~sonograd.functional.moving_filters.biquad_stream`."""
        frequency = values["frequency_hz" if "frequency_hz" in values else "cutoff_hz"]
        return biquad_stream(
            x,
            self.kind,
            frequency,
            values["q"],
            memory,
            sample_rate=self.sample_rate,
            gain_db=values.get("gain_db"),
        )


class Peak(_Biquad):
    """One bell: ``gain_db`` at ``frequency_hz``; :func:`~sonograd.functional.peak_biquad`."""

    params = (_FREQUENCY, _GAIN, _quality(1.0))
    kind = "peak"


class LowShelf(_Biquad):
    """``gain_db`` below a frequency; :func:`~sonograd.functional.low_shelf_biquad`."""

    params = (_FREQUENCY, _GAIN, _quality(_FLAT))
    kind = "low_shelf"


class HighShelf(_Biquad):
    """``gain_db`` above a frequency; :func:`~sonograd.functional.high_shelf_biquad`."""

    params = (_FREQUENCY, _GAIN, _quality(_FLAT))
    kind = "high_shelf"


class BandPass(_Biquad):
    """0 dB at ``frequency_hz``, less elsewhere; :func:`~sonograd.functional.band_pass_biquad`."""

    params = (_FREQUENCY, _quality(1.0))
    kind = "band_pass"


class Notch(_Biquad):
    """Silence at ``frequency_hz``; :func:`~sonograd.functional.notch_biquad`."""

    params = (_FREQUENCY, _quality(4.0))
    kind = "notch"


class AllPass(_Biquad):
    """Turn the phase around ``frequency_hz``; :func:`~sonograd.functional.all_pass_biquad`."""

    params = (_FREQUENCY, _quality(_FLAT))
    kind = "all_pass"


class ResonantLowPass(_Biquad):
    """12 dB per octave with resonance; :func:`~sonograd.functional.low_pass_biquad`."""

    params = (_CUTOFF, _quality(_FLAT))
    kind = "low_pass"


class ResonantHighPass(_Biquad):
    """12 dB per octave with resonance; :func:`~sonograd.functional.high_pass_biquad`."""

    params = (_CUTOFF, _quality(_FLAT))
    kind = "high_pass"


class _Pass(Effect):
    """A Butterworth filter of any even order, or order 1, whose cutoff may move."""

    kind: ClassVar[BiquadKind]

    def __init__(self, sample_rate: float, *, order: int = 2) -> None:
        """Choose the ``order``: 1, 2, 4 or 8, at 6 dB per octave each."""
        super().__init__(sample_rate)
        self.order = check_option(order, "order", (1, 2, 4, 8))

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Filter; see :func:`~sonograd.functional.butterworth`."""
        cutoff = values["cutoff_hz"]
        if self.order == 1:
            first: Literal["low_pass", "high_pass"] = (
                "low_pass" if self.kind == "low_pass" else "high_pass"
            )
            return first_order_stream(x, first, cutoff, memory, sample_rate=self.sample_rate)
        states = []
        for k in range(self.order // 2):
            q = 0.5 / math.sin(math.pi * (2 * k + 1) / (2 * self.order))
            state = None if memory is None else memory[k]
            x, state = biquad_stream(
                x,
                self.kind,
                cutoff,
                torch.full_like(cutoff[:1, :1, :1], q),
                state,
                sample_rate=self.sample_rate,
            )
            states.append(state)
        return x, states


class LowPass(_Pass):
    """Keep what is below ``cutoff_hz``, -3 dB there; :func:`~sonograd.functional.butterworth`."""

    params = (_CUTOFF,)
    kind = "low_pass"


class HighPass(_Pass):
    """Keep what is above ``cutoff_hz``, -3 dB there; :func:`~sonograd.functional.butterworth`."""

    params = (_CUTOFF,)
    kind = "high_pass"


class ParametricEQ(Effect):
    """Any number of bands of any kind in one cascade.

    The parameters of band ``k`` from 1 are ``bandK_frequency_hz``, ``bandK_gain_db`` (peaks and
    shelves only) and ``bandK_q``.
    """

    def __init__(self, sample_rate: float, *, bands: int | Sequence[str] = 6) -> None:
        """Choose the ``bands``.

        Args:
            sample_rate: Of the audio, in Hz.
            bands: The kind of each: ``"low_shelf"``, ``"peak"``, ``"high_shelf"``,
                ``"low_pass"``, ``"high_pass"`` or ``"notch"``. A number ``n`` stands for a low
                shelf, ``n - 2`` peaks and a high shelf (two peaks for 2, one for 1).
        """
        super().__init__(sample_rate)
        self.bands = _band_kinds(bands)
        count = len(self.bands)
        params: list[Param] = []
        for k, kind in enumerate(self.bands):
            start = 1000.0 if count == 1 else 80.0 * (10_000 / 80) ** (k / (count - 1))
            name = f"band{k + 1}_"
            params.append(
                Param(f"{name}frequency_hz", "Hz", 20.0, 20_000.0, round(start, 1), scale="log")
            )
            if kind in {"low_shelf", "peak", "high_shelf"}:
                params.append(Param(f"{name}gain_db", "dB", -24.0, 24.0, 0.0))
            q = 1.0 if kind in {"peak", "notch"} else _FLAT
            params.append(_quality(q, name=f"{name}q", moves=False))
        self.declare(params)

    def sections(self, values: Mapping[str, Tensor]) -> Tensor:
        """Design the cascade ``(..., bands, 6)``; values of one shape, their last dimension 1."""
        shape = broadcast_shapes(*(v.shape for v in values.values()))
        found: dict[int, Tensor] = {}
        for kind in dict.fromkeys(self.bands):  # all bands of a kind are designed at once
            members = [k for k, other in enumerate(self.bands) if other == kind]
            joined = {
                name: torch.cat([values[f"band{k + 1}_{name}"].expand(shape) for k in members], -1)
                for name in ("frequency_hz", "gain_db", "q")
                if f"band{members[0] + 1}_{name}" in values
            }
            designed = _DESIGNS[kind](**joined, sample_rate=self.sample_rate)
            found.update(zip(members, designed.unbind(-2), strict=True))
        return torch.stack([found[k] for k in range(len(self.bands))], dim=-2)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Filter with the cascade."""
        if not self.bands:
            return x, None
        return sosfilt_stream(x, self.sections(values), memory)


class Tilt(Effect):
    r"""Darker or brighter: ``tilt_db`` more at the top than at the bottom, 0 dB at the pivot.

    :math:`H(s) = (A s + 1) / (s + A)` with :math:`A = 10^{tilt/40}`: half of the tilt up, half
    down.
    """

    params = (
        Param("tilt_db", "dB", -24.0, 24.0, 0.0),
        Param("pivot_hz", "Hz", 100.0, 10_000.0, 1000.0, scale="log"),
    )

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Filter with one first-order section."""
        a = torch.pow(10.0, values["tilt_db"] / 40)
        warped = torch.tan(math.pi / self.sample_rate * values["pivot_hz"])
        a, warped = torch.broadcast_tensors(a, warped)
        zero = torch.zeros_like(a)
        section = torch.cat(
            [a + warped, warped - a, zero, 1 + a * warped, a * warped - 1, zero], -1
        )
        section = section / section[..., 3:4]
        return sosfilt_stream(x, section.unsqueeze(-2), memory)


def _band_kinds(bands: int | Sequence[str]) -> tuple[str, ...]:
    if isinstance(bands, str):
        bands = (bands,)
    if isinstance(bands, Sequence):
        kinds = tuple(_DESIGNS)
        return tuple(check_option(kind, "the kind of a band", kinds) for kind in bands)
    if isinstance(bands, bool) or not isinstance(bands, Integral) or not 1 <= bands <= _MOST_BANDS:
        raise ParameterError(
            f"bands is {bands!r}; expected a whole number from 1 to {_MOST_BANDS}, or the kind of "
            f"each band: {', '.join(_DESIGNS)}"
        )
    bands = int(bands)
    if bands < 3:
        return ("peak",) * bands
    return ("low_shelf", *("peak",) * (bands - 2), "high_shelf")
