"""Run the program inside a pickle on a machine that has nothing but plain data.

A pickle is a program that may call anything. The machine here has a stack, containers, numbers and
text; what a file calls a class or a function stays a name. Four functions of torch that put tensors
together, and a fraction, are understood; an object of any class of a training becomes an empty one.
Who asks for a function to be called, or for something of the standard library, is refused.

Instructions are those of pickle's protocol 2 (Python Enhancement Proposal 307), in which
``torch.save`` writes.
"""

import pickle
import pickletools
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import torch

__all__ = [
    "Inert",
    "Name",
    "PickleReader",
    "PickleRefusedError",
    "PickleTooLongError",
    "Storage",
    "StoredTensor",
]

_MAX_INSTRUCTIONS = 2_000_000
#: Bytes of a pickle at most; tensors lie elsewhere.
MAX_PROGRAM = 64 << 20
_MAX_NAME = 300
#: Types of storages, and what is in them.
_STORAGES = {
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
    "torch.CharStorage": torch.int8,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.ShortStorage": torch.int16,
}
#: What the standard library calls harmless things that lie in files of trainings.
_STANDARD = frozenset({
    "_codecs.encode", "argparse.Namespace", "collections.Counter", "collections.OrderedDict",
    "collections.defaultdict", "collections.deque", "copyreg._reconstructor",
    "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta",
    "datetime.timezone", "decimal.Decimal", "fractions.Fraction", "pathlib.Path",
    "pathlib.PosixPath", "pathlib.PurePath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
    "pathlib.PureWindowsPath", "types.SimpleNamespace", "typing.Any", "typing.Union", "uuid.UUID",
    *(f"builtins.{name}" for name in (
        "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list",
        "object", "set", "slice", "str", "tuple", "type",
    )),
})  # fmt: skip
#: Functions and classes outside of it whose values mean nothing to us, by the start of their names.
_CALLED = (
    "numpy.core.multiarray.", "numpy._core.multiarray.", "numpy.dtype", "omegaconf.",
    "torch.Size", "torch.Tensor", "torch._tensor._rebuild", "torch._utils._rebuild", "torch.device",
    "torch.nn.parameter.", "torch.serialization._get_layout", "torch.torch_version.TorchVersion",
)  # fmt: skip
#: What modules were called in Python 2, and what the list of this Python's does not have.
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_NO_LIBRARIES = frozenset({"commands", "nt", "posix", "sitecustomize", "usercustomize"})


class PickleRefusedError(pickle.UnpicklingError):
    """A pickle asks for what is not read."""

    def __init__(self, reason: str, name: str | None = None) -> None:
        """Note the reason, and the function or class that is asked for, if it is one."""
        self.name = name
        super().__init__(reason)


class PickleTooLongError(PickleRefusedError):
    """A pickle has more instructions than any file of weights."""


@dataclass(frozen=True)
class Name:
    """What a file calls a class or a function: ``module.name``, and nothing behind it."""

    text: str


