"""Presets: an effect and its values as JSON, in human units, exact in both directions.

::

    {"format": "sonograd-preset", "version": 1, "sample_rate": 44100,
     "chain": [{"type": "compressor", "options": {...}, "params": {"threshold_db": -18.2, ...}}]}

``options`` are the choices of the constructor. A stage may have a ``name``; a structure lists what
is in it under ``stages``.
"""

import inspect
import json
import math
import os
from collections.abc import Mapping
from importlib import resources
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonograd.atomic import AtomicFile
from sonograd.config.io import suggest
from sonograd.effects.base import Effect, Values, effect_types
from sonograd.effects.structure import Chain, Structure, name_stages
from sonograd.errors import ConfigError, OutputError, ParameterError, SonogradError
from sonograd.params import Param

__all__ = ["from_preset", "preset", "preset_names", "read_preset", "write_preset"]

FORMAT = "sonograd-preset"
VERSION = 1
_KEYS = ("format", "version", "sample_rate", "chain")
_STAGE_KEYS = ("type", "name", "options", "params", "stages")
#: What constructors raise for options that they do not take; effects of others may be careless.
_WRONG = (SonogradError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError)


def preset(effect: Effect, values: Values | None = None) -> dict[str, Any]:
    """Return an effect and its values as plain JSON data.

    Args:
        effect: Any effect; of a chain, the stages are listed.
        values: As for calling it, one set: numbers, tensors with one element, or
            ``(1, channels)``. Missing ones are written at their default.

    Raises:
        ParameterError: If a value is a curve, or there are several items.
    """
    node = _node("", effect, values or {})
    chain = node["stages"] if isinstance(effect, Chain) else [node]
    return {
        "format": FORMAT,
        "version": VERSION,
        "sample_rate": effect.sample_rate,
        "chain": chain,
    }


def from_preset(
    data: Any, sample_rate: float | None = None, *, source: str = "preset"
) -> tuple[Chain, dict[str, Any]]:
    """Make the chain of a preset, and its values.

    Args:
        data: What :func:`preset` returns, or a JSON file holds.
        sample_rate: Of the audio, in Hz; that of the preset if None.
        source: Named in errors.

    Returns:
        A chain and the values to call it with: ``chain(x, **values)``.

    Raises:
        ConfigError: With every problem at once.
    """
    problems: list[str] = []
    nodes = _check_head(data, problems)
    if not problems and sample_rate is None:
        sample_rate = data["sample_rate"]
    if problems or sample_rate is None:
        raise ConfigError(source, problems)
    reader = _Reader(sample_rate, data["sample_rate"], problems)
    stages = reader.stages(nodes, "chain")
    if problems:
        raise ConfigError(source, problems)
    try:
        chain = Chain(**{name: effect for name, (effect, _) in stages.items()})
    except SonogradError as error:
        raise ConfigError(source, [str(error)]) from None
    return chain, {name: values for name, (_, values) in stages.items()}


