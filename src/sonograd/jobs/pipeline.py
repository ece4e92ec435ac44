"""Blocks of a song in, aligned blocks of mix and stems out: the part of the job without files."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sonograd.data import StreamResampler
from sonograd.errors import ParameterError
from sonograd.jobs.spool import SpooledBlocks
from sonograd.jobs.surround import ChannelLayout
from sonograd.jobs.workers import ChunkRunner
from sonograd.separators import Chunker, ChunkPlan, Separator
from sonograd.separators.stream import LaneMixer, LaneStream
from sonograd.separators.survey import Survey

__all__ = ["separate_blocks"]


def separate_blocks(
    runner: ChunkRunner,
    separator: Separator,
    blocks: Callable[[], Iterable[Tensor]] | Iterable[Tensor],
    *,
    plan: ChunkPlan,
    channels: int,
    sample_rate: int,
    output_rate: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Separate a song that arrives in blocks, in memory that does not depend on its length.

    Blocks go to the model's rate and channels, through chunks and workers, and back; a copy of
    the mix waits until its stems are there. Models that want to hear the whole song first do so:
    then it is read twice.

    Args:
        runner: Runs the chunks; entered.
        separator: The model, in evaluation mode, on the runner's device.
        blocks: The song, each ``(channels, samples)`` in float32 with any number of samples; or
            what begins it anew, for models that hear it twice.
        plan: How the signal is cut at the model's rate.
        channels: Channels of the song.
        sample_rate: Rate of the song in Hz.
        output_rate: Rate of the results in Hz.

    Yields:
        Mix ``(channels, samples)`` and stems ``(stems, channels, samples)`` at ``output_rate``;
        all mixes together are the song (resampled where the rates differ).

    Raises:
        ParameterError: If the song has to be heard twice but can be read only once.
    """
    layout = ChannelLayout.between(channels, separator.channels)
    groups: list[_Group] = []
    for _ in layout.groups:
        groups.append(_Group(separator, plan, like=groups[0] if groups else None))
    rates = (sample_rate, separator.sample_rate, output_rate)
    _hear(runner, groups, blocks, layout, channels, rates)
    intake = _Intake(_begin(blocks), groups, layout, channels, rates)
    stem_count = len(separator.stems)
    back = StreamResampler(separator.sample_rate, output_rate, stem_count * channels)

    def unfold(stems: Tensor) -> Tensor:
        return stems.reshape(stem_count, channels, stems.shape[-1])

    def at_output_rate() -> Iterator[Tensor]:
        samples = min(group.ready.samples for group in groups)
        if samples:
            stems = layout.join([group.ready.take(samples) for group in groups])
            yield unfold(back.push(stems.flatten(0, 1)))

    mix = _Queue()
    ready = _Queue()
    results = runner.run_lanes(intake.items())
    for stems in results:
        intake.add(stems)
        ready.push_all(at_output_rate())
        mix.push_all(intake.take_mix())
        samples = min(mix.samples, ready.samples)
        if samples:
            yield mix.take(samples), ready.take(samples)
    mix.push_all(intake.take_mix())
    for group in groups:
        group.finish()
    ready.push_all(at_output_rate())
    if intake.received:
        ready.push(unfold(back.finish()))
    samples = mix.samples
    if samples:
        yield mix.take(samples), ready.take(samples)


def _begin(blocks: Callable[[], Iterable[Tensor]] | Iterable[Tensor]) -> Iterable[Tensor]:
    return blocks() if callable(blocks) else blocks


def _hear(
    runner: ChunkRunner,
    groups: Sequence["_Group"],
    blocks: Callable[[], Iterable[Tensor]] | Iterable[Tensor],
    layout: ChannelLayout,
    channels: int,
    rates: tuple[int, int, int],
) -> None:
    """Let the lanes of every group hear the song, if they want to."""
    ears = [
        _Ear(lane.survey, number)
        for number, group in enumerate(groups)
        for lane in group.lanes
        if lane.survey is not None
    ]
    if not ears:
        return
    if isinstance(blocks, Iterator):
        raise ParameterError(
            "this model hears a song twice, but blocks can be read only once; expected a function "
            "that begins them anew"
        )
    heard = _ToModel(_begin(blocks), layout, channels, rates)

    def looks() -> Iterator[tuple[_Ear, tuple[Tensor, int, int | None]]]:
        for parts in heard.parts():
            for ear in ears:
                for item in ear.push(parts):
                    yield ear, item
        for ear in ears:
            for item in ear.finish():
                yield ear, item

    def look(item: "tuple[_Ear, tuple[Tensor, int, int | None]]") -> "tuple[_Ear, Any]":
        ear, (chunk, index, samples) = item
        return ear, ear.survey.look(chunk.to(runner.device), index, samples)

    for ear, seen in runner.map(look, looks()):
        ear.survey.take(seen)
    for ear in ears:
        ear.survey.finish(ear.chunker.received, runner.map)


class _Ear:
    """The first pass of one lane that has one."""

    def __init__(self, survey: Survey, group: int) -> None:
        self.survey, self.group = survey, group
        self.chunker = Chunker(survey.first)

    def push(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, int, int | None]]:
        for index, chunk in self.chunker.push(parts[self.group]):
            yield chunk, index, None

    def finish(self) -> Iterator[tuple[Tensor, int, int | None]]:
        for index, chunk in self.chunker.finish():
            yield chunk, index, self.chunker.received


