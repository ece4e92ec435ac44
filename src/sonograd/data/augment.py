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
    "level_stems",
    "narrow_stems",
    "random_gains",
    "random_speed",
    "saturate_stems",
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
    below = position.astype(np.intp)
    part = (position - below).astype(np.float32)
    result = np.take(x, below, axis=-1, mode="clip")
    below += 1
    above = np.take(x, below, axis=-1, mode="clip")
    above -= result
    above *= part
    result += above
    return result


def random_gains(
    stems: Stems,
    generator: np.random.Generator,
    *,
    gain_db: float,
    drop_p: float,
    out: Stems | None = None,
) -> Stems:
    """Scale every stem by a normal number of dB; silence some, but never all.

    The result is written to ``out``, which may be ``stems``.
    """
    gains = 10 ** (generator.normal(0.0, 1.0, len(stems)) * gain_db / 20)
    kept = generator.random(len(stems)) >= drop_p
    kept[generator.integers(len(stems))] |= not kept.any()
    return np.multiply(stems, (gains * kept).astype(np.float32)[:, None, None], out=out)


def level_stems(stems: Stems, level_db: float, *, sample_rate: int) -> Stems:
    """Bring each stem to ``level_db``, as the root mean square of the moments where it sounds.

    Those are the tenths of a second within 26 dB of the loudest. Gains stay within 20 dB of unity;
    silent stems stay as they are.
    """
    block = max(sample_rate // 10, 1)
    count = stems.shape[-1] // block
    if count == 0:
        return stems
    blocks = stems[..., : count * block].reshape(*stems.shape[:-1], count, block)
    powers = np.square(blocks).mean(axis=(1, 3), dtype=np.float64)
    sounding = powers >= powers.max(axis=1, keepdims=True) * 0.0025
    level = (powers * sounding).sum(axis=1) / sounding.sum(axis=1)
    gains = np.sqrt(10 ** (level_db / 10) / np.where(level > 0, level, 1.0)).clip(0.1, 10.0)
    result: Stems = stems * np.where(level > 0, gains, 1.0).astype(np.float32)[:, None, None]
    return result


def narrow_stems(stems: Stems, generator: np.random.Generator, *, probability: float) -> Stems:
    """Scale the difference of left and right of some stems by a number between 0 and 1."""
    chance, width = generator.random((2, len(stems)))
    if stems.shape[1] != 2:
        return stems
    factor = np.where(chance < probability, width, 1.0).astype(np.float32)[:, None, None]
    mid = stems.mean(axis=1, keepdims=True)
    return np.where(factor == 1.0, stems, mid + factor * (stems - mid))


def saturate_stems(stems: Stems, generator: np.random.Generator, *, probability: float) -> Stems:
    """Send some stems through a hyperbolic tangent, as tape and overdriven stages do.

    The drive puts the root mean square of a stem 12 dB below to 6 dB above the bend; the level
    stays about the same.
    """
    chance, drive = generator.random((2, len(stems)))
    result = stems.copy()
    for row in np.flatnonzero(chance < probability):
        level = np.sqrt(np.square(stems[row]).mean())
        if level > 0:
            bend = level * 10 ** ((12 - 18 * drive[row]) / 20)
            driven = np.tanh(stems[row] / bend)
            result[row] = driven * (level / np.sqrt(np.square(driven).mean()))
    return result


def swap_channels(
    stems: Stems,
    generator: np.random.Generator,
    *,
    probability: float,
    out: Stems | None = None,
) -> Stems:
    """Reverse the order of the channels of some stems; write to ``out``, which may be ``stems``."""
    swap = np.flatnonzero(generator.random(len(stems)) < probability)
    result = stems.copy() if out is None else out
    if out is not None and out is not stems:
        out[...] = stems
    if result.shape[1] > 1:
        for row in swap:
            result[row] = result[row, ::-1].copy()
    return result


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
