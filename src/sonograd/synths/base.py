"""What every instrument is: a module from values to sound, whole or in blocks."""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sonograd.config.io import suggest
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.noise import draw_seeds
from sonograd.params import Curve, Param, needs_sample_rate
from sonograd.synths.controls import Controls, resolve

__all__ = ["Synth", "SynthState", "synth_types"]

Generators: TypeAlias = torch.Generator | Sequence[torch.Generator] | int | None

_SEGMENT = 1 << 14  # samples of all items computed at once, which bounds the memory
_SHORTEST = 1 << 11  # samples below which the calls would cost more than the work


@dataclass(frozen=True)
class SynthState:
    """Where a stream of sound is.

    Attributes:
        batch: Items.
        position: Samples behind.
        seed: One per item, int64 ``(batch,)``; what noise there is follows from it.
        memory: What the instrument remembers; None before the first block.
    """

    batch: int
    position: int = 0
    seed: Tensor | None = None
    memory: Any = None


class Synth(nn.Module, ABC):
    """Base class of all instruments.

    A subclass declares its parameters and writes :meth:`process`; calling it, streaming it and
    unit vectors then work. A parameter may be a vector, such as the levels of the partials: its
    length is in :attr:`widths`.

    Attributes:
        params: The parameters, in the order of the unit vector.
        widths: Length of each parameter that is a vector, by name.
        sample_rate: Of the sound, in Hz.
        random: Whether there is noise in the sound.
    """

    params: tuple[Param, ...] = ()
    widths: Mapping[str, int]
    random: bool = False
    sample_rate: float

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let constructors say what is missing where there is no sample rate."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            type.__setattr__(cls, "__init__", needs_sample_rate(cls.__init__))

    @needs_sample_rate
    def __init__(self, sample_rate: float) -> None:
        """Take the rate of the sound, in Hz; frequencies stay below half of it."""
        super().__init__()
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, Real):
            raise ParameterError(
                f"sample_rate is {sample_rate!r}; expected the rate of the sound in Hz, like 44100"
            )
        if not (sample_rate > 0 and math.isfinite(sample_rate)):
            raise ParameterError(f"sample_rate is {sample_rate}; expected a positive number of Hz")
        self.sample_rate = sample_rate
        self._vectors: dict[str, Tensor] = {}
        # Where sound is made, and how precisely, when all values are plain numbers.
        self.register_buffer("_anchor", torch.zeros(()), persistent=False)
        self.declare(type(self).params)

    def declare(
        self, params: Sequence[Param], vectors: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        """Set :attr:`params` for this object, its frequencies below half of the sample rate.

        Args:
            params: All of them.
            vectors: The default values of those that are vectors.
        """
        self.params = tuple(param.for_rate(self.sample_rate) for param in params)
        by_name = {param.name: param for param in self.params}
        self._vectors = {
            name: by_name[name].clamp(torch.tensor(list(values), dtype=torch.float64))
            for name, values in (vectors or {}).items()
        }
        self.widths = {name: len(values) for name, values in self._vectors.items()}

    @abstractmethod
    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Make the next block of sound.

        Args:
            samples: How many, at least one.
            state: Where the stream is; its memory is what the call before returned.
            values: Every parameter.

        Returns:
            ``(batch, samples)`` and the memory for the next block. The sound must not depend on
            how it was cut into blocks.
        """

    def options(self) -> dict[str, Any]:
        """Return the arguments that made this instrument, apart from the sample rate."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "sample_rate"]
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"sample_rate={self.sample_rate!r}"

    # -- calling ------------------------------------------------------------------------------

    def forward(
        self, samples: int, *, batch: int | None = None, generator: Generators = None, **values: Any
    ) -> Tensor:
        """Make a sound.

        Args:
            samples: Its length.
            batch: Number of items; that of the values if not given.
            generator: Where the noise comes from, if there is any: one generator, one for each
                item, or a number as seed; torch's own if not given. The same one gives the same
                sound.
            **values: In the units of the parameters: a number, ``(batch,)``, or where the parameter
                moves a :class:`~sonograd.params.Curve` with values ``(frames,)`` or
                ``(batch, frames)``. A vector takes ``(width,)``, ``(batch, width)`` or a curve
                with values ``(batch, width, frames)``. Missing ones are at their default, and what
                is out of range is clamped.

        Returns:
            ``(batch, 1, samples)``, in the dtype of the values that are tensors; otherwise in that
            of the module.

        Raises:
            ShapeError: If a value has a wrong shape.
            ParameterError: If there is no such parameter, it cannot move, or is no number.
        """
        if batch is None:
            batch = self._count(values)
        y, _ = self.stream(samples, self.init_state(batch, generator=generator), **values)
        return y

    def stream(self, samples: int, state: SynthState, **values: Any) -> tuple[Tensor, SynthState]:
        """Make the next block of a sound, of any length.

        Args:
            samples: Length of the block.
            state: What the call before returned; at the start that of :meth:`init_state`.
            **values: As in :meth:`forward`. A curve covers the whole sound, not the block.

        Returns:
            ``(batch, 1, samples)`` and the next state. The blocks joined are the whole sound.
        """
        if not isinstance(state, SynthState):
            raise ParameterError(
                f"state is {type(state).__name__}; expected what init_state or stream returned"
            )
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 0:
            raise ParameterError(
                f"samples is {samples!r}; expected a whole number from 0 on, "
                "like int(seconds * sample_rate)"
            )
        controls = self.controls(state.batch, values)
        parts = []
        segment = max(_SEGMENT // max(state.batch, 1), min(_SHORTEST, _SEGMENT))
        for begin in range(0, samples if state.batch else 0, segment):
            length = min(segment, samples - begin)
            y, memory = self.process(length, state, controls.block(state.position, length))
            y = y.to(controls.result).expand(state.batch, length)
            parts.append(y)
            state = replace(state, position=state.position + length, memory=memory)
        if not parts:
            return controls.zeros(state.batch, 1, samples).to(controls.result), state
        return torch.cat(parts, dim=-1).unsqueeze(1), state

    def init_state(self, batch: int = 1, *, generator: Generators = None) -> SynthState:
        """Return the state before the first sample; it draws the seeds, if there is noise."""
        if batch < 0:
            raise ParameterError(f"batch is {batch}; expected at least 0")
        return SynthState(batch, seed=draw_seeds(batch, generator) if self.random else None)

    def controls(self, batch: int, values: Mapping[str, Any]) -> Controls:
        """Check values and bring them to common shapes."""
        known = [param.name for param in self.params]
        for name in values:
            if name not in known:
                raise ParameterError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}."
                    f"{suggest(str(name), known)}"
                )
        tensors = [v.values if isinstance(v, Curve) else v for v in values.values()]
        tensors = [v for v in tensors if isinstance(v, Tensor) and v.is_floating_point()]
        anchor: Tensor = self._anchor  # type: ignore[assignment]
        device = tensors[0].device if tensors else anchor.device
        dtype = anchor.dtype
        if tensors:
            dtype = tensors[0].dtype
            for tensor in tensors[1:]:
                dtype = torch.promote_types(dtype, tensor.dtype)
        ready = {
            param.name: resolve(
                param,
                values.get(param.name, self._vectors.get(param.name, param.default)),
                batch,
                self.widths.get(param.name),
                device,
            )
            for param in self.params
        }
        return Controls(ready, {param.name: param for param in self.params}, dtype, device)

    # -- unit vectors -------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of the unit vector; those of a vector are numbered from 1."""
        return tuple(
            name if name not in self.widths else f"{name}.{k + 1}"
            for name in (param.name for param in self.params)
            for k in range(self.widths.get(name, 1))
        )

    def defaults(self) -> dict[str, Any]:
        """Return every parameter at its default."""
        return {p.name: self._vectors.get(p.name, p.default) for p in self.params}

    def to_unit(self, values: Mapping[str, Any] | None = None) -> Tensor:
        """Map values to a vector in [0, 1], in the order of :attr:`names`.

        Args:
            values: Numbers, ``(batch,)`` or ``(batch, width)``; missing ones are at their default.

        Returns:
            ``(batch, n)``, float64.
        """
        values = {} if values is None else values
        moving = [name for name, value in values.items() if isinstance(value, Curve)]
        if moving:
            raise ShapeError(f"{moving[0]}: a unit vector holds one value per item, not a Curve")
        batch = self._count(values)
        controls = self.controls(batch, values)
        columns = [
            p.to_unit(controls.value(p.name)[..., 0]).expand(batch, self.widths.get(p.name, 1))
            for p in self.params
        ]
        return torch.cat(columns, dim=-1)

    def from_unit(self, vector: Tensor) -> dict[str, Any]:
        """Map a vector in [0, 1] to values; the opposite of :meth:`to_unit`.

        Args:
            vector: ``(batch, n)`` or ``(n,)``; what lies outside [0, 1] is clamped with a
                straight-through gradient.

        Returns:
            Values by name, each ``(batch,)`` or ``()``, a vector ``(batch, width)`` or
            ``(width,)``, in the dtype of ``vector``.
        """
        count = len(self.names)
        if not 1 <= vector.ndim <= 2 or vector.shape[-1] != count:
            raise ShapeError(
                f"vector has shape {tuple(vector.shape)}; expected (batch, {count}): "
                f"{', '.join(self.names)}"
            )
        values: dict[str, Any] = {}
        place = 0
        for param in self.params:
            width = self.widths.get(param.name)
            part = param.from_unit(vector[..., place : place + (width or 1)])
            values[param.name] = part if width else part.squeeze(-1)
            place += width or 1
        return values

    def _count(self, values: Mapping[str, Any]) -> int:
        """Return the number of items that ``values`` speak of."""
        for name, value in values.items():
            tensor = value.values if isinstance(value, Curve) else value
            if not isinstance(tensor, Tensor):
                continue
            own = int(name in self.widths or isinstance(value, Curve))
            own += int(name in self.widths and isinstance(value, Curve))
            if tensor.ndim > own and tensor.shape[0] != 1:
                return tensor.shape[0]
        return 1


def synth_types() -> dict[str, type[Synth]]:
    """Return every instrument that has been defined, by the name of its class."""
    found: dict[str, type[Synth]] = {}
    waiting = list(Synth.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
            found[kind.__name__] = kind
    return dict(sorted(found.items()))
