"""Do weights out of a file fit the model that the file describes? Found out before it is built."""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from sonograd.config import SeparatorConfig
from sonograd.errors import CheckpointError, SonogradError
from sonograd.separators.base import Separator
from sonograd.separators.build import build_separator

__all__ = [
    "built_separator",
    "check_limits",
    "check_tensors",
    "fill_separator",
    "join_some",
    "shown",
]

#: Types of numbers that weights are stored in.
_DTYPES = frozenset({
    torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int8, torch.int16,
    torch.int32, torch.int64, torch.uint8, torch.bool,
})  # fmt: skip
#: What settings may be at most, by name; others, and entries of lists, ``_MOST``.
_LIMITS = {"filter_length": 1 << 16, "num_bands": 1 << 9, "num_fft": 1 << 16,
           "window_size": 1 << 16}  # fmt: skip
_MOST = 1 << 20
_MOST_ENTRIES = 1 << 14
#: What takes memory while a model is built.
_FACTORIES = frozenset({torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.zeros})


def built_separator(
    path: Path, config: SeparatorConfig, tensors: Mapping[str, Tensor]
) -> Separator:
    """Build a model whose weights are to be replaced by those out of a file.

    Neither memory nor time is spent on a model that is far larger than they are.

    Args:
        path: Where they come from; named in errors.
        config: What the model is built from.
        tensors: The weights, by any names.

    Raises:
        CheckpointError: If there is no such model, or it is far larger.
    """
    check_limits(path, config)
    name = config.model_type
    try:
        with torch.random.fork_rng(devices=[]), _Budget(tensors):  # weights are drawn
            return build_separator(config)
    except _BudgetError as error:
        raise CheckpointError(
            f"{path}: holds {error.held}, but a {name} with these settings has more than "
            f"{error.most}."
        ) from None
    except SonogradError:
        raise
    except (ArithmeticError, AssertionError, LookupError, MemoryError, RuntimeError, TypeError,
            ValueError) as error:  # fmt: skip
        reason = shown(str(error) or type(error).__name__)
        raise CheckpointError(
            f"{path}: no {name} can be built from these settings ({type(error).__name__}: "
            f"{reason})."
        ) from error


def fill_separator(path: Path, separator: Separator, tensors: Mapping[str, Tensor]) -> Separator:
    """Load all weights into a model, and return it in evaluation mode.

    Raises:
        CheckpointError: If they do not fit.
    """
    expected = separator.state_dict()
    check_tensors(path, tensors, expected)
    separator.load_state_dict({name: tensors[name].to(expected[name].dtype) for name in expected})
    return separator.eval()


def check_limits(path: Path, config: SeparatorConfig) -> None:
    """Refuse numbers, and lists, that are larger than those of any model.

    Raises:
        CheckpointError: If there are any.
    """
    if problems := _beyond_limits(dataclasses.asdict(config)):
        raise CheckpointError(
            f"{path}: no {config.model_type} is that large; {'; '.join(problems)}."
        )


def _beyond_limits(values: Mapping[str, Any]) -> list[str]:
    """Return which numbers, or lists, are larger than in any model."""
    problems = []
    for name, value in values.items():
        entries = value if isinstance(value, tuple) else (value,)
        most = _LIMITS.get(name, _MOST)
        if len(entries) > _MOST_ENTRIES:
            problems.append(f"{name}: has {len(entries)} entries, expected {_MOST_ENTRIES} at most")
        elif any(isinstance(entry, int) and abs(entry) > most for entry in entries):
            problems.append(f"{name}: is {shown(repr(value))}, expected {most} at most")
    return problems


class _BudgetError(Exception):
    """A model under construction is far larger than the weights for it."""

    def __init__(self, held: str, most: int) -> None:
        self.held, self.most = held, most


class _Budget(TorchFunctionMode):
    """While entered, counts what the models that this thread builds are made of."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        held = sum(tensor.numel() for tensor in tensors.values())
        self._held = {"numbers": held, "tensors": len(tensors), "layers": len(tensors)}
        self._left = {
            "numbers": 4 * held + 1_000_000,
            "tensors": 4 * len(tensors) + 1000,
            "layers": 16 * len(tensors) + 1000,
        }
        self._most = dict(self._left)
        self._thread = threading.get_ident()
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._handles = [
            register_module_parameter_registration_hook(self._count_parameter),
            register_module_module_registration_hook(self._count_layer),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Look at shapes before memory is taken for them."""
        if function in _FACTORIES:
            given = (kwargs or {}).get("size", args)
            given = given[0] if given and isinstance(given[0], Sequence) else given
            numbers = math.prod(size for size in given if isinstance(size, int))
            if numbers > self._left["numbers"]:
                self._spend("numbers", numbers)
        return function(*args, **(kwargs or {}))

    def _count_parameter(self, module: nn.Module, name: str, value: Tensor) -> None:
        del module, name
        self._spend("numbers", value.numel())
        self._spend("tensors", 1)

    def _count_layer(self, module: nn.Module, name: str, value: nn.Module | None) -> None:
        del module, name, value
        self._spend("layers", 1)

    def _spend(self, what: str, count: int) -> None:
        if threading.get_ident() != self._thread:
            return
        self._left[what] -= count
        if self._left[what] < 0:
            kind = "tensors" if what == "layers" else what
            raise _BudgetError(f"{self._held[what]} {kind}", self._most[what])


def check_tensors(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Refuse tensors that are missing, left over, of another shape, or not finite."""
    missing = [name for name in expected if name not in tensors]
    left_over = [name for name in tensors if name not in expected]
    wrong = [
        f"{name} {_shape(tensors[name])} instead of {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    odd = [
        f"{name} {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in tensors.items()
        if tensor.dtype not in _DTYPES
    ]
    broken = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype in _DTYPES and not _fits(tensor, expected.get(name, tensor).dtype)
    ]
    found = {
        "missing": missing,
        "left over": left_over,
        "of another shape": wrong,
        "of a type that weights do not have": odd,
        "not finite": broken,
    }
    problems = [f"{label}: {join_some(names)}" for label, names in found.items() if names]
    if problems:
        raise CheckpointError(f"{path}: weights do not fit the model; {'; '.join(problems)}.")


def _fits(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether all numbers are finite, also once they are of the type ``dtype``."""
    if not tensor.is_floating_point():
        return True
    return bool((tensor.to(dtype) if dtype.is_floating_point else tensor).isfinite().all())


def _shape(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape)


def join_some(items: Iterable[str], most: int = 3) -> str:
    """Join the first few of ``items`` and count the others."""
    items = list(items)
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(shown, items[:most])) + rest


def shown(text: str, most: int = 120) -> str:
    r"""Return a text out of a file as a short part of one line.

    >>> shown("a\nb")
    "'a\\nb'"
    """
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."
