"""``sonograd effects``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonograd.errors import ParameterError

if TYPE_CHECKING:
    from sonograd.effects.catalog import EffectDescription

__all__ = ["effects"]


def effects(
    *names: str,
    preset: str | None = None,
    to: Literal["json", "pedalboard", "equalizer-apo", "ffmpeg"] | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """List effects with their parameters, units and ranges, or print a preset.

    Args:
        names: Effects to describe; all by default.
        preset: Print this preset (a name or a file) instead.
        to: Language of the preset: json (by default), pedalboard (Python code), equalizer-apo,
            ffmpeg (for -af). What cannot be expressed there is refused.
        json: List as JSON.
    """
    _check(names, preset, to, json=json)
    if preset is not None:
        print(_preset_text(preset, to or "json"), end="")
        return 0
    from sonograd.effects.catalog import describe_effects

    found = describe_effects(*names)
    if json:
        from dataclasses import asdict
        from json import dumps

        print(dumps([asdict(item) for item in found], indent=2))
    else:
        for line in _lines(found):
            print(line)
    return 0


def _check(names: tuple[str, ...], preset: str | None, to: str | None, *, json: bool) -> None:
    """Refuse options that would have no effect."""
    if preset is None and to is not None:
        raise ParameterError(f"--to {to} is the language of a preset; name one with --preset")
    if preset is not None and names:
        raise ParameterError(
            f"--preset {preset} prints a preset, and {' '.join(names)} asks for a description; "
            "expected one of both"
        )
    if json and to not in {None, "json"}:
        raise ParameterError(f"--json and --to {to} contradict each other; expected one of both")


def _preset_text(name: str, to: str) -> str:
    from sonograd.effects import export, preset, read_preset

    chain, values = read_preset(name)
    if to == "json":
        from json import dumps

        return dumps(preset(chain, values), indent=2) + "\n"
    text = export(chain, values, to)  # type: ignore[arg-type]
    return text if text.endswith("\n") else text + "\n"


def _lines(found: "Iterable[EffectDescription]") -> Iterable[str]:
    group = ""
    for item in found:
        if item.group != group:
            group = item.group
            yield group
        yield f"  {item.type}: {item.summary}"
        for param in item.params:
            unit = "" if param.unit == "1" else f" {param.unit}"
            notes = "" if param.scale == "linear" else f", {param.scale}"
            notes += ", may move" if param.moves else ""
            yield (
                f"    {param.name:<22} {param.low:g} to {param.high:g}{unit}, "
                f"default {param.default:g}{notes}"
            )
        for option, value in item.options.items():
            yield f"    option {option} = {value!r}: {item.allowed[option]}"
        if item.audio_inputs:
            yield f"    further audio: {', '.join(item.audio_inputs)}"
