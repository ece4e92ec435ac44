"""Open the files that ``torch.save`` writes: archives, and what it wrote before torch 1.6."""

import io
import math
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from sonograd.errors import CheckpointError
from sonograd.separators.fitting import shown
from sonograd.separators.pickles import (
    MAX_PROGRAM,
    PickleReader,
    PickleRefusedError,
    PickleTooLongError,
    Storage,
    StoredTensor,
)

__all__ = ["Archive", "read_problem"]

_MAX_ENTRIES = 100_000
_MAX_AXES = 16
#: How many times the numbers in a file may be used by tensors that share them.
_MAX_SHARED = 4
_BLOCK = 16 << 20
#: What begins the files of before torch 1.6, as pickles: a number and a version.
_OLD_START = (0x1950A86A20F9469CFC6C, 1001)
#: What reading a file raises that is damaged, or cannot be read.
_UNREADABLE = (
    EOFError, OSError, ValueError, zipfile.BadZipFile, RuntimeError, MemoryError,
    NotImplementedError,
)  # fmt: skip


class Archive:
    """What is in a file of ``torch.save``; tensors are read when they are asked for.

    Attributes:
        content: Plain data; each tensor is a
            :class:`~sonograd.separators.pickles.StoredTensor`.
    """

    def __init__(self, path: Path) -> None:
        """Read everything but the tensors.

        Raises:
            CheckpointError: If the file is damaged, or asks for more than to be read.
        """
        self.path = path
        #: Storages by key, each with its entry of the archive, or where it begins in the file.
        self._places: dict[str, tuple[Storage, zipfile.ZipInfo | int]] = {}
        try:
            with path.open("rb") as file:
                self._size = path.stat().st_size
                is_archive = file.read(4) == b"PK\x03\x04"
                file.seek(0)
                self.content = self._read_archive(file) if is_archive else self._read_old(file)
        except PickleRefusedError as error:
            raise CheckpointError(_refusal(path, error)) from None
        except _UNREADABLE as error:
            raise CheckpointError(read_problem(path, error)) from error

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Read tensors, by names of the caller's.

        Raises:
            CheckpointError: If the file does not hold as many numbers as it says.
        """
        for name, tensor in stored.items():
            _check_shape(self.path, name, tensor)
        used = sum(math.prod(one.shape) * one.storage.dtype.itemsize for one in stored.values())
        if used > _MAX_SHARED * self._size:
            raise CheckpointError(
                f"{self.path}: refused; its tensors have {used} bytes, the file {self._size}."
            )
        try:
            read = self._numbers({one.storage.key for one in stored.values()})
        except _UNREADABLE as error:
            raise CheckpointError(read_problem(self.path, error)) from error
        return {
            name: read[one.storage.key].as_strided(
                one.shape, one.stride, one.offset + one.storage.begin
            )
            for name, one in stored.items()
        }

    def _read_archive(self, file: IO[bytes]) -> Any:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(self.path, self._size, entries)
            named = {entry.filename: entry for entry in entries}
            tops = [
                name.partition("/")[0] for name in named if re.fullmatch(r"[^/]+/data\.pkl", name)
            ]
            if len(tops) != 1:
                raise ValueError("an archive, but not of torch.save")
            if f"{tops[0]}/constants.pkl" in named:
                raise PickleRefusedError("a TorchScript program")
            if f"{tops[0]}/byteorder" in named and archive.read(f"{tops[0]}/byteorder") == b"big":
                raise ValueError("numbers with the highest byte first are not supported")
            program = named[f"{tops[0]}/data.pkl"]
            if program.file_size > MAX_PROGRAM:
                raise PickleRefusedError(f"{program.file_size} bytes that are no tensors")
            reader = PickleReader(io.BytesIO(archive.read(program)), program.file_size)
            content = reader.load()
        for key, storage in reader.storages.items():
            entry = named.get(f"{tops[0]}/data/{key}")
            if entry is None or entry.file_size < storage.nbytes:
                size = 0 if entry is None else entry.file_size
                raise ValueError(f"storage {key} has {size} bytes instead of {storage.nbytes}")
            self._places[key] = (storage, entry)
        return content

    def _read_old(self, file: IO[bytes]) -> Any:
        if (begin := file.read(1)) != pickle.PROTO:
            raise ValueError(f"it begins with {begin + file.read(7)!r}")
        file.seek(0)
        reader = PickleReader(file, self._size)
        if (reader.load(), reader.load()) != _OLD_START:
            raise ValueError("it does not begin like one of torch.save")
        system = reader.load()
        if isinstance(system, Mapping) and system.get("little_endian") is False:
            raise ValueError("numbers with the highest byte first are not supported")
        content = reader.load()
        keys = reader.load()
        if not isinstance(keys, list):
            raise ValueError("no list of storages")
        for key in keys:
            storage = reader.storages.get(str(key)) if isinstance(key, str | int) else None
            count = int.from_bytes(file.read(8), "little")
            if storage is None or count != storage.count:
                raise ValueError(f"a storage of {count} numbers that was not announced")
            self._places[storage.key] = (storage, file.tell())
            if file.seek(storage.nbytes, 1) > self._size:
                raise EOFError("ends early")
        return content

    def _numbers(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Return all numbers of some storages."""
        read = {}
        with ExitStack() as opened:
            file = opened.enter_context(self.path.open("rb"))
            archive: zipfile.ZipFile | None = None
            for key in keys:
                if key not in self._places:
                    raise ValueError(f"storage {key} is not there")
                storage, place = self._places[key]
                if isinstance(place, int):
                    file.seek(place)
                    read[key] = _take(file, storage)
                    continue
                archive = archive or opened.enter_context(zipfile.ZipFile(file))
                with archive.open(place) as entry:
                    read[key] = _take(entry, storage)
        return read


