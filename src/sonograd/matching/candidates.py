"""Which chain it is: candidates of growing length, compared by what they leave."""

from collections.abc import Callable

from sonograd.effects import Chain, Gain
from sonograd.matching.chains import build_chain, parse_fix
from sonograd.matching.fitting import Fit, Settings, quick_fit
from sonograd.matching.solve import Problem

__all__ = ["choose"]

_PERFECT_DB = 70.0  # where longer chains are not tried
_SINGLES = ("eq", "compressor", "drive", "limiter", "gate", "delay", "freeverb")
_PAIRS = {
    "eq": ("compressor", "drive", "limiter", "gate", "freeverb", "delay"),
    "compressor": ("eq", "drive", "limiter", "freeverb"),
    "drive": ("eq", "compressor"),
    "limiter": ("eq",),
    "gate": ("eq", "compressor"),
    "delay": ("eq",),
    "freeverb": ("eq", "compressor"),
}


def choose(
    problem: Problem,
    settings: Settings,
    sample_rate: int,
    polarity: int,
    bands: int,
    report: Callable[[float, float], None],
) -> list[Fit]:
    """Fit candidates on a short stretch; best first.

    Single processors come first. Where none explains everything, the best ones are joined with
    others in both orders.
    """
    fits: dict[tuple[str, ...], Fit] = {}

    def attempt(names: tuple[str, ...]) -> Fit:
        if names not in fits:
            chain = _turned(build_chain([*names, "gain"], sample_rate, bands=bands), polarity)
            own = {k: v for k, v in settings.fix.items() if _has(chain, k)}
            chosen = Settings(
                parse_fix(chain, own),
                None,
                settings.delay,
                settings.free_delay,
                settings.starts,
                settings.seed,
            )
            fits[names] = quick_fit(chain, problem, chosen)
        return fits[names]

    attempt(())
    singles = list(_SINGLES)
    if problem.dry.shape[1] == 2:
        singles.insert(1, "width")
    done = 0
    if fits[()].solution.null_db < _PERFECT_DB:
        for name in singles:
            attempt((name,))
            done += 1
            report(1 + 6 * done / len(singles), 20)
            if fits[(name,)].solution.null_db >= _PERFECT_DB:
                break
    best = _ranked(fits)[0]
    if best.solution.null_db < _PERFECT_DB:
        _join(fits, attempt, report)
    return _ranked(fits)


def _join(
    fits: dict[tuple[str, ...], Fit],
    attempt: Callable[[tuple[str, ...]], Fit],
    report: Callable[[float, float], None],
) -> None:
    """Try pairs around the best single processors."""
    singles = sorted((n for n in fits if len(n) == 1), key=lambda n: fits[n].bic)[:2]
    pairs: list[tuple[str, ...]] = []
    for (name,) in singles:
        for other in _PAIRS.get(name, ()):
            pairs += [(name, other), (other, name)]
    pairs = list(dict.fromkeys(pairs))
    for place, pair in enumerate(pairs, start=1):
        found = attempt(pair)
        report(7 + 9 * place / len(pairs), 20)
        if found.solution.null_db >= _PERFECT_DB:
            return


def _ranked(fits: dict[tuple[str, ...], Fit]) -> list[Fit]:
    return sorted(fits.values(), key=lambda fit: fit.bic)


def _has(chain: Chain, name: str) -> bool:
    full = {f"{n}.{p.name}" for n in chain.stage_names for p in chain.stage(n).params}
    return name in full or any(f.partition(".")[2] == name for f in full)


def _turned(chain: Chain, polarity: int) -> Chain:
    if polarity > 0:
        return chain
    stages = {name: chain.stage(name) for name in chain.stage_names}
    return Chain(
        **{
            name: Gain(chain.sample_rate, invert=True) if isinstance(stage, Gain) else stage
            for name, stage in stages.items()
        }
    )
