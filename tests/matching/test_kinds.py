"""Kinds of processing that a match has to tell, and what it says where it cannot."""

import torch

from sonograd.matching.analyze import clipped_samples

RATE = 16_000


def tone(seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.sin(2 * torch.pi * 220 * time)[None]


def test_both_ceilings_of_integers_are_seen():
    steps = 2.0**15
    wet = (3 * tone() * steps).round().clamp(-steps, steps - 1) / steps
    found = clipped_samples(wet[None])
    assert torch.equal(found[0], (3 * tone()).abs() > 1)


def test_a_loud_sample_alone_is_not_clipped():
    wet = tone() * torch.linspace(0.1, 1, RATE)
    assert not bool(clipped_samples(wet[None]).any())
