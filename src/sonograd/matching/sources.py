"""Audio in memory or in a file, read in windows that may reach over its ends."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from torch import Tensor
from torch.nn.functional import pad

from sonograd.data import AudioFile, check_finite, resample_audio
from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.shapes import check_audio

__all__ = ["Audio", "Pair", "Source", "Survey", "open_pair"]

Audio: TypeAlias = Tensor | AudioFile | str | os.PathLike[str]
"""``(channels, samples)``, an open file, or a path."""

Survey: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Starts, levels and movements of blocks, see :func:`sonograd.matching.excerpts.survey`."""

_REACH = 4096  # samples around a window that resampling looks at


class Source:
    """Audio of a sample rate, read in windows.

    Attributes:
        name: What to call it in messages.
        sample_rate: Of what :meth:`read` returns, in Hz.
        channels: Channels.
        samples: Length at that rate.
        survey: What was heard all over it, where somebody listened.
    """

    def __init__(
        self,
        audio: Audio,
        name: str,
        sample_rate: int | None = None,
        *,
        to_rate: int | None = None,
    ) -> None:
        """Open.

        Args:
            audio: ``(channels, samples)``, an open file, or a path.
            name: ``"dry"`` or ``"wet"``.
            sample_rate: Of a tensor, in Hz.
            to_rate: Rate to read at; that of the audio if None.
        """
        if isinstance(audio, (str, os.PathLike)):
            audio = AudioFile(Path(audio))
        self._audio = audio
        self.survey: Survey | None = None
        self.name = str(audio.path) if isinstance(audio, AudioFile) else name
        if isinstance(audio, AudioFile):
            self._rate, self.channels, samples = audio.sample_rate, audio.channels, audio.samples
        else:
            self._rate, self.channels, samples = _check(audio, name, sample_rate)
        self.sample_rate = to_rate or self._rate
        common = math.gcd(self._rate, self.sample_rate)
        self._up, self._down = self.sample_rate // common, self._rate // common
        self.samples = samples * self._up // self._down
        if not self.samples:
            raise AudioError(f"{self.name} is empty; expected audio of at least 50 ms.")

    @property
    def resampled(self) -> bool:
        """Whether it is read at another rate than its own."""
        return self._rate != self.sample_rate

    @property
    def own_rate(self) -> int:
        """Rate of the audio itself, in Hz."""
        return self._rate

    @property
    def codec(self) -> str:
        """How samples are coded; empty for tensors."""
        return self._audio.info.codec if isinstance(self._audio, AudioFile) else ""

    def read(self, start: int, samples: int) -> Tensor:
        """Read a window, float64, ``(channels, samples)``; silence beyond the ends."""
        if not self.resampled:
            x = self._own(start, samples)
        else:
            # Windows begin where both grids meet, so that every window sees the same samples.
            first = (start - _REACH) // self._up
            last = -(-(start + samples + _REACH) // self._up)
            own = self._own(first * self._down, (last - first) * self._down)
            whole = resample_audio(own.float(), self._rate, self.sample_rate)
            begin = start - first * self._up
            x = whole[:, begin : begin + samples].double()
        return check_finite(x, start=start, sample_rate=self.sample_rate, name=self.name)

    def _own(self, start: int, samples: int) -> Tensor:
        """Read at the own rate."""
        begin, end = max(start, 0), max(start + samples, 0)
        if isinstance(self._audio, AudioFile):
            x = self._audio.read(begin, end - begin).double()
        else:
            x = self._audio[:, begin:end].double()
        before = min(begin - start, samples)
        return pad(x, (before, samples - before - x.shape[-1]))


def _check(audio: Tensor, name: str, sample_rate: int | None) -> tuple[int, int, int]:
    if not isinstance(audio, Tensor):
        raise ShapeError(
            f"{name} is a {type(audio).__name__}; expected a tensor (channels, samples), "
            "an AudioFile or a path"
        )
    check_audio(audio, name=name)
    if audio.ndim != 2:
        raise ShapeError(
            f"{name} has shape {tuple(audio.shape)}; expected (channels, samples). "
            "For many pairs use match_batch."
        )
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or sample_rate < 1:
        raise ParameterError(f"sample_rate is {sample_rate!r}; expected a whole number of Hz")
    return sample_rate, audio.shape[0], audio.shape[1]


@dataclass
class Pair:
    """The two recordings, and what has to be said about them."""

    dry: Source
    wet: Source
    notes: list[str]
    variants: list[tuple[str, float]] = field(default_factory=list)


def open_pair(dry: Audio, wet: Audio, sample_rate: int | None, wet_sample_rate: int | None) -> Pair:
    """Open both recordings at the rate of the dry one."""
    notes: list[str] = []
    first = Source(dry, "dry", sample_rate)
    second = Source(wet, "wet", wet_sample_rate or sample_rate, to_rate=first.sample_rate)
    if second.resampled:
        notes.append(
            f"wet was resampled from {second.own_rate} to {first.sample_rate} Hz, the rate of dry."
        )
    if first.channels != second.channels:
        if 1 not in {first.channels, second.channels}:
            raise AudioError(
                f"{first.name} has {first.channels} channels and {second.name} "
                f"{second.channels}; expected the same number, or one of them mono."
            )
        mono = first if first.channels == 1 else second
        notes.append(
            f"{mono.name} is mono: dry was "
            f"{'copied to both channels' if mono is first else 'mixed to mono'}."
        )
    if first.samples != second.samples:
        notes.append(
            f"The lengths differ ({first.samples} and {second.samples} samples); "
            "the overlap was used."
        )
    if min(first.samples, second.samples) < first.sample_rate:
        notes.append("The recording is shorter than 1 s, which shows slow settings badly.")
    return Pair(first, second, notes)
