"""From dry and processed audio to the settings in between."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import nn

from sonograd.effects import Chain, Gain, from_preset, read_preset
from sonograd.errors import AudioError, ParameterError, UnrelatedError
from sonograd.matching._threads import threads_for_work
from sonograd.matching.align import REACH, Overlay, overlay
from sonograd.matching.analyze import clipped_samples
from sonograd.matching.beginning import remembers, without_beginning
from sonograd.matching.blackbox import black_box
from sonograd.matching.candidates import check_fix, choose
from sonograd.matching.chains import build_chain, lingers, oscillates, parse_fix
from sonograd.matching.conclude import conclude
from sonograd.matching.excerpts import choose_excerpts, near, read_problem, shorter, survey
from sonograd.matching.fitting import Fit, Settings, polish, quick_fit
from sonograd.matching.gradient import LOSSES, METHODS, Method, descend
from sonograd.matching.identify import canonical, whole_delay
from sonograd.matching.result import Excerpt, MatchResult
from sonograd.matching.solve import Problem
from sonograd.matching.sources import Audio, Pair, open_pair
from sonograd.matching.variants import best_variant, unexplained
from sonograd.matching.weighting import fit_under_noise, looks_like_noise
from sonograd.matching.without_phase import fit_spectrum
from sonograd.params import Param

__all__ = ["match"]

Progress: TypeAlias = Callable[[float, float], None]

_LISTEN_S = 20.0  # of a long recording, to find the delay
_UNRELATED = 0.15  # coherence below which two recordings hold different material
_LEAST_S = 0.05
_QUICK_S = 3.0
_POLARITY = "polarity"  # the stage that is added where wet is turned over
_LINGER_S, _SETTLE_S = 6.0, 1.5  # of context before excerpts, with echoes and without
_PHASE = 0.5  # coherence below which a null is not looked for
_PHASE_DB = 6.0  # where there is none
_CLEAR_DB = 40.0  # null depth at which another delay is not tried


def match(
    dry: Audio,
    wet: Audio,
    chain: str | Iterable[str] | Chain = "auto",
    *,
    sample_rate: int | None = None,
    wet_sample_rate: int | None = None,
    process: Callable[..., Any] | None = None,
    parameters: Sequence[Param] | None = None,
    fix: Mapping[str, float] | None = None,
    start: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    bands: int = 6,
    excerpt_s: float = 10.0,
    max_delay_s: float = 10.0,
    starts: int = 4,
    method: Method = "lm",
    loss: str | nn.Module = "waveform",
    steps: int = 300,
    learning_rate: float = 0.03,
    variants: bool = True,
    seed: int = 0,
    threads: int = 1,
    on_progress: Progress | None = None,
) -> MatchResult:
    """Find the settings of the chain that turns ``dry`` into ``wet``.

    Args:
        dry: ``(channels, samples)``, an open file or a path.
        wet: The same material, processed.
        chain: ``"auto"``, names like ``"eq,compressor,gain"``, or a chain of effects.
        sample_rate: Of tensors, in Hz.
        wet_sample_rate: Of ``wet``, where it has another one.
        process: A black box ``process(x, **values)`` instead of a chain, such as a plug-in: takes
            and returns ``(channels, samples)``, starting from rest at every call.
        parameters: What ``process`` takes: names, units, ranges.
        fix: Values to hold, ``{"attack_ms": 5}`` or ``{"compressor.attack_ms": 5}``.
        start: A preset, or its file, to start from; it says what the chain is.
        bands: Of each equalizer.
        excerpt_s: How much of a long recording is fitted.
        max_delay_s: Largest delay that is looked for.
        starts: Largest number of starting points of a chain.
        method: ``"lm"``: all parameters and the delay by Levenberg-Marquardt. ``"adam"``,
            ``"sgd"`` and ``"lbfgs"`` go down the gradient of ``loss`` from the first guess.
        loss: Of gradient descent: ``"waveform"``, ``"l1"``, ``"mrstft"``, or a module
            ``loss(estimate, reference)``.
        steps: Of gradient descent.
        learning_rate: Of gradient descent, on the scale [0, 1] of each parameter.
        variants: Whether other detectors, knees, links and ways of smoothing are tried where a
            compressor leaves something.
        seed: Of random starting points.
        threads: That work side by side, each in one thread of torch; results do not depend on
            how many they are. A ``process`` is called in one.
        on_progress: Called with what is done and the whole, in steps.

    Raises:
        UnrelatedError: If the recordings hold different material.
        AudioError: If one is silent, too short, or holds what is no number.
        ParameterError: If an argument is wrong.
    """
    began = time.perf_counter()
    _check_numbers(
        {"bands": bands, "starts": starts, "steps": steps, "threads": threads},
        {"excerpt_s": excerpt_s, "learning_rate": learning_rate, "max_delay_s": max_delay_s},
    )
    _check_way(method, loss)
    if process is not None or parameters is not None:
        _check_black_box(chain, start, process, parameters)
    report = _Progress(on_progress)
    pair = open_pair(dry, wet, sample_rate, wet_sample_rate)
    rate = pair.dry.sample_rate
    if process is not None:
        chain = Chain(process=black_box(process, parameters or (), rate))
    asked, begin = _asked(chain, start, rate, bands)
    fixed = parse_fix(asked, fix) if asked is not None else check_fix(fix, rate, bands)
    lay = _overlay(pair, max_delay_s)
    report(1, 20)
    with threads_for_work(threads if process is None else 1):
        tries: list[_Try] = []
        for one in (lay, lay.other):
            if one is None or (tries and tries[0].fits[0].solution.null_db >= _CLEAR_DB):
                continue
            swings = asked is not None and oscillates(asked)
            excerpts = choose_excerpts(
                pair.dry,
                pair.wet,
                one.delay,
                total_s=excerpt_s,
                context_s=_LINGER_S if asked is None or lingers(asked) else _SETTLE_S,
                from_start=swings,
            )
            problem = _problem(pair, one, excerpts)
            between = abs(one.fraction) > 0.02
            settings = Settings(
                fix=fixed,
                start=begin,
                delay=one.fraction if between else 0.0,
                free_delay=between,
                starts=starts,
                seed=seed,
            )
            quick = shorter(problem, round(_QUICK_S * rate), from_start=swings)
            if asked is None:
                fits = choose(quick, settings, rate, one.polarity, bands, report)
            else:
                quick = quick if lingers(asked) else near(quick)
                turned = asked if process else _with_polarity(asked, one.polarity)
                iterations = 20 if method == "lm" else 0
                fits = [quick_fit(turned, quick, settings, iterations=iterations)]
            if not lingers(fits[0].chain):
                problem, quick = problem.after(round(_SETTLE_S * rate)), near(quick)
            tries.append(_Try(one, excerpts, problem, quick, settings, fits))
        chosen = max(tries, key=lambda t: t.fits[0].solution.null_db)
        _tell_polarity(pair, asked, chosen.fits[0].chain)
        report(14, 20)
        extra: dict[str, tuple[float, ...]] = {}
        if method != "lm":
            best, extra["loss"] = descend(
                chosen.fits[0],
                chosen.quick,
                method=method,
                loss=loss,
                steps=steps,
                learning_rate=learning_rate,
                on_step=lambda _: report(15, 20),
            )
            best = polish(best, chosen.problem, free_delay=False, iterations=0)
        else:
            best, chosen = _finished(pair, chosen, report, variants=variants)
        report(19, 20)
        result = conclude(
            pair, chosen.lay, chosen.excerpts, chosen.problem, best, chosen.fits,
            chosen.settings, began, extra,
        )  # fmt: skip
        report(20, 20)
        return result


class _Progress:
    """Calls back with a number of steps that only grows."""

    def __init__(self, callback: Progress | None) -> None:
        self.callback = callback
        self.last = 0.0

    def __call__(self, done: float, total: float) -> None:
        self.last = max(self.last, done)
        if self.callback is not None:
            self.callback(self.last, total)


@dataclass(frozen=True)
class _Try:
    """One way to lay wet over dry, and what fits then."""

    lay: Overlay
    excerpts: tuple[Excerpt, ...]
    problem: Problem
    quick: Problem
    settings: Settings
    fits: list[Fit]

    def later(self, samples: int, best: Fit) -> "_Try":
        """Leave the first samples out, of what ``best`` was found for."""
        excerpts = tuple(
            Excerpt(e.start + samples, e.samples - samples, e.context + samples)
            for e in self.excerpts
        )
        length = self.quick.dry.shape[-1] - self.quick.context
        quick = self.quick.later(min(max(0, samples - self.quick.context), length // 2))
        first = polish(best, quick, free_delay=False)
        return replace(
            self, excerpts=excerpts, problem=self.problem.later(samples), quick=quick,
            fits=[first, *self.fits[1:]],
        )  # fmt: skip


def _overlay(pair: Pair, max_delay_s: float) -> Overlay:
    """Find the delay where the dry recording is loudest."""
    rate = pair.dry.sample_rate
    reach = min(round(max_delay_s * rate), max(pair.dry.samples, pair.wet.samples))
    listen = round(_LISTEN_S * rate)
    if pair.dry.samples <= 1.5 * listen:
        begin, length = 0, pair.dry.samples
    else:
        starts, levels, _ = survey(pair.dry)
        begin = int(starts[(levels + 0.0).argmax()]) - listen // 2
        begin = max(0, min(begin, pair.dry.samples - listen))
        length = listen
    if min(pair.dry.samples, pair.wet.samples) < _LEAST_S * rate:
        raise AudioError(
            f"{pair.dry.name} and {pair.wet.name} overlap in at most "
            f"{min(pair.dry.samples, pair.wet.samples) / rate:.3f} s; "
            f"expected at least {_LEAST_S} s."
        )
    x = pair.dry.read(begin, length)
    first = max(0, begin - reach)
    last = min(pair.wet.samples, begin + length + reach)
    if last <= first:
        raise AudioError(f"{pair.wet.name} ends before the part of {pair.dry.name} that sounds.")
    y = pair.wet.read(first, last - first)
    for name, signal in ((pair.dry.name, x), (pair.wet.name, y)):
        if float(signal.abs().max()) < 1e-6:
            raise AudioError(f"{name} is silent; expected sound.")
    lay = overlay(x, y, max_delay=reach, origin=first - begin)
    if lay.coherence < _UNRELATED:
        raise UnrelatedError(
            f"{pair.dry.name} and {pair.wet.name} hold different material (coherence "
            f"{lay.coherence:.2f} at the best delay), so no settings lie between them. To make "
            "one sound like the other, use --reference (matching.match_reference)."
        )
    return lay


def _finished(pair: Pair, chosen: _Try, report: _Progress, *, variants: bool) -> tuple[Fit, _Try]:
    """Fit the best chain on everything; where that leaves something, try other compressors.

    Returns:
        The fit, and what it was fitted to.
    """
    rate = pair.dry.sample_rate
    best = polish(chosen.fits[0], chosen.problem, free_delay=True)
    report(16, 20)
    if chosen.lay.coherence < _PHASE and best.solution.null_db < _PHASE_DB and len(best.plan):
        heard = fit_spectrum(chosen.fits, chosen.quick, chosen.problem, chosen.settings, rate)
        pair.notes.append(
            f"The phase of wet is not that of dry (coherence {chosen.lay.coherence:.2f}), so a "
            "null says little: the values were fitted to levels in bands (L-BFGS on the logarithm "
            "of a multi-resolution STFT loss, then least squares). Levels differed by "
            f"{heard.before_db:.1f} dB in the mean beside a gain; {heard.after_db:.1f} dB are left."
        )
        return canonical(heard.fit), chosen
    if remembers(best, chosen.problem):
        best, samples = without_beginning(best, chosen.problem, rate)
        if samples:
            chosen = chosen.later(samples, best)
            pair.notes.append(
                f"The first {samples / rate:.1f} s were left out of the fit: at their beginning, "
                "what made wet had been at work before, on what dry does not hold."
            )
    if looks_like_noise(best, chosen.problem, rate, pair.wet.codec):
        pair.notes.append(
            "What remains is noise, as of a codec: the values were fitted with less weight on "
            "the frequencies and moments where it is loud."
        )
        return whole_delay(canonical(fit_under_noise(best, chosen.problem))), chosen
    first = chosen.fits[0]
    if variants and unexplained(best, chosen.problem):
        other, tried = best_variant(first, chosen.quick, chosen.settings)
        pair.variants = [(what, found.solution.null_db) for what, found in tried]
        report(17, 20)
        if other is not first:
            other = polish(other, chosen.problem, free_delay=True)
            best = min(best, other, key=lambda fit: fit.bic)
    return whole_delay(canonical(best)), chosen


def _problem(pair: Pair, lay: Overlay, excerpts: tuple[Excerpt, ...]) -> Problem:
    problem = read_problem(pair.dry, pair.wet, lay.delay, excerpts)
    for name, x in ((pair.dry.name, problem.dry), (pair.wet.name, problem.wet)):
        if float(x.abs().max()) < 1e-6:
            raise AudioError(f"{name} is silent where both overlap; expected sound.")
    clipped = clipped_samples(problem.wet[..., REACH:-REACH])[..., problem.context :]
    share = float(clipped.double().mean())
    if 0 < share < 0.5:
        pair.notes.append(
            f"{100 * share:.2g} % of the samples of wet lie flat at its peak (clipped); "
            "they were left out of the fit."
        )
        problem = Problem(problem.dry, problem.wet, problem.context, (~clipped).double())
    return problem


def _asked(
    chain: str | Iterable[str] | Chain,
    start: Mapping[str, Any] | str | os.PathLike[str] | None,
    sample_rate: int,
    bands: int,
) -> tuple[Chain | None, Mapping[str, Mapping[str, float]] | None]:
    """Return the chain that was asked for, None for any, and the values to start from."""
    if start is not None:
        if isinstance(start, Mapping):
            found, values = from_preset(start, sample_rate, source="start")
        else:
            found, values = read_preset(start, sample_rate)
        return found, values
    if isinstance(chain, Chain):
        return chain, None
    if chain == "auto":
        return None, None
    return build_chain(chain, sample_rate, bands=bands), None


def _with_polarity(chain: Chain, polarity: int) -> Chain:
    """Give a chain a gain that turns the signal over, where wet is."""
    names = list(chain.stage_names)
    gains = [name for name in names if isinstance(chain.stage(name), Gain)]
    turned = sum(bool(getattr(chain.stage(name), "invert", False)) for name in gains) % 2
    if (polarity < 0) == bool(turned):
        return chain
    stages = {name: chain.stage(name) for name in names}
    if gains:
        last = stages[gains[-1]]
        assert isinstance(last, Gain)  # it is one of the gains
        stages[gains[-1]] = Gain(chain.sample_rate, invert=not last.invert)
    else:
        stages[_POLARITY] = Gain(chain.sample_rate, invert=True)
    return Chain(**stages)


def _tell_polarity(pair: Pair, asked: Chain | None, used: Chain) -> None:
    if asked is not None and _POLARITY in set(used.stage_names) - set(asked.stage_names):
        pair.notes.append("The polarity is turned over: a gain that inverts was added.")


def _check_numbers(whole: Mapping[str, Any], positive: Mapping[str, Any]) -> None:
    """Refuse numbers that make no sense."""
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name} is {value!r}; expected a whole number, at least 1")
    for name, value in positive.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise ParameterError(f"{name} is {value!r}; expected a positive number")


def _check_way(method: str, loss: str | nn.Module) -> None:
    if method not in METHODS:
        raise ParameterError(f"method is {method!r}; expected {', '.join(METHODS)}")
    if isinstance(loss, str) and loss not in LOSSES:
        raise ParameterError(f"loss is {loss!r}; expected {', '.join(LOSSES)} or a module")


def _check_black_box(chain: Any, start: Any, process: Any, parameters: Any) -> None:
    """Refuse what a callable would silently replace."""
    if process is None:
        raise ParameterError("parameters are those of process; expected process, too")
    if start is not None:
        raise ParameterError(
            "start cannot be combined with process; expected starting values as the defaults of "
            "its parameters"
        )
    if not (isinstance(chain, str) and chain == "auto"):
        raise ParameterError(f"chain is {chain!r}, but process is the chain; expected one of them")