@dataclass(frozen=True, eq=False)
class Inert:
    """Stands for an object of a class that is called ``name``; holds nothing."""

    name: str


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers that lie elsewhere in the file: ``count`` of ``dtype``, from ``begin`` on."""

    key: str
    dtype: torch.dtype
    count: int
    begin: int = 0

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """Where the numbers of a tensor lie in a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class PickleReader:
    """Reads one pickle after the other from a file.

    Attributes:
        storages: All storages that were named, by their keys.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        """Begin where the file is.

        Args:
            file: A binary file.
            size: Bytes that may be read.
        """
        self.storages: dict[str, Storage] = {}
        self._file = file
        self._left = min(size, MAX_PROGRAM)
        self._instructions = 0
        self._reset()

    def load(self) -> Any:
        """Return what the next pickle stands for.

        Raises:
            PickleRefusedError: If it asks for more than plain data.
            EOFError: If it ends early.
            ValueError: If it is damaged.
        """
        self._reset()
        try:
            while (code := self._read(1)) != pickle.STOP:
                self._count(1)
                if code not in _INSTRUCTIONS:
                    if code not in _OTHER_INSTRUCTIONS:
                        raise ValueError(f"no valid pickle: instruction {code!r}")
                    raise PickleRefusedError(
                        f"instruction {code!r}, which files of torch.save do not have"
                    )
                _INSTRUCTIONS[code](self)
            return self._stack.pop()
        except (IndexError, KeyError, struct.error, TypeError) as error:
            raise ValueError(f"no valid pickle: {type(error).__name__}") from error
        finally:
            self._reset()

    def _count(self, steps: int) -> None:
        self._instructions += steps
        if self._instructions > _MAX_INSTRUCTIONS:
            raise PickleTooLongError(f"more than {_MAX_INSTRUCTIONS} instructions")

    def _reset(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def _read(self, count: int) -> bytes:
        if count > self._left:
            raise EOFError("ends early, or has too much beside its tensors")
        data = self._file.read(count)
        self._left -= len(data)
        if len(data) != count:
            raise EOFError("ends early")
        return data

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        data = self._file.readline(_MAX_NAME)
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise ValueError("a name that is too long")
        return data[:-1].decode()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _text(self, layout: str) -> None:
        self._push(self._read(self._number(layout)).decode())

    def _long(self) -> None:
        self._push(int.from_bytes(self._read(self._number("<B")), "little", signed=True))

    def _protocol(self) -> None:
        if (protocol := self._number("<B")) > 3:
            raise PickleRefusedError(f"pickle's protocol {protocol}, where torch.save has 2")

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _tuple(self, count: int) -> None:
        items = [self._stack.pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise ValueError("no valid pickle: something is appended to no list")

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Inert):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("no valid pickle: a name is given to what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Other keys, such as tuples of tuples, mean nothing to us and may take for ever.
            if isinstance(key, str | float) or (isinstance(key, int) and abs(key) < 1 << 53):
                target[key] = value

    def _set_one(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _get(self, layout: str) -> None:
        self._push(self._memo[self._number(layout)])

    def _put(self, layout: str) -> None:
        self._memo[self._number(layout)] = self._stack[-1]

    def _global(self) -> None:
        module, name = self._line(), self._line()
        module = _OLD_MODULES.get(module, module)
        text = f"{module}.{name}"
        root = module.partition(".")[0]
        if text not in _STANDARD and (root in sys.stdlib_module_names or root in _NO_LIBRARIES):
            raise PickleRefusedError("a function of the standard library", text)
        self._push(Name(text))

    def _new(self) -> None:
        self._stack.pop()
        name = self._stack.pop()
        if not isinstance(name, Name):
            raise ValueError("no valid pickle: an object without a class")
        self._push({} if name.text == "collections.OrderedDict" else Inert(name.text))

    def _reduce(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise ValueError("no valid pickle: a call of what is no function")
        match name.text, arguments:
            case "collections.OrderedDict", (list() as pairs,):
                self._ordered(pairs)
            case _:
                self._push(_call(name.text, arguments))

    def _ordered(self, pairs: list[Any]) -> None:
        """Make a dictionary of a list of pairs, as Python 2 wrote them."""
        self._count(len(pairs))  # one list may be given many times
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError("no valid pickle: a dictionary of what are no pairs")
        self._push({})
        self._set([item for pair in pairs for item in pair])

    def _build(self) -> None:
        self._stack.pop()
        if not isinstance(self._stack[-1], dict | Inert | StoredTensor):
            raise ValueError("no valid pickle: attributes of what has none")

    def _storage(self) -> None:
        match self._stack.pop():
            case ("storage", Name(kind), (str() | int()) as key, _, int(count), *view) if (
                count >= 0
            ):
                if kind not in _STORAGES:  # no weights, but maybe something beside them
                    self._push(Inert(kind))
                    return
                storage = Storage(str(key), _STORAGES[kind], count)
                known = self.storages.setdefault(storage.key, storage)
                if (known.dtype, known.count) != (storage.dtype, storage.count):
                    raise ValueError(f"two sizes of storage {storage.key}")
                self._push(_view(storage, view[0] if view else None))
            case ("module", Name(text), *_):
                self._push(Name(text))
            case _:
                raise ValueError("no valid pickle: a storage without a size")


def _view(storage: Storage, view: Any) -> Storage:
    """Return the part of a storage that old files name."""
    match view:
        case None:
            return storage
        case (_, int(begin), int(count)) if 0 <= begin <= begin + count <= storage.count:
            return Storage(storage.key, storage.dtype, count, begin)
    raise ValueError("no valid pickle: a part of a storage that is not there")


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what stands for the value of a function."""
    match name, arguments:
        case "collections.OrderedDict", ():
            return {}
        case "fractions.Fraction", _:
            return _fraction(arguments)
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", (
            Storage() as storage,
            int(offset),
            tuple() as shape,
            tuple() as stride,
            *_,
        ):
            return StoredTensor(storage, offset, shape, stride)
        case "torch._utils._rebuild_parameter", (StoredTensor() as tensor, *_):
            return tensor
        case "torch._utils._rebuild_parameter_with_state", (StoredTensor() as tensor, *_):
            return tensor
    if name in _STANDARD or name.startswith(_CALLED):
        return Inert(name)
    raise PickleRefusedError("a call of a function", name)


