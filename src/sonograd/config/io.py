"""Read, write and validate configurations."""

import dataclasses
import difflib
import json
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from sonograd.atomic import AtomicFile
from sonograd.errors import ConfigError, OutputError

__all__ = [
    "parse_config",
    "read_config",
    "read_json",
    "suggest",
    "to_dict",
    "validate",
    "write_config",
]

T = TypeVar("T")
#: Problems of one file that are told.
_MOST_PROBLEMS = 100


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the name nearest to ``name``, or an empty string."""
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def to_dict(config: Any) -> dict[str, Any]:
    """Return the plain JSON form of a configuration dataclass."""
    from pydantic import TypeAdapter

    result: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return result


def _field_types(kind: Any) -> dict[str, Any]:
    """Return the type of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _field_names(kind: Any) -> list[str]:
    """Return every field name that some dataclass inside the annotation ``kind`` has."""
    names: list[str] = []
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        for name, inner in _field_types(kind).items():
            names.append(name)
            names.extend(_field_names(inner))
    for part in get_args(kind):
        names.extend(_field_names(part))
    return names


def _path(error: Mapping[str, Any], kind: Any) -> list[str]:
    """Return where an error is, without the tags that pydantic puts between."""
    tags = _tags(kind)
    return [str(part) for part in error["loc"] if part not in tags]


