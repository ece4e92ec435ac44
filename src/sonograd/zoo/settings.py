"""Read the files in which others write down how a network was built."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from sonograd.errors import ConfigError, MissingExtraError

__all__ = ["model_arguments", "read_settings"]

_MAX_BYTES = 4 << 20
_TUPLE = "tag:yaml.org,2002:python/tuple"


def read_settings(path: Path) -> dict[str, Any]:
    """Read a ``.yaml`` or ``.json`` file of settings; nothing in it can name code.

    Of the tags of Python, lists that are meant as tuples are understood, and no other.

    Raises:
        ConfigError: If it is missing, damaged, or asks for anything else.
        MissingExtraError: If it is YAML and no package can read that.
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
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise MissingExtraError("Reading YAML", "train") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Plain values, and tuples as lists."""

    Loader.add_constructor(_TUPLE, lambda loader, node: loader.construct_sequence(node))
    if text.count("*") + text.count("&") > 1000:
        raise ConfigError(str(path), ["has too many references."])
    try:
        return yaml.load(text, Loader)  # the loader knows plain values only
    except yaml.constructor.ConstructorError as error:
        tag = str(error.problem or error).rsplit("yaml.org,2002:", 1)[-1].strip(" '")
        raise ConfigError(
            str(path), [f"refused; it asks for {tag}, and only plain values are read."]
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(str(path), [f"not valid YAML: {reason}."]) from None


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
