"""Read the files in which others write down how a network was built."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sonograd.errors import ConfigError

yaml: Any = import_module("yaml")  # has no types

__all__ = ["model_arguments", "read_settings"]

_MAX_BYTES = 1 << 20
_MAX_VALUES = 100_000
_MAX_NUMBER = 100
_TUPLE = "tag:yaml.org,2002:python/tuple"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_settings(path: Path) -> dict[str, Any]:
    """Read a ``.yaml`` or ``.json`` file of settings; nothing in it can name code.

    Of the tags of Python, lists that are meant as tuples are understood, and no other.

    Raises:
        ConfigError: If it is missing, damaged, or asks for anything else.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(str(path), [f"has more than {_MAX_BYTES} bytes."])
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), ["no such file."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}."]) from None
    data = _json(path, text) if path.suffix.lower() == ".json" else _yaml(path, text)
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(str(path), ["expected settings by name."])
    return data


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), [f"not valid JSON: {error}."]) from None


def _yaml(path: Path, text: str) -> Any:
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Plain values, and tuples as lists."""

        def construct_document(self, node: Any) -> Any:
            """Count before anything is made: references may stand for other references."""
            _count(node, {})
            return super().construct_document(node)

    Loader.add_constructor(_TUPLE, lambda loader, node: loader.construct_sequence(node))
    try:
        return yaml.load(text, Loader)  # the loader knows plain values only
    except _TooMuchError as error:
        raise ConfigError(str(path), [f"{error}."]) from None
    except yaml.constructor.ConstructorError as error:
        problem = str(error.problem or error)
        if "constructor for the tag" not in problem:
            raise ConfigError(str(path), [f"not valid YAML: {problem}."]) from None
        tag = problem.rsplit("yaml.org,2002:", 1)[-1].strip(" '")
        raise ConfigError(
            str(path), [f"refused; it asks for {tag}, and only plain values are read."]
        ) from None
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError,
            ValueError) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise ConfigError(str(path), [f"not valid YAML: {reason}."]) from None


class _TooMuchError(Exception):
    """What a file of settings stands for is out of all proportion."""


def _count(node: Any, counted: dict[int, int]) -> int:
    """Return how many values a node of YAML stands for, what it refers to included."""
    if (known := counted.get(id(node))) is not None:
        if known == 0:  # still being counted
            raise _TooMuchError("has a reference to what it is part of")
        return known
    counted[id(node)] = 0
    total = 1
    if isinstance(node, yaml.ScalarNode):
        if len(node.value) > _MAX_NUMBER and node.tag in _NUMBERS:
            raise _TooMuchError(f"has a number of {len(node.value)} digits")
    else:
        for part in node.value:
            parts = part if isinstance(part, tuple) else (part,)
            total += sum(_count(one, counted) for one in parts)
    if total > _MAX_VALUES:
        raise _TooMuchError(f"has references that stand for more than {_MAX_VALUES} values")
    counted[id(node)] = total
    return total


def model_arguments(settings: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return the arguments of a model's constructor from a file of settings.

    Training programs write sections: ``model`` is the constructor's (or names the section that
    is), and ``audio``, ``training`` and ``inference`` add the length of a chunk, the stems and
    the overlap. A file without sections holds the arguments themselves.

    Raises:
        ConfigError: If a section is no list of settings.
    """
    model = settings.get("model")
    if model is None:
        return dict(settings)
    training, audio, inference = (
        _section(settings, name, source) for name in ("training", "audio", "inference")
    )
    if isinstance(model, str):
        arguments = _section(settings, model, source)
        arguments.pop("num_subbands", None)
        given = {"samplerate": "samplerate", "segment": "segment", "channels": "audio_channels"}
        arguments |= {new: training[old] for old, new in given.items() if old in training}
        stems = training.get("instruments")
        return {**arguments, "sources": stems} if stems else arguments
    arguments = _section(settings, "model", source)
    stems = _stems(training)
    if stems:
        arguments["sources"] = stems
    for section, name in (
        (audio, "chunk_size"),
        (inference, "chunk_size"),
        (audio, "sample_rate"),
        (inference, "num_overlap"),
    ):
        if name in section:
            arguments[name] = section[name]
    if inference.get("normalize"):
        arguments["normalize"] = True
    return arguments


def _section(settings: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    section = settings.get(name, {})
    if not isinstance(section, Mapping):
        raise ConfigError(source, [f"{name}: expected settings by name."])
    return {str(key): value for key, value in section.items()}


def _stems(training: Mapping[str, Any]) -> Sequence[str] | None:
    target = training.get("target_instrument")
    if isinstance(target, str):
        return [target]
    stems = training.get("instruments")
    return list(stems) if isinstance(stems, list) else None