def _fraction(arguments: tuple[Any, ...]) -> Fraction:
    """Return a fraction of two numbers that are no longer than such numbers are."""
    match arguments:
        case (str(text),) if found := re.fullmatch(r"(-?[0-9]{1,15})(?:/([0-9]{1,15}))?", text):
            top, bottom = int(found[1]), int(found[2] or 1)
        case (int(top), int(bottom)) if max(abs(top), abs(bottom)) < 10**15:
            pass
        case _:
            raise PickleRefusedError("a fraction that is not two whole numbers of 15 digits")
    if bottom == 0:
        raise ValueError("a fraction with 0 below")
    return Fraction(top, bottom)


#: What each instruction does.
_INSTRUCTIONS: dict[bytes, Callable[[PickleReader], None]] = {
    pickle.PROTO: PickleReader._protocol,
    pickle.GLOBAL: PickleReader._global,
    pickle.NEWOBJ: PickleReader._new,
    pickle.REDUCE: PickleReader._reduce,
    pickle.BUILD: PickleReader._build,
    pickle.BINPERSID: PickleReader._storage,
    pickle.MARK: PickleReader._mark,
    pickle.APPEND: lambda self: self._append([self._stack.pop()]),
    pickle.APPENDS: lambda self: self._append(self._since_mark()),
    pickle.SETITEM: PickleReader._set_one,
    pickle.SETITEMS: lambda self: self._set(self._since_mark()),
    pickle.TUPLE: lambda self: self._push(tuple(self._since_mark())),
    pickle.TUPLE1: lambda self: self._tuple(1),
    pickle.TUPLE2: lambda self: self._tuple(2),
    pickle.TUPLE3: lambda self: self._tuple(3),
    pickle.EMPTY_DICT: lambda self: self._push({}),
    pickle.EMPTY_LIST: lambda self: self._push([]),
    pickle.EMPTY_TUPLE: lambda self: self._push(()),
    pickle.NONE: lambda self: self._push(None),
    pickle.NEWFALSE: lambda self: self._push(False),
    pickle.NEWTRUE: lambda self: self._push(True),
    pickle.BININT: lambda self: self._push(self._number("<i")),
    pickle.BININT1: lambda self: self._push(self._number("<B")),
    pickle.BININT2: lambda self: self._push(self._number("<H")),
    pickle.LONG1: PickleReader._long,
    pickle.BINFLOAT: lambda self: self._push(self._number(">d")),
    pickle.BINUNICODE: lambda self: self._text("<I"),
    pickle.SHORT_BINSTRING: lambda self: self._text("<B"),
    pickle.BINGET: lambda self: self._get("<B"),
    pickle.LONG_BINGET: lambda self: self._get("<I"),
    pickle.BINPUT: lambda self: self._put("<B"),
    pickle.LONG_BINPUT: lambda self: self._put("<I"),
}
#: What pickles of other programs have besides.
_OTHER_INSTRUCTIONS = frozenset(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)
