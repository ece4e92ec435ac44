"""From the best fit to the result: settings with errors, curves, score and verdict."""

import math
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sonograd.effects import Chain, Gain, preset
from sonograd.matching.align import Overlay
from sonograd.matching.analyze import gain_trace, static_curve, transfer_function
from sonograd.matching.blackbox import is_black_box
from sonograd.matching.fitting import Fit, Settings
from sonograd.matching.guesses import best_gain
from sonograd.matching.identify import certainty
from sonograd.matching.result import Alignment, Candidate, Excerpt, MatchResult, Score
from sonograd.matching.solve import Problem, null_db
from sonograd.matching.sources import Pair
from sonograd.matching.verdict import verdict

__all__ = ["conclude"]


def conclude(
    pair: Pair,
    lay: Overlay,
    excerpts: tuple[Excerpt, ...],
    problem: Problem,
    best: Fit,
    fits: list[Fit],
    settings: Settings,
    began: float,
    extra: Mapping[str, tuple[float, ...]],
) -> MatchResult:
    """Say what was found: settings with their errors, curves, candidates, verdict."""
    plan, solution = best.plan, best.solution
    rate = pair.dry.sample_rate
    values = plan.values(solution.theta)
    sure = certainty(plan, solution, problem.count, problem.dry)
    processed = problem.counted(plan.run(problem.dry, values))
    wet = problem.target(solution.delay)
    dry = problem.counted(problem.dry)
    factor, left = best_gain(dry, wet)
    gain_only = null_db(solution.energy, left)
    if all(isinstance(plan.effect.stage(name), Gain) for name in plan.effect.stage_names):
        left = float((wet - lay.polarity * dry).square().sum())
    explained = 1.0 - solution.cost / left if left > 1e-12 * solution.energy else 1.0
    score = Score(solution.null_db, gain_only, max(0.0, explained), _floor(pair, wet))
    errors, shown = {}, {}
    for name in plan.effect.stage_names:
        params = plan.effect.stage(name).params
        errors[name] = {p.name: sure.errors.get(f"{name}.{p.name}", 0.0) for p in params}
        shown[name] = {p.name: sure.shown.get(f"{name}.{p.name}", True) for p in params}
    analysis = (dry, wet, processed, plan.effect, values)
    trace = gain_trace(
        dry, wet, plan.effect, values, starts=[e.start for e in excerpts], sample_rate=rate
    )
    candidates = tuple(
        Candidate(
            f.name,
            tuple(s.type_name() for s in (f.chain.stage(n) for n in f.chain.stage_names)),
            f.bic,
            f.solution.null_db,
            len(f.plan),
            f.starts,
            f.solution.history,
        )
        for f in fits
    )
    alignment = Alignment(lay.delay + solution.delay, lay.polarity, abs(factor), lay.coherence)
    said, doubts = verdict(
        plan, values, sure, score, alignment, processed=processed, wet=wet, sample_rate=rate
    )
    return MatchResult(
        chain=tuple(plan.effect.stage(n).type_name() for n in plan.effect.stage_names),
        effect=plan.effect,
        values=values,
        preset=_preset(plan.effect, values),
        sample_rate=rate,
        alignment=alignment,
        score=score,
        errors=errors,
        identifiable=shown,
        fixed=tuple(sorted(settings.fix)),
        names=sure.names,
        correlation=sure.correlation,
        correlations=sure.strong(),
        candidates=candidates,
        history={
            **{c.name: c.history for c in candidates},
            "final": solution.history,
            **extra,
        },
        excerpts=excerpts,
        dry=_row(dry),
        wet=_row(wet),
        processed=_row(processed),
        transfer=transfer_function(*analysis, sample_rate=rate),
        static_curve=static_curve(*analysis, sample_rate=rate),
        gain_trace=trace,
        notes=tuple(pair.notes),
        verdict=said,
        warnings=doubts,
        variants=tuple(pair.variants),
        seconds=time.perf_counter() - began,
    )


def _preset(chain: Chain, values: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Write a preset; the values of a black box are plain parameters."""
    if any(is_black_box(chain.stage(name)) for name in chain.stage_names):
        params = {k: v for given in values.values() for k, v in given.items()}
        return {"format": "sonograd-parameters", "version": 1, "params": params}
    return preset(chain, values)


def _row(x: Tensor) -> Tensor:
    """Put segments one after the other."""
    return x.movedim(0, 1).reshape(x.shape[1], -1).float()


def _floor(pair: Pair, wet: Tensor) -> float:
    """Null depth that the bits of the wet file allow."""
    bits = {"pcm_16": 16, "pcm_s16": 16, "pcm_24": 24, "pcm_u8": 8}.get(pair.wet.codec)
    if bits is None:
        return math.inf
    noise = (2.0 ** (1 - bits)) ** 2 / 12
    return 10 * math.log10(max(float(wet.square().mean()), 1e-30) / noise)
