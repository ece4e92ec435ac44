"""What effects there are, in words and numbers."""

import inspect
import re
from dataclasses import dataclass
from typing import Any

from sonograd.effects.base import Effect, effect_types
from sonograd.effects.structure import Structure
from sonograd.errors import ParameterError, SonogradError
from sonograd.params import Param

__all__ = ["EffectDescription", "describe_effects"]

_RATE = 44100
_ROLE = re.compile(r":\w+:`(?:~[\w.]*\.)?([^`]*)`")


@dataclass(frozen=True)
class EffectDescription:
    """One effect.

    Attributes:
        type: Its name in presets.
        group: The module it lives in: level, filters, ...
        summary: One line about it.
        params: With the default options, at 44.1 kHz; of structures, their own.
        options: Choices of the constructor, with their defaults.
        allowed: What each option takes, in words.
        channels: Numbers of channels it takes; any if empty.
        latency: Samples by which a stream is late, with the default options.
        audio_inputs: Further audio that it takes.
    """

    type: str
    group: str
    summary: str
    params: tuple[Param, ...]
    options: dict[str, Any]
    allowed: dict[str, str]
    channels: tuple[int, ...]
    latency: int
    audio_inputs: tuple[str, ...]


def describe_effects(*names: str) -> list[EffectDescription]:
    """Describe the effects called ``names``, or all of sonograd, sorted by group and name.

    Raises:
        ParameterError: If there is no such effect.
    """
    kinds = effect_types()
    if not names:
        own = [kind for kind in kinds.values() if kind.__module__.startswith("sonograd.")]
        return sorted((_describe(kind) for kind in own), key=lambda item: (item.group, item.type))
    for name in names:
        if name not in kinds:
            from sonograd.config.io import suggest  # noqa: PLC0415

            raise ParameterError(f"there is no effect {name!r}.{suggest(name, kinds)}")
    return [_describe(kinds[name]) for name in names]


def _describe(kind: type[Effect]) -> EffectDescription:
    structure = issubclass(kind, Structure)
    effect = None if structure else kind(_RATE)
    parameters = inspect.signature(kind).parameters.values()
    options = {
        item.name: item.default
        for item in parameters
        if item.kind is item.KEYWORD_ONLY and item.default is not item.empty
    }
    group = kind.__module__.rpartition(".")[2]
    if structure:
        group = "structure"
    return EffectDescription(
        type=kind.type_name(),
        group={"equalizers": "filters", "limiters": "dynamics"}.get(group, group),
        summary=_plain((inspect.getdoc(kind) or "").partition("\n")[0]),
        params=kind.params if effect is None else effect.params,
        options=options,
        allowed={name: _allowed(kind, name, value) for name, value in options.items()},
        channels=kind.channel_counts or (),
        latency=0 if effect is None else effect.latency,
        audio_inputs=kind.audio_inputs if effect is None else effect.audio_inputs,
    )


def _plain(text: str) -> str:
    """Take the markup of documentation out: ``:func:`~a.b.name``` is ``name``."""
    return _ROLE.sub(r"\1", text).replace("``", "")


def _allowed(kind: type[Effect], option: str, default: Any) -> str:
    """Return what an option takes, as the constructor says when it refuses something else."""
    if isinstance(default, bool):
        return "True or False"
    try:
        kind(_RATE, **{option: object()})
    except SonogradError as error:
        return str(error).partition("expected ")[2].removesuffix(".")
    return "anything"
