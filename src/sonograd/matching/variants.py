"""Units differ: detectors, knees, smoothing and links that a compressor may have."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sonograd.effects import Chain, Compressor, Gain
from sonograd.matching._threads import side_by_side
from sonograd.matching.fitting import Fit, Settings, make_plan, quick_fit
from sonograd.matching.solve import Problem

__all__ = ["best_variant", "unexplained"]

_GOOD_DB = 45.0  # where other stages are as likely to be what is not met
_EXACT_DB = 90.0  # where no compressor is another one
_STEADY = 4.0  # ratio of energies of frames that noise does not reach
_FRAME = 2048
_BETTER = 0.8  # of the energy of the residual, that a variant has to fall below
_ROUNDS = 3  # variants of variants
_GLANCE = 6  # steps with everything but the compressor held


def unexplained(fit: Fit, problem: Problem) -> bool:
    """Tell whether another kind of compressor may explain what a chain leaves.

    Noise is as loud at any time; what a wrong kind leaves comes and goes with the music.
    """
    stages = [fit.chain.stage(name) for name in fit.chain.stage_names]
    if not any(isinstance(stage, Compressor) for stage in stages):
        return False
    depth = fit.solution.null_db
    alone = all(isinstance(stage, (Compressor, Gain)) for stage in stages)
    if depth < _GOOD_DB or depth >= _EXACT_DB or not alone:
        return depth < _GOOD_DB
    rest = fit.match(problem) - problem.target(fit.solution.delay)
    if rest.shape[-1] < 8 * _FRAME:
        return True
    power = rest.unfold(-1, _FRAME, _FRAME).square().mean((0, 1, 3))
    return bool(power.quantile(0.9) > _STEADY * power.quantile(0.1))


def best_variant(
    fit: Fit, problem: Problem, settings: Settings
) -> tuple[Fit, list[tuple[str, Fit]]]:
    """Try other kinds of compressor where the plain one leaves something.

    Each is fitted alone first, with everything around it held; the one that gains most is fitted
    with the whole chain, and then what differs from that. The time convention is no variant: it is
    a factor on the times, and no sound tells it.

    Args:
        fit: A fit on ``problem``.
        problem: The short stretch.
        settings: Of the match; what is fixed stays fixed.

    Returns:
        The best fit, and those that were tried with what they changed.
    """
    tried: list[tuple[str, Fit]] = []
    names = [n for n in fit.chain.stage_names if isinstance(fit.chain.stage(n), Compressor)]
    best = fit
    for _ in range(_ROUNDS if names else 0):
        if not unexplained(best, problem):
            break
        glances = _glances(best, names[0], problem, settings)
        tried += [(_words(change), found) for change, found in glances]
        if not glances:
            break
        change, nearest = min(glances, key=lambda item: item[1].solution.cost)
        if nearest.solution.cost > _BETTER * best.solution.cost:
            break
        found = _refit(best, names[0], change, problem, settings, begin=nearest)
        tried.append((_words(change), found))
        if found.bic >= best.bic:
            break
        best = found
    return best, tried


def _glances(
    fit: Fit, name: str, problem: Problem, settings: Settings
) -> list[tuple[Mapping[str, Any], Fit]]:
    """Fit every other kind of compressor with the rest of the chain held."""
    stage = fit.chain.stage(name)
    assert isinstance(stage, Compressor)  # by its name
    bent = f"{name}.knee_db" not in fit.plan.held
    changes = []
    for change in _changes(problem.dry.shape[1]):
        same = all(stage.options()[k] == v for k, v in change.items() if k != "knee")
        if same and (bent or "knee" not in change):
            continue
        changes.append(change)
    fits = side_by_side([partial(_refit, fit, name, c, problem, settings) for c in changes])
    return list(zip(changes, fits, strict=True))


def _words(change: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in change.items())


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
    change: Mapping[str, Any],
    problem: Problem,
    settings: Settings,
    *,
    begin: Fit | None = None,
) -> Fit:
    """Fit a variant from where the chain ended, or the whole chain from where the variant did."""
    stage = fit.chain.stage(name)
    assert isinstance(stage, Compressor)  # by its name
    options = {**stage.options(), **{k: v for k, v in change.items() if k != "knee"}}
    stages = {n: fit.chain.stage(n) for n in fit.chain.stage_names}
    stages[name] = Compressor(fit.chain.sample_rate, **options)
    chain = Chain(**stages)
    source = begin or fit
    values = {n: dict(v) for n, v in source.plan.values(source.solution.theta).items()}
    fix = dict(settings.fix)
    if begin is None:
        fix |= {
            f"{other}.{param}": value
            for other, given in values.items()
            for param, value in given.items()
            if other != name and not isinstance(stages[other], Gain)
        }
    free = f"{name}.knee_db"
    channels = problem.dry.shape[1]
    freed = set()
    if ("knee" in change or free not in fit.plan.held) and free not in settings.fix:
        freed = {free}
        values[name]["knee_db"] = max(values[name]["knee_db"], 6.0 if begin is None else 0.1)
    if options["detector"] == "rms":
        values[name].setdefault("rms_ms", 10.0)
    return quick_fit(
        chain,
        problem,
        replace(settings, fix=fix, start=values),
        plan=make_plan(chain, fix, freed=freed, channels=channels),
        iterations=_GLANCE if begin is None else 20,
        search_bands=False,
    )