def write_preset(data: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write what :func:`preset` returned as an indented JSON file, complete or not at all.

    Raises:
        ConfigError: If :func:`read_preset` would refuse it.
        OutputError: If the file cannot be written.
    """
    path = Path(path)
    from_preset(data, source=str(path))
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    try:
        with AtomicFile(path) as file:
            file.path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}.") from None


def read_preset(
    path: str | os.PathLike[str], sample_rate: float | None = None
) -> tuple[Chain, dict[str, Any]]:
    """Read a preset from a file, or one of :func:`preset_names`.

    Args:
        path: A JSON file, or a name.
        sample_rate: Of the audio, in Hz; that of the preset if None.

    Returns:
        A chain and its values, see :func:`from_preset`.

    Raises:
        ConfigError: If there is no such preset, or it is not valid.
    """
    name = os.fspath(path)
    if name in preset_names():
        text = _library().joinpath(f"{name}.json").read_text(encoding="utf-8")
        return from_preset(json.loads(text), sample_rate, source=name)
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        names = preset_names()
        problem = f"no such file, and no preset of that name; there are {', '.join(names)}."
        raise ConfigError(name, [problem + suggest(name, names)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(name, [f"cannot be read: {error}."]) from None
    except json.JSONDecodeError as error:
        problem = f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        raise ConfigError(name, [problem]) from None
    except RecursionError:
        raise ConfigError(name, ["nested too deeply."]) from None
    return from_preset(data, sample_rate, source=name)


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with sonograd."""
    files = (item.name for item in _library().iterdir() if item.name.endswith(".json"))
    return tuple(sorted(name.removesuffix(".json") for name in files))


def _library() -> Any:
    return resources.files("sonograd.effects").joinpath("library")


def _node(name: str, effect: Effect, values: Values) -> dict[str, Any]:
    effect._check_names(values)
    node: dict[str, Any] = {"type": effect.type_name()}
    if name and name != effect.type_name():
        node["name"] = name
    if options := effect.options():
        node["options"] = {key: _plain(value) for key, value in options.items()}
    params = {
        now.name: _number(now, _span(now, before), values.get(now.name, now.default))
        for now, before in zip(effect.params, effect.declared, strict=True)
    }
    if params or not isinstance(effect, Structure):
        node["params"] = params
    if isinstance(effect, Structure):
        node["stages"] = [
            _node(inner, effect.stage(inner), values.get(inner, {})) for inner in effect.stage_names
        ]
    return node


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _span(*params: Param) -> tuple[float, float]:
    """Return the range of a parameter in presets.

    It has to be that of every sample rate, where high frequencies are clamped, and at a very low
    one a range may begin lower.
    """
    return min(param.low for param in params), max(param.high for param in params)


def _number(param: Param, span: tuple[float, float], value: Any) -> Any:
    """Return a value as numbers in range, as the effect itself would clamp it."""
    real = isinstance(value, Tensor) and not (value.is_complex() or value.dtype == torch.bool)
    if isinstance(value, Tensor) and real and value.numel() == 1:
        numbers = [float(value.detach())]
    elif isinstance(value, Tensor) and real and value.ndim == 2 and value.shape[0] == 1:
        numbers = value.detach()[0].tolist() if param.per_channel else []
    else:
        plain = isinstance(value, Real) and not isinstance(value, bool)
        numbers = [float(value)] if plain else []
    if not numbers:
        per_channel = ", or one per channel in (1, channels)" if param.per_channel else ""
        raise ParameterError(f"{param.name} is {value!r}; a preset holds one number{per_channel}")
    if not all(math.isfinite(number) for number in numbers):
        raise ParameterError(
            f"{param.name} is {value!r}; expected finite numbers from {span[0]:g} to {span[1]:g}"
        )
    numbers = [min(max(number, span[0]), span[1]) for number in numbers]
    return numbers[0] if len(numbers) == 1 else numbers


def _check_head(data: Any, problems: list[str]) -> list[Any]:
    if not isinstance(data, Mapping):
        problems.append(f"got {type(data).__name__}; expected an object with {', '.join(_KEYS)}.")
        return []
    if data.get("format") != FORMAT:
        problems.append(f"format: got {data.get('format')!r}; expected {FORMAT!r}.")
        return []
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        problems.append(f"version: got {version!r}; expected {VERSION}.")
        return []
    if version > VERSION:
        problems.append(
            f"version: {version} was written by a newer sonograd; this one reads up to {VERSION}."
        )
        return []
    _check_keys(data, _KEYS, "", problems)
    rate = data.get("sample_rate")
    if rate is None or not _is_number(rate) or rate <= 0:
        problems.append(f"sample_rate: got {rate!r}; expected a positive number of Hz.")
    nodes = data.get("chain")
    if not isinstance(nodes, list) or not nodes:
        problems.append("chain: expected a list of at least one effect.")
        return []
    return nodes


def _check_keys(
    data: Mapping[str, Any], known: tuple[str, ...], where: str, problems: list[str]
) -> None:
    for key in data:
        if key not in known:
            problems.append(f"{where}{key}: no such key.{suggest(str(key), known)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _option_names(kind: type[Effect]) -> tuple[str, ...]:
    """Return the arguments of a constructor, apart from the sample rate and stages."""
    other = {"sample_rate", "effect", "nodes"} if issubclass(kind, Structure) else {"sample_rate"}
    parameters = inspect.signature(kind).parameters.values()
    named = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return tuple(p.name for p in parameters if p.kind in named and p.name not in other)


class _Reader:
    """Makes effects of nodes, and collects what is wrong with them."""

    def __init__(self, sample_rate: float, written_rate: float, problems: list[str]) -> None:
        self.sample_rate = sample_rate
        self.written_rate = written_rate
        self.problems = problems

    def stages(self, nodes: list[Any], where: str) -> dict[str, tuple[Effect, dict[str, Any]]]:
        """Return effects and values by name."""
        stages: dict[str, tuple[Effect, dict[str, Any]]] = {}
        for index, node in enumerate(nodes):
            place = f"{where}[{index}]"
            made = self.node(node, place)
            if made is None:
                continue
            named = node.get("name")
            taken = {name: effect for name, (effect, _) in stages.items()}
            if named is None:
                named = next(name for name in name_stages([made[0]], taken) if name not in taken)
            elif not isinstance(named, str) or named in stages:
                self.problems.append(f"{place}.name: got {named!r}; expected a name of its own.")
                continue
            stages[named] = made
        return stages

    def node(self, node: Any, place: str) -> tuple[Effect, dict[str, Any]] | None:
        """Return one effect and its values, or None if something is wrong."""
        if not isinstance(node, Mapping):
            self.problems.append(f"{place}: expected an object with {', '.join(_STAGE_KEYS)}.")
            return None
        before = len(self.problems)
        _check_keys(node, _STAGE_KEYS, f"{place}.", self.problems)
        kinds = effect_types()
        name = node.get("type")
        kind = kinds.get(name) if isinstance(name, str) else None
        if kind is None:
            self.problems.append(
                f"{place}.type: there is no effect {name!r}.{suggest(str(name), kinds)} "
                "All are listed by: sonograd effects"
            )
            return None
        effect, inside = self._make(kind, node, place)
        if effect is None:
            return None
        values = self._values(effect, node.get("params", {}), place)
        return (effect, {**values, **inside}) if len(self.problems) == before else None

    def _make(
        self, kind: type[Effect], node: Mapping[str, Any], place: str
    ) -> tuple[Effect | None, dict[str, Any]]:
        before = len(self.problems)
        options = node.get("options", {})
        if not isinstance(options, Mapping):
            self.problems.append(f"{place}.options: expected an object.")
            return None, {}
        inside: dict[str, tuple[Effect, dict[str, Any]]] = {}
        if issubclass(kind, Structure):
            nodes = node.get("stages")
            if not isinstance(nodes, list) or not nodes:
                self.problems.append(f"{place}.stages: expected a list of at least one effect.")
                return None, {}
            inside = self.stages(nodes, f"{place}.stages")
        elif "stages" in node:
            self.problems.append(f"{place}.stages: {kind.type_name()} has no stages.")
        if len(self.problems) == before:
            known = _option_names(kind)
            _check_keys(options, known, f"{place}.options.", self.problems)
        if len(self.problems) > before:
            return None, {}
        try:
            effect: Effect
            if issubclass(kind, Structure):
                effect = kind.build({key: made for key, (made, _) in inside.items()}, options)
            else:
                effect = kind(self.sample_rate, **options)
        except _WRONG as error:
            self.problems.append(f"{place}.options: {error}")
            return None, {}
        return effect, {key: values for key, (_, values) in inside.items()}

    def _values(self, effect: Effect, params: Any, place: str) -> dict[str, Any]:
        if not isinstance(params, Mapping):
            self.problems.append(f"{place}.params: expected an object.")
            return {}
        # A preset may be used at a lower sample rate, where high frequencies are clamped.
        known = {param.name: param for param in effect.declared}
        values: dict[str, Any] = {}
        for name, value in params.items():
            if name not in known:
                listed = ", ".join(known) or "no parameters"
                self.problems.append(
                    f"{place}.params.{name}: {effect.type_name()} has no such parameter; it has "
                    f"{listed}.{suggest(str(name), known)}"
                )
                continue
            param = known[name]
            low, high = _span(param, param.for_rate(self.written_rate))
            items = value if isinstance(value, list) and param.per_channel else [value]
            if not items or not all(_is_number(item) and low <= item <= high for item in items):
                self.problems.append(
                    f"{place}.params.{name}: got {value!r}; expected a number from {low:g} "
                    f"to {high:g} ({param.unit})."
                )
                continue
            if isinstance(value, list):
                values[name] = torch.tensor([value], dtype=torch.float64)
            else:
                values[name] = float(value)
        return values
