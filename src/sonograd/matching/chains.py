"""The chains that can be asked for, by short names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sonograd.config.io import suggest
from sonograd.effects import (
    Chain,
    Chorus,
    Compressor,
    Delay,
    Distortion,
    Effect,
    Freeverb,
    Gain,
    Gate,
    effect_types,
)
from sonograd.effects.structure import Structure
from sonograd.errors import ParameterError

__all__ = ["ALIASES", "build_chain", "lingers", "oscillates", "parse_fix", "usual_holds"]

_MOST_BANDS = 32  # that an equalizer may have

#: Short names of types, beside the types themselves.
ALIASES: Mapping[str, str] = {
    "comp": "compressor",
    "drive": "distortion",
    "eq": "parametric_eq",
    "limiter": "two_stage_limiter",
    "lookahead_limiter": "limiter",
    "reverb": "freeverb",
}


def build_chain(
    names: str | Iterable[str],
    sample_rate: int,
    *,
    bands: int | Sequence[str] = 6,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Chain:
    """Make a chain from names of effects.

    Args:
        names: ``"eq,compressor,gain"``, or a list; see :data:`ALIASES` and ``sonograd effects``.
        sample_rate: In Hz.
        bands: Of each equalizer; ``"eq4"`` asks for 4.
        options: Constructor arguments by type.

    Raises:
        ParameterError: If a name is unknown.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    listed = [name.strip().lower().replace("-", "_").replace(" ", "_") for name in listed]
    if not listed or not all(listed):
        raise ParameterError(f"chain is {names!r}; expected names like eq,compressor,gain")
    return Chain(*(_stage(name, sample_rate, bands, options or {}) for name in listed))


def _stage(
    name: str, sample_rate: int, bands: int | Sequence[str], options: Mapping[str, Any]
) -> Effect:
    count: int | Sequence[str] = bands
    if name.startswith("eq") and name[2:].isdigit():
        name, count = "eq", int(name[2:])
    if isinstance(count, int) and count > _MOST_BANDS:
        raise ParameterError(
            f"{count} bands are too many to be told apart; expected at most {_MOST_BANDS}"
        )
    kinds = effect_types()
    kind = ALIASES.get(name, name)
    if kind not in kinds or issubclass(kinds[kind], Structure):
        known = sorted({*ALIASES, *(k for k, v in kinds.items() if not issubclass(v, Structure))})
        raise ParameterError(
            f"chain names {name!r}, which is no effect.{suggest(name, known)} "
            "`sonograd effects` lists them all."
        )
    given = dict(options.get(kind, {}))
    if kind == "parametric_eq":
        given.setdefault("bands", count)
    return kinds[kind](sample_rate, **given)


def usual_holds(chain: Chain, channels: int = 2) -> dict[str, float]:
    """Return what cannot be told apart and is therefore held, ``"stage.parameter": value``.

    One gain is left free; makeup and output gains before it are at 0 dB. A knee is at 0 dB, a gate
    has neither hold nor hysteresis, until a variant says otherwise. A chorus feeds nothing back. In
    mono, the width of a reverb is 1: it is a factor on the wet level.
    """
    held: dict[str, float] = {}
    stages = [(name, chain.stage(name)) for name in chain.stage_names]
    gains = [name for name, stage in stages if isinstance(stage, Gain)]
    absorbing = [name for name, stage in stages if isinstance(stage, Freeverb)]
    for name in gains[:-1] if not absorbing else gains:
        held[f"{name}.gain_db"] = 0.0
    levels = [n for n, s in stages if isinstance(s, (Compressor, Distortion))]
    free = bool(gains) or bool(absorbing)
    for place, name in enumerate(levels):
        stage = chain.stage(name)
        output = "makeup_db" if isinstance(stage, Compressor) else "output_db"
        if free or place < len(levels) - 1:
            held[f"{name}.{output}"] = 0.0
    for name, stage in stages:
        if isinstance(stage, Freeverb) and channels == 1:
            held[f"{name}.width"] = 1.0
        if isinstance(stage, Chorus):
            held[f"{name}.feedback"] = 0.0
        if channels == 1 and any(p.name == "spread_deg" for p in stage.params):
            held[f"{name}.spread_deg"] = 0.0
        if isinstance(stage, Compressor):
            held[f"{name}.knee_db"] = 0.0
        if isinstance(stage, Gate):
            held.update({f"{name}.hold_ms": 0.0, f"{name}.hysteresis_db": 0.0})
            held.update({f"{name}.range_db": 120.0})
            if stage.detector == "rms":
                held[f"{name}.rms_ms"] = 50.0
        if isinstance(stage, Delay) and stage.filtered:
            held.update({f"{name}.low_cut_hz": 20.0, f"{name}.high_cut_hz": 20_000.0})
    return held


def oscillates(chain: Chain) -> bool:
    """Tell whether a stage has an oscillator, which starts where the recording does."""
    stages = (chain.stage(name) for name in chain.stage_names)
    return any(p.name == "rate_hz" for stage in stages for p in stage.params)


def lingers(chain: Chain) -> bool:
    """Tell whether a stage goes on sounding for seconds, so that what was long before matters."""
    return any(isinstance(chain.stage(name), (Delay, Freeverb)) for name in chain.stage_names)


def parse_fix(chain: Chain, fix: Mapping[str, float] | None) -> dict[str, float]:
    """Return ``"stage.parameter": value`` for names with or without their stage.

    Raises:
        ParameterError: If there is no such parameter, or several stages have it.
    """
    found: dict[str, float] = {}
    full = [f"{n}.{p.name}" for n in chain.stage_names for p in chain.stage(n).params]
    for name, value in (fix or {}).items():
        matches = [f for f in full if name in {f, f.partition(".")[2]}]
        if not matches:
            short = sorted({*full, *(f.partition(".")[2] for f in full)})
            raise ParameterError(
                f"fix names {name!r}, which no stage of {', '.join(chain.stage_names)} has."
                f"{suggest(name, short)}"
            )
        if len(matches) > 1:
            raise ParameterError(
                f"fix names {name!r}, which {len(matches)} stages have; say {' or '.join(matches)}"
            )
        stage, _, param = matches[0].partition(".")
        declared = next(p for p in chain.stage(stage).params if p.name == param)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ParameterError(f"fix: {name} is {value!r}; expected a number")
        if not declared.low <= value <= declared.high:
            raise ParameterError(
                f"fix: {name} is {value}; expected {declared.low:g} to {declared.high:g}"
                f"{'' if declared.unit == '1' else ' ' + declared.unit}"
            )
        found[matches[0]] = float(value)
    return found
