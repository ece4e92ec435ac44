"""Which chain it is: candidates of growing length, compared by what they leave."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from sonograd.effects import Chain, Gain
from sonograd.matching._threads import ahead
from sonograd.matching.chains import build_chain, lingers, parse_fix
from sonograd.matching.excerpts import near
from sonograd.matching.fitting import Fit, Settings, quick_fit
from sonograd.matching.solve import Problem

__all__ = ["check_fix", "choose"]

_PERFECT_DB = 70.0  # where longer chains are not tried
_CLEAR_DB = 40.0  # where only the order of the members is still looked at
_LACKING_DB = 35.0  # where three processors are tried
_WORTH = 0.8  # of the energy that a gain leaves, above which a processor gets one start only
_LEAST_ECHO_MS = 10.0  # what is nearer a filter does as well, and each step takes seconds
_IDLE = 0.95  # of that energy, above which no echoes are looked for in pairs
_SINGLES = ("drive", "eq", "compressor", "limiter", "gate", "delay", "freeverb")
_ECHOES = ("delay", "freeverb")
_PAIRS = {
    "eq": ("compressor", "drive", "limiter", "gate", "freeverb", "delay"),
    "compressor": ("eq", "drive", "limiter", "freeverb"),
    "drive": ("eq", "compressor"),
    "limiter": ("eq",),
    "gate": ("eq", "compressor"),
    "delay": ("eq",),
    "freeverb": ("eq", "compressor"),
}

Values = Mapping[str, Mapping[str, float]]
_Share: TypeAlias = Callable[[float], None]


def check_fix(fix: Mapping[str, float] | None, sample_rate: int, bands: int) -> dict[str, float]:
    """Return what is to be held in any chain that has it.

    Raises:
        ParameterError: If no chain that is tried has it, or the value is none of its.
    """
    everything = build_chain([*_SINGLES, "width", "gain"], sample_rate, bands=bands)
    for name, value in (fix or {}).items():
        stages = [
            n for n in everything.stage_names if _has(Chain(**{n: everything.stage(n)}), name)
        ]
        for stage in stages or everything.stage_names[:1]:
            chain = Chain(**{stage: everything.stage(stage)}) if stages else everything
            parse_fix(chain, {name: value})
    return dict(fix or {})


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
    others, before and after, and where that leaves much, the best pair with a third. What joins is
    fitted alone first, with everything else held: that tells cheaply what is worth a whole fit.
    """
    search = _Search(problem, settings, sample_rate, polarity, bands)
    gain = search.fit(())
    search.settings = replace(search.settings, worth=_WORTH * gain.solution.cost)
    singles = list(_SINGLES)
    if problem.dry.shape[1] == 2:
        singles.insert(1, "width")
    if search.best().solution.null_db < _PERFECT_DB:
        for place, name in enumerate(singles, start=1):
            found = search.fit((name,))
            report(1 + 5 * place / len(singles), 20)
            if found.solution.null_db >= _PERFECT_DB:
                break
    bases = [names for names in search.ranked() if len(names) == 1][:2]
    for place, base in enumerate(bases):
        if place and (search.best().solution.null_db >= _CLEAR_DB or search.idle(base)):
            break
        if search.best().solution.null_db < _PERFECT_DB:
            search.extend([base], 3 - place, _between(report, 6 + 2.5 * place, 2.5))
    if search.best().solution.null_db < _LACKING_DB:
        pairs = [names for names in search.ranked() if len(names) == 2][:1]
        search.extend(pairs, 2, _between(report, 11, 3))
    return [search.fits[names] for names in search.ranked()]


def _between(report: Callable[[float, float], None], base: float, width: float) -> _Share:
    """Return a callback that tells a share of some of the 20 steps of a match."""
    return lambda share: report(base + width * share, 20)


