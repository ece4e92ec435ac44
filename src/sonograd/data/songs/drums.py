"""Drums from synthesis: a kit of struck membranes, metal and noise for each song."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.score import Score, stream
from sonograd.data.songs.sound import (
    add,
    band_pass,
    fade,
    filtered,
    generator,
    high_pass,
    log_uniform,
    low_pass,
    noise,
    normalize,
    pan,
    random_eq,
    resonance,
    time_axis,
)
from sonograd.functional import fft_convolve, noise_reverb_impulse

__all__ = ["render_drums"]

_TAU = 2 * math.pi

# Usual level of each drum, linear, and how far from the center it may stand.
_LEVELS: dict[str, tuple[float, float]] = {
    "kick": (1.0, 0.0),
    "snare": (0.85, 0.15),
    "rim": (0.5, 0.2),
    "clap": (0.7, 0.3),
    "hat": (0.2, 0.7),
    "open_hat": (0.22, 0.7),
    "ride": (0.22, 0.8),
    "crash": (0.34, 0.9),
    "tom_high": (0.75, 0.5),
    "tom_mid": (0.75, 0.4),
    "tom_low": (0.8, 0.7),
    "shaker": (0.19, 0.9),
    "tambourine": (0.2, 0.9),
    "conga": (0.45, 0.8),
    "cowbell": (0.3, 0.7),
    "perc": (0.4, 0.9),
    "brush": (0.4, 0.4),
}


def render_drums(score: Score, sample_rate: int, samples: int) -> Tensor:
    """Play the drums of a score, dry but for the room they stand in.

    Returns:
        ``(2, samples)``; zeros where nothing is struck.
    """
    out = torch.zeros(2, samples)
    if not score.drums:
        return out
    rng = stream(score.seed, "kit sounds")
    electronic = score.kit == "electronic"
    if rng.random() < 0.15:  # sampled drums over a played kit, or the other way round
        electronic = not electronic
    width = float(rng.uniform(0.0, 1.0))
    kit = {
        drum: _voices(stream(score.seed, "drum", drum), drum, electronic, sample_rate)
        for drum in sorted({hit.drum for hit in score.drums})
    }
    place: dict[str, Tensor] = {}
    for drum, (usual, spread) in _LEVELS.items():
        level = usual * 10 ** (float(rng.normal(0.0, 3.2)) / 20)
        where = float(rng.uniform(-spread, spread)) * width
        place[drum] = pan(torch.full((1,), level), where)
    take = stream(score.seed, "strokes")
    for hit in score.drums:
        voices = kit[hit.drum]
        soft = hit.velocity < 0.5
        sound = voices[int(take.integers(3)) + (3 if soft else 0)]
        gain = hit.velocity**1.4
        add(out, round(hit.start * sample_rate), sound * (place[hit.drum] * gain))
    return _room(rng, out, sample_rate)


def _room(rng: np.random.Generator, out: Tensor, sample_rate: int) -> Tensor:
    """Let the kit sound in a room, from a booth to a hall."""
    wet = float(rng.choice([0.0, rng.uniform(0.03, 0.2), rng.uniform(0.2, 0.8)], p=[0.2, 0.5, 0.3]))
    if wet == 0.0:
        return out
    impulse = noise_reverb_impulse(
        log_uniform(rng, 0.12, 1.4),
        sample_rate=sample_rate,
        generator=generator(rng),
        predelay_s=float(rng.uniform(0.0, 0.02)),
        low_cut_hz=float(rng.uniform(60, 300)),
        high_cut_hz=min(log_uniform(rng, 2000, 10000), 0.45 * sample_rate),
    )
    return out + wet * fft_convolve(out, impulse, "causal")


def _voices(
    rng: np.random.Generator, drum: str, electronic: bool, sample_rate: int
) -> list[Tensor]:
    """Return three takes of a drum struck hard, then three of it struck softly."""
    maker = _MAKERS[drum]
    base = normalize(maker(rng, electronic, sample_rate))
    base = normalize(filtered(base, random_eq(rng, sample_rate, peaks=2, amount_db=3.5)))
    if rng.random() < 0.3:  # as from a sampler with few bits or a low rate
        base = low_pass(base, log_uniform(rng, 3000, 12000), sample_rate, 4)
    fade(base, sample_rate // 200)
    takes = [base]
    for _ in range(2):
        if electronic:
            takes.append(base)
        else:
            tilt = random_eq(rng, sample_rate, peaks=2, amount_db=1.2)
            takes.append(filtered(base, tilt) * float(rng.uniform(0.9, 1.0)))
    darker = log_uniform(rng, 1500, 7000)
    return takes + [low_pass(take, darker, sample_rate, 1) for take in takes]


def _mode(
    time: Tensor, frequency_hz: float, decay_s: float, level: float, phase: float = 0.0
) -> Tensor:
    """Return one decaying partial."""
    return level * torch.sin(_TAU * (frequency_hz * time + phase)) * torch.exp(-time / decay_s)


def _swept(time: Tensor, start_hz: float, end_hz: float, fall_s: float) -> Tensor:
    """Return the phase in turns of a pitch falling from ``start_hz`` to ``end_hz``."""
    span = start_hz - end_hz
    return end_hz * time + span * fall_s * (1 - torch.exp(-time / fall_s))


def _burst(
    rng: np.random.Generator, time: Tensor, low_hz: float, high_hz: float, decay_s: float, rate: int
) -> Tensor:
    """Return a burst of band-limited noise."""
    return band_pass(noise(rng, len(time)), low_hz, high_hz, rate) * torch.exp(-time / decay_s)


def _kick(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    long = electronic and rng.random() < 0.35
    time = time_axis(int(rate * (1.2 if long else 0.55)), rate)
    bottom = float(rng.uniform(36, 66))
    top = bottom + log_uniform(rng, 40, 400 if electronic else 220)
    decay = float(rng.uniform(0.25, 0.6)) if long else float(rng.uniform(0.05, 0.2))
    phase = _swept(time, top, bottom, log_uniform(rng, 0.006, 0.05))
    y = torch.sin(_TAU * phase) * torch.exp(-time / decay)
    # The beater and the shell give a kick its body between 200 Hz and 4 kHz.
    y += _burst(
        rng, time, 1200, log_uniform(rng, 2500, 10000), log_uniform(rng, 0.0015, 0.012), rate
    ) * float(rng.uniform(0.0, 1.2))
    y += _burst(
        rng, time, 120, log_uniform(rng, 400, 1500), float(rng.uniform(0.01, 0.06)), rate
    ) * float(rng.uniform(0.0, 0.6))
    if not electronic:
        for _ in range(3):
            y += _mode(
                time,
                log_uniform(rng, 150, 900),
                float(rng.uniform(0.01, 0.06)),
                float(rng.uniform(0, 0.35)),
            )
        if rng.random() < 0.5:  # loose resonant head
            y += _mode(
                time, bottom * float(rng.uniform(1.5, 2.4)), 0.12, float(rng.uniform(0.1, 0.4))
            )
    return torch.tanh(y * log_uniform(rng, 0.8, 5.0))


def _snare(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.6), rate)
    base = float(rng.uniform(130, 300))
    bend = float(rng.uniform(0.0, 0.35))
    y = torch.zeros(len(time))
    for index, ratio in enumerate((1.0, 1.59, 1.83, 2.14, 2.65, 3.2)):
        hz = base * ratio * float(rng.uniform(0.96, 1.04))
        phase = _swept(time, hz * (1 + bend), hz, 0.012)
        level = float(rng.uniform(0.2, 1.0)) / (1 + 0.6 * index)
        decay = float(rng.uniform(0.03, 0.16)) / (1 + 0.4 * index)
        y += level * torch.sin(_TAU * phase) * torch.exp(-time / decay)
    y *= float(rng.uniform(0.3, 1.0))
    wires = _burst(
        rng,
        time,
        log_uniform(rng, 250, 2200),
        log_uniform(rng, 5000, 16000),
        float(rng.uniform(0.04, 0.22)),
        rate,
    )
    body = _burst(rng, time, 200, log_uniform(rng, 800, 3000), float(rng.uniform(0.02, 0.1)), rate)
    stick = _burst(rng, time, 1500, 12000, log_uniform(rng, 0.001, 0.006), rate)
    y += wires * log_uniform(rng, 0.3, 2.2) + body * float(rng.uniform(0.0, 1.6))
    y += stick * float(rng.uniform(0.0, 1.2))
    if electronic and rng.random() < 0.4:  # gated burst
        y *= torch.clamp((float(rng.uniform(0.08, 0.25)) - time) / 0.01, 0.0, 1.0)
    if electronic and rng.random() < 0.3:
        y = y + 0.8 * _clap(rng, electronic, rate)[: len(y)]
    return torch.tanh(y * log_uniform(rng, 0.6, 3.0))


def _rim(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.15), rate)
    y = _mode(time, float(rng.uniform(350, 600)), 0.012, 0.7)
    y += _mode(time, log_uniform(rng, 900, 2600), float(rng.uniform(0.006, 0.03)), 1.0)
    y += _mode(time, log_uniform(rng, 1500, 4500), 0.006, float(rng.uniform(0.2, 0.8)))
    return y + _burst(rng, time, 600, 8000, 0.004, rate) * float(rng.uniform(0.2, 1.0))


def _clap(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.6), rate)
    envelope = torch.zeros(len(time))
    starts = np.concatenate([[0.0], np.cumsum(rng.uniform(0.005, 0.015, int(rng.integers(2, 5))))])
    for start in starts:
        since = time - float(start)
        envelope += torch.where(since >= 0, torch.exp(-since / 0.006), torch.zeros(()))
    tail = (time - float(starts[-1])).clamp_min(0.0)
    envelope += torch.exp(-tail / float(rng.uniform(0.03, 0.18))) * (time >= float(starts[-1]))
    y = band_pass(
        noise(rng, len(time)), log_uniform(rng, 400, 1200), log_uniform(rng, 2500, 9000), rate
    )
    y = y + resonance(y, log_uniform(rng, 700, 2000), 1.5, rate)
    return y * envelope


def _tom(low: float, high: float) -> Callable[[np.random.Generator, bool, int], Tensor]:
    def make(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
        time = time_axis(int(rate * 0.8), rate)
        base = float(rng.uniform(low, high))
        bend = float(rng.uniform(0.3, 1.5)) if electronic else float(rng.uniform(0.03, 0.3))
        y = torch.zeros(len(time))
        for index, ratio in enumerate((1.0, 1.5, 1.59, 2.0, 2.14, 2.7, 3.4)):
            hz = base * ratio
            level = (1.0 if index == 0 else float(rng.uniform(0.05, 0.5))) / (1 + 0.3 * index)
            decay = float(rng.uniform(0.08, 0.35)) / (1 + 0.5 * index)
            y += (
                level
                * torch.sin(_TAU * _swept(time, hz * (1 + bend), hz, 0.04))
                * torch.exp(-time / decay)
            )
        y += _burst(
            rng, time, 200, log_uniform(rng, 1500, 7000), float(rng.uniform(0.005, 0.05)), rate
        ) * float(rng.uniform(0.2, 1.2))
        return torch.tanh(y * float(rng.uniform(0.7, 2.0)))

    return make


def _metal(
    rng: np.random.Generator, time: Tensor, low_hz: float, count: int, decay_s: float, rate: int
) -> Tensor:
    """Return many inharmonic partials, the high ones shorter."""
    y = torch.zeros(len(time))
    for _ in range(count):
        hz = log_uniform(rng, low_hz, min(14000.0, 0.45 * rate) if low_hz < 0.4 * rate else low_hz)
        if hz < 0.47 * rate:
            decay = decay_s * float(rng.uniform(0.3, 1.2)) * (low_hz / hz) ** 0.3
            y += _mode(time, hz, decay, float(rng.uniform(0.3, 1.0)), float(rng.random()))
    return y / math.sqrt(count)


def _pulses(rng: np.random.Generator, time: Tensor, rate: int) -> Tensor:
    """Return six square waves at inharmonic pitches, as in analog drum machines."""
    y = torch.zeros(len(time))
    base = float(rng.uniform(180, 700))
    for ratio in (1.0, 1.34, 1.52, 1.98, 2.54, 3.1):
        hz = base * ratio * float(rng.uniform(0.93, 1.07))
        y += torch.sign(torch.sin(_TAU * (hz * time + float(rng.random()))))
    return y / 2.5


def _cymbal(
    shortest: float, longest: float, floor: tuple[float, float], partials: int
) -> Callable[[np.random.Generator, bool, int], Tensor]:
    def make(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
        decay = log_uniform(rng, shortest, longest)
        time = time_axis(int(rate * min(decay * 6, 3.5)), rate)
        low = log_uniform(rng, *floor)
        hiss = noise(rng, len(time))
        # High bands of a cymbal die first.
        split = min(log_uniform(rng, 5000, 10000), 0.4 * rate)
        dull = low_pass(hiss, split, rate)
        y = dull * torch.exp(-time / decay) + (hiss - dull) * torch.exp(
            -time / (decay * float(rng.uniform(0.3, 0.9)))
        )
        y *= log_uniform(rng, 0.25, 1.2)
        if electronic and rng.random() < 0.7:
            y += _pulses(rng, time, rate) * torch.exp(-time / decay) * float(rng.uniform(0.2, 1.2))
        else:
            y += _metal(rng, time, low * 0.6, partials, decay, rate) * float(rng.uniform(0.2, 1.5))
        y += _burst(rng, time, low, 14000, 0.004, rate) * float(rng.uniform(0.0, 1.0))
        return high_pass(y, min(low, 0.4 * rate), rate, int(rng.choice([1, 2, 2, 3])))

    return make


def _ride(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    y = _cymbal(0.25, 1.0, (1200, 4500), 30)(rng, electronic, rate)
    time = time_axis(len(y), rate)
    for _ in range(int(rng.integers(1, 5))):
        hz = log_uniform(rng, 700, 6000)
        if hz < 0.45 * rate:
            y += _mode(time, hz, float(rng.uniform(0.05, 0.5)), float(rng.uniform(0.3, 1.5)))
    return y


def _shaker(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.2), rate)
    rise = float(rng.uniform(0.004, 0.04))
    y = band_pass(noise(rng, len(time)), log_uniform(rng, 2000, 7000), 14000, rate)
    return (
        y * torch.clamp(time / rise, 0.0, 1.0) * torch.exp(-time / float(rng.uniform(0.015, 0.06)))
    )


def _tambourine(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.35), rate)
    decay = float(rng.uniform(0.04, 0.14))
    y = _metal(rng, time, 4000.0, 14, decay, rate) + _burst(rng, time, 3500, 15000, decay, rate)
    return y * torch.clamp(time / 0.003, 0.0, 1.0)


def _conga(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.45), rate)
    base = log_uniform(rng, 150, 480)
    y = torch.sin(_TAU * _swept(time, base * 1.08, base, 0.02)) * torch.exp(
        -time / float(rng.uniform(0.04, 0.2))
    )
    for ratio in (1.6, 2.2, 3.1, 4.4):
        y += _mode(time, base * ratio, float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.1, 0.5)))
    return y + _burst(rng, time, 500, 6000, float(rng.uniform(0.003, 0.02)), rate) * 0.8


def _cowbell(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.4), rate)
    base = float(rng.uniform(480, 820))
    decay = float(rng.uniform(0.03, 0.12))
    y = torch.sign(torch.sin(_TAU * base * time)) + torch.sign(torch.sin(_TAU * base * 1.48 * time))
    y = band_pass(y, base, 6 * base, rate) * torch.exp(-time / decay)
    return y + _mode(time, base * 2.7, decay / 2, 0.6)


def _perc(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.3), rate)
    base = log_uniform(rng, 250, 2400)
    bend = float(rng.uniform(-0.4, 1.0)) if electronic else 0.02
    y = torch.sin(_TAU * _swept(time, base * (1 + bend), base, 0.03))
    y = y * torch.exp(-time / float(rng.uniform(0.01, 0.1)))
    y += _mode(time, base * float(rng.uniform(1.3, 3.2)), 0.02, float(rng.uniform(0.0, 0.8)))
    return y + _burst(rng, time, base, 9000, float(rng.uniform(0.003, 0.03)), rate) * float(
        rng.uniform(0.0, 0.8)
    )


def _brush(rng: np.random.Generator, electronic: bool, rate: int) -> Tensor:
    time = time_axis(int(rate * 0.4), rate)
    rise = float(rng.uniform(0.01, 0.12))
    y = band_pass(
        noise(rng, len(time)), log_uniform(rng, 600, 2500), log_uniform(rng, 5000, 12000), rate
    )
    y *= torch.clamp(time / rise, 0.0, 1.0) * torch.exp(-time / float(rng.uniform(0.05, 0.16)))
    return y + 0.15 * _mode(time, float(rng.uniform(160, 260)), 0.05, 1.0)


_MAKERS: dict[str, Callable[[np.random.Generator, bool, int], Tensor]] = {
    "kick": _kick,
    "snare": _snare,
    "rim": _rim,
    "clap": _clap,
    "hat": _cymbal(0.012, 0.06, (3000, 8500), 16),
    "open_hat": _cymbal(0.12, 0.45, (3000, 7500), 20),
    "ride": _ride,
    "crash": _cymbal(0.4, 1.6, (700, 4000), 40),
    "tom_high": _tom(140, 260),
    "tom_mid": _tom(100, 190),
    "tom_low": _tom(60, 130),
    "shaker": _shaker,
    "tambourine": _tambourine,
    "conga": _conga,
    "cowbell": _cowbell,
    "perc": _perc,
    "brush": _brush,
}
