"""Separators without weights: each rests on one observation about music, and always works.

They take any sample rate and are exact in one respect: their stems sum to the mix.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.functional.masking import center_mask, harmonic_percussive_masks, repetition_mask
from sonograd.functional.spectral import istft, stft
from sonograd.functional.windows import hann, sine
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.shapes import check_batch

__all__ = ["CenterExtraction", "HarmonicPercussive", "RepetitionExtraction"]


class _SpectralSeparator(Separator):
    """Find one stem by a mask on the spectrum of the mix; the other one is the rest.

    The signal is framed as if silence surrounded it and chunks start on the grid of frames, so
    that a chunk with enough context gives what the whole signal gives.
    """

    def __init__(
        self, *, sample_rate: int, channels: int, n_fft: int, hop_length: int, reach: int
    ) -> None:
        """Set up the transform; ``reach`` is how many frames a mask looks to either side."""
        super().__init__()
        if sample_rate < 1 or channels < 1:
            raise ParameterError(
                f"sample_rate is {sample_rate} and channels {channels}; expected at least 1 each"
            )
        self.sample_rate = sample_rate
        self.channels = channels
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.reach = reach

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        # One item at a time: memory stays bounded, and items cannot influence each other.
        first = [self._first_stem(item) for item in mix]
        stem = torch.stack(first) if first else mix
        return torch.stack((stem, mix - stem), dim=1)

    def _window(self, like: Tensor) -> Tensor:
        """Return a window whose overlapping squares sum to a constant."""
        if 2 * self.hop_length == self.n_fft:
            return sine(self.n_fft, periodic=False, dtype=like.dtype, device=like.device)
        return hann(self.n_fft, dtype=like.dtype, device=like.device)

    @abstractmethod
    def _masked(self, spectrum: Tensor) -> Tensor:
        """Return the spectrum of the first stem, for that of the mix, (channels, bins, frames)."""

    def _first_stem(self, mix: Tensor) -> Tensor:
        samples = mix.shape[-1]
        framing = {"n_fft": self.n_fft, "hop_length": self.hop_length}
        window = self._window(mix)
        # Frames that reach into the signal from outside belong to it, and so do the silent ones
        # that masks look at.
        before = (math.ceil(self.n_fft / self.hop_length) + self.reach) * self.hop_length
        padded = nnf.pad(mix, (before, before))
        spectrum = stft(
            padded, window=window, center=False, pad_end=True, pad_mode="constant", **framing
        )
        masked = self._masked(spectrum)
        stem = istft(masked, window=window, center=False, length=before + samples, **framing)
        return stem[..., before:]


class HarmonicPercussive(_SpectralSeparator):
    """Tell tones from hits, see :func:`~sonograd.functional.harmonic_percussive_masks`.

    >>> HarmonicPercussive(sample_rate=8000, channels=1)(torch.zeros(2, 1, 500)).shape
    torch.Size([2, 2, 1, 500])
    """

    stems = ("harmonic", "percussive")

    def __init__(
        self,
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        time_length: int = 17,
        frequency_length: int = 17,
        power: float = 2.0,
    ) -> None:
        """Choose frames of about 93 ms, a quarter apart, as the paper has them.

        Args:
            sample_rate: Rate of the audio, in Hz.
            channels: Audio channels; each is masked by itself.
            time_length: Frames under the median along time, odd.
            frequency_length: Bins under the median along frequency, odd.
            power: Exponent of the soft masks; 2 is a Wiener filter.
        """
        n_fft = _power_of_two(4096 / 44100 * sample_rate)
        super().__init__(
            sample_rate=sample_rate,
            channels=channels,
            n_fft=n_fft,
            hop_length=n_fft // 4,
            reach=time_length // 2,
        )
        for name, length in (("time_length", time_length), ("frequency_length", frequency_length)):
            if length < 1 or length % 2 == 0:
                raise ParameterError(f"{name} is {length}; expected an odd number, at least 1")
        _check_power(power)
        self.time_length = time_length
        self.frequency_length = frequency_length
        self.power = power
        context = n_fft + self.reach * self.hop_length
        self.plan = _grid_plan(10, sample_rate, self.hop_length, context)

    def _masked(self, spectrum: Tensor) -> Tensor:
        harmonic, _ = harmonic_percussive_masks(
            spectrum.abs(),
            time_length=self.time_length,
            frequency_length=self.frequency_length,
            power=self.power,
        )
        return spectrum * harmonic


class CenterExtraction(_SpectralSeparator):
    """Take out what is panned to the center, see :func:`~sonograd.functional.center_mask`.

    Voices, bass and bass drum usually sit there. A mono mix is all center. For more than two
    channels, separate pairs of channels.

    >>> CenterExtraction(sample_rate=8000)(torch.ones(1, 2, 500))[0, 0, :, 250].round(decimals=4)
    tensor([1., 1.])
    """

    stems = ("center", "sides")

    def __init__(
        self,
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        power: float = 1.0,
        low_hz: float = 0.0,
        high_hz: float | None = None,
    ) -> None:
        """Choose frames of about 93 ms, a quarter apart.

        Args:
            sample_rate: Rate of the audio, in Hz.
            channels: 1 or 2.
            power: Exponent of the mask.
            low_hz: What lies below goes to the sides.
            high_hz: What lies above goes to the sides; None for no limit.
        """
        if channels not in {1, 2}:
            raise ParameterError(
                f"channels is {channels}; a center is found between two channels. "
                "Separate pairs of channels, for instance front left and right."
            )
        limit = sample_rate / 2 if high_hz is None else high_hz
        if not 0 <= low_hz <= limit:
            raise ParameterError(
                f"low_hz is {low_hz} and high_hz {limit}; expected 0 <= low_hz <= high_hz"
            )
        _check_power(power)
        n_fft = _power_of_two(4096 / 44100 * sample_rate)
        super().__init__(
            sample_rate=sample_rate, channels=channels, n_fft=n_fft, hop_length=n_fft // 4, reach=0
        )
        self.power = power
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.plan = _grid_plan(10, sample_rate, self.hop_length, n_fft)

    def _masked(self, spectrum: Tensor) -> Tensor:
        left, right = spectrum[0], spectrum[-1]
        center = center_mask(left, right, power=self.power) * (left + right) / 2
        step = self.sample_rate / self.n_fft
        frequency = torch.arange(spectrum.shape[-2], device=spectrum.device) * step
        inside = frequency >= self.low_hz
        if self.high_hz is not None:
            inside &= frequency <= self.high_hz
        return (center * inside.unsqueeze(-1)).expand_as(spectrum)


class RepetitionExtraction(_SpectralSeparator):
    """Tell what stands out from what repeats, see :func:`~sonograd.functional.repetition_mask`.

    The foreground is often the voice, the background the accompaniment. Repetitions are looked
    for within 30 seconds.

    >>> RepetitionExtraction(sample_rate=8000, channels=1).stems
    ('foreground', 'background')
    """

    stems = ("foreground", "background")

    def __init__(
        self,
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        min_distance_s: float = 1.0,
        max_similar: int = 15,
        min_similarity: float = 0.0,
        cutoff_hz: float = 100.0,
    ) -> None:
        """Choose frames of about 46 ms, half apart.

        Args:
            sample_rate: Rate of the audio, in Hz.
            channels: Audio channels; they share what is similar, and are masked one by one.
            min_distance_s: Seconds between frames that are compared with each other.
            max_similar: Similar frames to take at most.
            min_similarity: Cosine that a frame must exceed to be called similar.
            cutoff_hz: What lies below is background: voices have nothing there.
        """
        n_fft = _power_of_two(2048 / 44100 * sample_rate)
        super().__init__(
            sample_rate=sample_rate, channels=channels, n_fft=n_fft, hop_length=n_fft // 2, reach=0
        )
        if not min_distance_s > 0 or max_similar < 1:
            raise ParameterError(
                f"min_distance_s is {min_distance_s} and max_similar {max_similar}; "
                "expected more than 0 and at least 1"
            )
        self.min_distance = max(1, round(min_distance_s * sample_rate / self.hop_length))
        self.max_similar = max_similar
        self.min_similarity = min_similarity
        self.cutoff_hz = cutoff_hz
        # Half a chunk overlaps, so that the last chunk has enough to compare with.
        self.plan = _grid_plan(30, sample_rate, self.hop_length, n_fft, overlap=0.5)

    def _masked(self, spectrum: Tensor) -> Tensor:
        background = repetition_mask(
            spectrum.abs(),
            min_distance=self.min_distance,
            max_similar=self.max_similar,
            min_similarity=self.min_similarity,
        )
        foreground = 1 - background
        foreground[:, : math.ceil(self.cutoff_hz * self.n_fft / self.sample_rate)] = 0
        return spectrum * foreground


def _grid_plan(
    seconds: float, sample_rate: int, hop_length: int, context: int, *, overlap: float = 0.0
) -> ChunkPlan:
    """Return a plan of about ``seconds`` whose chunks start on the grid of frames."""
    frames = max(2, round(seconds * sample_rate / hop_length))
    length = frames * hop_length
    context = math.ceil(context / hop_length) * hop_length
    hop = length - int(overlap * frames) * hop_length
    return ChunkPlan(length, hop, context, grid=hop_length)


def _check_power(power: float) -> None:
    if not power > 0:
        raise ParameterError(f"power is {power}; expected a number > 0")


def _power_of_two(samples: float) -> int:
    """Return the power of two nearest to ``samples`` on a logarithmic scale, at least 16."""
    return 1 << max(4, round(math.log2(max(samples, 1))))