def _describe(error: Mapping[str, Any], kind: Any) -> str:
    """Turn one of pydantic's errors into ``path: what is wrong. Remedy``."""
    path = ".".join(_path(error, kind)) or "(file)"
    if error["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"{path}: no such key.{suggest(str(error['loc'][-1]), _field_names(kind))}"
    message = str(error["msg"])
    if error["type"] in {"union_tag_invalid", "literal_error"}:
        given = error.get("input")
        if error["type"] == "union_tag_invalid" and isinstance(given, Mapping):
            tag = str(error["ctx"]["discriminator"]).strip("'")
            given = given.get(tag)
            path = ".".join([*_path(error, kind), tag])
        expected = str(error["ctx"].get("expected_tags") or error["ctx"].get("expected"))
        names = [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]
        wrong = f"{path}: got {reprlib.repr(given)}; expected one of {', '.join(names)}."
        return wrong + suggest(str(given), names)
    if error["type"] == "union_tag_not_found":
        tag = str(error["ctx"]["discriminator"]).strip("'")
        return ".".join([*_path(error, kind), tag]) + ": this key is missing."
    if error["type"] in {"missing", "missing_argument"}:
        return f"{path}: this key is missing."
    return f"{path}: {message[0].lower()}{message[1:]} (got {reprlib.repr(error['input'])})."


def _problems(error: Mapping[str, Any], kind: Any) -> list[str]:
    """Return what one of pydantic's errors says, in our words."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):  # from the ``__post_init__`` of a dataclass
        place = ".".join(_path(error, kind))
        return [f"{place}.{problem}" if place else problem for problem in cause.problems]
    return [_describe(error, kind)]


def _meant(data: Any, kind: Any, tag: str | None) -> Any:
    """Return the dataclass that ``data`` is meant to be, or None."""
    if not isinstance(data, Mapping):
        return None
    if tag is None:
        return kind
    fits = (member for member in get_args(kind) if getattr(member, tag, None) == data.get(tag))
    return next(fits, None)


def _without_ignored(data: Any, kind: Any, tag: str | None) -> Any:
    """Drop the keys that the dataclass meant by ``data`` lists in its ``ignored_keys``."""
    ignored: frozenset[str] = getattr(_meant(data, kind, tag), "ignored_keys", frozenset())
    return {key: value for key, value in data.items() if key not in ignored} if ignored else data


def _wrong_fields(errors: Iterable[Mapping[str, Any]], kind: Any) -> set[str]:
    """Return the fields in which pydantic found errors, "" for the whole."""
    return {next(iter(_path(error, kind)), "") for error in errors}


def _contradictions(data: Any, kind: Any, wrong: set[str]) -> list[str]:
    """Return what the ``contradictions`` of a dataclass say about its fields that are not wrong.

    Its own ``__post_init__`` is not reached as long as one field is wrong.
    """
    check = getattr(kind, "contradictions", None)
    if check is None or "" in wrong:
        return []
    values = {
        field.name: data.get(field.name, field.default)
        for field in dataclasses.fields(kind)
        if field.name not in wrong
    }
    problems: list[str] = check(values)
    return problems


def _tags(kind: Any) -> set[str]:
    """Return the tag values of a tagged union, which pydantic inserts into error paths."""
    tags: set[str] = set()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        for inner in _field_types(kind).values():
            if get_origin(inner) is Literal:
                tags.update(str(value) for value in get_args(inner))
    for part in get_args(kind):
        tags |= _tags(part)
    return tags


def _tag_name(kind: Any) -> str | None:
    """Return the field that tells the members of a union of dataclasses apart, if there is one."""
    members = get_args(kind)
    if not members or not all(dataclasses.is_dataclass(member) for member in members):
        return None
    literals = [
        {name for name, inner in _field_types(member).items() if get_origin(inner) is Literal}
        for member in members
    ]
    return next((name for name in sorted(set.intersection(*literals)) if "type" in name), None)


def parse_config(data: Any, kind: type[T], *, source: str = "configuration") -> T:
    """Validate plain ``data`` as the dataclass (or union of dataclasses) ``kind``.

    Args:
        data: What a JSON file holds.
        kind: A frozen dataclass or a tagged union of them.
        source: Named at the start of the error message, usually the file.

    Raises:
        ConfigError: With every problem at once, each with its path.
    """
    from pydantic import Field, TypeAdapter, ValidationError

    tag = _tag_name(kind)
    schema: Any = Annotated[kind, Field(discriminator=tag)] if tag else kind
    adapter: TypeAdapter[T] = TypeAdapter(schema)
    try:
        text = json.dumps(_without_ignored(data, kind, tag))
    except (TypeError, ValueError, RecursionError) as error:  # objects, circles, endless numbers
        raise ConfigError(source, [f"not plain JSON data: {error}."]) from None
    try:
        # Strict JSON rules: "3" is no number, 3 is a float, a list is a tuple.
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        errors = error.errors()
        problems = [text for item in errors[:_MOST_PROBLEMS] for text in _problems(item, kind)]
        if len(errors) > _MOST_PROBLEMS:
            problems.append(f"and {len(errors) - _MOST_PROBLEMS} more.")
        problems += _contradictions(data, _meant(data, kind, tag), _wrong_fields(errors, kind))
        raise ConfigError(source, problems) from None


def validate(config: T, *, source: str = "configuration") -> T:
    """Return ``config`` if a round trip through its JSON form finds nothing wrong with it.

    Raises:
        ConfigError: With every problem at once, each with its path.
    """
    from pydantic import TypeAdapter
    from pydantic_core import PydanticSerializationError

    try:
        plain = TypeAdapter(type(config)).dump_python(config, mode="json", warnings=False)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise ConfigError(source, [f"not plain JSON data: {error}."]) from None
    return parse_config(plain, type(config), source=source)


def read_config(
    path: str | os.PathLike[str],
    kind: type[T],
    *,
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> T:
    """Read a JSON file as ``kind``.

    Args:
        path: The file.
        kind: A frozen dataclass or a tagged union of them.
        convert: Turns an older content into the present one, before it is validated.

    Raises:
        ConfigError: If the file is missing, is not JSON, or does not fit; all problems at once.
    """
    data: Any = read_json(path)
    if convert is not None and isinstance(data, Mapping):
        data = convert(data)
    return parse_config(data, kind, source=str(path))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: If the file is missing, is not JSON, or names a key twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique_keys)
    except FileNotFoundError:
        raise ConfigError(str(path), ["no such file."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}."]) from None
    except json.JSONDecodeError as error:
        problem = f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        raise ConfigError(str(path), [problem]) from None
    except _DuplicateKeyError as error:
        raise ConfigError(str(path), [f"{error}: this key is there twice."]) from None
    except ValueError as error:  # such as a number of thousands of digits
        raise ConfigError(str(path), [f"not valid JSON: {error}."]) from None
    except RecursionError:
        raise ConfigError(str(path), ["nested too deeply."]) from None


class _DuplicateKeyError(Exception):
    """An object in a JSON file names one key twice."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _DuplicateKeyError(key)
        result[key] = value
    return result


def write_config(config: Any, path: str | os.PathLike[str]) -> None:
    """Write a configuration as indented JSON; the file appears complete or not at all.

    Raises:
        ConfigError: If :func:`read_config` would refuse the file.
        OutputError: If the folder cannot be written to.
    """
    path = Path(path)
    text = json.dumps(to_dict(validate(config, source=str(path))), indent=2) + "\n"
    try:
        with AtomicFile(path) as file:
            file.path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}.") from None
