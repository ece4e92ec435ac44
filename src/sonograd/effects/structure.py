"""Effects made of effects: in a row, side by side, mixed with the dry signal, as a graph.

A stage is addressed by its name, with one mapping of values each:
``chain(x, compressor={"ratio": 4.0})``. Paths of different latency are aligned with each other,
and so are curves and side chains with the place where they act.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from sonograd.config.io import suggest
from sonograd.effects._options import check_flag
from sonograd.effects.base import Effect, State, Values, check_vector
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.delays import delay_line
from sonograd.functional.scales import db_to_amplitude
from sonograd.params import Param

__all__ = ["Bypass", "Chain", "Mix", "Parallel", "Send", "Structure"]

_RESERVED = {"x", "state", "self", "input"}


class Structure(Effect):
    """Base class of effects that hold others, by name, in :attr:`stages`."""

    stages: nn.ModuleDict

    def __init__(self, stages: Mapping[str, Effect]) -> None:
        """Take the stages; their sample rates must be equal."""
        if not isinstance(stages, Mapping):
            raise ParameterError(
                f"{type(self).type_name()}: the stages are a {type(stages).__name__}; expected "
                "a mapping of effects by name"
            )
        _check_stages(type(self).type_name(), stages)
        super().__init__(next(iter(stages.values())).sample_rate)
        self.stages = nn.ModuleDict(stages)
        self.mixes_channels = any(stage.mixes_channels for stage in stages.values())

    @classmethod
    def build(cls, stages: Mapping[str, Effect], options: Mapping[str, Any]) -> Self:
        """Make the structure from its parts, as presets do."""
        make: Callable[..., Self] = cls
        return make(**stages, **options)

    def options(self) -> dict[str, Any]:
        """Return the arguments that made this structure, apart from the stages."""
        return {}

    def stage(self, name: str) -> Effect:
        """Return the stage called ``name``."""
        return self._stage(name)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages."""
        return self._stage_names()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of the unit vector: ``stage.parameter``."""
        own = super().names
        inside = (f"{n}.{name}" for n in self._stage_names() for name in self._stage(n).names)
        return (*own, *inside)

    def defaults(self) -> dict[str, Any]:
        """Return every parameter at its default, one mapping per stage."""
        inside = {name: self._stage(name).defaults() for name in self._stage_names()}
        return {**super().defaults(), **inside}

    def to_unit(self, values: Values | None = None) -> Tensor:
        """Map nested values to one vector in [0, 1], see :meth:`Effect.to_unit`."""
        values = {} if values is None else values
        self._check_names(values)
        own = {name: value for name, value in values.items() if name not in self.stages}
        parts = [super().to_unit(own)]
        for name in self._stage_names():
            parts.append(self._stage(name).to_unit(values.get(name)))
        batch = max(part.shape[0] for part in parts)
        return torch.cat([part.expand(batch, -1) for part in parts], dim=-1)

    def from_unit(self, vector: Tensor) -> dict[str, Any]:
        """Map a vector in [0, 1] to nested values, see :meth:`Effect.from_unit`."""
        check_vector(vector, self.names)
        begin = len(self.params)
        values: dict[str, Any] = super().from_unit(vector[..., :begin]) if begin else {}
        for name in self._stage_names():
            width = len(self._stage(name).names)
            values[name] = self._stage(name).from_unit(vector[..., begin : begin + width])
            begin += width
        return values

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Is not used: a structure writes :meth:`advance`."""
        raise NotImplementedError

    @abstractmethod
    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""

    def init_state(self, batch: int = 1, channels: int = 1) -> State:
        """Return the states of all stages before the first sample."""
        memory = {
            name: self._late(self._stage(name).init_state(batch, channels), 0)
            for name in self._stage_names()
        }
        return State(batch, channels, memory=memory)

    def _late(self, state: State, samples: int) -> State:
        """Shift a state, and those inside it, to where the signal arrives ``samples`` late."""
        if not samples:
            return state
        memory = state.memory
        if isinstance(memory, dict):
            memory = {
                key: self._late(item, samples) if isinstance(item, State) else item
                for key, item in memory.items()
            }
        return replace(state, position=state.position - samples, memory=memory)

    def _run(
        self, name: str, x: Tensor, memory: dict[str, Any], values: Values, late: int = 0
    ) -> Tensor:
        """Run a stage whose input is ``late`` samples late; replace its state in ``memory``."""
        stage = self._stage(name)
        given = values.get(name, {})
        if late:
            lines: dict[str, Any] = memory.setdefault(f"{name} inputs", {})
            given, lines = _delay_inputs(stage, given, late, lines)
            memory[f"{name} inputs"] = lines
        y, memory[name] = stage.advance(x, memory[name], given)
        return y

    def _align(self, name: str, x: Tensor, samples: int, memory: dict[str, Any]) -> Tensor:
        """Delay a path; its line is kept in ``memory`` under ``name``."""
        y, memory[name] = delay_line(x, samples, memory.get(name))
        return y

    def _own(self, x: Tensor, state: State, values: Values) -> dict[str, Tensor]:
        """Resolve the structure's own parameters, which act on its output."""
        own = {name: value for name, value in values.items() if name not in self.stages}
        return self.resolve(x, state.position - self.latency, own)

    def _check_names(self, values: Values) -> None:
        known = (*(param.name for param in self.params), *self._stage_names())
        for name, value in values.items():
            if name not in known:
                raise ParameterError(
                    f"{self.type_name()} has no stage or parameter {name!r}; it has "
                    f"{', '.join(known)}.{suggest(str(name), known)}"
                )
            if name in self.stages and not isinstance(value, Mapping):
                raise ParameterError(
                    f"{name} is a stage of {self.type_name()}; expected a mapping of its values, "
                    f"got {value!r}"
                )

    def _stage_names(self) -> tuple[str, ...]:
        return tuple(self.stages)

    def _stage(self, name: str) -> Effect:
        stage: Effect = self.stages[name]  # type: ignore[assignment]
        return stage


