"""Random chunks of songs, the same for the same seed and position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from sonograd.config.dataset import AugmentationConfig
from sonograd.data.augment import (
    equalizer_curves,
    level_stems,
    narrow_stems,
    random_gains,
    random_speed,
    saturate_stems,
    swap_channels,
)
from sonograd.data.damage import (
    add_noise,
    code_stems,
    compress_stems,
    invert_stems,
    reverberate_stems,
)
from sonograd.data.stems import StemSource
from sonograd.data.stretch import (
    ENVELOPE_HZ,
    align_onsets,
    change_tempo,
    estimate_tempo,
    fold_tempo,
    onset_envelope,
    warp_stems,
)
from sonograd.errors import DatasetError, ParameterError, SonogradError

__all__ = ["Chunk", "ChunkDataset", "collate_chunks"]

#: Mean square below which a stem does not sound: -50 dB.
_SILENCE = 1e-5
#: Draws after which a data set counts as unreadable.
_TRIES = 20
#: Songs whose tempo is farther away are not stretched to each other.
_TEMPO_OCTAVES = 0.25

Stems: TypeAlias = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Chunk:
    """One training example, or a batch of them.

    Attributes:
        stems: ``(..., stems, channels, samples)``.
        equalizer: Magnitude response that is still to be applied to each stem, on evenly spaced
            frequencies from 0 to half the sample rate, ``(..., stems, bins)``.
        names: Song and second of every stem, for messages.
        problems: Songs that could not be read, with the reasons; others were drawn instead.
    """

    stems: Tensor
    equalizer: Tensor
    names: tuple[str, ...]
    problems: tuple[tuple[str, str], ...] = ()

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Chunk":
        """Return the same on another device."""
        return Chunk(
            self.stems.to(device, non_blocking=non_blocking),
            self.equalizer.to(device, non_blocking=non_blocking),
            self.names,
            self.problems,
        )

    def pin_memory(self) -> "Chunk":
        """Return the same in page-locked memory."""
        stems, equalizer = self.stems.pin_memory(), self.equalizer.pin_memory()
        return Chunk(stems, equalizer, self.names, self.problems)


def collate_chunks(chunks: list[Chunk]) -> Chunk:
    """Stack examples to a batch; in a worker, in memory that the main process shares."""
    return Chunk(
        _stack([chunk.stems for chunk in chunks]),
        _stack([chunk.equalizer for chunk in chunks]),
        tuple(" + ".join(chunk.names) for chunk in chunks),
        tuple(dict(problem for chunk in chunks for problem in chunk.problems).items()),
    )


def _stack(parts: list[Tensor]) -> Tensor:
    if get_worker_info() is None:
        return torch.stack(parts)
    # What is stacked elsewhere would be copied there once more, on its way to the main process.
    first = parts[0]
    size = len(parts) * first.numel()
    storage = first.untyped_storage()._new_shared(size * first.element_size())
    flat = torch.empty(0, dtype=first.dtype).set_(storage, 0, (size,), (1,))
    return torch.stack(parts, out=flat.view(len(parts), *first.shape))


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
        self._tempi: dict[int, float | None] = {}

    def __getitem__(self, index: int) -> Chunk:
        """Return chunk ``index``, any number from 0 on.

        Raises:
            DatasetError: If hardly any song can be read.
        """
        generator = np.random.default_rng((self.seed, index))
        config, source = self.config, self.source
        count = len(source.stems)
        problems: dict[str, str] = {}
        draw = _Draw(self, index, generator, problems)
        if generator.random() >= config.remix_p:
            parts = [draw.together(range(count))]
        elif config.remix_tempo:
            parts = draw.in_tempo(count)
        else:
            parts = [draw.together([stem]) for stem in range(count)]
        stems = self._change(np.concatenate([part.stems for part in parts]), generator)
        curves = equalizer_curves(
            source.stems,
            self.equalizer_bins,
            generator,
            sample_rate=source.sample_rate,
            equalizer_db=config.equalizer_db,
            low_pass_p=config.low_pass_p,
        )
        names = tuple(part.name for part in parts)
        return Chunk(
            torch.from_numpy(np.ascontiguousarray(stems)),
            torch.from_numpy(curves),
            names,
            tuple(problems.items()),
        )

    def _change(self, stems: Stems, generator: np.random.Generator) -> Stems:
        """Apply what the configuration asks for, in the order of a studio; may change ``stems``."""
        config, rate = self.config, self.source.sample_rate
        if config.drive_p > 0:
            stems = saturate_stems(stems, generator, probability=config.drive_p)
        if config.compress_p > 0:
            p = config.compress_p
            stems = compress_stems(stems, generator, probability=p, sample_rate=rate)
        if config.narrow_p > 0:
            stems = narrow_stems(stems, generator, probability=config.narrow_p)
        if config.reverb_p > 0:
            p = config.reverb_p
            stems = reverberate_stems(stems, generator, probability=p, sample_rate=rate)
        if config.noise_p > 0:
            level = config.noise_db
            stems = add_noise(stems, generator, probability=config.noise_p, level_db=level)
        if config.codec_p > 0:
            stems = code_stems(stems, generator, probability=config.codec_p, sample_rate=rate)
        if config.level_db is not None:
            stems = level_stems(stems, config.level_db, sample_rate=rate)
        gain_db, drop_p = config.gain_db, config.drop_p
        stems = random_gains(stems, generator, gain_db=gain_db, drop_p=drop_p, out=stems)
        if config.invert_p > 0:
            stems = invert_stems(stems, generator, probability=config.invert_p)
        return swap_channels(stems, generator, probability=config.swap_p, out=stems)

    def tempo(self, song: int) -> float | None:
        """Estimate the tempo of a song from half a minute in its middle, once."""
        if song not in self._tempi:
            source = self.source
            samples = min(source.length(song), 30 * source.sample_rate)
            start = (source.length(song) - samples) // 2
            mix = sum(source.read(song, stem, start, samples) for stem in range(len(source.stems)))
            envelope = onset_envelope(np.asarray(mix), sample_rate=source.sample_rate)
            self._tempi[song] = estimate_tempo(envelope)
        return self._tempi[song]


@dataclass(frozen=True)
class _Part:
    """Stems that were drawn together: ``(stems, channels, samples)``, and where they are from."""

    stems: Stems
    name: str
    sounding: int
    beats_per_minute: float | None = None


@dataclass(frozen=True)
class _Draw:
    """What is drawn for one chunk."""

    data: ChunkDataset
    index: int
    generator: np.random.Generator
    problems: dict[str, str]

    def together(self, stems: Sequence[int]) -> _Part:
        """Read ``stems`` of one song from one place, the one of several where most sound."""
        best: _Part | None = None
        for _ in range(self.data.config.redraws + 1):
            part = self._readable(lambda: self._anywhere(stems))
            if best is None or part.sounding > best.sounding:
                best = part
            if part.sounding == len(stems):
                break
        assert best is not None
        return best

    def in_tempo(self, count: int) -> list[_Part]:
        """Read each stem from a song of its own, in the tempo and on the beats of the first."""
        first = self.together([0])
        beat = first.beats_per_minute
        if beat is None:
            return [first, *(self.together([stem]) for stem in range(1, count))]
        rate = self.data.source.sample_rate
        guide = onset_envelope(first.stems[0], sample_rate=rate)
        parts = [first]
        for stem in range(1, count):
            best: _Part | None = None
            for _ in range(self.data.config.redraws + 4):
                part = self._readable(lambda stem=stem: self._at_tempo(stem, beat, guide))  # type: ignore[misc]
                if part is not None and (best is None or part.sounding > best.sounding):
                    best = part
                if best is not None and best.sounding:
                    break
            parts.append(best or self.together([stem]))
        return parts

    def _readable(self, read: Callable[[], T]) -> T:
        """Draw again if a file cannot be read, and remember why."""
        for _ in range(_TRIES):
            try:
                return read()
            except _Unreadable as error:
                self.problems[error.song] = error.reason
        reasons = "; ".join(list(self.problems.values())[:3])
        raise DatasetError(f"hardly any song can be read: {reasons}")

    def _read(self, song: int, stems: Sequence[int], start: int, samples: int) -> Stems:
        source = self.data.source
        try:
            parts = [source.read(song, stem, start, samples) for stem in stems]
        except (SonogradError, OSError) as error:
            raise _Unreadable(source.name(song), str(error)) from None
        return parts[0][None] if len(parts) == 1 else np.stack(parts)

    def _anywhere(self, stems: Sequence[int]) -> _Part:
        config, source, samples = self.data.config, self.data.source, self.data.samples
        song = source.draw(self.index, self.generator)
        speed = random_speed(config.speed_octaves, config.speed_p, self.generator)
        pitch = tempo = speed
        if config.stretch_p > 0 and self.generator.random() < config.stretch_p:
            change = 2 ** self.generator.uniform(-config.stretch_octaves, config.stretch_octaves, 2)
            pitch, tempo = speed * float(change[0]), speed * float(change[1])
        needed = int(samples * tempo) + (1 if pitch == tempo else 2)
        room = max(source.length(song) - needed, 0)
        start = int(self.generator.integers(room + 1))
        audio = self._read(song, stems, start, needed)
        beat = None
        if config.remix_tempo and len(stems) == 1:
            beat = self._tempo(song)
        changed = warp_stems(
            audio, samples, pitch=pitch, tempo=tempo, sample_rate=source.sample_rate
        )
        name = f"{source.name(song)} ({start / source.sample_rate:.1f} s)"
        return _Part(changed, name, _sounding(audio), None if beat is None else beat * tempo)

    def _at_tempo(self, stem: int, beat: float, guide: Stems) -> "_Part | None":
        """Read a stem of some song, stretched and moved to fit; None if its tempo is too far."""
        source, samples = self.data.source, self.data.samples
        rate = source.sample_rate
        song = source.draw(self.index, self.generator)
        place = self.generator.random()
        own = self._tempo(song)
        tempo = 1.0 if own is None else fold_tempo(beat / own)
        if abs(np.log2(tempo)) > _TEMPO_OCTAVES:
            return None
        lags = round(60 / beat * ENVELOPE_HZ)
        longer = samples + (lags * rate) // ENVELOPE_HZ + 1
        needed = int(longer * tempo) + 2
        start = int(place * max(source.length(song) - needed, 0))
        audio = self._read(song, [stem], start, needed)
        changed = change_tempo(audio, longer, tempo, sample_rate=rate)
        lag = align_onsets(guide, onset_envelope(changed[0], sample_rate=rate), lags)
        begin = min(lag * (rate // ENVELOPE_HZ), longer - samples)
        fitted = changed[..., begin : begin + samples]
        return _Part(fitted, f"{source.name(song)} ({start / rate:.1f} s)", _sounding(fitted), beat)

    def _tempo(self, song: int) -> float | None:
        try:
            return self.data.tempo(song)
        except (SonogradError, OSError) as error:
            raise _Unreadable(self.data.source.name(song), str(error)) from None


class _Unreadable(Exception):  # noqa: N818 - never leaves this module
    """A song turned out to be damaged while training."""

    def __init__(self, song: str, reason: str) -> None:
        super().__init__(reason)
        self.song, self.reason = song, reason


def _sounding(stems: Stems) -> int:
    flat = stems.reshape(len(stems), -1)
    return sum(float(np.dot(row, row)) > _SILENCE * row.size for row in flat)
