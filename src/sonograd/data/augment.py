"""Random changes of stems, each a function of ``(stems, generator)``.

Generators are numpy's; the same generator state gives the same result. Stems are float32 arrays
``(stems, channels, samples)``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "change_speed",
    "equalizer_curves",
    "random_gains",
    "random_speed",
    "swap_channels",
]

Stems = NDArray[np.float32]

#: Knots of the random equalizer, as fractions of half the sample rate.
_KNOTS = (0.0, 0.004, 0.012, 0.034, 0.1, 0.24, 0.49, 1.0)


def random_speed(octaves: float, probability: float, generator: np.random.Generator) -> float:
    """Draw a factor within plus or minus ``octaves``, or 1 with ``1 - probability``."""
    if generator.random() >= probability:
        return 1.0
    return float(2.0 ** generator.uniform(-octaves, octaves))


def change_speed(x: Stems, speed: float, samples: int) -> Stems:
    """Play ``(..., samples)`` at another speed, by linear interpolation.

    Args:
        x: At least ``int(samples * speed) + 1`` samples.
        speed: 2 is an octave higher, in half the time.
        samples: Length of the result.
    """
    if speed == 1.0:
        return x[..., :samples]
    position = np.arange(samples) * speed
    below = position.astype(np.int64)
    part = (position - below).astype(np.float32)
    above = np.minimum(below + 1, x.shape[-1] - 1)
    return x[..., below] * (1 - part) + x[..., above] * part


def random_gains(
    stems: Stems, generator: np.random.Generator, *, gain_db: float, drop_p: float
) -> Stems:
    """Scale every stem by a normal number of dB; silence some, but never all."""
    gains = 10 ** (generator.normal(0.0, 1.0, len(stems)) * gain_db / 20)
    kept = generator.random(len(stems)) >= drop_p
    kept[generator.integers(len(stems))] |= not kept.any()
    result: Stems = stems * (gains * kept).astype(np.float32)[:, None, None]
    return result


def swap_channels(stems: Stems, generator: np.random.Generator, *, probability: float) -> Stems:
    """Reverse the order of the channels of some stems."""
    swap = generator.random(len(stems)) < probability
    return np.where(swap[:, None, None], stems[:, ::-1], stems)


def equalizer_curves(
    names: Sequence[str],
    bins: int,
    generator: np.random.Generator,
    *,
    sample_rate: int,
    equalizer_db: float,
    low_pass_p: float,
) -> Stems:
    """Draw a smooth magnitude response for each stem.

    A stem called ``bass`` also gets, with probability ``low_pass_p``, a low-pass of 6 or 12 dB
    per octave between 120 and 1500 Hz: recorded basses are darker than many synthetic ones.

    Args:
        names: Names of the stems.
        bins: Frequencies from 0 to half the sample rate, evenly spaced.
        generator: Source of randomness.
        sample_rate: In Hz.
        equalizer_db: Standard deviation at each of the eight knots.
        low_pass_p: Probability of the low-pass.

    Returns:
        Factors, ``(stems, bins)``.
    """
    position = np.linspace(0, 1, bins)
    knots = generator.normal(0.0, 1.0, (len(names), len(_KNOTS))) * equalizer_db
    curves_db = np.stack([np.interp(position, _KNOTS, values) for values in knots])
    for row, name in enumerate(names):
        chance, makeup_db, height = generator.random(3)
        slope = 10 if generator.random() < 0.5 else 20
        if name == "bass" and chance < low_pass_p:
            cutoff_hz = 120 * (1500 / 120) ** height
            ratio = position * sample_rate / 2 / cutoff_hz
            curves_db[row] += 6 * makeup_db - slope * np.log10(1 + ratio**2)
    return (10 ** (curves_db / 20)).astype(np.float32)
