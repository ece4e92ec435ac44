import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _branching, _kernels

RATE = 44_100


@pytest.fixture(params=["kernel", "torch"])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(_kernels, "has_fast_kernels", lambda: False)
        monkeypatch.setattr(_branching, "_SEGMENT", 1000)
    elif not _kernels.has_fast_kernels():
        pytest.skip("numba is not installed")
    return request.param


def _loop(level, attack, release):
    follow, out = 0.0, np.zeros_like(level)
    for n, now in enumerate(level):
        keep = attack if now > follow else release
        follow = now + keep * (follow - now)
        out[n] = follow
    return out


def _coefficient(time_ms):
    return math.exp(-2 * math.pi * 1000 / (RATE * time_ms)) if time_ms >= 1e-3 else 0.0


@pytest.mark.parametrize(
    ("attack_ms", "release_ms"),
    [(5, 100), (0.3, 500), (30, 5), (10, 10), (0, 50), (50, 0), (0, 0)],
)
def test_matches_the_loop(path, rng, attack_ms, release_ms):
    level = np.abs(rng.standard_normal(4000)) * (np.arange(4000) % 700 < 300)
    actual = F.envelope_follower(torch.from_numpy(level), attack_ms, release_ms, sample_rate=RATE)
    expected = _loop(level, _coefficient(attack_ms), _coefficient(release_ms))
    np.testing.assert_allclose(actual, expected, atol=1e-13)


@given(
    attack_ms=st.floats(0.01, 50),
    release_ms=st.floats(0.01, 50),
    levels=st.lists(st.floats(0, 1), max_size=60),
)
def test_torch_path_matches_the_loop(attack_ms, release_ms, levels):
    level = torch.tensor(levels, dtype=torch.float64)
    rise, fall = _coefficient(attack_ms), _coefficient(release_ms)
    values = (torch.full((1, 1), v, dtype=torch.float64) for v in (rise, fall))
    actual, _ = _branching._iterate(level[None], *values, torch.zeros(1, dtype=torch.float64))
    np.testing.assert_allclose(actual[0], _loop(level.numpy(), rise, fall), atol=1e-13)


def test_times_per_row(path, rng):
    level = torch.from_numpy(rng.random((2, 3, 500))).float()
    attack = torch.tensor([1.0, 5.0, 20.0])
    release = torch.tensor([[50.0], [100.0]])
    both = F.envelope_follower(level, attack, release, sample_rate=RATE)
    assert both.dtype == torch.float32
    alone = F.envelope_follower(level[1, 2].double(), 20.0, 100.0, sample_rate=RATE)
    torch.testing.assert_close(both[1, 2].double(), alone, rtol=0, atol=1e-6)


def test_gradients(path):
    level = torch.rand(60, dtype=torch.float64, requires_grad=True)
    times = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda level, times: F.envelope_follower(level, *times, sample_rate=RATE), (level, times)
    )


def test_silence_and_damaged_samples(path):
    level = torch.zeros(2, 50)
    level[1, 20] = math.nan
    follow = F.envelope_follower(level, 1.0, 10.0, sample_rate=RATE)
    assert (follow[0] == 0).all()
    assert (follow[1, :20] == 0).all()
    assert follow[1, 20:].isnan().all()
    assert F.envelope_follower(level[:, :0], 1.0, 10.0, sample_rate=RATE).shape == (2, 0)


@pytest.mark.parametrize(
    ("convention", "left"), [("tau", math.exp(-1)), ("juce", math.exp(-2 * math.pi))]
)
def test_what_is_left_after_the_time(convention, left):
    keep = F.smoothing_coefficient(20.0, sample_rate=RATE, time_convention=convention)
    assert float(keep) ** (0.02 * RATE) == pytest.approx(left, rel=1e-9)


def test_ten_to_ninety_percent():
    keep = float(F.smoothing_coefficient(20.0, sample_rate=RATE, time_convention="10-90"))
    ten, ninety = (math.log(1 - level) / math.log(keep) for level in (0.1, 0.9))
    assert (ninety - ten) / RATE == pytest.approx(0.02, rel=1e-9)


def test_refuses():
    with pytest.raises(ParameterError, match="time_convention is 'ms'"):
        F.smoothing_coefficient(1.0, sample_rate=RATE, time_convention="ms")
    with pytest.raises(ShapeError, match="scalar"):
        F.envelope_follower(torch.tensor(1.0), 1.0, 1.0, sample_rate=RATE)
