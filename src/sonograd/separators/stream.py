"""Block-wise separation: push blocks of any size, receive stems as soon as they are final."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.assignment import best_permutation
from sonograd.separators.chunking import Chunker, ChunkPlan, OverlapAdd
from sonograd.separators.survey import Survey
from sonograd.shapes import check_floating

if TYPE_CHECKING:
    from sonograd.separators.base import Separator

__all__ = ["Lane", "LaneMixer", "LaneStream", "SeparatorStream"]


@dataclass(frozen=True)
class Lane:
    """One of the models that run side by side on a mix.

    Attributes:
        separator: The model.
        plan: How the mix is cut for it.
        weights: What it counts in the average of each stem; the same as the others if None.
        kept: Numbers of the stems that are returned, once all have been put together; all if None.
    """

    separator: "Separator"
    plan: ChunkPlan
    weights: tuple[float, ...] | None = None
    kept: tuple[int, ...] | None = None


class LaneStream:
    """A mix on its way through one lane: blocks to chunks, and stems of chunks to blocks."""

    def __init__(
        self, lane: Lane, survey: Survey | None = None, *, like: "LaneStream | None" = None
    ) -> None:
        """Start before the first sample.

        Args:
            lane: The model, and how the mix is cut for it.
            survey: Has heard the mix.
            like: The stream of other channels of the same mix, whose chunks come before those of
                this one: stems without an order of their own take that of its first chunk.
        """
        self.lane = lane
        self.survey = survey
        self.plan = lane.plan if survey is None else survey.second
        self.chunker = Chunker(self.plan)
        self._overlap_add = OverlapAdd(self.plan)
        self._like = like
        self._first: Tensor | None = None  # what the first chunk gave
        self._before: Tensor | None = None  # what the chunk before gave where the next one begins

    def push(self, block: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Add a block of the mix; yield the chunks that are complete, with their numbers."""
        block = block if self.survey is None else self.survey.prepare(block)
        return self.chunker.push(block)

    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        """Map chunks ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        if self.survey is None:
            return self.lane.separator.separate_chunks(chunks)
        return self.survey.separate(chunks, indices)

    def add(self, index: int, stems: Tensor) -> Tensor:
        """Add the stems of a chunk, in order; return what is now final."""
        kept = self.chunker.kept(index)
        if self.lane.separator.interchangeable:
            stems = self._ordered(stems, kept)
        if self.lane.kept is not None:
            stems = stems[list(self.lane.kept)]
        return self._restore(self._overlap_add.add(index, stems, kept))

    def _ordered(self, stems: Tensor, kept: int) -> Tensor:
        """Return stems in the order in which they fit best to the chunk before."""
        begin, _ = self.plan.margins(kept)
        part = stems[..., begin : begin + kept]
        known = self._before
        if known is None and self._like is not None:
            known = self._like._first
        if known is not None:
            shared = min(known.shape[-1], kept)
            likeness = known[..., :shared].flatten(1) @ part[..., :shared].flatten(1).mT
            order = best_permutation(likeness.mT, maximize=True)
            stems, part = stems[order], part[order]
        if self._first is None:
            self._first = part.clone()
        self._before = part[..., self.plan.hop :].clone()
        return stems

    def finish(self) -> Tensor | None:
        """Return the rest, or None if there was no chunk."""
        rest = self._overlap_add.finish(self.chunker.received)
        return None if rest is None else self._restore(rest)

    def _restore(self, stems: Tensor) -> Tensor:
        return stems if self.survey is None else self.survey.restore(stems)


class LaneMixer:
    """Averages the stems of several lanes as far as all of them have come."""

    def __init__(self, lanes: Sequence[Lane], stems: int) -> None:
        """Start before the first sample."""
        given = [lane.weights or (1.0,) * stems for lane in lanes]
        self._weights = [[row[stem] for row in given] for stem in range(stems)]
        self._waiting: list[list[Tensor]] = [[] for _ in lanes]

    def add(self, lane: int, stems: Tensor) -> Tensor | None:
        """Add the next ``(stems, channels, samples)`` of a lane; return what is ready, if any."""
        if len(self._waiting) == 1:
            return stems
        self._waiting[lane].append(stems)
        lengths = [sum(part.shape[-1] for part in parts) for parts in self._waiting]
        if not min(lengths):
            return None
        ready = min(lengths)
        taken = []
        for number, parts in enumerate(self._waiting):
            whole = torch.cat(parts, dim=-1)
            taken.append(whole[..., :ready])
            self._waiting[number] = [whole[..., ready:].clone()]
        weights = torch.tensor(self._weights, dtype=stems.dtype, device=stems.device)
        total = torch.zeros_like(taken[0])
        for part, share in zip(taken, weights.mT, strict=True):
            total += part * share[:, None, None]
        return total / weights.sum(1)[:, None, None]


class SeparatorStream:
    """Separate a signal that arrives in blocks, in memory that does not depend on its length.

    The result is, to the bit when ``batch_size`` is 1, what
    :meth:`~sonograd.separators.base.Separator.separate` gives for the whole signal.

    >>> from sonograd.separators import CenterExtraction
    >>> stream = CenterExtraction(sample_rate=8000).stream()
    >>> blocks = [stream.push(torch.zeros(2, 5000)) for _ in range(3)]
    >>> blocks.append(stream.finish())
    >>> torch.cat(blocks, dim=-1).shape
    torch.Size([2, 2, 15000])
    """

    def __init__(
        self,
        separator: "Separator",
        plan: ChunkPlan,
        *,
        batch_size: int = 1,
        heard: Sequence[Survey | None] | None = None,
    ) -> None:
        """Start before the first sample.

        Args:
            separator: The model; it is put into evaluation mode.
            plan: Where the chunks lie.
            batch_size: Chunks that run through the model together.
            heard: What :meth:`~sonograd.separators.Separator.hear` returned for this mix.
        """
        if batch_size < 1:
            raise ParameterError(f"batch_size is {batch_size}; expected at least 1")
        self.separator = separator.eval()
        self.plan = plan
        self.batch_size = batch_size
        lanes = separator.lanes(plan)
        surveys = [None] * len(lanes) if heard is None else heard
        self._lanes = [
            LaneStream(lane, survey) for lane, survey in zip(lanes, surveys, strict=True)
        ]
        self._mixer = LaneMixer(lanes, len(separator.stems))
        self._waiting: list[list[tuple[int, Tensor]]] = [[] for _ in lanes]
        self._received = 0
        self._emitted = 0
        self._like: Tensor | None = None
        self._finished = False

    def push(self, block: Tensor) -> Tensor:
        """Take the next ``(channels, samples)`` of the mix, any number of samples.

        Returns:
            The stems that are now final, ``(stems, channels, samples)``, perhaps 0 samples.

        Raises:
            ShapeError: If ``block`` has another layout.
            ParameterError: If the stream has been finished.
        """
        self._check_open()
        if block.ndim != 2 or block.shape[0] != self.separator.channels:
            raise ShapeError(
                f"block has shape {tuple(block.shape)}; "
                f"expected ({self.separator.channels}, samples)"
            )
        check_floating(block, name="block")
        self._like = block
        self._received += block.shape[-1]
        block = block.clone()  # callers often fill the same buffer again
        done: list[Tensor] = []
        for number, lane in enumerate(self._lanes):
            done += self._run(number, lane.push(block))
        return self._join(done)

    def finish(self) -> Tensor:
        """End the signal; return the rest of the stems, ``(stems, channels, samples)``.

        Raises:
            ParameterError: If the stream has been finished already.
        """
        self._check_open()
        self._finished = True
        done: list[Tensor] = []
        for number, lane in enumerate(self._lanes):
            done += self._run(number, lane.chunker.finish())
            done += self._run_batch(number)
            rest = lane.finish()
            if rest is not None:
                done += self._mix(number, rest)
        return self._join(done)

    def _check_open(self) -> None:
        if self._finished:
            raise ParameterError("this stream is finished; start another one with stream()")

    def _run(self, number: int, chunks: Iterable[tuple[int, Tensor]]) -> list[Tensor]:
        """Run every batch that gets full, and return what is final; the rest waits."""
        done: list[Tensor] = []
        waiting = self._waiting[number]
        for index, chunk in chunks:
            if waiting and waiting[0][1].shape != chunk.shape:
                done += self._run_batch(number)
            waiting.append((index, chunk))
            if len(waiting) == self.batch_size:
                done += self._run_batch(number)
        return done

    def _run_batch(self, number: int) -> list[Tensor]:
        batch = self._waiting[number][:]
        self._waiting[number].clear()
        if not batch:
            return []
        lane, indices = self._lanes[number], [index for index, _ in batch]
        stems = lane.separate(torch.stack([chunk for _, chunk in batch]), indices)
        done: list[Tensor] = []
        for index, item in zip(indices, stems, strict=True):
            done += self._mix(number, lane.add(index, item))
        return done

    def _mix(self, number: int, stems: Tensor) -> list[Tensor]:
        ready = self._mixer.add(number, stems)
        return [] if ready is None else [ready]

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Concatenate, never running past the end of what was received."""
        if not parts:
            like = self._like
            shape = (len(self.separator.stems), self.separator.channels, 0)
            return torch.empty(shape) if like is None else like.new_empty(shape)
        result = torch.cat(parts, dim=-1)
        result = result[..., : self._received - self._emitted]
        self._emitted += result.shape[-1]
        return result
