"""What every effect is: a module from audio and values to audio, whole or in blocks."""

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sonograd.config.io import suggest
from sonograd.effects._inputs import Value, check_finite, flatten, further_audio, resolve, wide
from sonograd.errors import ParameterError, ShapeError
from sonograd.params import Curve, Param, needs_sample_rate
from sonograd.shapes import check_audio

__all__ = ["Effect", "State", "Value", "Values", "effect_types"]

#: Values by name; a structure takes one mapping per stage.
Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """Where a stream is.

    Attributes:
        batch: Items, the product of the leading dimensions.
        channels: Channels of the input.
        position: Samples behind; negative while the signal is on its way through what comes before.
        memory: What the effect remembers; None before the first block.
    """

    batch: int
    channels: int
    position: int = 0
    memory: Any = None


class Effect(nn.Module, ABC):
    """Base class of all effects.

    A subclass declares :attr:`params` and writes :meth:`process`; calling it, streaming it,
    presets and chains then work. What is not a parameter but a choice (the kind of a curve, the
    number of lines) is an argument of the constructor, kept in an attribute of the same name.

    Attributes:
        params: The parameters, in the order of the unit vector.
        declared: The same before frequencies were kept below half of the sample rate.
        sample_rate: Of the audio, in Hz.
        channel_counts: Numbers of channels that the effect takes; any if None.
        mixes_channels: Whether channels depend on each other, or on their number.
        audio_inputs: Names of further audio that :meth:`forward` and :meth:`stream` take, each
            ``(..., channels or 1, samples)``, such as a side chain; all are optional.
    """

    params: tuple[Param, ...] = ()
    declared: tuple[Param, ...]
    channel_counts: ClassVar[tuple[int, ...] | None] = None
    mixes_channels: bool = False
    audio_inputs: tuple[str, ...] = ()
    sample_rate: float

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let constructors say what is missing where there is no sample rate."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            type.__setattr__(cls, "__init__", needs_sample_rate(cls.__init__))

    @needs_sample_rate
    def __init__(self, sample_rate: float) -> None:
        """Take the rate of the audio, in Hz; frequencies stay below half of it."""
        super().__init__()
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, Real):
            raise ParameterError(
                f"sample_rate is {sample_rate!r}; expected the rate of the audio in Hz, like 44100"
            )
        if not (sample_rate > 0 and math.isfinite(sample_rate)):
            raise ParameterError(f"sample_rate is {sample_rate}; expected a positive number of Hz")
        # Plain numbers, so that presets can be written.
        self.sample_rate = (
            int(sample_rate) if isinstance(sample_rate, Integral) else float(sample_rate)
        )
        self.declare(type(self).params)

    @abstractmethod
    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Process the next block.

        Args:
            x: ``(batch, channels, samples)``, at least one sample.
            memory: What the call before returned; None at the start.
            values: Every parameter, clamped, in its unit, float64 on the device of ``x``:
                ``(1 or batch, 1 or channels, 1 or samples)``; the last is 1 unless the parameter
                :attr:`~sonograd.params.Param.moves`. Also the :attr:`audio_inputs` that were
                given, in the shape of ``x`` or with one channel.

        Returns:
            The output, in the dtype of ``x``, late by :attr:`latency`, and the memory for the next
            block. The output must not depend on how the signal was cut into blocks.
        """

    @property
    def latency(self) -> int:
        """Samples by which a stream is late. Calling the effect makes up for it."""
        return 0

    def output_channels(self, channels: int) -> int:
        """Return the number of channels that comes out for ``channels`` that go in."""
        return channels

    @classmethod
    def type_name(cls) -> str:
        """Return the name in presets: ``ParametricEQ`` is ``parametric_eq``."""
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
        return words.lower()

    def declare(self, params: Sequence[Param]) -> None:
        """Set :attr:`params` for this object, its frequencies below half of the sample rate."""
        self.declared = tuple(params)
        self.params = tuple(param.for_rate(self.sample_rate) for param in params)

    def options(self) -> dict[str, Any]:
        """Return the arguments that made this effect, apart from the sample rate."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "sample_rate"]
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        """Show the rate and the options."""
        shown = {"sample_rate": self.sample_rate, **self.options()}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())

    # -- calling ------------------------------------------------------------------------------

    def forward(self, x: Tensor, **values: Any) -> Tensor:
        """Process a whole signal.

        Args:
            x: Audio ``(..., channels, samples)``.
            **values: In the units of the parameters: a number, ``(batch,)``,
                ``(batch, channels)`` or a :class:`~sonograd.params.Curve`, where ``batch`` is the
                product of the leading dimensions; missing ones are at their default, and what is
                out of range is clamped.

        Returns:
            ``(..., channels, samples)``, aligned with ``x``: what :meth:`stream` gives, without
            its first :attr:`latency` samples.

        Raises:
            ShapeError: If audio or values have a wrong layout.
            ParameterError: If there is no such parameter, or it cannot move.
            AudioError: If a sample of ``x`` or of further audio is no finite number.
        """
        values = self._flatten_inputs(x, values)
        self._check_input(x)
        flat = flatten(x)
        late = self.latency
        if late and flat.shape[-1]:
            flat = pad(flat, (0, late))
            values = self._pad_inputs(values, late)
        y, _ = self.advance(flat, self.init_state(flat.shape[0], flat.shape[1]), values)
        y = y[..., late:] if flat.shape[-1] else y
        return y.reshape(*x.shape[:-2], *y.shape[-2:])

    def stream(self, x: Tensor, state: State, **values: Any) -> tuple[Tensor, State]:
        """Process the next block of a signal, of any length.

        Args:
            x: The next samples, ``(..., channels, samples)``.
            state: What the call before returned; at the start that of :meth:`init_state`.
            **values: As in :meth:`forward`. A curve covers the whole signal, not the block.

        Returns:
            As many samples as came in, late by :attr:`latency`, and the next state.
        """
        values = self._flatten_inputs(x, values)
        self._check_input(x)
        flat = flatten(x)
        if not isinstance(state, State):
            raise ParameterError(
                f"state is {type(state).__name__}; expected what init_state or stream returned"
            )
        if flat.shape[:2] != (state.batch, state.channels):
            raise ShapeError(
                f"x has {flat.shape[0]} items of {flat.shape[1]} channels, but the stream has "
                f"{state.batch} of {state.channels}; start another one with init_state"
            )
        y, state = self.advance(flat, state, values)
        return y.reshape(*x.shape[:-2], *y.shape[-2:]), state

    def init_state(self, batch: int = 1, channels: int = 1) -> State:
        """Return the state before the first sample.

        Args:
            batch: Product of the leading dimensions of the audio.
            channels: Channels of the audio.
        """
        return State(batch, channels)

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process ``(batch, channels, samples)`` without looking at its samples."""
        self._check_names(values)
        self._check_channels(x)
        ready = self.resolve(x, state.position, values)
        samples = x.shape[-1]
        if not samples or not x.shape[0]:
            return x.new_zeros(x.shape[0], self.output_channels(x.shape[1]), samples), state
        y, memory = self.process(x, state.memory, ready)
        return y, replace(state, position=state.position + samples, memory=memory)

    def resolve(self, x: Tensor, position: int, values: Values) -> dict[str, Tensor]:
        """Return what :meth:`process` is given for the block ``x`` at ``position``."""
        ready = {
            param.name: resolve(param, values.get(param.name, param.default), x, position)
            for param in self.params
        }
        for name in self.audio_inputs:
            if values.get(name) is not None:
                ready[name] = values[name]
        return ready

    # -- unit vectors -------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of the unit vector; stages are joined by dots."""
        return tuple(param.name for param in self.params)

    def defaults(self) -> dict[str, Any]:
        """Return every parameter at its default."""
        return {param.name: param.default for param in self.params}

    def to_unit(self, values: Values | None = None) -> Tensor:
        """Map values to a vector in [0, 1], in the order of :attr:`names`.

        Args:
            values: Numbers or ``(batch,)``; missing ones are at their default.

        Returns:
            ``(batch, n)``, float64.
        """
        values = {} if values is None else values
        self._check_names(values)
        columns = []
        for param in self.params:
            value = values.get(param.name, param.default)
            if isinstance(value, Curve) or (isinstance(value, Tensor) and value.ndim > 1):
                raise ShapeError(
                    f"{param.name}: a unit vector holds one value per item; expected a number or "
                    "(batch,)"
                )
            columns.append(param.to_unit(wide(value)).reshape(-1))
        if not columns:
            return torch.zeros(1, 0, dtype=torch.float64)
        return torch.stack(torch.broadcast_tensors(*columns), dim=-1)

    def from_unit(self, vector: Tensor) -> dict[str, Any]:
        """Map a vector in [0, 1] to values; the opposite of :meth:`to_unit`.

        Args:
            vector: ``(batch, n)`` or ``(n,)``; what lies outside [0, 1] is clamped with a
                straight-through gradient.

        Returns:
            Values by name, each ``(batch,)`` or ``()``, float64.
        """
        check_vector(vector, tuple(param.name for param in self.params))
        columns = wide(vector)
        return {p.name: p.from_unit(columns[..., k]) for k, p in enumerate(self.params)}

    # -- checks -------------------------------------------------------------------------------

    def _check_names(self, values: Values) -> None:
        known = (*(param.name for param in self.params), *self.audio_inputs)
        for name in values:
            if name not in known:
                listed = ", ".join(known) or "no parameters"
                raise ParameterError(
                    f"{self.type_name()} has no parameter {name!r}; it has {listed}."
                    f"{suggest(str(name), known)}"
                )

    def _check_channels(self, x: Tensor) -> None:
        counts = self.channel_counts
        if counts is not None and x.shape[-2] not in counts:
            raise ShapeError(
                f"{self.type_name()} works on {' or '.join(map(str, counts))} channels; "
                f"x has {x.shape[-2]}"
            )

    def _check_input(self, x: Tensor) -> None:
        check_finite(x, "x", sample_rate=self.sample_rate)

    def _flatten_inputs(self, x: Tensor, values: Values) -> dict[str, Any]:
        """Check the audio, bring further audio inputs to three dimensions."""
        if not isinstance(x, Tensor):
            raise ShapeError(
                f"x is a {type(x).__name__}; expected a tensor (..., channels, samples). "
                "For an array, pass torch.from_numpy(x)."
            )
        check_audio(x)
        flat = dict(values)
        for name, value in values.items():
            if name in self.audio_inputs:
                flat[name] = further_audio(value, name, x, sample_rate=self.sample_rate)
            elif name in self._stage_names() and isinstance(value, Mapping):
                flat[name] = self._stage(name)._flatten_inputs(x, value)
        return flat

    def _pad_inputs(self, values: Values, late: int) -> dict[str, Any]:
        padded = dict(values)
        for name, value in values.items():
            if name in self.audio_inputs and isinstance(value, Tensor):
                padded[name] = pad(value, (0, late))
            elif name in self._stage_names() and isinstance(value, Mapping):
                padded[name] = self._stage(name)._pad_inputs(value, late)
        return padded

    def _stage_names(self) -> tuple[str, ...]:
        """Names of the effects inside this one."""
        return ()

    def _stage(self, name: str) -> "Effect":
        raise KeyError(name)


def effect_types() -> dict[str, type[Effect]]:
    """Return every effect that has been defined, by its name in presets."""
    found: dict[str, type[Effect]] = {}
    waiting = list(Effect.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
            found[kind.type_name()] = kind
    return dict(sorted(found.items()))


def check_vector(vector: Tensor, names: Sequence[str]) -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless ``vector`` has an entry per name."""
    if not 1 <= vector.ndim <= 2 or vector.shape[-1] != len(names):
        raise ShapeError(
            f"vector has shape {tuple(vector.shape)}; expected (batch, {len(names)}): "
            f"{', '.join(names)}"
        )
