"""The audio of one stem, be it one file or several."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from sonograd.data.audio import AudioFile
from sonograd.data.layouts import StemFile
from sonograd.errors import AudioError

__all__ = ["StemAudio"]


class StemAudio:
    """One open stem: a stream of a file, or the sum of several files; use it like a file.

    Files of one channel are added to all channels of the others; the longest file gives the
    length.
    """

    def __init__(self, stem: StemFile) -> None:
        """Open all files.

        Raises:
            AudioError: If one cannot be read, or they do not fit together.
        """
        self.stem = stem
        self._files = [AudioFile(stem.path, stream=stem.stream)]
        try:
            self._files += [AudioFile(path) for path in stem.added]
            self.sample_rate = self._files[0].sample_rate
            self.channels = max(file.channels for file in self._files)
            self.samples = max(file.samples for file in self._files)
            for file in self._files:
                if file.sample_rate != self.sample_rate or file.channels not in (1, self.channels):
                    raise AudioError(
                        f"{file.path}: has {file.sample_rate} Hz and {file.channels} channels, "
                        f"{stem.path} {self.sample_rate} Hz and {self._files[0].channels}; files "
                        "of one stem must agree."
                    )
        except AudioError:
            self.close()
            raise

    def read(self, start: int = 0, samples: int | None = None) -> Tensor:
        """Read a range, see :meth:`~sonograd.data.AudioFile.read`."""
        if len(self._files) == 1:
            return self._files[0].read(start, samples)
        rest = max(0, self.samples - start)
        result = torch.zeros(self.channels, rest if samples is None else min(samples, rest))
        for file in self._files:
            part = file.read(start, samples)
            result[:, : part.shape[-1]] += part
        return result

    def blocks(self, samples: int = 1 << 18, *, stop: int | None = None) -> Iterator[Tensor]:
        """Read it block by block, see :meth:`~sonograd.data.AudioFile.blocks`."""
        end = self.samples if stop is None else min(stop, self.samples)
        for position in range(0, end, samples):
            yield self.read(position, min(samples, end - position))

    def close(self) -> None:
        """Release all files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        """Return the stem itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all files."""
        self.close()
