"""One track for BSS eval, held in memory or opened again and again."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from sonograd.errors import ShapeError
from sonograd.functional._pairs import check_finite, check_pair

__all__ = ["Track", "frames_of"]

_BLOCK = 1 << 17  # samples


class Track:
    """Estimate and reference of one track as float64 ``(2, sources, channels, samples)`` blocks."""

    def __init__(
        self, blocks: Callable[[], Iterable[tuple[Tensor, Tensor]]], *, samples: int | None = None
    ) -> None:
        """Wrap what opens the track.

        Args:
            blocks: Returns a fresh iterator over pairs ``(sources, channels, samples)``.
            samples: The length, where it is known.
        """
        self._blocks = blocks
        self.samples = samples
        self.sources = self.channels = 0
        self.device = torch.device("cpu")

    @classmethod
    def of(cls, estimate: Tensor, reference: Tensor) -> "Track":
        """Take a pair ``(sources, channels, samples)`` that is checked already."""

        def blocks() -> Iterator[tuple[Tensor, Tensor]]:
            for start in range(0, estimate.shape[-1], _BLOCK):
                part = slice(start, start + _BLOCK)
                yield estimate[..., part], reference[..., part]

        track = cls(blocks, samples=estimate.shape[-1])
        track.sources, track.channels = estimate.shape[:2]
        track.device = torch.device("cpu") if estimate.device.type == "mps" else estimate.device
        return track

    def survey(self, see: Callable[[Tensor], None] | None = None) -> None:
        """Read everything once: find the layout, refuse what cannot be scored, show it to ``see``.

        Raises:
            ShapeError: Blocks differ in layout, or there are none.
            AudioError: A sample is NaN or infinite.
        """
        total = 0
        for estimate, reference in self._blocks():
            check_pair(estimate, reference, dims=3)
            if estimate.ndim != 3 or (total and self.layout != tuple(estimate.shape[:2])):
                raise ShapeError(
                    f"a block has shape {tuple(estimate.shape)}; expected (sources, channels, "
                    "samples) with the same sources and channels throughout"
                )
            check_finite(estimate, name="estimate")
            check_finite(reference, name="reference")
            self.sources, self.channels = estimate.shape[:2]
            self.device = estimate.device
            if self.device.type == "mps":
                self.device = torch.device("cpu")
            total += estimate.shape[-1]
            if see is not None:
                see(self._wide(estimate, reference))
        if not total:
            raise ShapeError("the track holds no samples")
        self.samples = total

    @property
    def layout(self) -> tuple[int, int]:
        """Number of sources and of channels."""
        return self.sources, self.channels

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Yield samples from ``start`` to ``stop``, ``(2, sources, channels, any)`` at a time."""
        place = 0
        for estimate, reference in self._blocks():
            size = estimate.shape[-1]
            first = max(start - place, 0)
            last = size if stop is None else min(stop - place, size)
            if first < last:
                yield self._wide(estimate[..., first:last], reference[..., first:last])
            place += size
            if stop is not None and place >= stop:
                return

    def _wide(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Join a pair; the estimate comes second."""
        pair = torch.stack([reference.to(self.device), estimate.to(self.device)])
        return pair.to(torch.float64)


def frames_of(
    blocks: Iterable[Tensor], *, window: int, hop: int, count: int, chunk: int
) -> Iterator[Tensor]:
    """Cut blocks into frames: yield up to ``chunk`` at a time, ``(..., frames, window)``.

    Args:
        blocks: ``(..., any number of samples)``.
        window: Samples of a frame.
        hop: Samples between the starts of frames.
        count: How many frames there are.
        chunk: How many of them at once.
    """
    parts: list[Tensor] = []
    held = skip = done = 0
    for block in blocks:
        if done == count:
            return
        left = block[..., min(skip, block.shape[-1]) :]
        skip -= block.shape[-1] - left.shape[-1]
        parts.append(left)
        held += left.shape[-1]
        wanted = min(chunk, count - done)
        if held < (wanted - 1) * hop + window:
            continue
        buffer = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        while done < count and held >= (min(chunk, count - done) - 1) * hop + window:
            size = min(chunk, count - done)
            yield buffer[..., : (size - 1) * hop + window].unfold(-1, window, hop)
            done += size
            gone = min(size * hop, held)
            skip = size * hop - gone
            buffer, held = buffer[..., gone:], held - gone
        parts = [buffer]
    if done < count:
        buffer = torch.cat(parts, dim=-1)
        while done < count:
            size = min(chunk, count - done)
            yield buffer[..., : (size - 1) * hop + window].unfold(-1, window, hop)
            buffer = buffer[..., size * hop :]
            done += size
