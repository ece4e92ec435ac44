"""Effects as a directed graph without cycles."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from itertools import groupby
from typing import Any, Self

import torch
from torch import Tensor

from sonograd.config.io import suggest
from sonograd.effects.base import Effect, State, Values
from sonograd.effects.structure import Structure, widen
from sonograd.errors import ParameterError

__all__ = ["Graph"]

_INPUT = "input"


class Graph(Structure):
    """Named nodes; each processes the sum of its sources, aligned in time.

    Nodes that are ready at the same time, of one type and with the same options, run together as
    one batch.

    >>> from sonograd.effects import Gain
    >>> graph = Graph(
    ...     {"left": Gain(8000), "right": Gain(8000), "both": Gain(8000)},
    ...     {"left": ["input"], "right": ["input"], "both": ["left", "right"]},
    ... )
    >>> graph(torch.ones(1, 2)).tolist()
    [[2.0, 2.0]]
    """

    def __init__(
        self,
        nodes: Mapping[str, Effect],
        sources: Mapping[str, Iterable[str]],
        output: str | Iterable[str] | None = None,
    ) -> None:
        """Connect the nodes.

        Args:
            nodes: The effects by name.
            sources: For each node the names of those it listens to; ``"input"`` is the signal.
            output: The nodes whose sum comes out; those nobody listens to if None.

        Raises:
            ParameterError: If a name is unknown, a node listens to nothing, or there is a cycle.
        """
        super().__init__(nodes)
        if not isinstance(sources, Mapping):
            raise ParameterError(
                f"graph: sources is {sources!r}; expected a mapping from each node to the names "
                "it listens to"
            )
        self.sources = {
            name: _names(names, f"sources of {name!r}") for name, names in sources.items()
        }
        self._check_sources()
        heard = {name for names in self.sources.values() for name in names}
        if output is None:
            ends: tuple[str, ...] = tuple(name for name in nodes if name not in heard)
        else:
            ends = _names(output, "output")
            if not ends:
                raise ParameterError("graph: output names no node; expected at least one")
        for name in ends:
            self._check_known(name, "output")
        self._levels = self._sort()
        self.output = ends
        self._arrival = self._arrivals()
        self._groups = [
            list(group) for level in self._levels for group in self._alike(level)
        ]  # in the order in which they run

    @classmethod
    def build(cls, stages: Mapping[str, Effect], options: Mapping[str, Any]) -> Self:
        """Make the graph from its parts, as presets do."""
        make: Callable[..., Self] = cls
        return make(stages, **{"sources": {}, **options})

    def options(self) -> dict[str, Any]:
        """Return how the nodes are connected."""
        sources = {name: list(names) for name, names in self.sources.items()}
        return {"sources": sources, "output": list(self.output)}

    @property
    def latency(self) -> int:
        """Latency of the slowest path."""
        return max(self._leave(name) for name in self.output)

    def output_channels(self, channels: int) -> int:
        """Return the largest number of channels of the output nodes."""
        widths = self._widths(channels)
        return max(widths[name] for name in self.output)

    def init_state(self, batch: int = 1, channels: int = 1) -> State:
        """Return the states of all nodes; those of a group are one."""
        widths = self._widths(channels)
        memory: dict[str, Any] = {}
        for group in self._groups:
            first = group[0]
            width = self._source_width(first, widths)
            state = self._stage(first).init_state(batch * len(group), width)
            memory[first] = self._late(state, self._arrival[first])
        return State(batch, channels, memory=memory)

    def advance(self, x: Tensor, state: State, values: Values) -> tuple[Tensor, State]:
        """Process a block, see :meth:`Effect.advance`."""
        self._check_names(values)
        memory = dict(state.memory)
        results: dict[str, Tensor] = {_INPUT: x}
        for group in self._groups:
            inputs = [self._gather(name, results, memory) for name in group]
            if len(group) == 1:
                name = group[0]
                late = self._arrival[name]
                results[name] = self._run(name, inputs[0], memory, values, late)
            else:
                results.update(self._run_together(group, inputs, memory, values))
        width = self.output_channels(x.shape[1])
        paths = []
        for name in self.output:
            late = self.latency - self._leave(name)
            path = self._align(f"{name} to output", results[name], late, memory)
            paths.append(widen(path, width))
        y = reduce(torch.add, paths)
        return y, replace(state, position=state.position + x.shape[-1], memory=memory)

    def _gather(self, name: str, results: Mapping[str, Tensor], memory: dict[str, Any]) -> Tensor:
        """Add the sources of a node, aligned with the latest of them."""
        paths = []
        width = max(results[source].shape[1] for source in self.sources[name])
        for source in self.sources[name]:
            late = self._arrival[name] - self._leave(source)
            path = self._align(f"{source} to {name}", results[source], late, memory)
            paths.append(widen(path, width))
        return reduce(torch.add, paths)

    def _run_together(
        self, group: list[str], inputs: list[Tensor], memory: dict[str, Any], values: Values
    ) -> dict[str, Tensor]:
        """Run nodes that differ only in their values as one batch."""
        effect, state = self._stage(group[0]), memory[group[0]]
        ready = []
        for name, x in zip(group, inputs, strict=True):
            given = values.get(name, {})
            effect._check_names(given)
            effect._check_channels(x)
            ready.append(effect.resolve(x, state.position, given))
        x = torch.cat(inputs)
        if not x.numel():
            width = effect.output_channels(x.shape[1])
            empty = x.new_zeros(inputs[0].shape[0], width, x.shape[-1])
            return dict.fromkeys(group, empty)
        joined = {key: _join([item[key] for item in ready], inputs) for key in ready[0]}
        y, kept = effect.process(x, state.memory, joined)
        position = state.position + x.shape[-1]
        memory[group[0]] = replace(state, position=position, memory=kept)
        return dict(zip(group, y.chunk(len(group)), strict=True))

    def _alike(self, level: list[str]) -> Iterable[list[str]]:
        """Group the nodes of a level that can run together."""

        def key(name: str) -> str:
            stage = self._stage(name)
            if isinstance(stage, Structure) or stage.audio_inputs:
                return f"alone {name}"
            return f"{stage.type_name()} {stage.options()} {self._arrival[name]}"

        for _, group in groupby(sorted(level, key=key), key=key):
            yield from self._equally_wide(list(group))

    def _equally_wide(self, group: list[str]) -> Iterable[list[str]]:
        """Split a group where mono and stereo inputs would give different widths."""

        def width(name: str) -> tuple[int, ...]:
            return tuple(self._source_width(name, self._widths(count)) for count in (1, 2))

        for _, alike in groupby(sorted(group, key=width), key=width):
            yield list(alike)

    # -- the graph ----------------------------------------------------------------------------

    def _check_known(self, name: str, where: str) -> None:
        if name not in self.stages:
            known = self._stage_names()
            raise ParameterError(
                f"graph: {where} names {name!r}; there are the nodes {', '.join(known)}."
                f"{suggest(name, known)}"
            )

    def _check_sources(self) -> None:
        for name in self.sources:
            self._check_known(name, "sources")
        for name in self._stage_names():
            if not self.sources.get(name):
                raise ParameterError(
                    f"graph: node {name!r} listens to nothing; name its sources, such as 'input'"
                )
            for source in self.sources[name]:
                if source != _INPUT:
                    self._check_known(source, f"a source of {name!r}")

    def _sort(self) -> list[list[str]]:
        """Return the nodes in levels, each of which needs only the levels before."""
        levels: list[list[str]] = []
        done, waiting = {_INPUT}, list(self._stage_names())
        while waiting:
            ready = [name for name in waiting if done.issuperset(self.sources[name])]
            if not ready:
                raise ParameterError(f"graph: there is a cycle: {self._cycle(waiting)}")
            levels.append(ready)
            done.update(ready)
            waiting = [name for name in waiting if name not in done]
        return levels

    def _cycle(self, waiting: list[str]) -> str:
        """Walk against the arrows until a node comes up again."""
        path = [waiting[0]]
        while path.count(path[-1]) == 1:
            path.append(next(name for name in self.sources[path[-1]] if name in waiting))
        around = path[path.index(path[-1]) :]
        return " -> ".join(reversed(around))

    def _arrivals(self) -> dict[str, int]:
        """Samples by which the input of each node is late."""
        arrival: dict[str, int] = {}
        for level in self._levels:
            for name in level:
                arrival[name] = max(
                    0 if source == _INPUT else arrival[source] + self._stage(source).latency
                    for source in self.sources[name]
                )
        return arrival

    def _leave(self, name: str) -> int:
        return 0 if name == _INPUT else self._arrival[name] + self._stage(name).latency

    def _source_width(self, name: str, widths: Mapping[str, int]) -> int:
        return max(widths[source] for source in self.sources[name])

    def _widths(self, channels: int) -> dict[str, int]:
        """Channels that leave each node."""
        widths = {_INPUT: channels}
        for level in self._levels:
            for name in level:
                width = self._source_width(name, widths)
                widths[name] = self._stage(name).output_channels(width)
        return widths


def _names(names: Any, where: str) -> tuple[str, ...]:
    """Return one name, or several, as a tuple."""
    if isinstance(names, str):
        return (names,)
    listed = tuple(names) if isinstance(names, Iterable) else ()
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in listed):
        raise ParameterError(f"graph: {where} is {names!r}; expected names of nodes")
    return listed


def _join(values: list[Tensor], inputs: list[Tensor]) -> Tensor:
    """Stack the values of several nodes along the batch."""
    channels = max(value.shape[1] for value in values)
    samples = max(value.shape[2] for value in values)
    parts = [
        value.expand(x.shape[0], channels, samples) for value, x in zip(values, inputs, strict=True)
    ]
    return torch.cat(parts)
