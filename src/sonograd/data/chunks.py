"""Random chunks of songs, the same for the same seed and position."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sonograd.config.dataset import AugmentationConfig
from sonograd.data.augment import (
    change_speed,
    equalizer_curves,
    level_stems,
    narrow_stems,
    random_gains,
    random_speed,
    saturate_stems,
    swap_channels,
)
from sonograd.data.stems import StemSource
from sonograd.errors import DatasetError, ParameterError

__all__ = ["Chunk", "ChunkDataset", "collate_chunks"]

#: Mean square below which a stem does not sound: -50 dB.
_SILENCE = 1e-5


@dataclass(frozen=True)
class Chunk:
    """One training example, or a batch of them.

    Attributes:
        stems: ``(..., stems, channels, samples)``.
        equalizer: Magnitude response that is still to be applied to each stem, on evenly spaced
            frequencies from 0 to half the sample rate, ``(..., stems, bins)``.
        names: Song and second of every stem, for messages.
    """

    stems: Tensor
    equalizer: Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Chunk":
        """Return the same on another device."""
        return Chunk(
            self.stems.to(device, non_blocking=non_blocking),
            self.equalizer.to(device, non_blocking=non_blocking),
            self.names,
        )

    def pin_memory(self) -> "Chunk":
        """Return the same in page-locked memory."""
        return Chunk(self.stems.pin_memory(), self.equalizer.pin_memory(), self.names)


def collate_chunks(chunks: list[Chunk]) -> Chunk:
    """Stack examples to a batch."""
    return Chunk(
        torch.stack([chunk.stems for chunk in chunks]),
        torch.stack([chunk.equalizer for chunk in chunks]),
        tuple(" + ".join(chunk.names) for chunk in chunks),
    )


class ChunkDataset(Dataset[Chunk]):
    """Random chunks of songs; chunk ``index`` is always the same for the same seed.

    Nothing is remembered between chunks, so that any number of workers and any order give the
    same training.
    """

    def __init__(
        self,
        source: StemSource,
        samples: int,
        *,
        config: AugmentationConfig | None = None,
        equalizer_bins: int = 1025,
        seed: int = 0,
    ) -> None:
        """Choose what chunks are drawn from.

        Args:
            source: The songs.
            samples: Length of a chunk.
            config: How chunks differ from songs; the defaults if None.
            equalizer_bins: Frequencies at which the equalizer is given.
            seed: Of everything that is random.

        Raises:
            DatasetError: If no song has a sample.
        """
        if samples < 1 or equalizer_bins < 2:
            raise ParameterError(
                f"samples is {samples} and equalizer_bins {equalizer_bins}; "
                "expected at least 1 and 2"
            )
        if source.samples < 1:
            raise DatasetError("the data set has no song with any samples")
        self.source = source
        self.samples = samples
        self.config = AugmentationConfig() if config is None else config
        self.equalizer_bins = equalizer_bins
        self.seed = seed

    def __getitem__(self, index: int) -> Chunk:
        """Return chunk ``index``, any number from 0 on."""
        generator = np.random.default_rng((self.seed, index))
        config, source = self.config, self.source
        count = len(source.stems)
        if generator.random() < config.remix_p:
            parts = [self._draw(index, [stem], generator) for stem in range(count)]
        else:
            parts = [self._draw(index, list(range(count)), generator)]
        stems = np.concatenate([part for part, _ in parts])
        names = [name for _, name in parts]
        if config.drive_p > 0:
            stems = saturate_stems(stems, generator, probability=config.drive_p)
        if config.narrow_p > 0:
            stems = narrow_stems(stems, generator, probability=config.narrow_p)
        if config.level_db is not None:
            stems = level_stems(stems, config.level_db, sample_rate=source.sample_rate)
        stems = random_gains(stems, generator, gain_db=config.gain_db, drop_p=config.drop_p)
        stems = swap_channels(stems, generator, probability=config.swap_p)
        curves = equalizer_curves(
            source.stems,
            self.equalizer_bins,
            generator,
            sample_rate=source.sample_rate,
            equalizer_db=config.equalizer_db,
            low_pass_p=config.low_pass_p,
        )
        return Chunk(
            torch.from_numpy(np.ascontiguousarray(stems)), torch.from_numpy(curves), tuple(names)
        )

    def _draw(
        self, index: int, stems: list[int], generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], str]:
        """Read ``stems`` of one song from one place, the one of several where most of them sound.

        Returns:
            ``(stems, channels, samples)``, and where it is from.
        """
        best, sounding, name = None, -1, ""
        for _ in range(self.config.redraws + 1):
            song, start, speed = self._place(index, generator)
            needed = int(self.samples * speed) + 1
            parts = np.stack([self.source.read(song, stem, start, needed) for stem in stems])
            count = int((np.square(parts).mean(axis=(1, 2)) > _SILENCE).sum())
            if count > sounding:
                best, sounding = change_speed(parts, speed, self.samples), count
                name = f"{self.source.name(song)} ({start / self.source.sample_rate:.1f} s)"
            if count == len(stems):
                break
        assert best is not None  # the first draw has at least 0 stems that sound
        return best, name

    def _place(self, index: int, generator: np.random.Generator) -> tuple[int, int, float]:
        """Draw a song, a position in it, and a speed."""
        song = self.source.draw(index, generator)
        speed = random_speed(self.config.speed_octaves, self.config.speed_p, generator)
        room = max(self.source.length(song) - int(self.samples * speed) - 1, 0)
        return song, int(generator.integers(room + 1)), speed
