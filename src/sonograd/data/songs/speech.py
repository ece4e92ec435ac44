"""Voices from speech: a spoken text is taken apart and sung on new notes."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.patches import LinePatch, glide_curve
from sonograd.data.songs.programs import speak
from sonograd.data.songs.score import Note
from sonograd.data.songs.sound import aired_pulses, log_uniform, noise
from sonograd.functional import hann, time_varying_filter

__all__ = ["Utterance", "draw_utterance", "sing_speech"]

_WORDS = [
    "love",
    "night",
    "time",
    "heart",
    "never",
    "away",
    "fire",
    "light",
    "dream",
    "baby",
    "feel",
    "know",
    "want",
    "say",
    "run",
    "world",
    "day",
    "come",
    "back",
    "down",
    "home",
    "dance",
    "alone",
    "forever",
    "tonight",
    "rain",
    "sky",
    "eyes",
    "soul",
    "hold",
    "take",
    "give",
    "free",
    "tell",
    "why",
    "you",
    "me",
    "we",
    "they",
    "shine",
    "wild",
    "young",
    "road",
    "river",
    "summer",
    "crazy",
    "moon",
    "angel",
    "broken",
    "waiting",
    "calling",
    "falling",
    "higher",
    "stronger",
    "yesterday",
    "tomorrow",
    "believe",
    "remember",
    "only",
    "always",
    "something",
    "nothing",
    "la",
    "na",
    "oh",
    "yeah",
    "hey",
    "ooh",
    "ah",
    "street",
    "city",
    "mind",
    "change",
    "stay",
    "pretty",
    "simple",
    "secret",
    "paper",
    "glass",
]
_LANGUAGES = ("en-us", "en-us", "en-gb", "es", "fr-fr", "de", "it", "pt-br", "sv", "pl")
_VARIANTS = ("", *(f"+m{i}" for i in range(1, 8)), *(f"+f{i}" for i in range(1, 6)), "+croak")
_FRAME_S = 0.005
_N_FFT = 1024


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech taken apart, one row per 5 ms.

    Attributes:
        envelope: Logarithm of the spectral envelope, ``(frames, bins)``.
        voiced: How voiced each frame is, 0 to 1.
        sample_rate: Of the speech, in Hz.
        borders: Frames between which the syllables lie.
        peaks: The loudest voiced frame of each syllable.
    """

    envelope: np.ndarray
    voiced: np.ndarray
    sample_rate: int
    borders: np.ndarray
    peaks: np.ndarray


def draw_utterance(rng: np.random.Generator) -> Utterance:
    """Let a random voice say random words, and take that apart."""
    text = " ".join(_WORDS[int(i)] for i in rng.integers(0, len(_WORDS), int(rng.integers(8, 15))))
    voice = str(rng.choice(_LANGUAGES)) + str(rng.choice(_VARIANTS))
    sound, rate = speak(
        text, voice, words_per_minute=int(rng.integers(110, 190)), pitch=int(rng.integers(10, 60))
    )
    return analyze(sound, rate)