def _take(file: IO[bytes], storage: Storage) -> Tensor:
    data = torch.empty(storage.count, dtype=storage.dtype)
    if not storage.count:
        return data
    numbers: Any = data.view(torch.uint8).numpy()
    rest = memoryview(numbers)
    while rest:
        block = file.read(min(len(rest), _BLOCK))
        if not block:
            raise EOFError("ends early")
        rest[: len(block)] = block
        rest = rest[len(block) :]
    return data


def _check_shape(path: Path, name: str, tensor: StoredTensor) -> None:
    """Refuse shapes that reach out of what is stored."""
    numbers = (tensor.offset, *tensor.shape, *tensor.stride)
    whole = all(type(number) is int and 0 <= number < 1 << 50 for number in numbers)
    if not whole or len(tensor.shape) != len(tensor.stride) or len(tensor.shape) > _MAX_AXES:
        raise CheckpointError(f"{path}: damaged; {shown(name)} has no valid shape.")
    count = math.prod(tensor.shape)
    steps = zip(tensor.shape, tensor.stride, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    if count and max(count, last + 1) > tensor.storage.count:
        raise CheckpointError(
            f"{path}: refused; {shown(name)} has shape {tensor.shape}, of which the file "
            f"holds {tensor.storage.nbytes} bytes."
        )


def _check_entries(path: Path, size: int, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse archives that are larger than they look.

    Entries are read by their names, and never written anywhere; names that lead out of a folder
    are refused nevertheless, as ``torch.save`` writes none and only harm can be meant.
    """
    if len(entries) > _MAX_ENTRIES:
        raise CheckpointError(f"{path}: refused; it has {len(entries)} entries.")
    for entry in entries:
        name = entry.filename.replace("\\", "/")
        if ".." in PurePosixPath(name).parts or re.match(r"/|[A-Za-z]:/", name):
            raise CheckpointError(
                f"{path}: refused; an entry leads out of the archive ({entry.filename[:80]!r})."
            )
        if entry.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{path}: refused; {entry.filename[:80]!r} is compressed ({entry.compress_size} "
                f"to {entry.file_size} bytes), which files of weights never are."
            )
    total = sum(entry.file_size for entry in entries)
    if total > size:
        raise CheckpointError(f"{path}: refused; it would unpack to {total} bytes from {size}.")


def _refusal(path: Path, error: PickleRefusedError) -> str:
    if isinstance(error, PickleTooLongError):
        return f"{path}: refused; it takes {error} to read, which files of weights never do."
    if error.name is None:
        return f"{path}: refused; it is more than tensors and plain values ({error})."
    return (
        f"{path}: refused; it asks for {shown(error.name)}, which could run a program. "
        "Only tensors and plain values are read."
    )


def read_problem(path: Path, error: Exception) -> str:
    """Return why a file of weights cannot be read, as a message: it may be damaged, or not."""
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return f"{path}: cannot be read: there is not enough memory."
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{path}: cannot be read: {error.strerror or type(error).__name__}."
    reason = shown(str(error) or type(error).__name__, 200)
    return f"{path}: damaged, or no file of weights ({reason})."
