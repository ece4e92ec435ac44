"""What a model has to know about a whole mix before it separates the first chunk of it.

A survey hears the mix once, chunk by chunk, and is then asked for the stems of each chunk. Both
passes need memory for a few chunks only, whatever the length of the mix.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from sonograd.separators.chunking import Chunker, ChunkPlan

if TYPE_CHECKING:
    from sonograd.separators.base import Separator

__all__ = [
    "Blocks",
    "LevelSurvey",
    "Run",
    "SelectedSurvey",
    "Survey",
    "WrappedSurvey",
    "listen",
]

#: Where a survey keeps tensors by name until the mix has been separated: a dict, or something that
#: writes to disk.
Blocks: TypeAlias = MutableMapping[tuple[int | str, ...], Tensor]
#: Applies a function to many things, as :func:`map` does, perhaps several at a time.
Run: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Survey(ABC):
    """One mix on its way through one model.

    Attributes:
        first: How the first pass cuts the mix.
        second: How the second pass cuts it.
    """

    first: ChunkPlan
    second: ChunkPlan

    @abstractmethod
    def look(self, chunk: Tensor, index: int, samples: int | None) -> Any:
        """Return what matters of a chunk ``(channels, samples)`` of the first pass.

        Nothing is changed, so that chunks may be looked at in parallel.

        Args:
            chunk: The audio.
            index: Its number.
            samples: Length of the mix once that is known, as it is for the last chunks.
        """

    @abstractmethod
    def take(self, seen: Any) -> None:
        """Add what :meth:`look` returned, in the order of the chunks."""

    def finish(self, samples: int, run: Run = map) -> None:
        """End the first pass; the mix has so many ``samples``."""
        del samples, run

    def prepare(self, block: Tensor) -> Tensor:
        """Return what to cut into chunks in place of a block of the mix."""
        return block

    @abstractmethod
    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        """Map chunks ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""

    def restore(self, stems: Tensor) -> Tensor:
        """Undo :meth:`prepare` on stems that have been put together."""
        return stems


class LevelSurvey(Survey):
    """Standardizes a mix as a whole, and gives every stem its level and its offset back.

    Mean and deviation are those of the mean of all channels. That the offset of the mix returns in
    every stem is how the published Demucs programs do it.
    """

    _FLOOR = 1e-8
    _LENGTH = 1 << 18

    def __init__(self, separator: "Separator", plan: ChunkPlan) -> None:
        """Start before the first sample."""
        self.first = ChunkPlan(self._LENGTH, self._LENGTH, fit=(1, 1))
        self.second = plan
        self._separator = separator
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def look(self, chunk: Tensor, index: int, samples: int | None) -> tuple[int, float, float]:
        """Return the number of samples, their mean and the sum of their squared deviations."""
        del index, samples
        mono = chunk.to("cpu", torch.float64).mean(dim=0)  # not every device has this type
        mean = mono.mean()
        return mono.shape[-1], float(mean), float((mono - mean).square().sum())

    def take(self, seen: tuple[int, float, float]) -> None:
        """Join what is known with one more chunk (Chan, Golub and LeVeque, 1983)."""
        count, mean, squares = seen
        total = self._count + count
        apart = mean - self._mean
        self._mean += apart * count / total
        self._squares += squares + apart**2 * self._count * count / total
        self._count = total

    @property
    def deviation(self) -> float:
        """Standard deviation of the mix, and a little more, so that silence has one."""
        return math.sqrt(self._squares / max(self._count - 1, 1)) + self._FLOOR

    def prepare(self, block: Tensor) -> Tensor:
        """Bring a block to mean 0 and deviation 1."""
        return (block - self._mean) / self.deviation

    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        """Run the model."""
        del indices
        return self._separator.separate_chunks(chunks)

    def restore(self, stems: Tensor) -> Tensor:
        """Give stems the level and the offset of the mix."""
        return stems * self.deviation + self._mean


class WrappedSurvey(Survey):
    """Another survey; subclasses change what goes into it or comes out of it."""

    def __init__(self, survey: Survey) -> None:
        """Wrap ``survey``."""
        self.inner = survey
        self.first, self.second = survey.first, survey.second

    def look(self, chunk: Tensor, index: int, samples: int | None) -> Any:
        """Look as the other survey does."""
        return self.inner.look(chunk, index, samples)

    def take(self, seen: Any) -> None:
        """Tell the other survey."""
        self.inner.take(seen)

    def finish(self, samples: int, run: Run = map) -> None:
        """End the first pass of the other survey."""
        self.inner.finish(samples, run)

    def prepare(self, block: Tensor) -> Tensor:
        """Prepare as the other survey does."""
        return self.inner.prepare(block)

    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        """Separate as the other survey does."""
        return self.inner.separate(chunks, indices)

    def restore(self, stems: Tensor) -> Tensor:
        """Restore as the other survey does."""
        return self.inner.restore(stems)


class SelectedSurvey(WrappedSurvey):
    """Another survey, of whose stems only some are kept."""

    def __init__(self, survey: Survey, indices: Sequence[int]) -> None:
        """Keep the stems at ``indices`` of ``survey``."""
        super().__init__(survey)
        self._indices = list(indices)

    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        """Return the stems that were asked for."""
        return self.inner.separate(chunks, indices)[:, self._indices]


def listen(survey: Survey, blocks: Iterable[Tensor], run: Run = map) -> None:
    """Take a survey through its first pass.

    Args:
        survey: A fresh one.
        blocks: The mix, each ``(channels, samples)``, any number of samples.
        run: See :data:`Run`.
    """
    chunker = Chunker(survey.first)

    def chunks() -> Iterator[tuple[Tensor, int, int | None]]:
        for block in blocks:
            for index, chunk in chunker.push(block):
                yield chunk, index, None
        for index, chunk in chunker.finish():
            yield chunk, index, chunker.received

    for seen in run(lambda item: survey.look(*item), chunks()):
        survey.take(seen)
    survey.finish(chunker.received, run)
