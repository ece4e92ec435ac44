"""Blocks of a song in, aligned blocks of mix and stems out: the part of the job without files."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from sonograd.data import StreamResampler
from sonograd.jobs.surround import ChannelLayout
from sonograd.jobs.workers import ChunkRunner
from sonograd.separators import Chunker, ChunkPlan, OverlapAdd, Separator

__all__ = ["separate_blocks"]


def separate_blocks(
    runner: ChunkRunner,
    separator: Separator,
    blocks: Iterable[Tensor],
    *,
    plan: ChunkPlan,
    channels: int,
    sample_rate: int,
    output_rate: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Separate a song that arrives in blocks, in memory that does not depend on its length.

    Blocks go to the model's rate and channels, through chunks and workers, and back; a copy of
    the mix waits until its stems are there.

    Args:
        runner: Runs the chunks; entered.
        separator: The model, in evaluation mode, on the runner's device.
        blocks: The song, each ``(channels, samples)`` in float32 with any number of samples.
        plan: How the signal is cut at the model's rate.
        channels: Channels of the song.
        sample_rate: Rate of the song in Hz.
        output_rate: Rate of the results in Hz.

    Yields:
        Mix ``(channels, samples)`` and stems ``(stems, channels, samples)`` at ``output_rate``;
        all mixes together are the song (resampled where the rates differ).
    """
    layout = ChannelLayout.between(channels, separator.channels)
    intake = _Intake(
        blocks, plan, layout, channels, sample_rate, separator.sample_rate, output_rate
    )
    stem_count = len(separator.stems)
    back = StreamResampler(separator.sample_rate, output_rate, stem_count * channels)

    def unfold(stems: Tensor) -> Tensor:
        return stems.reshape(stem_count, channels, stems.shape[-1])

    def at_output_rate(stems: Tensor) -> Tensor:
        return unfold(back.push(stems.flatten(0, 1)))

    mix = _Queue()
    ready = _Queue()
    overlap_add = OverlapAdd(plan)
    results = runner.run(separator, intake.items())
    index = 0
    while group := list(islice(results, len(layout.groups))):
        ready.push(at_output_rate(overlap_add.add(index, layout.join(group))))
        mix.push_all(intake.take_mix())
        index += 1
        samples = min(mix.samples, ready.samples)
        if samples:
            yield mix.take(samples), ready.take(samples)
    mix.push_all(intake.take_mix())
    rest = overlap_add.finish(intake.received)
    if rest is not None:
        ready.push(at_output_rate(rest))
        ready.push(unfold(back.finish()))
    samples = mix.samples
    if samples:
        yield mix.take(samples), ready.take(samples)


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


class _Intake:
    """Turns blocks of the song into model inputs, and keeps the mix for the way out."""

    def __init__(
        self,
        blocks: Iterable[Tensor],
        plan: ChunkPlan,
        layout: ChannelLayout,
        channels: int,
        sample_rate: int,
        model_rate: int,
        output_rate: int,
    ) -> None:
        self._blocks = blocks
        self._layout = layout
        self._channels = channels
        self._to_model = StreamResampler(sample_rate, model_rate, channels)
        self._to_output = StreamResampler(sample_rate, output_rate, channels)
        self._chunker = Chunker(plan)
        self._mix: list[Tensor] = []
        # Rounding the length to the model's rate and back must never leave the end short: a few
        # samples of the silence behind the song go along.
        same = model_rate == sample_rate == output_rate
        self._margin = 0 if same else 2 + math.ceil(2 * sample_rate / min(model_rate, output_rate))

    @property
    def received(self) -> int:
        """Samples at the model's rate so far."""
        return self._chunker.received

    def take_mix(self) -> list[Tensor]:
        """Return the mix at the output's rate as far as it was read since the last call."""
        taken, self._mix = self._mix, []
        return taken

    def items(self) -> Iterator[Tensor]:
        """Yield ``(model_channels, samples)``: for each chunk, one item per group of channels."""
        for block in self._blocks:
            self._mix.append(self._to_output.push(block))
            yield from self._split(self._chunker.push(self._to_model.push(block)))
        self._mix.append(self._to_output.finish())
        if self._margin:
            silence = torch.zeros(self._channels, self._margin)
            yield from self._split(self._chunker.push(self._to_model.push(silence)))
        yield from self._split(self._chunker.push(self._to_model.finish()))
        yield from self._split(self._chunker.finish())

    def _split(self, chunks: Iterable[tuple[int, Tensor]]) -> Iterator[Tensor]:
        for _, chunk in chunks:
            yield from self._layout.split(chunk)
