"""Change tempo and pitch of stems apart from each other, and find their tempo."""

import math

import numpy as np
from numpy.typing import NDArray

from sonograd.data.augment import change_speed

__all__ = [
    "align_onsets",
    "change_tempo",
    "estimate_tempo",
    "fold_tempo",
    "onset_envelope",
    "warp_stems",
]

Array = NDArray[np.float32]

#: Frames of the envelope of onsets per second.
ENVELOPE_HZ = 100


def warp_stems(x: Array, samples: int, *, pitch: float, tempo: float, sample_rate: int) -> Array:
    """Play ``(..., samples)`` higher by the factor ``pitch`` and faster by ``tempo``.

    Args:
        x: At least ``int(samples * tempo) + 2`` samples.
        samples: Length of the result.
        pitch: 2 is an octave higher.
        tempo: 2 is twice as fast.
        sample_rate: In Hz.
    """
    if pitch == tempo:
        return change_speed(x, tempo, samples)
    longer = change_tempo(x, int(samples * pitch) + 2, tempo / pitch, sample_rate=sample_rate)
    return change_speed(longer, pitch, samples)


def change_tempo(x: Array, samples: int, tempo: float, *, sample_rate: int) -> Array:
    """Play ``(..., samples)`` faster at the same pitch, by overlapping and adding similar pieces.

    Pieces of 46 ms are taken from where they continue the one before best, within 11 ms of where
    they belong (WSOLA; Verhelst and Roelands 1993). All leading dimensions move together, so that
    stems stay aligned. At tempo 1 the signal is returned as it is.

    Args:
        x: The signal; silence follows it.
        samples: Length of the result.
        tempo: 2 is twice as fast.
        sample_rate: In Hz.
    """
    if tempo == 1.0:
        return x[..., :samples]
    hop = max(round(0.023 * sample_rate), 2)
    reach = hop // 2
    frames = -(-samples // hop) + 1
    flat = x.reshape(-1, x.shape[-1])
    after = int(frames * hop * tempo) + 3 * hop + 2 * reach - flat.shape[-1]
    padded = np.pad(flat, ((0, 0), (reach, max(after, 0))))
    guide = padded.sum(axis=0)
    fade = (0.5 - 0.5 * np.cos(np.pi * (np.arange(hop) + 0.5) / hop)).astype(np.float32)
    result = np.empty((len(flat), frames * hop), np.float32)
    place = reach
    tail = padded[:, place : place + hop]
    for frame in range(frames):
        center = reach + int(frame * hop * tempo)
        if frame:
            wanted = guide[place + hop : place + 2 * hop]
            place = center - reach + _best_match(wanted, guide[center - reach :][: hop + 2 * reach])
        head = padded[:, place : place + hop]
        result[:, frame * hop : (frame + 1) * hop] = tail * (1 - fade) + head * fade
        tail = padded[:, place + hop : place + 2 * hop]
    return result[:, :samples].reshape(*x.shape[:-1], samples)


def _best_match(wanted: Array, room: Array) -> int:
    """Return where in ``room`` the piece lies that is most similar to ``wanted``."""
    correlation = np.correlate(room, wanted, "valid")
    energy = np.cumsum(np.square(room, dtype=np.float64))
    energy = energy[len(wanted) - 1 :] - np.concatenate(([0.0], energy[: -len(wanted)]))
    return int(np.argmax(correlation / np.sqrt(np.maximum(energy, 1e-9))))


def onset_envelope(x: Array, *, sample_rate: int) -> Array:
    """Return how much louder a signal becomes, 100 times per second.

    The rise of the logarithmic energy of the signal and of its differences (so that high sounds
    count, too), above its mean.

    Args:
        x: ``(channels, samples)``, at least 20 ms.
        sample_rate: In Hz.
    """
    mono = x.mean(axis=0)
    hop = max(sample_rate // ENVELOPE_HZ, 1)
    count = len(mono) // hop
    rises = np.zeros(count, np.float32)
    for signal in (mono, np.diff(mono, prepend=mono[:1])):
        energy = np.square(signal[: count * hop]).reshape(count, hop).mean(axis=1)
        level = np.log10(energy + 1e-3 * energy.max(initial=0.0) + 1e-12)
        rises[1:] += np.maximum(np.diff(level), 0)
    return rises - rises.mean() if count else rises


def estimate_tempo(envelope: Array) -> float | None:
    """Return the beats per minute that explain an envelope of onsets best, None without onsets.

    The autocorrelation at one, two and four beats, with a preference for about 120.

    Args:
        envelope: Of :func:`onset_envelope`, several seconds of it.
    """
    if len(envelope) < 2 * ENVELOPE_HZ:
        return None
    power = np.square(np.abs(np.fft.rfft(envelope, 2 * len(envelope))))
    correlation = np.fft.irfft(power)[: len(envelope)]
    if correlation[0] <= 1e-6:
        return None
    correlation = correlation / np.maximum(len(envelope) - np.arange(len(envelope)), 1)
    tempi = np.geomspace(60.0, 200.0, 400)
    lags = 60.0 * ENVELOPE_HZ / tempi
    score = sum(
        np.interp(turns * lags, np.arange(len(envelope)), correlation) / turns**0.5
        for turns in (1, 2, 4)
    )
    score *= np.exp(-0.5 * (np.log2(tempi / 120.0) / 0.8) ** 2)
    return float(tempi[int(np.argmax(score))])


def fold_tempo(ratio: float) -> float:
    """Return a ratio of tempi times a power of two, between 0.707 and 1.414.

    >>> fold_tempo(2.2)
    1.1
    """
    return ratio / 2.0 ** round(math.log2(ratio))


def align_onsets(reference: Array, other: Array, lags: int) -> int:
    """Return by how many frames, below ``lags``, ``other`` has to start later to fit."""
    count = min(len(reference), len(other) - lags + 1)
    if lags < 2 or count < 2:
        return 0
    return int(np.argmax(np.correlate(other[: count + lags - 1], reference[:count], "valid")))
