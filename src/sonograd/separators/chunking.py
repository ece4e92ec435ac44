"""Cut a signal of any length into chunks, and put the results together without a seam.

One :class:`ChunkPlan` serves whole, streamed and batched use. :class:`Chunker` turns blocks of any
size into chunks, :class:`OverlapAdd` turns processed chunks back into blocks; what lies between
them may run in order, in batches or in parallel, since both only look at the position of a chunk.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError

__all__ = ["ChunkPlan", "Chunker", "OverlapAdd", "mirrored_plan"]

#: What a chunk counts where a fade starts from nothing, so that no sample is left without any.
_LEAST_WEIGHT = 1e-8


@dataclass(frozen=True)
class ChunkPlan:
    """Where chunks lie, what a model sees of each, and with which weight it is kept.

    Chunk ``k`` is kept on ``[k * hop, k * hop + length)``, shifted by ``-offset``; the model also
    sees ``context`` samples on both sides, and zeros outside the signal. Kept parts overlap by
    ``length - hop`` samples and are averaged with weights that rise and fall linearly, normalized
    by their sum, so that the first and last samples count in full.

    Attributes:
        length: Samples kept of each chunk.
        hop: Samples between the starts of neighboring chunks.
        context: Samples seen before and after the kept part, then dropped.
        offset: Samples by which the first chunk starts before the signal.
        grid: Neighboring chunks should start a multiple of so many samples apart, such as the hop
            of a transform; any other overlap that is asked for is made longer until they do.
        fade: Samples over which weights rise and fall, at most half of ``length``; the overlap if
            None.
        fade_start: Sample ``i`` of a chunk has the weight ``(i + fade_start) / fade``, at most 1.
        mirror: What lies outside the signal is its mirror image instead of silence, and every
            chunk that begins before the end counts. The signal is then mirrored over an overlap,
            or half a chunk; beyond that, the mirror image is mirrored again. ``offset`` is an
            overlap, at least.
        fade_power: Exponent of the weights.
        fit: Lengths that the model takes, ``(shortest, step)``: the least ``shortest + k * step``
            that a chunk fits into is what the model sees, with the chunk in the middle and real
            neighbors around it. Chunks end where the signal ends, and every one that begins
            before that counts.
        summed: Kept parts are added up instead of averaged, and every chunk that begins before
            the end counts.
    """

    length: int
    hop: int
    context: int = 0
    offset: int = 0
    grid: int = 1
    fade: float | None = None
    fade_start: float = 0.5
    mirror: bool = False
    fade_power: float = 1.0
    fit: tuple[int, int] | None = None
    summed: bool = False

    def __post_init__(self) -> None:
        """Refuse plans that leave gaps."""
        if self.length < 1 or not 1 <= self.hop <= self.length:
            raise ParameterError(
                f"a plan of length {self.length} and hop {self.hop} leaves gaps; "
                "expected 1 <= hop <= length"
            )
        if self.context < 0 or not 0 <= self.offset < self.length:
            raise ParameterError(
                f"context is {self.context} and offset {self.offset}; "
                f"expected context >= 0 and 0 <= offset < length ({self.length})"
            )
        if self.grid < 1:
            raise ParameterError(f"grid is {self.grid} samples; expected at least 1")
        if (self.fade is not None and self.fade <= 0) or self.fade_start < 0:
            raise ParameterError(
                f"fade is {self.fade} and fade_start {self.fade_start}; "
                "expected fade > 0 and fade_start >= 0"
            )
        if self.mirror and self.offset < self.length - self.hop:
            raise ParameterError(
                f"offset is {self.offset}; expected at least the overlap, "
                f"{self.length - self.hop}, where mirror is set"
            )
        if self.fade_power <= 0:
            raise ParameterError(f"fade_power is {self.fade_power}; expected more than 0")
        if self.fit is not None and (min(self.fit) < 1 or self.context or self.mirror):
            raise ParameterError(
                f"fit is {self.fit}, context {self.context} and mirror {self.mirror}; "
                "expected lengths of at least 1, and fit without the other two"
            )

    @property
    def input_length(self) -> int:
        """Samples that the model sees of each chunk, those at the end of a signal aside."""
        return self.length + sum(self.margins(self.length))

    def margins(self, kept: int) -> tuple[int, int]:
        """Return the samples that the model sees before and after a chunk of which ``kept`` count.

        That is its length, or less at the end of a signal.
        """
        if self.fit is None:
            return self.context, self.context + self.length - kept
        shortest, step = self.fit
        missing = shortest + max(-(-(kept - shortest) // step), 0) * step - kept
        return missing // 2, missing - missing // 2

    @property
    def latency(self) -> int:
        """Samples that must arrive before the first result can leave."""
        # The chunk behind which the first sample is final.
        first = self.offset // self.hop if self.mirror else 0
        return first * self.hop - self.offset + self.length + self.margins(self.length)[1]

    def with_overlap(self, overlap: float) -> "ChunkPlan":
        """Return this plan with kept parts that overlap by the fraction ``overlap`` in [0, 1).

        See :meth:`with_padding` for plans with a grid.

        Raises:
            ParameterError: If ``overlap`` is outside [0, 1).
        """
        if not 0 <= overlap < 1:
            raise ParameterError(f"overlap is {overlap}; expected a fraction in [0, 1)")
        if self.fit is not None:  # rounded as the programs do that such plans are for
            return self.with_padding(self.length - max(int((1 - overlap) * self.length), 1))
        return self.with_padding(min(round(overlap * self.length), self.length - 1))

    def with_padding(self, samples: int) -> "ChunkPlan":
        """Return this plan with kept parts that overlap by ``samples``, or more.

        The hop is rounded down to a multiple of :attr:`grid`, though not below one of them, so
        that every chunk is cut from the signal in the same way; where the grid is longer than a
        chunk, it is left alone.

        Raises:
            ParameterError: If the overlap is negative or as long as a chunk.
        """
        if not 0 <= samples < self.length:
            raise ParameterError(
                f"padding is {samples} samples; expected 0 <= padding < {self.length}, "
                "the length of a chunk"
            )
        hop = self.length - samples
        if self.grid <= self.length:
            hop = max(hop // self.grid, 1) * self.grid
        return replace(self, hop=hop, offset=self.length - hop if self.mirror else self.offset)

    def shifted(self, samples: int) -> "ChunkPlan":
        """Return this plan for a signal that begins after so many ``samples`` of silence.

        Chunks that would lie in that silence alone are left out.
        """
        if self.mirror:  # what comes before the signal is its image, and chunks begin earlier
            return replace(self, offset=self.length - self.hop + samples % self.hop)
        offset = self.offset + samples
        beyond = max(-(-(offset + 1 - self.length) // self.hop), 0)
        return replace(self, offset=offset - beyond * self.hop)

    def count(self, samples: int) -> int:
        """Return the number of chunks that cover a signal of ``samples``."""
        if samples == 0:
            return 0
        if self.mirror or self.summed or self.fit is not None:
            return math.ceil((samples + self.offset) / self.hop)
        return 1 + max(0, math.ceil((samples + self.offset - self.length) / self.hop))

    def weights(self, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the weight of each kept sample, shape ``(length,)``, all positive."""
        if self.summed:
            return torch.ones(self.length, dtype=dtype, device=device)
        fade = max(self.length - self.hop, 0.5) if self.fade is None else self.fade
        position = torch.arange(self.length, dtype=torch.float64)
        edge = torch.minimum(position, position.flip(0)) + self.fade_start
        ramp = (edge / fade).clamp(min=_LEAST_WEIGHT, max=1.0) ** self.fade_power
        return ramp.to(dtype=dtype, device=device)


