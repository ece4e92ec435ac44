"""Compare songs by numbers: spectrum, dynamics, silence, width, onsets and pitch of every stem."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from sonograd.errors import ParameterError
from sonograd.functional import hann, track_pitch
from sonograd.shapes import check_audio

__all__ = ["BANDS_HZ", "StemStatistics", "average_statistics", "stem_statistics"]

BANDS_HZ = (0.0, 60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)
"""Lower edges of the bands; the last one is open."""


@dataclass(frozen=True, slots=True)
class StemStatistics:
    """What a stem looks like in the long run.

    Attributes:
        bands_db: Level of each band of :data:`BANDS_HZ`, relative to the whole, in dB.
        level_db: RMS where it plays, in dB below full scale.
        crest_db: Peak over RMS where it plays.
        silence: Share of the tenths of a second that lie 40 dB or more below the loudest.
        width_db: Level of the side over that of the mid signal; -100 for mono.
        onsets_hz: Onsets per second: moments at which the bands rise by 3 dB or more on average
            within 20 ms, at least 50 ms apart.
        periodicity: How periodic it is where it plays, the median of
            :func:`~sonograd.functional.track_pitch` on the mid signal: 1 for a perfect tone.
        pitch_hz: The 10, 50 and 90 percent quantiles of its pitch where the periodicity exceeds
            0.8; NaN where there is none.
    """

    bands_db: tuple[float, ...]
    level_db: float
    crest_db: float
    silence: float
    width_db: float
    onsets_hz: float
    periodicity: float
    pitch_hz: tuple[float, float, float]


_NO_PITCH = (math.nan, math.nan, math.nan)


def _decibels(ratio: float) -> float:
    return 10.0 * float(torch.log10(torch.tensor(max(ratio, 1e-10), dtype=torch.float64)))


def stem_statistics(x: Tensor, *, sample_rate: float) -> StemStatistics:
    """Measure one stem.

    Args:
        x: Stereo audio ``(2, samples)``.
        sample_rate: In Hz.

    Returns:
        Its statistics; a silent stem has ``silence`` 1 and levels of -100 dB.

    Raises:
        ShapeError: If ``x`` is not stereo audio.
    """
    check_audio(x, channels=2)
    x = x.double()
    block = max(round(sample_rate / 10), 1)
    power = pad(x.square().mean(0), (0, -x.shape[-1] % block))
    power = power.reshape(-1, block).mean(1)
    loudest = float(power.max())
    if loudest < 1e-12:
        return StemStatistics(
            (-100.0,) * len(BANDS_HZ), -100.0, 0.0, 1.0, -100.0, 0.0, 0.0, _NO_PITCH
        )
    active = power > 1e-4 * loudest
    level = float(power[active].mean())
    middle, side = (x[0] + x[1]) / 2, (x[0] - x[1]) / 2
    periodicity, pitch = _pitch(middle, active, block, sample_rate)
    return StemStatistics(
        _bands(x, sample_rate),
        _decibels(level),
        _decibels(float(x.abs().max()) ** 2 / level),
        1.0 - float(active.double().mean()),
        _decibels(float(side.square().mean()) / max(float(middle.square().mean()), 1e-12)),
        _onsets(middle, sample_rate),
        periodicity,
        pitch,
    )


def _pitch(
    x: Tensor, active: Tensor, block: int, sample_rate: float
) -> tuple[float, tuple[float, float, float]]:
    """Return the median periodicity and the quantiles of the pitch of what plays."""
    high = min(1200.0, 0.24 * sample_rate)
    track = track_pitch(
        x, sample_rate=sample_rate, low_hz=40.0, high_hz=high, hop_length=block, harmonics=0
    )
    played = active[: len(track.periodicity)]
    periodicity = track.periodicity[: len(played)][played]
    pitched = track.frequency_hz[: len(played)][played][periodicity > 0.8]
    if not len(pitched):
        return float(periodicity.median()), _NO_PITCH
    low, middle, top = torch.quantile(pitched, pitched.new_tensor([0.1, 0.5, 0.9])).tolist()
    return float(periodicity.median()), (low, middle, top)


def _onsets(x: Tensor, sample_rate: float) -> float:
    """Return how many onsets a second has, by the rise of the level in bands."""
    hop = max(round(sample_rate / 100), 1)
    n_fft = 1 << (2 * hop - 1).bit_length()
    x = pad(x, (n_fft // 2, n_fft))
    hz = torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    edges = torch.tensor(BANDS_HZ[2:], dtype=torch.float64)
    member = torch.nn.functional.one_hot(torch.bucketize(hz, edges, right=True), len(edges) + 1)
    window = hann(n_fft, dtype=torch.float64)
    frames = x.unfold(-1, n_fft, hop)
    power = torch.cat(
        [
            torch.fft.rfft(piece * window).abs().square() @ member.double()
            for piece in frames.split(4096)
        ]
    )
    level = 10 * torch.log10(power.clamp_min(1e-6 * float(power.max()) + 1e-30))
    rise = (level[2:] - level[:-2]).clamp_min(0).mean(1)
    top = max_pool1d(rise[None], 11, 1, 5)[0]
    found = (rise == top) & (rise > 3.0)
    return float(found.sum()) * 100 / max(len(frames), 1)


def _bands(x: Tensor, sample_rate: float) -> tuple[float, ...]:
    n_fft = 4096
    x = pad(x, (0, max(n_fft - x.shape[-1], 0)))
    spectrum = torch.zeros(n_fft // 2 + 1, dtype=torch.float64)
    window = hann(n_fft, dtype=torch.float64)
    for piece in x.split(n_fft * 256, -1):  # bounded memory for songs of any length
        if piece.shape[-1] >= n_fft:
            frames = piece.unfold(-1, n_fft, n_fft // 2) * window
            spectrum += torch.fft.rfft(frames).abs().square().sum((0, 1))
    hz = torch.linspace(0.0, sample_rate / 2, len(spectrum), dtype=torch.float64)
    edges = [*BANDS_HZ, float("inf")]
    total = float(spectrum.sum()) or 1.0
    return tuple(
        _decibels(float(spectrum[(hz >= low) & (hz < high)].sum()) / total)
        for low, high in pairwise(edges)
    )


def average_statistics(found: Iterable[StemStatistics]) -> StemStatistics:
    """Average over songs, in dB, pitches by ratio; silent stems count only as silence.

    Raises:
        ParameterError: If there is nothing to average.
    """
    every = list(found)
    if not every:
        raise ParameterError("there are no statistics to average; expected at least one.")
    heard = [s for s in every if s.silence < 1.0] or every

    def mean(values: Iterable[float]) -> float:
        listed = [value for value in values if not math.isnan(value)]
        return sum(listed) / len(listed) if listed else math.nan

    def geometric(index: int) -> float:
        return math.exp(mean(math.log(s.pitch_hz[index]) for s in heard))

    return StemStatistics(
        tuple(mean(s.bands_db[i] for s in heard) for i in range(len(BANDS_HZ))),
        mean(s.level_db for s in heard),
        mean(s.crest_db for s in heard),
        mean(s.silence for s in every),
        mean(s.width_db for s in heard),
        mean(s.onsets_hz for s in heard),
        mean(s.periodicity for s in heard),
        (geometric(0), geometric(1), geometric(2)),
    )
