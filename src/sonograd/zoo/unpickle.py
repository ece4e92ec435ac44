"""Read the files in which others publish weights, without running anything that is in them.

A ``.th``, ``.pth`` or ``.ckpt`` file is a program for a small machine, which may call anything.
Ours, :mod:`sonograd.separators.pickles`, knows plain data only. Classes stay names; a file that
asks for a function to be called is refused.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sonograd.errors import CheckpointError
from sonograd.separators.archive import Archive, read_problem
from sonograd.separators.fitting import shown
from sonograd.separators.pickles import Inert, Name, StoredTensor

__all__ = ["PublishedCheckpoint", "published_names", "read_published"]

#: Where tensors lie in files that hold more than a state dict.
_STATE_KEYS = ("state", "state_dict", "model_state_dict", "model")
#: What parallel and compiled networks put before the names of their tensors.
_WRAPPERS = ("module.", "_orig_mod.", "module.")
_MAX_HEADER = 100 << 20
_T = TypeVar("_T")


@dataclass(frozen=True)
class PublishedCheckpoint:
    """What is in a file of weights.

    Attributes:
        state: Tensors by their published names.
        class_name: The class that it says it belongs to, as text; None if it says nothing.
        arguments: Arguments of its constructor, plain values.
    """

    state: Mapping[str, Tensor]
    class_name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def read_published(path: Path) -> PublishedCheckpoint:
    """Read tensors and settings from a file of weights.

    Args:
        path: A ``.safetensors`` file, or one that was written by ``torch.save``.

    Raises:
        CheckpointError: If it is missing, damaged, holds no tensors, or asks for more than to be
            read.
    """
    _check_file(path)
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    archive = Archive(path)
    content = archive.content
    if not isinstance(content, Mapping):
        kind = content.name if isinstance(content, Inert) else type(content).__name__
        raise CheckpointError(f"{path}: holds a {shown(kind)}, expected tensors by name.")
    class_name, arguments = _settings(content)
    tensors = archive.tensors(_stored(path, _state(path, content)))
    return PublishedCheckpoint(_named_tensors(path, tensors), class_name, arguments)


def published_names(path: Path) -> list[str]:
    """Return the names of the tensors in a file, without reading them.

    Raises:
        CheckpointError: As for :func:`read_published`.
    """
    _check_file(path)
    if path.suffix.lower() == ".safetensors":
        with _opened(path) as file:
            return list(_named_tensors(path, dict.fromkeys(file.keys())))
    content = Archive(path).content
    stored = _stored(path, _state(path, content)) if isinstance(content, Mapping) else {}
    return list(_named_tensors(path, stored))


def _check_file(path: Path) -> None:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}; expected a file of weights.")


def _state(path: Path, content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the part of a file that has the tensors."""
    parts = [content.get(key) for key in _STATE_KEYS]
    for part in parts:
        if isinstance(part, Mapping):
            if part.get("__quantized"):
                raise CheckpointError(f"{path}: packed by a quantizer that is not supported.")
            if any(isinstance(value, StoredTensor) for value in part.values()):
                return part
    return content


def _settings(content: Mapping[Any, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the class that a file names, and the arguments that it gives to it.

    Without a class, what a training calls ``args`` is its own affair; arguments that cannot be
    read are as good as none.
    """
    match content:
        case {"klass": Name(class_name)}:
            arguments = _named(content.get("args", ()), content.get("kwargs", {}))
        case {"model_name": str(class_name)}:
            arguments = _named((), content.get("model_args", {}))
        case _:
            return None, {}
    return (None, {}) if arguments is None else (class_name, arguments)


def _stored(path: Path, state: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    """Return those values of a state dict that are tensors."""
    stored = {}
    for name, value in state.items():
        if isinstance(value, Inert) and value.name.startswith("torch._"):
            raise CheckpointError(f"{path}: {shown(str(name))} is no plain tensor.")
        if isinstance(value, StoredTensor):
            if not isinstance(name, str):
                raise CheckpointError(f"{path}: {shown(str(name))} is no name of a tensor.")
            stored[name] = value
    return stored


def _named_tensors(path: Path, tensors: Mapping[str, _T]) -> Mapping[str, _T]:
    """Return the tensors without what programs that wrap networks put before all their names."""
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors.")
    for wrapper in _WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return tensors


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; what goes wrong while it is read is an error of the file."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
        if size > min(_MAX_HEADER, path.stat().st_size):
            raise CheckpointError(f"{path}: damaged; its header would have {size} bytes.")
        with safe_open(path, framework="pt") as file:
            if "structure" in (file.metadata() or {}):
                raise CheckpointError(f"{path}: packed by a quantizer that is not supported.")
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CheckpointError(read_problem(path, error)) from None


def _read_safetensors(path: Path) -> PublishedCheckpoint:
    with _opened(path) as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return PublishedCheckpoint(
        _named_tensors(path, tensors), header.get("klass"), _arguments(header)
    )


def _arguments(header: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in the header of a safetensors file, if there are any."""
    try:
        args, kwargs = (json.loads(header.get(key, "null")) for key in ("args", "kwargs"))
    except (ValueError, RecursionError):
        return {}
    named = _named(args or (), kwargs or {})
    return {key: _fraction(value) for key, value in (named or {}).items()}


def _named(args: Any, kwargs: Any) -> dict[str, Any] | None:
    """Return arguments by name; all that have no name in use are the names of the stems."""
    if not isinstance(kwargs, Mapping) or not isinstance(args, list | tuple) or len(args) > 1:
        return None
    return {**dict(zip(("sources",), args, strict=False)), **kwargs}


def _fraction(value: Any) -> Any:
    """Return the number behind a fraction that was written as JSON."""
    match value:
        case {"_type": "fraction", "numerator": int(top), "denominator": int(bottom)} if bottom:
            return Fraction(top, bottom)
    return value
