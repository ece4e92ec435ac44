"""Read the files in which others publish weights, without running anything that is in them.

A ``.th``, ``.pth`` or ``.ckpt`` file is a program for a small machine, which may call anything.
Here that machine knows tensors, numbers, strings and containers; the few classes that harmless
files of known publishers name are replaced by empty ones of our own. Any other name is refused.
"""

import json
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sonograd.errors import CheckpointError

__all__ = ["PublishedCheckpoint", "read_published"]

#: Classes that published files name, and what stands for them. Nothing is imported.
_CLASSES = (
    "demucs.demucs.Demucs",
    "demucs.hdemucs.HDemucs",
    "demucs.htdemucs.HTDemucs",
    "demucs.model.Demucs",
    "demucs.tasnet.ConvTasNet",
    "demucs.tasnet_v2.ConvTasNet",
)
#: Callables behind numbers of numpy and versions, whose values mean nothing to us.
_NUMBERS = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Int64DType",
    "torch.torch_version.TorchVersion",
)
#: Where tensors lie in files that hold more than a state dict.
_STATE_KEYS = ("state", "state_dict", "model_state_dict", "model")
_MAX_ENTRIES = 100_000
_MAX_HEADER = 100 << 20


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


class _Ignored:
    """Stands for a value that we do not need."""

    def __init__(self, *args: object) -> None:
        del args

    def __setstate__(self, state: object) -> None:
        del state


_PLACEHOLDERS = {name: type(f"_Published{n}", (), {}) for n, name in enumerate(_CLASSES)}
_NAMES = {placeholder: name for name, placeholder in _PLACEHOLDERS.items()}
_IGNORED = {name: type(f"_Number{n}", (_Ignored,), {}) for n, name in enumerate(_NUMBERS)}


def read_published(path: Path) -> PublishedCheckpoint:
    """Read tensors and settings from a file of weights.

    Args:
        path: A ``.safetensors`` file, or one that was written by ``torch.save``.

    Raises:
        CheckpointError: If it is missing, damaged, holds no tensors, or asks for more than to be
            read.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}; expected a file of weights.")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    content = _unpickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected tensors.")
    klass: Any = content.get("klass")
    class_name = _NAMES.get(klass) if isinstance(klass, type) else None
    if class_name is None and isinstance(content.get("model_name"), str):
        class_name = str(content["model_name"])
        content = {**content, "kwargs": content.get("model_args", {})}
    kwargs = _named(content.get("args", ()), content.get("kwargs", {}))
    if kwargs is None:
        raise CheckpointError(f"{path}: its settings have no names, so that they cannot be read.")
    for key in _STATE_KEYS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if content.get("__quantized"):
        raise CheckpointError(f"{path}: packed by a quantizer that is not supported.")
    return PublishedCheckpoint(_tensors(path, content), class_name, kwargs)


def _unpickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        _check_archive(path)
    allowed: list[Any] = [
        *((kind, name) for name, kind in {**_PLACEHOLDERS, **_IGNORED}.items()),
        (Fraction, "fractions.Fraction"),
    ]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions of the format
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from None
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, IndexError, AttributeError,
            TypeError, AssertionError, struct.error, RecursionError, MemoryError,
            OverflowError, NotImplementedError) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged, or no file of weights ({reason[:200]}).") from None


def _refusal(path: Path, message: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|(?:class|function|global) ([\w.]+)", message)
    if named is None:
        reason = message.splitlines()[0] if message else "no reason"
        return f"{path}: refused; it is more than tensors and plain values ({reason[:200]})."
    return (
        f"{path}: refused; it asks for {named[1] or named[2]}, which could run a program. "
        "Only tensors and plain values are read."
    )


def _check_archive(path: Path) -> None:
    """Refuse archives that are larger than they look, or reach out of themselves."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: damaged archive ({error}).") from None
    if len(entries) > _MAX_ENTRIES:
        raise CheckpointError(f"{path}: refused; it has {len(entries)} entries.")
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or entry.filename.startswith(("/", "\\")) or ":" in entry.filename:
            raise CheckpointError(
                f"{path}: refused; an entry leads out of the archive ({entry.filename[:80]!r})."
            )
        if entry.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{path}: refused; {entry.filename[:80]!r} is compressed ({entry.compress_size} "
                f"to {entry.file_size} bytes), which files of weights never are."
            )
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size:
        raise CheckpointError(
            f"{path}: refused; it would unpack to {total} bytes from {path.stat().st_size}."
        )


def _tensors(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict, each no larger than what is stored of it."""
    tensors = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        if not isinstance(name, str) or tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{path}: {name!r} is no plain tensor with a name.")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path}: refused; {name} has shape {tuple(tensor.shape)}, of which the file "
                f"holds {tensor.untyped_storage().nbytes()} bytes."
            )
        tensors[name] = tensor.detach()
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors.")
    return tensors


def _read_safetensors(path: Path) -> PublishedCheckpoint:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
        if size > min(_MAX_HEADER, path.stat().st_size):
            raise CheckpointError(f"{path}: damaged; its header would have {size} bytes.")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if "structure" in header:
                raise CheckpointError(f"{path}: packed by a quantizer that is not supported.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged, or no file of weights ({reason[:200]}).") from None
    return PublishedCheckpoint(_tensors(path, tensors), header.get("klass"), _arguments(header))


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
