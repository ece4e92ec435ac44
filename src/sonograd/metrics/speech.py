"""Accumulators of speech measures that other packages compute: PESQ and STOI.

They need ``pip install 'sonograd[metrics]'``, and are loaded when the first track is scored. A clip
that they refuse is scored NaN, with the reason; the others go on.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sonograd.errors import AudioError, MissingExtraError, ParameterError
from sonograd.functional._pairs import check_finite
from sonograd.metrics.base import Accumulator

__all__ = ["PESQ", "STOI"]

_STOI_RATE = 10_000  # Hz, at which STOI works
_STOI_SAMPLES = 4097  # 30 frames of 256 samples, every 128, after the removal of silence


def _load(name: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(purpose, "metrics") from error


def _per_channel(
    name: str,
    function: Callable[[Tensor, Tensor], float],
    estimate: Tensor,
    reference: Tensor,
) -> Tensor:
    """Mean over channels of what ``function`` says about pairs ``(samples,)``, ``(targets,)``."""
    check_finite(estimate, name="estimate")
    check_finite(reference, name="reference")
    means = []
    for ours, theirs in zip(estimate.double().cpu(), reference.double().cpu(), strict=True):
        if not ours.any() or not theirs.any():
            raise AudioError(f"{name} not defined: the reference or the estimate is silent")
        values = [function(a, b) for a, b in zip(ours, theirs, strict=True)]
        means.append(sum(values) / len(values))
    return torch.tensor(means, dtype=torch.float64)


class PESQ(Accumulator):
    """Perceptual evaluation of speech quality, ITU-T P.862 (narrow band) or P.862.2 (wide band).

    Mean opinion scores from about 1 to 4.6, by the package pesq. The mean over channels.
    """

    name: ClassVar[str] = "pesq"
    value_names: ClassVar[tuple[str, ...]] = ("pesq",)
    unit: ClassVar[str] = "MOS-LQO"

    def __init__(self, *, sample_rate: int, band: Literal["wide", "narrow"] = "wide") -> None:
        """Choose the band.

        Args:
            sample_rate: 16000 Hz, or 8000 Hz for the narrow band.
            band: Which of the two recommendations.

        Raises:
            ParameterError: The measure is not defined at this rate.
        """
        super().__init__(sample_rate=sample_rate)
        if band not in {"wide", "narrow"}:
            raise ParameterError(f"band is {band!r}; expected 'wide' or 'narrow'")
        if sample_rate not in {"wide": (16_000,), "narrow": (8_000, 16_000)}[band]:
            raise ParameterError(
                f"PESQ ({band} band) is not defined at {sample_rate} Hz; resample to 16000 Hz"
            )
        self.band: Literal["wide", "narrow"] = band

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``pesq``.

        Raises:
            MissingExtraError: The package pesq is not installed.
            AudioError: It refuses the clip: too short, or no speech in it.
        """
        package = _load("pesq", "PESQ")
        mode = "wb" if self.band == "wide" else "nb"

        def score(ours: Tensor, theirs: Tensor) -> float:
            if not ours.any() or not theirs.any():
                raise AudioError("pesq not defined: a channel of reference or estimate is silent")
            try:
                return float(package.pesq(self.sample_rate, theirs.numpy(), ours.numpy(), mode))
            except (package.PesqError, ValueError) as error:
                said = error.args[0] if error.args else type(error).__name__
                said = said.decode() if isinstance(said, bytes) else said
                raise AudioError(f"PESQ refuses the clip: {said}") from error

        return {"pesq": _per_channel("pesq", score, estimate, reference)}


class STOI(Accumulator):
    """Short-time objective intelligibility, from 0 to 1, and its extended version ESTOI.

    Taal et al., doi:10.1109/TASL.2011.2114881, and Jensen and Taal, doi:10.1109/TASLP.2016.2585878,
    by the package pystoi, which resamples to 10 kHz. The mean over channels.
    """

    name: ClassVar[str] = "stoi"
    value_names: ClassVar[tuple[str, ...]] = ("stoi", "estoi")
    unit: ClassVar[str] = "1"

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``stoi`` and ``estoi``.

        Raises:
            MissingExtraError: The package pystoi is not installed.
            AudioError: The clip holds less than about 0.41 s of speech.
        """
        package = _load("pystoi", "STOI")
        samples = estimate.shape[-1]
        least = f"expected at least {_STOI_SAMPLES / _STOI_RATE:.2f} s of speech"
        if samples * _STOI_RATE <= (_STOI_SAMPLES - 1) * self.sample_rate:
            raise AudioError(f"STOI refuses the clip: {samples} samples are too short; {least}")

        def score(ours: Tensor, theirs: Tensor, *, extended: bool) -> float:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    value = package.stoi(theirs.numpy(), ours.numpy(), self.sample_rate, extended)
                except (ValueError, IndexError) as error:
                    raise AudioError(f"STOI refuses the clip: {error}") from error
            if any(issubclass(entry.category, RuntimeWarning) for entry in caught):
                said = str(caught[0].message)
                if "Not enough STFT frames" in said:
                    said = f"too little is left without its silent parts; {least}"
                raise AudioError(f"STOI refuses the clip: {said}")
            return float(value)

        return {
            name: _per_channel(
                "stoi, estoi", partial(score, extended=name == "estoi"), estimate, reference
            )
            for name in self.value_names
        }