class _Search:
    """The chains that were fitted so far."""

    def __init__(
        self, problem: Problem, settings: Settings, sample_rate: int, polarity: int, bands: int
    ) -> None:
        self.problem = problem
        self.settings = replace(settings, least_echo_ms=_LEAST_ECHO_MS)
        self.sample_rate, self.polarity, self.bands = sample_rate, polarity, bands
        self.fits: dict[tuple[str, ...], Fit] = {}
        self.near = near(problem)

    def best(self) -> Fit:
        return self.fits[self.ranked()[0]]

    def ranked(self) -> list[tuple[str, ...]]:
        return sorted(self.fits, key=lambda names: self.fits[names].bic)

    def fit(self, names: tuple[str, ...], start: Values | None = None) -> Fit:
        """Fit a chain, from a point or from several of its own."""
        chain = self._chain(names)
        settings = replace(self.settings, fix=self._fixed(chain), start=start)
        found = quick_fit(chain, self._problem(chain), settings)
        if names not in self.fits or found.bic < self.fits[names].bic:
            self.fits[names] = found
        return self.fits[names]

    def extend(self, bases: Sequence[tuple[str, ...]], count: int, report: _Share) -> None:
        """Join others to chains; the most promising are fitted as a whole."""
        joined: dict[tuple[str, ...], tuple[float, Values]] = {}
        todo = [
            ((*base[:place], other, *base[place:]), base)
            for base in bases
            for other in self._others(base)
            for place in range(len(base) + 1)
        ]
        with closing(ahead([partial(self._glance, *names) for names in todo])) as glances:
            for step, (cost, values) in enumerate(glances, start=1):
                names = todo[step - 1][0]
                if names not in joined or cost < joined[names][0]:
                    joined[names] = cost, values
                report(0.6 * step / len(todo))
        chosen = sorted(joined, key=lambda names: joined[names][0])[:count]
        for step, names in enumerate(tuple(chosen), start=1):
            if names not in chosen:
                continue
            found = self.fit(names, joined[names][1])
            report(0.6 + 0.4 * step / count)
            if found.solution.null_db >= _PERFECT_DB:
                return
            if found.solution.null_db >= _CLEAR_DB:
                chosen = [other for other in chosen if sorted(other) == sorted(names)]
        # Where what joins hides what it joins to, no start is as good as those of the whole chain.
        if chosen and self.best().solution.null_db < _LACKING_DB:
            self.fit(min(chosen, key=lambda names: self.fits[names].bic))

    def _glance(self, names: tuple[str, ...], base: tuple[str, ...]) -> tuple[float, Values]:
        """Fit what joins ``base`` with everything else where it is."""
        chain = self._chain(names)
        known = self.fits[base]
        values = known.plan.values(known.solution.theta)
        fix = {
            f"{stage}.{name}": value
            for stage, given in values.items()
            for name, value in given.items()
            if stage != "gain"
        }
        fixed = {**fix, **self._fixed(chain)}
        settings = replace(self.settings, fix=fixed, start=None, starts=1)
        found = quick_fit(chain, self._problem(chain), settings, iterations=5, search_bands=False)
        return found.solution.cost, found.plan.values(found.solution.theta)

    def _problem(self, chain: Chain) -> Problem:
        return self.problem if lingers(chain) else self.near

    def _others(self, base: tuple[str, ...]) -> list[str]:
        """Return what may join a chain: no echoes where they explain nothing alone."""
        found = [other for name in base for other in _PAIRS.get(name, ()) if other not in base]
        return [
            other
            for other in dict.fromkeys(found)
            if other not in _ECHOES or not self.idle((other,))
        ]

    def idle(self, names: tuple[str, ...]) -> bool:
        """Tell whether a chain leaves what a gain leaves."""
        return self.fits[names].solution.cost > _IDLE * self.fits[()].solution.cost

    def _chain(self, names: tuple[str, ...]) -> Chain:
        chain = build_chain([*names, "gain"], self.sample_rate, bands=self.bands)
        return _turned(chain, self.polarity)

    def _fixed(self, chain: Chain) -> dict[str, float]:
        return parse_fix(chain, {k: v for k, v in self.settings.fix.items() if _has(chain, k)})


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