class Chain(Structure):
    """One effect after the other.

    >>> from sonograd.effects import Gain
    >>> chain = Chain(quieter=Gain(8000), louder=Gain(8000))
    >>> chain.names
    ('quieter.gain_db', 'louder.gain_db')
    """

    def __init__(self, /, *effects: Effect, **stages: Effect) -> None:
        """Take the effects in order; those without a name get that of their type."""
        super().__init__(name_stages(effects, stages))

    @property
    def latency(self) -> int:
        """The sum of the latencies of the stages."""
        return sum(self._stage(name).latency for name in self._stage_names())

    def output_channels(self, channels: int) -> int:
        """Return the number of channels after the last stage."""
        for name in self._stage_names():
            channels = self._stage(name).output_channels(channels)
        return channels

    def init_state(self, batch: int = 1, channels: int = 1) -> State:
        """Return the states of all stages, each as late as the signal arrives there."""
        memory: dict[str, Any] = {}
        width, late = channels, 0
        for name in self._stage_names():
            stage = self._stage(name)
            memory[name] = self._late(stage.init_state(batch, width), late)
            width, late = stage.output_channels(width), late + stage.latency
        return State(batch, channels, memory=memory)

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""
        self._check_names(values)
        memory, late, samples = dict(state.memory), 0, x.shape[-1]
        for name in self._stage_names():
            x = self._run(name, x, memory, values, late)
            late += self._stage(name).latency
        return x, replace(state, position=state.position + samples, memory=memory)


class Parallel(Structure):
    """The sum of several effects of one signal, each with a level ``NAME_db``.

    A dry path is a :class:`~sonograd.effects.Gain`.
    """

    def __init__(self, /, *effects: Effect, **stages: Effect) -> None:
        """Take the effects; those without a name get that of their type."""
        named = name_stages(effects, stages)
        super().__init__(named)
        for name in named:
            if f"{name}_db" in named:
                raise ParameterError(
                    f"parallel: '{name}_db' cannot be the name of a stage; it is the level of "
                    f"{name!r}"
                )
        self.declare([Param(f"{name}_db", "dB", -60.0, 24.0, 0.0, moves=True) for name in named])

    @property
    def latency(self) -> int:
        """The largest latency of the stages."""
        return max(self._stage(name).latency for name in self._stage_names())

    def output_channels(self, channels: int) -> int:
        """Return the largest number of channels of the stages."""
        return max(self._stage(name).output_channels(channels) for name in self._stage_names())

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""
        self._check_names(values)
        memory, width = dict(state.memory), self.output_channels(x.shape[1])
        own = self._own(x, state, values)
        total = x.new_zeros(x.shape[0], width, x.shape[-1])
        for name in self._stage_names():
            late = self.latency - self._stage(name).latency
            wet = self._align(f"{name} path", self._run(name, x, memory, values), late, memory)
            total = total + db_to_amplitude(own[f"{name}_db"]).to(x.dtype) * widen(wet, width)
        return total, replace(state, position=state.position + x.shape[-1], memory=memory)


class _Around(Structure):
    """A structure around one effect, with the dry signal beside it."""

    def __init__(self, effect: Effect) -> None:
        """Take the effect; its values are those of the stage ``effect``."""
        super().__init__({"effect": effect})

    @classmethod
    def build(cls, stages: Mapping[str, Effect], options: Mapping[str, Any]) -> Self:
        """Make the structure from its one stage, as presets do."""
        if set(stages) != {"effect"}:
            raise ParameterError(
                f"{cls.type_name()} has the stages {', '.join(stages)}; expected one, with the "
                "name 'effect'"
            )
        make: Callable[..., Self] = cls
        return make(stages["effect"], **options)

    @property
    def latency(self) -> int:
        """That of the effect."""
        return self._stage("effect").latency

    def output_channels(self, channels: int) -> int:
        """Return the number of channels of the effect."""
        return self._stage("effect").output_channels(channels)

    def _both(self, x: Tensor, memory: dict[str, Any], values: Values) -> tuple[Tensor, Tensor]:
        """Return the dry signal, as late as the effect, and the wet one."""
        wet = self._run("effect", x, memory, values)
        dry = self._align("dry", x, self.latency, memory)
        return widen(dry, wet.shape[1]), wet


