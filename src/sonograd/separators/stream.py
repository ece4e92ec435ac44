"""Block-wise separation: push blocks of any size, receive stems as soon as they are final."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.separators.chunking import Chunker, ChunkPlan, OverlapAdd

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

    def push(self, block: Tensor) -> Tensor:
        """Take the next ``(channels, samples)`` of the mix, any number of samples.

        Returns:
            The stems that are now final, ``(stems, channels, samples)``, perhaps 0 samples.
        """
        if block.ndim != 2 or block.shape[0] != self.separator.channels:
            raise ShapeError(
                f"block has shape {tuple(block.shape)}; "
                f"expected ({self.separator.channels}, samples)"
            )
        self._like = block
        self._waiting.extend(self._chunker.push(block))
        return self._join(self._run(everything=False))

    def finish(self) -> Tensor:
        """End the signal; return the rest of the stems, ``(stems, channels, samples)``."""
        self._waiting.extend(self._chunker.finish())
        done = self._run(everything=True)
        rest = self._overlap_add.finish(self._chunker.received)
        if rest is not None:
            done.append(rest)
        return self._join(done)

    def _run(self, *, everything: bool) -> list[Tensor]:
        done: list[Tensor] = []
        while self._waiting and (everything or len(self._waiting) >= self.batch_size):
            batch, self._waiting = (
                self._waiting[: self.batch_size],
                self._waiting[self.batch_size :],
            )
            stems = self.separator.separate_chunks(torch.stack([chunk for _, chunk in batch]))
            for (index, _), item in zip(batch, stems, strict=True):
                done.append(self._overlap_add.add(index, item))
        return done

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
