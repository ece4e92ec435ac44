"""Pairs cut out of something longer: effects remember what came before."""

import math

import pytest
import torch

from sonograd.effects import Compressor, Delay, ParametricEQ
from sonograd.matching import match
from sonograd.matching.solve import Problem

RATE = 16_000
CUT = 3 * RATE // 2


def bursts(seconds: float) -> torch.Tensor:
    samples = round(seconds * RATE)
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    swing = (2 * math.pi * 1.5 * torch.arange(samples) / RATE).sin().abs() ** 2
    return 0.2 * noise * (0.1 + swing)


CASES = {
    "compressor": (
        Compressor(RATE),
        {"threshold_db": -28.0, "ratio": 4.0, "attack_ms": 30.0, "release_ms": 200.0},
    ),
    "delay": (Delay(RATE), {"delay_ms": 130.0, "feedback": 0.4, "mix": 0.35}),
    "eq": (
        ParametricEQ(RATE, bands=1),
        {"band1_frequency_hz": 60.0, "band1_gain_db": 12.0, "band1_q": 2.0},
    ),
}


def left_out(result) -> bool:
    return any("left out of the fit" in note for note in result.notes)


@pytest.mark.parametrize("name", CASES)
def test_what_came_before_a_cut_is_left_out(name):
    effect, truth = CASES[name]
    x = bursts(5.5)
    y = effect(x, **truth)
    whole = match(x[:, : 4 * RATE], y[:, : 4 * RATE], name, bands=1, sample_rate=RATE)
    cut = match(x[:, CUT:], y[:, CUT:], name, bands=1, sample_rate=RATE)
    assert left_out(cut)
    assert not left_out(whole)
    assert cut.score.null_db > 80
    assert whole.score.null_db > 80
    excerpt = cut.excerpts[0]
    assert excerpt.start == excerpt.context > 0
    assert excerpt.start + excerpt.samples == 4 * RATE
    for key, value in truth.items():
        assert cut.values[next(iter(cut.values))][key] == pytest.approx(value, rel=1e-3)


def test_noise_is_no_memory():
    effect, truth = CASES["compressor"]
    x = bursts(4.0)
    y = effect(x, **truth)
    y = y + 1e-4 * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    result = match(x, y, "compressor", sample_rate=RATE)
    assert not left_out(result)
    assert result.excerpts[0].context == 0


def test_later_counts_fewer_samples():
    dry, wet = torch.randn(1, 1, 100), torch.randn(1, 1, 140)
    mask = (torch.arange(90) % 3 > 0).double().expand(1, 1, -1)
    problem = Problem(dry, wet, 10, mask)
    later = problem.later(20)
    torch.testing.assert_close(later.counted(dry), problem.counted(dry)[..., 20:])
    assert later.count == int(mask[..., 20:].sum())
    assert Problem(dry, wet).later(20).count == 80