class Mix(_Around):
    """Dry and wet: ``y = (1 - mix) x + mix effect(x)``, the dry part as late as the effect."""

    params = (Param("mix", "1", 0.0, 1.0, 0.5, moves=True),)

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""
        self._check_names(values)
        memory = dict(state.memory)
        mix = self._own(x, state, values)["mix"].to(x.dtype)
        dry, wet = self._both(x, memory, values)
        y = dry + mix * (wet - dry)
        return y, replace(state, position=state.position + x.shape[-1], memory=memory)


class Send(_Around):
    """The signal and, ``level_db`` louder, its effect: ``y = x + 10^(level_db / 20) effect(x)``."""

    params = (Param("level_db", "dB", -60.0, 12.0, -12.0, moves=True),)

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""
        self._check_names(values)
        memory = dict(state.memory)
        level = db_to_amplitude(self._own(x, state, values)["level_db"]).to(x.dtype)
        dry, wet = self._both(x, memory, values)
        y = dry + level * wet
        return y, replace(state, position=state.position + x.shape[-1], memory=memory)


class Bypass(_Around):
    """An effect that can be switched off without a change of latency or width."""

    def __init__(self, effect: Effect, *, bypassed: bool = True) -> None:
        """Take the effect; it does nothing while ``bypassed``, but its values stay."""
        super().__init__(effect)
        self.bypassed = check_flag(bypassed, "bypassed")

    def options(self) -> dict[str, Any]:
        """Return whether it is bypassed."""
        return {"bypassed": self.bypassed}

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""
        self._check_names(values)
        memory = dict(state.memory)
        dry, wet = self._both(x, memory, values)
        y = dry if self.bypassed else wet
        return y, replace(state, position=state.position + x.shape[-1], memory=memory)


def widen(x: Tensor, channels: int) -> Tensor:
    """Copy a mono signal to all channels; leave others alone."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] != 1:
        raise ShapeError(f"paths of {x.shape[1]} and {channels} channels cannot be added")
    return x.expand(-1, channels, -1)


def name_stages(effects: Iterable[Effect], stages: Mapping[str, Effect]) -> dict[str, Effect]:
    """Give effects without a name that of their type, numbered from 2 on where it is taken."""
    named: dict[str, Effect] = {}
    for effect in effects:
        if not isinstance(effect, Effect):
            raise ParameterError(f"a stage is {effect!r}; expected an Effect")
        base, name, number = effect.type_name(), effect.type_name(), 2
        while name in named or name in stages:
            name, number = f"{base}_{number}", number + 1
        named[name] = effect
    return {**named, **stages}


def _check_stages(kind: str, stages: Mapping[str, Effect]) -> None:
    if not stages:
        raise ParameterError(f"{kind} has no stages; expected at least one effect")
    taken = nn.ModuleDict()  # its attributes are no names for stages
    for name, stage in stages.items():
        if not isinstance(stage, Effect):
            raise ParameterError(f"{kind}: stage {name!r} is {stage!r}; expected an Effect")
        plain = isinstance(name, str) and name.isidentifier() and name not in _RESERVED
        if not plain or hasattr(taken, name):
            raise ParameterError(
                f"{kind}: {name!r} cannot be the name of a stage; expected letters, digits and _, "
                f"and none of {', '.join(sorted(_RESERVED))}, keys, values, training, ..."
            )
    rates = {stage.sample_rate for stage in stages.values()}
    if len(rates) > 1:
        raise ParameterError(
            f"{kind}: the stages work at {', '.join(f'{rate:g}' for rate in sorted(rates))} Hz; "
            "expected one sample rate"
        )


def _delay_inputs(
    stage: Effect, values: Values, late: int, lines: dict[str, Any]
) -> tuple[Values, dict[str, Any]]:
    """Delay the further audio inputs of a stage, and of the stages in it."""
    delayed, kept = dict(values), dict(lines)
    for name, value in values.items():
        if name in stage.audio_inputs and isinstance(value, Tensor):
            delayed[name], kept[name] = delay_line(value, late, lines.get(name))
        elif isinstance(stage, Structure) and name in stage.stages and isinstance(value, Mapping):
            delayed[name], kept[name] = _delay_inputs(
                stage.stage(name), value, late, lines.get(name, {})
            )
    return delayed, kept