def mirrored_plan(length: int, num_overlap: int) -> ChunkPlan:
    """Return the usual plan of spectrogram transformers.

    Every sample lies in ``num_overlap`` chunks, which fade over a tenth of their ``length``, and
    the signal is mirrored at its ends.

    >>> mirrored_plan(8 * 44100, 4).hop
    88200
    """
    hop = max(length // num_overlap, 1)
    fade = max(length // 10 - 1, 1)
    return ChunkPlan(length, hop, offset=length - hop, fade=fade, fade_start=0, mirror=True)


class Chunker:
    """Collect blocks ``(..., samples)`` of any sizes and hand out the chunks of a plan."""

    def __init__(self, plan: ChunkPlan) -> None:
        """Start before the first sample."""
        self.plan = plan
        self._held: list[Tensor] = []
        self._start = 0  # position of the first held sample
        self._received = 0
        self._finished = False
        self._next = 0  # index of the next chunk

    @property
    def received(self) -> int:
        """Samples received so far."""
        return self._received

    def push(self, block: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Add ``block``; yield ``(index, chunk)`` for every chunk that is complete.

        A chunk has shape ``(..., plan.input_length)``; see :meth:`finish` for the last ones.
        """
        self._held.append(block)
        self._received += block.shape[-1]
        while self._received >= self._needed(self._next):
            yield self._take()

    def finish(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the chunks that remain once the signal has ended.

        They are filled up with zeros; with ``plan.fit`` they may be shorter instead.
        """
        self._finished = True
        while self._next < self.plan.count(self._received):
            yield self._take()

    def kept(self, index: int) -> int:
        """Return how many samples of a chunk count: its length, or less at the end.

        To be asked once the chunk has been handed out.
        """
        plan = self.plan
        if not self._finished or plan.fit is None:
            return plan.length
        return min(plan.length, self._received + plan.offset - index * plan.hop)

    def begin(self, index: int) -> int:
        """Return the position of the first sample that the model sees of a chunk."""
        before, _ = self.plan.margins(self.kept(index))
        return index * self.plan.hop - self.plan.offset - before

    def _end(self, index: int) -> int:
        kept = self.kept(index)
        return self.begin(index) + sum(self.plan.margins(kept)) + kept

    def _needed(self, index: int) -> int:
        """Return how many samples must have arrived before a chunk is complete."""
        mirrored = 1 - self.begin(index) if self.plan.mirror else 0
        return max(self._end(index), mirrored)

    def _take(self) -> tuple[int, Tensor]:
        begin, end = self.begin(self._next), self._end(self._next)
        held = self._held[0] if len(self._held) == 1 else torch.cat(self._held, dim=-1)
        if self.plan.mirror and (begin < 0 or end > self._received):
            chunk = held[..., self._mirrored(begin, end).to(held.device) - self._start]
        else:
            piece = held[..., max(begin, 0) - self._start : end - self._start]
            missing = (max(-begin, 0), end - max(begin, 0) - piece.shape[-1])
            chunk = nnf.pad(piece, missing) if any(missing) else piece.clone()
        index = self._next
        self._next += 1
        reach = self._margin if self.plan.mirror else 0
        reach += 0 if self.plan.fit is None else max(self.plan.fit) // 2 + 1
        keep_from = max(self.begin(self._next) - reach, 0)
        self._held = [held[..., keep_from - self._start :]]
        self._start = min(keep_from, self._received)
        return index, chunk

    @property
    def _margin(self) -> int:
        """Samples of the mirror image that is not mirrored itself."""
        return max(self.plan.offset, self.plan.length // 2) + self.plan.context

    def _mirrored(self, begin: int, end: int) -> Tensor:
        """Return where to read the samples ``[begin, end)``, the end of the signal being known."""
        samples, margin = self._received, self._margin
        position = torch.arange(begin, end)
        last = samples + margin - 1
        position = torch.where(position > last, 2 * last - position, position)
        period = max(2 * (samples - 1), 1)  # short signals are mirrored again and again
        position = position.remainder(period)
        return torch.where(position > samples - 1, period - position, position)


class OverlapAdd:
    """Put processed chunks together, in order, and hand out samples that are final."""

    def __init__(self, plan: ChunkPlan) -> None:
        """Start before the first chunk."""
        self.plan = plan
        self._sum: Tensor | None = None
        self._weights: Tensor | None = None
        self._norm: Tensor | None = None
        self._next = 0
        self._emitted = 0

    def add(self, index: int, chunk: Tensor, kept: int | None = None) -> Tensor:
        """Add chunk ``index``, as long as the one that was handed out; return what is now final.

        Args:
            index: Chunks arrive in order.
            chunk: ``(..., samples)``.
            kept: Samples that count, see :meth:`Chunker.kept`; the length of a chunk if None.

        Returns:
            The next samples of the result, shape ``(..., any)``.

        Raises:
            ParameterError: If chunks do not arrive in order or have another length.
        """
        plan = self.plan
        kept = plan.length if kept is None else kept
        before, after = plan.margins(kept)
        if index != self._next or chunk.shape[-1] != before + kept + after:
            raise ParameterError(
                f"chunk {index} of {chunk.shape[-1]} samples arrived; "
                f"expected chunk {self._next} of {before + kept + after} samples"
            )
        part = chunk[..., before : before + kept]
        if self._sum is None or self._weights is None or self._norm is None:
            self._weights = plan.weights(dtype=part.dtype, device=part.device)
            self._sum = part.new_zeros(*part.shape[:-1], plan.length)
            self._norm = torch.zeros_like(self._weights)
        missing = (0, plan.length - kept)
        self._sum = self._sum + nnf.pad(part * self._weights[:kept], missing)
        self._norm = self._norm + nnf.pad(self._weights[:kept], missing)
        self._next += 1
        done = self._average(slice(0, plan.hop))
        self._sum = nnf.pad(self._sum[..., plan.hop :], (0, plan.hop))
        self._norm = nnf.pad(self._norm[plan.hop :], (0, plan.hop))
        done = done[..., max(plan.offset - index * plan.hop, 0) :]
        self._emitted += done.shape[-1]
        return done

    def _average(self, where: slice) -> Tensor:
        """Return what has been put together; behind the last chunk it is silent."""
        assert self._sum is not None
        assert self._norm is not None
        if self.plan.summed:
            return self._sum[..., where]
        norm = self._norm[where]
        return self._sum[..., where] / norm.masked_fill(norm == 0, 1.0)

    def finish(self, samples: int) -> Tensor | None:
        """Return the rest of a signal of ``samples``, or None if no chunk was ever added.

        The last blocks may have run past the end of the signal: the caller cuts the whole to
        ``samples``; :class:`~sonograd.separators.stream.SeparatorStream` does so.
        """
        if self._sum is None:
            return None
        before = max(self.plan.offset - self._next * self.plan.hop, 0)
        return self._average(slice(before, before + max(samples - self._emitted, 0)))