class _Group:
    """Channels that go through the model together: their lanes, and what is ready of them."""

    lanes: list[LaneStream]

    def __init__(
        self, separator: Separator, plan: ChunkPlan, *, like: "_Group | None" = None
    ) -> None:
        lanes = separator.lanes(plan)
        others: Sequence[LaneStream | None] = [None] * len(lanes) if like is None else like.lanes
        self.lanes = [
            LaneStream(lane, lane.separator.survey(lane.plan, blocks=SpooledBlocks()), like=other)
            for lane, other in zip(lanes, others, strict=True)
        ]
        self._mixer = LaneMixer(lanes, len(separator.stems))
        self.ready = _Queue()

    def add(self, lane: int, index: int, stems: Tensor) -> None:
        """Add the stems of a chunk."""
        self._put(lane, self.lanes[lane].add(index, stems))

    def finish(self) -> None:
        """End all lanes."""
        for number, lane in enumerate(self.lanes):
            rest = lane.finish()
            if rest is not None:
                self._put(number, rest)

    def _put(self, lane: int, stems: Tensor) -> None:
        ready = self._mixer.add(lane, stems)
        if ready is not None:
            self.ready.push(ready)


class _Queue:
    """Blocks ``(..., samples)`` that wait."""

    def __init__(self) -> None:
        self._blocks: list[Tensor] = []
        self.samples = 0

    def push(self, block: Tensor) -> None:
        self._blocks.append(block)
        self.samples += block.shape[-1]

    def push_all(self, blocks: Iterable[Tensor]) -> None:
        for block in blocks:
            self.push(block)

    def take(self, samples: int) -> Tensor:
        whole = torch.cat(self._blocks, dim=-1)
        self._blocks = [whole[..., samples:].clone()]
        self.samples = whole.shape[-1] - samples
        return whole[..., :samples]


class _ToModel:
    """Blocks of a song at the rate and with the channels of a model."""

    def __init__(
        self,
        blocks: Iterable[Tensor],
        layout: ChannelLayout,
        channels: int,
        rates: tuple[int, int, int],
    ) -> None:
        sample_rate, model_rate, output_rate = rates
        self._blocks = blocks
        self._layout = layout
        self._resampler = StreamResampler(sample_rate, model_rate, channels)
        # Rounding the length to the model's rate and back must never leave the end short: a few
        # samples of the silence behind the song go along.
        same = model_rate == sample_rate == output_rate
        margin = 0 if same else 2 + math.ceil(2 * sample_rate / min(model_rate, output_rate))
        self._silence = torch.zeros(channels, margin)

    def parts(self, seen: Callable[[Tensor], None] | None = None) -> Iterator[list[Tensor]]:
        """Yield ``(model_channels, samples)`` for each group of channels, block after block.

        Args:
            seen: Told about every block of the song before it is changed.
        """
        for block in self._blocks:
            if seen is not None:
                seen(block)
            yield self._layout.split(self._resampler.push(block))
        if self._silence.shape[-1]:
            yield self._layout.split(self._resampler.push(self._silence))
        yield self._layout.split(self._resampler.finish())


class _Intake:
    """Turns blocks of the song into chunks, and keeps the mix for the way out."""

    def __init__(
        self,
        blocks: Iterable[Tensor],
        groups: Sequence[_Group],
        layout: ChannelLayout,
        channels: int,
        rates: tuple[int, int, int],
    ) -> None:
        self._groups = groups
        self._to_model = _ToModel(blocks, layout, channels, rates)
        self._to_output = StreamResampler(rates[0], rates[2], channels)
        self._mix: list[Tensor] = []
        self._order: deque[tuple[_Group, int, int]] = deque()

    @property
    def received(self) -> int:
        """Samples at the model's rate so far."""
        return self._groups[0].lanes[0].chunker.received

    def take_mix(self) -> list[Tensor]:
        """Return the mix at the output's rate as far as it was read since the last call."""
        taken, self._mix = self._mix, []
        return taken

    def items(self) -> Iterator[tuple[LaneStream, int, Tensor]]:
        """Yield the chunks of all lanes."""
        lanes = range(len(self._groups[0].lanes))
        for parts in self._to_model.parts(self._see):
            for number in lanes:
                for group, part in zip(self._groups, parts, strict=True):
                    yield from self._chunks(group, number, group.lanes[number].push(part))
        self._mix.append(self._to_output.finish())
        for number in lanes:
            for group in self._groups:
                chunks = group.lanes[number].chunker.finish()
                yield from self._chunks(group, number, chunks)

    def add(self, stems: Tensor) -> None:
        """Hand the stems of the next chunk to where it came from."""
        group, number, index = self._order.popleft()
        group.add(number, index, stems)

    def _see(self, block: Tensor) -> None:
        self._mix.append(self._to_output.push(block))

    def _chunks(
        self, group: _Group, number: int, chunks: Iterable[tuple[int, Tensor]]
    ) -> Iterator[tuple[LaneStream, int, Tensor]]:
        for index, chunk in chunks:
            self._order.append((group, number, index))
            yield group.lanes[number], index, chunk
