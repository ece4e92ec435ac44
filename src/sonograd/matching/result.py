"""What matching finds: settings, how sure they are, and what was measured on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sonograd.effects import Chain, export

__all__ = [
    "Alignment",
    "Candidate",
    "Excerpt",
    "GainTrace",
    "Landscape",
    "MatchResult",
    "Score",
    "StaticCurve",
    "TransferFunction",
]


@dataclass(frozen=True)
class Alignment:
    """How the wet signal lies against the dry one.

    Attributes:
        delay_samples: Samples by which wet is late, also between samples; negative if early.
        polarity: 1, or -1 if wet is turned over.
        gain: Least-squares factor from aligned dry to wet, without its sign.
        coherence: Mean magnitude-squared coherence over the bands that hold energy, in [0, 1].
    """

    delay_samples: float
    polarity: int
    gain: float
    coherence: float


@dataclass(frozen=True)
class Excerpt:
    """One part of the dry signal that was fitted.

    Attributes:
        start: First sample that counts.
        samples: How many count.
        context: Samples before ``start`` that were processed, too, so that filters and followers
            are where they would be in the whole.
    """

    start: int
    samples: int
    context: int = 0


@dataclass(frozen=True)
class Score:
    """How much of the change is explained.

    Attributes:
        null_db: Level of wet over the level of what remains when the match is subtracted; larger
            is better.
        gain_only_db: The same for the best gain alone.
        explained: Part of the change, beyond delay, polarity and gain, that is explained, in
            [0, 1]; of a chain of gains, the part of the change beyond delay and polarity.
        floor_db: ``null_db`` that the resolution of the wet file allows, infinite if unknown.
    """

    null_db: float
    gain_only_db: float
    explained: float
    floor_db: float = float("inf")


@dataclass(frozen=True)
class Candidate:
    """One chain that was tried.

    Attributes:
        name: Its stages joined by ``" -> "``.
        chain: Types of its stages.
        bic: Bayesian information criterion on the energy of the residual; smaller is better.
        null_db: See :class:`Score`, on the excerpt it was tried on.
        params: Number of free parameters.
        starts: Number of starting points.
        history: ``null_db`` after each step of the best start.
    """

    name: str
    chain: tuple[str, ...]
    bic: float
    null_db: float
    params: int
    starts: int
    history: tuple[float, ...]


@dataclass(frozen=True)
class TransferFunction:
    """The linear part of the change.

    Attributes:
        frequencies_hz: ``(bins,)``, evenly spaced on a logarithmic scale.
        measured: Complex response from dry to aligned wet, ``(bins,)``.
        coherence: Magnitude-squared coherence, ``(bins,)``, in [0, 1]: how far ``measured`` can
            be trusted.
        fitted: Complex response from dry to the match, measured in the same way, ``(bins,)``.
        designed: Response of the linear filters of the chain alone, ``(bins,)``; None if it has
            none.
    """

    frequencies_hz: Tensor
    measured: Tensor
    coherence: Tensor
    fitted: Tensor
    designed: Tensor | None = None


@dataclass(frozen=True)
class StaticCurve:
    """Levels before and after, in short windows.

    Attributes:
        input_db: Levels of dry, ``(windows,)``.
        output_db: Levels of aligned wet at the same time, ``(windows,)``.
        fitted_db: Levels of the match at the same time, ``(windows,)``.
        curve_input_db: Levels on which the curve of the fitted dynamics is drawn; empty without
            dynamics in the chain.
        curve_output_db: The curve there, makeup and gain included.
    """

    input_db: Tensor
    output_db: Tensor
    fitted_db: Tensor
    curve_input_db: Tensor
    curve_output_db: Tensor


@dataclass(frozen=True)
class GainTrace:
    """The gain of the dynamics stage over time, at most 2000 points.

    Attributes:
        time_s: In the dry signal, ``(points,)``.
        fitted_db: Gain reduction of the fitted stage, at most 0 for a compressor, ``(points,)``.
        measured_db: Level of aligned wet over that of the signal that enters the stage, less the
            static gain, ``(points,)``; NaN where it is silent.
        stage: Name of the stage.
    """

    time_s: Tensor
    fitted_db: Tensor
    measured_db: Tensor
    stage: str


@dataclass(frozen=True)
class Landscape:
    """The null depth around the solution, over two parameters.

    Attributes:
        names: Both parameters, ``"stage.parameter"``.
        first: Values of the first, ``(points,)``, in its unit.
        second: Values of the second, ``(points,)``.
        null_db: ``(points, points)``, first by second.
        solution: Where the match lies.
    """

    names: tuple[str, str]
    first: Tensor
    second: Tensor
    null_db: Tensor
    solution: tuple[float, float]


@dataclass(frozen=True)
class MatchResult:
    """The chain that turns dry into wet, and how sure it is.

    Attributes:
        chain: Types of the stages, in order.
        effect: The chain itself: ``effect(dry, **values)`` is aligned with dry.
        values: Its values, one mapping per stage, in the units of the parameters.
        preset: Chain and values as JSON data, see :func:`sonograd.effects.preset`.
        sample_rate: In Hz, of dry.
        alignment: Delay, polarity, gain and coherence.
        score: Null depth and the part of the change that is explained.
        errors: Standard error of each value, in the same layout; NaN where not identifiable,
            0 where the value was fixed.
        identifiable: Whether the excerpts can show each value, in the same layout.
        fixed: ``"stage.parameter"`` of the values that were held.
        names: ``"stage.parameter"`` of the free values, in the order of ``correlation``.
        correlation: ``(n, n)`` correlation of the estimates, float64.
        correlations: The strong ones as ``(first, second, correlation)``, strongest first.
        candidates: Every chain that was tried, best first.
        history: ``null_db`` after each step, by the name of the candidate; ``"final"`` is the
            last fit.
        excerpts: Which parts of dry were fitted.
        dry: What was fitted, ``(channels, samples)``, excerpts one after the other, float32.
        wet: The same parts of wet, with delay taken out (polarity as in the file).
        processed: The same parts of the match.
        transfer: The linear part of the change.
        static_curve: Levels before and after.
        gain_trace: The gain of the dynamics stage; None without one.
        notes: What was done to the input, one sentence each: resampled, cut, masked, ...
        verdict: The result in words, one sentence each.
        warnings: What makes the result doubtful, one sentence each.
        variants: Other kinds of compressor that were tried, in words, each with its null depth on
            the excerpt it was tried on; empty where the plain one left nothing.
        seconds: Time taken.
    """

    chain: tuple[str, ...]
    effect: Chain
    values: Mapping[str, Mapping[str, float]]
    preset: Mapping[str, Any]
    sample_rate: int
    alignment: Alignment
    score: Score
    errors: Mapping[str, Mapping[str, float]]
    identifiable: Mapping[str, Mapping[str, bool]]
    fixed: tuple[str, ...]
    names: tuple[str, ...]
    correlation: Tensor
    correlations: tuple[tuple[str, str, float], ...]
    candidates: tuple[Candidate, ...]
    history: Mapping[str, tuple[float, ...]]
    excerpts: tuple[Excerpt, ...]
    dry: Tensor = field(repr=False)
    wet: Tensor = field(repr=False)
    processed: Tensor = field(repr=False)
    transfer: TransferFunction = field(repr=False)
    static_curve: StaticCurve = field(repr=False)
    gain_trace: GainTrace | None = field(repr=False)
    notes: tuple[str, ...]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    variants: tuple[tuple[str, float], ...] = ()
    seconds: float = 0.0

    @property
    def delay_samples(self) -> float:
        """Samples by which wet is late, see :class:`Alignment`."""
        return self.alignment.delay_samples

    @property
    def polarity(self) -> int:
        """1, or -1 if wet is turned over; the chain contains the turn."""
        return self.alignment.polarity

    @property
    def gain(self) -> float:
        """Factor of the best gain alone, see :class:`Alignment`."""
        return self.alignment.gain

    def process(self, dry: Tensor) -> Tensor:
        """Process a signal with the match; aligned with it, without the delay of wet.

        Args:
            dry: ``(..., channels, samples)`` at :attr:`sample_rate`.

        Returns:
            ``(..., channels, samples)``, dtype of ``dry``.
        """
        y: Tensor = self.effect(dry, **self.values)
        return y

    def residual(self) -> Tensor:
        """Return what the match leaves of the excerpts, ``wet - processed``."""
        return self.wet - self.processed

    def export(self, target: str) -> str:
        """Write the chain in another language, see :func:`sonograd.effects.export`."""
        return export(self.effect, self.values, target)  # type: ignore[arg-type]

    def rows(self) -> tuple[tuple[str, str, float, str, float, bool], ...]:
        """List every parameter: stage, name, value, unit, standard error, identifiable."""
        listed = []
        for stage in self.effect.stage_names:
            for param in self.effect.stage(stage).params:
                listed.append(
                    (
                        stage,
                        param.name,
                        self.values[stage][param.name],
                        param.unit,
                        self.errors[stage][param.name],
                        self.identifiable[stage][param.name],
                    )
                )
        return tuple(listed)

    def landscape(
        self, first: str, second: str, *, points: int = 25, span: float = 0.25
    ) -> Landscape:
        """Compute the null depth around the solution, over two parameters.

        Args:
            first: ``"stage.parameter"``.
            second: Another one.
            points: Per axis.
            span: Half of the width of the slice, as part of the range of the parameter.
        """
        from sonograd.matching.identify import landscape  # noqa: PLC0415

        return landscape(self, first, second, points=points, span=span)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the audio and the curves as JSON data."""
        rows = [
            {
                "stage": stage,
                "parameter": name,
                "value": value,
                "unit": unit,
                "error": _finite(error),
                "identifiable": shown,
            }
            for stage, name, value, unit, error, shown in self.rows()
        ]
        return {
            "chain": list(self.chain),
            "preset": dict(self.preset),
            "delay_samples": self.delay_samples,
            "polarity": self.polarity,
            "gain": self.gain,
            "coherence": self.alignment.coherence,
            "null_db": _finite(self.score.null_db),
            "gain_only_db": _finite(self.score.gain_only_db),
            "explained": self.score.explained,
            "parameters": rows,
            "fixed": list(self.fixed),
            "correlations": [list(item) for item in self.correlations],
            "candidates": [
                {
                    "name": item.name,
                    "bic": _finite(item.bic),
                    "null_db": _finite(item.null_db),
                    "params": item.params,
                }
                for item in self.candidates
            ],
            "variants": [
                {"change": change, "null_db": _finite(depth)} for change, depth in self.variants
            ],
            "excerpts": [[item.start, item.samples] for item in self.excerpts],
            "notes": list(self.notes),
            "verdict": list(self.verdict),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }


def _finite(value: float) -> float | None:
    return value if torch.tensor(value).isfinite() else None
