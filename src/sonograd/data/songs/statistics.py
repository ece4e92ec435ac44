"""Compare songs by numbers: spectrum, dynamics, silence and width of every stem."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional import hann
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
    """

    bands_db: tuple[float, ...]
    level_db: float
    crest_db: float
    silence: float
    width_db: float


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
    power = torch.nn.functional.pad(x.square().mean(0), (0, -x.shape[-1] % block))
    power = power.reshape(-1, block).mean(1)
    loudest = float(power.max())
    if loudest < 1e-12:
        return StemStatistics((-100.0,) * len(BANDS_HZ), -100.0, 0.0, 1.0, -100.0)
    active = power > 1e-4 * loudest
    level = float(power[active].mean())
    middle, side = (x[0] + x[1]) / 2, (x[0] - x[1]) / 2
    return StemStatistics(
        _bands(x, sample_rate),
        _decibels(level),
        _decibels(float(x.abs().max()) ** 2 / level),
        1.0 - float(active.double().mean()),
        _decibels(float(side.square().mean()) / max(float(middle.square().mean()), 1e-12)),
    )


def _bands(x: Tensor, sample_rate: float) -> tuple[float, ...]:
    n_fft = 4096
    x = torch.nn.functional.pad(x, (0, max(n_fft - x.shape[-1], 0)))
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
    """Average over songs, in dB; silent stems count only as silence.

    Raises:
        ParameterError: If there is nothing to average.
    """
    every = list(found)
    if not every:
        raise ParameterError("there are no statistics to average; expected at least one.")
    heard = [s for s in every if s.silence < 1.0] or every

    def mean(values: Iterable[float]) -> float:
        listed = list(values)
        return sum(listed) / len(listed)

    return StemStatistics(
        tuple(mean(s.bands_db[i] for s in heard) for i in range(len(BANDS_HZ))),
        mean(s.level_db for s in heard),
        mean(s.crest_db for s in heard),
        mean(s.silence for s in every),
        mean(s.width_db for s in heard),
    )