def analyze(sound: Tensor, sample_rate: int) -> Utterance:
    """Find spectral envelope, voicing and syllables of speech."""
    hop = round(_FRAME_S * sample_rate)
    padded = torch.nn.functional.pad(sound.double(), (_N_FFT // 2, _N_FFT))
    frames = padded.unfold(0, _N_FFT, hop) * hann(_N_FFT, dtype=torch.float64)
    spectrum = torch.fft.rfft(frames)
    power = spectrum.abs().square()
    envelope = _true_envelope(power.clamp_min(1e-10).log() / 2, round(0.0022 * sample_rate))
    correlation = torch.fft.irfft(power)
    lags = slice(round(sample_rate / 400), round(sample_rate / 65))
    periodicity = correlation[:, lags].amax(1) / correlation[:, 0].clamp_min(1e-9)
    energy = power.sum(1).sqrt()
    energy = energy / energy.max().clamp_min(1e-9)
    voiced = ((periodicity - 0.3) / 0.15).clamp(0, 1) * (energy > 0.01)
    loud = np.convolve((energy * voiced).numpy(), np.hanning(15) / np.hanning(15).sum(), "same")
    peaks, borders = _syllables(loud)
    return Utterance(envelope.float().numpy(), voiced.float().numpy(), sample_rate, borders, peaks)


def _true_envelope(log_spectrum: Tensor, order: int) -> Tensor:
    """Smooth by cepstrum, again and again above what stands out: the tips of the harmonics."""
    target = log_spectrum
    smooth = log_spectrum
    for _ in range(8):
        cepstrum = torch.fft.irfft(target)
        cepstrum[:, order : cepstrum.shape[1] - order + 1] = 0
        smooth = torch.fft.rfft(cepstrum).real
        target = torch.maximum(log_spectrum, smooth)
    return smooth


def _syllables(loud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loudest frames of the syllables, and the quietest ones between them."""
    inside = loud[1:-1]
    tops = np.flatnonzero((inside >= loud[:-2]) & (inside > loud[2:]) & (inside > 0.08)) + 1
    kept: list[int] = []
    for top in tops:
        if kept and top - kept[-1] < 12:
            if loud[top] > loud[kept[-1]]:
                kept[-1] = int(top)
        else:
            kept.append(int(top))
    if not kept:
        kept = [len(loud) // 2]
    between = [a + int(np.argmin(loud[a:b])) for a, b in pairwise(kept)]
    ends = [max(kept[0] - 18, 0), *between, min(kept[-1] + 18, len(loud) - 1)]
    return np.array(kept), np.array(ends)


def sing_speech(
    notes: tuple[Note, ...],
    utterance: Utterance,
    rng: np.random.Generator,
    rate: int,
    samples: int,
    *,
    size: float,
    vibrato_semitones: float,
) -> Tensor:
    """Sing notes with the syllables of an utterance.

    Args:
        notes: Not overlapping.
        utterance: Whose syllables, one per note, vowels stretched to the notes.
        rng: Draws the irregularities.
        rate: Sample rate in Hz.
        samples: Length.
        size: Factor of the formants, above 1 for smaller heads.
        vibrato_semitones: Depth of the vibrato.

    Returns:
        ``(samples,)``, dry.
    """
    hop = max(round(_FRAME_S * rate), 8)
    frames = samples // hop + 2
    line = LinePatch(
        _unused,
        glide_s=float(rng.uniform(0.015, 0.07)),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        vibrato_semitones=vibrato_semitones,
        attack_s=0.008,
        release_s=0.03,
    )
    if not notes:
        return torch.zeros(samples)
    pitch, level = glide_curve(list(notes), rng, line, rate / hop, frames)
    pitch = pitch + 0.06 * np.convolve(rng.standard_normal(frames + 19), np.ones(20) / 4, "valid")
    drift = np.convolve(rng.standard_normal(frames + 99), np.hanning(100) / 6.1, "valid")
    pitch = pitch + float(rng.uniform(0.03, 0.25)) * drift
    index = _read_positions(notes, utterance, rng, rate / hop, frames)
    y = torch.zeros(samples)
    active = np.convolve((level > 1e-3) & (index >= 0), np.ones(5), "same") > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False]))))
    breath = log_uniform(rng, 0.003, 0.05)
    air_hz = log_uniform(rng, 4000, 16000)
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        begin, end = int(first) * hop, min(int(last) * hop, samples)
        if end > begin:
            part = slice(int(first), int(last) + 1)
            y[begin:end] = _synthesize(
                utterance,
                index[part],
                pitch[part],
                level[part],
                rng,
                rate,
                hop,
                end - begin,
                size,
                breath,
                air_hz,
            )
    return y


def _unused(hz: Tensor, level: Tensor, rng: np.random.Generator) -> Tensor:
    """Stand in for the source of a line whose curves alone are needed."""
    return hz * level


def _read_positions(
    notes: tuple[Note, ...],
    utterance: Utterance,
    rng: np.random.Generator,
    rate: float,
    frames: int,
) -> np.ndarray:
    """Return which frame of the speech each frame of the song reads; -1 in rests."""
    index = np.full(frames, -1.0)
    count = len(utterance.peaks)
    syllable = int(rng.integers(count))
    for note in notes:
        begin, length = round(note.start * rate), round(note.duration * rate)
        low, top, high = (
            utterance.borders[syllable],
            utterance.peaks[syllable],
            utterance.borders[syllable + 1],
        )
        syllable = (syllable + 1) % count
        if length < 6:
            continue
        rise = max(min(int(top - low), int(0.45 * length)), 1)
        fall = max(min(int(high - top), int(0.3 * length)), 1)
        hold = length - rise - fall
        wander = np.cumsum(rng.normal(0.0, 0.15, hold)).clip(-3, 3)
        path = np.concatenate(
            [
                np.linspace(low, top - 2, rise),
                top - 2 + wander + np.linspace(0, 4, hold),
                np.linspace(top + 2, high, fall),
            ]
        ).clip(0, len(utterance.voiced) - 1)
        skip = max(-begin, 0)
        room = max(min(length, frames - begin), 0)
        if room > skip:
            index[begin + skip : begin + room] = path[skip:room]
    return index


def _synthesize(
    utterance: Utterance,
    index: np.ndarray,
    pitch: np.ndarray,
    level: np.ndarray,
    rng: np.random.Generator,
    rate: int,
    hop: int,
    samples: int,
    size: float,
    breath: float,
    air_hz: float,
) -> Tensor:
    """Drive the envelopes of the chosen frames with pulses and noise."""
    rows = np.round(index).clip(0).astype(int)
    response = _responses(utterance, rows, rate, hop, size)
    voiced = torch.from_numpy(utterance.voiced[rows] * level * (index >= 0)).float()
    unvoiced = torch.from_numpy((1 - utterance.voiced[rows]) * level * (index >= 0)).float()
    hz = 440.0 * torch.exp2((_samples(torch.from_numpy(pitch).float(), hop, samples) - 69) / 12)
    air = noise(rng, samples)
    hz = hz.clamp(40.0, 0.2 * rate)
    pulses = aired_pulses(hz, air, air_hz, rate)
    excitation = pulses * _samples(voiced, hop, samples)
    excitation = excitation + air * _samples(unvoiced + breath * voiced, hop, samples) * 0.7
    return time_varying_filter(excitation, response, hop_length=hop)


def _samples(curve: Tensor, hop: int, samples: int) -> Tensor:
    following = torch.cat((curve[1:], curve[-1:]))
    ramp = torch.arange(hop) / hop
    fine = (curve[:, None] + (following - curve)[:, None] * ramp).reshape(-1)
    return torch.nn.functional.pad(fine, (0, max(samples - len(fine), 0)))[:samples]


def _responses(utterance: Utterance, rows: np.ndarray, rate: int, hop: int, size: float) -> Tensor:
    """Return minimum-phase responses at the song's rate, formants scaled by ``size``."""
    n_fft = 1 << (4 * hop - 1).bit_length()
    bins = n_fft // 2 + 1
    spoken = utterance.envelope.shape[1]
    place = np.linspace(0, rate / 2, bins) / size / (utterance.sample_rate / 2) * (spoken - 1)
    beyond = (place - 0.93 * (spoken - 1)).clip(0) / (spoken - 1)
    place = place.clip(0, 0.93 * (spoken - 1))
    low = np.floor(place).astype(int).clip(0, spoken - 2)
    part = (place - low).astype(np.float32)
    envelope = utterance.envelope[rows]
    log_magnitude = envelope[:, low] * (1 - part) + envelope[:, low + 1] * part
    # The speech ends at 11 kHz: let its last band fade out above.
    log_magnitude = torch.from_numpy((log_magnitude - 2.0 * beyond).astype(np.float32))
    cepstrum = torch.fft.irfft(log_magnitude, n_fft)
    cepstrum[:, 1 : n_fft // 2] *= 2
    cepstrum[:, n_fft // 2 + 1 :] = 0
    return torch.exp(torch.fft.rfft(cepstrum, n_fft))
