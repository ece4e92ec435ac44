"""Block-wise separation: push blocks of any size, receive stems as soon as they are final."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.separators.chunking import Chunker, ChunkPlan, OverlapAdd
from sonograd.shapes import check_floating

if TYPE_CHECKING:
    from sonograd.separators.base import Separator

__all__ = ["SeparatorStream"]


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

    def __init__(self, separator: "Separator", plan: ChunkPlan, *, batch_size: int = 1) -> None:
        """Start before the first sample.

        Args:
            separator: The model; it is put into evaluation mode.
            plan: Where the chunks lie.
            batch_size: Chunks that run through the model together.
        """
        if batch_size < 1:
            raise ParameterError(f"batch_size is {batch_size}; expected at least 1")
        self.separator = separator.eval()
        self.plan = plan
        self.batch_size = batch_size
        self._chunker = Chunker(plan)
        self._overlap_add = OverlapAdd(plan)
        self._waiting: list[tuple[int, Tensor]] = []
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
        # A copy, since callers often fill the same buffer again.
        return self._join(self._run(self._chunker.push(block.clone())))

    def finish(self) -> Tensor:
        """End the signal; return the rest of the stems, ``(stems, channels, samples)``.

        Raises:
            ParameterError: If the stream has been finished already.
        """
        self._check_open()
        self._finished = True
        done = self._run(self._chunker.finish())
        done.extend(self._run_batch())
        rest = self._overlap_add.finish(self._chunker.received)
        if rest is not None:
            done.append(rest)
        return self._join(done)

    def _check_open(self) -> None:
        if self._finished:
            raise ParameterError("this stream is finished; start another one with stream()")

    def _run(self, chunks: Iterable[tuple[int, Tensor]]) -> list[Tensor]:
        """Run every batch that gets full, and return what is final; the rest waits."""
        done: list[Tensor] = []
        for chunk in chunks:
            self._waiting.append(chunk)
            if len(self._waiting) == self.batch_size:
                done.extend(self._run_batch())
        return done

    def _run_batch(self) -> list[Tensor]:
        batch, self._waiting = self._waiting, []
        if not batch:
            return []
        stems = self.separator.separate_chunks(torch.stack([chunk for _, chunk in batch]))
        return [
            self._overlap_add.add(index, item)
            for (index, _), item in zip(batch, stems, strict=True)
        ]

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Concatenate, never running past the end of what was received."""
        if not parts:
            like = self._like
            shape = (len(self.separator.stems), self.separator.channels, 0)
            return torch.empty(shape) if like is None else like.new_empty(shape)
        result = torch.cat(parts, dim=-1)
        result = result[..., : self._chunker.received - self._emitted]
        self._emitted += result.shape[-1]
        return result
