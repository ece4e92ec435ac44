"""Amplifiers and cabinets of electric guitars."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sonograd.data.songs.sound import filtered, high_pass, log_uniform, low_pass, normalize
from sonograd.functional import peak_biquad

__all__ = ["guitar_amp"]


def guitar_amp(name: str, rng: np.random.Generator, rate: int) -> Callable[[Tensor], Tensor]:
    """Return an amplifier with its cabinet, as clean or distorted as the instrument's name says."""
    low, high = {
        "clean_guitar": (0.3, 2.5),
        "muted_guitar": (0.3, 3.0),
        "crunch_guitar": (3.0, 12.0),
        "distorted_guitar": (10.0, 90.0),
        "lead_guitar": (3.0, 60.0),
    }.get(name, (0.5, 3.0))
    drive = log_uniform(rng, low, high)
    hard, bias = rng.random() < 0.3, float(rng.uniform(0.0, 0.3))
    tight = log_uniform(rng, 60, 220)
    cut, order = log_uniform(rng, 3000, 7500), int(rng.choice([2, 3, 4]))
    bells = [
        (log_uniform(rng, 1400, 3800), float(rng.uniform(0, 8)), 1.0),
        (log_uniform(rng, 250, 900), float(rng.uniform(-9, 4)), 0.8),
        (log_uniform(rng, 90, 180), float(rng.uniform(-2, 6)), 1.2),
    ]
    if name == "clean_guitar":
        cut = log_uniform(rng, 4000, 12000)
    sections = torch.stack(
        [peak_biquad(min(hz, 0.4 * rate), gain, q, sample_rate=rate) for hz, gain, q in bells]
    )

    def amplify(x: Tensor) -> Tensor:
        x = normalize(high_pass(x, tight, rate)) * drive
        if drive > 1.0:
            x = x.clamp(-1.0, 1.0) if hard else torch.tanh(x + bias) - float(np.tanh(bias))
        return filtered(low_pass(high_pass(x, 70, rate), cut, rate, order), sections)

    return amplify
