"""Units differ: detectors, knees, smoothing and links that a compressor may have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sonograd.effects import Chain, Compressor
from sonograd.matching.fitting import Fit, Settings, make_plan, quick_fit
from sonograd.matching.solve import Problem

__all__ = ["GOOD_DB", "best_variant"]

GOOD_DB = 40.0  # where no variant is tried


def best_variant(
    fit: Fit, problem: Problem, settings: Settings
) -> tuple[Fit, list[tuple[str, Fit]]]:
    """Try other kinds of compressor where the plain one leaves something.

    The time convention is no variant: it is a factor on the times, and no sound tells it.

    Args:
        fit: A fit on ``problem``.
        problem: The short stretch.
        settings: Of the match; what is fixed stays fixed.

    Returns:
        The best fit, and those that were tried with what they changed.
    """
    tried: list[tuple[str, Fit]] = []
    names = [n for n in fit.chain.stage_names if isinstance(fit.chain.stage(n), Compressor)]
    if not names or fit.solution.null_db >= GOOD_DB:
        return fit, tried
    best = fit
    for change in _changes(problem.dry.shape[1]):
        name = names[0]
        stage = best.chain.stage(name)
        assert isinstance(stage, Compressor)  # by its name
        options = {**stage.options(), **{k: v for k, v in change.items() if k != "knee"}}
        if options == stage.options() and "knee" not in change:
            continue
        found = _refit(best, name, options, change, problem, settings)
        tried.append((", ".join(f"{k} {v}" for k, v in change.items()), found))
        if found.bic < best.bic:
            best = found
        if best.solution.null_db >= GOOD_DB:
            break
    return best, tried


def _changes(channels: int) -> list[Mapping[str, Any]]:
    linked = [{"link": "max"}, {"link": "mean"}] if channels == 2 else []
    return [
        *linked,
        {"knee": "soft"},
        {"smoothing": "gain"},
        {"detector": "rms"},
        {"detector": "rms", "smoothing": "gain"},
        {"detector": "rms", "smoothing": "gain", "knee": "soft"},
    ]


def _refit(
    fit: Fit,
    name: str,
    options: Mapping[str, Any],
    change: Mapping[str, Any],
    problem: Problem,
    settings: Settings,
) -> Fit:
    """Fit a variant from where the plain chain ended."""
    stages = {n: fit.chain.stage(n) for n in fit.chain.stage_names}
    stages[name] = Compressor(fit.chain.sample_rate, **options)
    chain = Chain(**stages)
    values = {n: dict(v) for n, v in fit.plan.values(fit.solution.theta).items()}
    free = f"{name}.knee_db"
    channels = problem.dry.shape[1]
    plan = make_plan(chain, settings.fix, channels=channels)
    if ("knee" in change or free not in fit.plan.held) and free not in settings.fix:
        plan = make_plan(chain, settings.fix, freed={free}, channels=channels)
        values[name]["knee_db"] = max(values[name]["knee_db"], 6.0)
    if options["detector"] == "rms":
        values[name].setdefault("rms_ms", 10.0)
    return quick_fit(
        chain,
        problem,
        replace(settings, start=values),
        plan=plan,
        iterations=10,
        search_bands=False,
    )
