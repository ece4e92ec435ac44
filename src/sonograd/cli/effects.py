"""``sonograd effects``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from sonograd.effects.catalog import EffectDescription

__all__ = ["effects"]


def effects(
    *names: str,
    preset: str | None = None,
    to: Literal["json", "pedalboard", "equalizer-apo", "ffmpeg"] = "json",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """List effects with their parameters, units and ranges, or print a preset.

    Args:
        names: Effects to describe; all by default.
        preset: Print this preset (a name or a file) instead.
        to: Language of the preset: json, pedalboard (Python code), equalizer-apo, ffmpeg (for
            -af). What cannot be expressed there is refused.
        json: List as JSON.
    """
    if preset is not None:
        print(_preset_text(preset, to), end="")
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
            yield f"    option {option} = {value!r}"
        if item.audio_inputs:
            yield f"    further audio: {', '.join(item.audio_inputs)}"
