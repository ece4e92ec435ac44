import math
import subprocess
import sys

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


def test_stream_equals_whole(path, rng):
    level = torch.from_numpy(rng.random((2, 400)))
    whole = F.envelope_follower(level, 1.0, 20.0, sample_rate=RATE)
    state, parts = None, []
    for begin, end in ((0, 1), (1, 1), (1, 150), (150, 400)):
        part, state = F.envelope_follower_stream(
            level[:, begin:end], 1.0, 20.0, state, sample_rate=RATE
        )
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, -1), whole, rtol=0, atol=1e-13)
    with pytest.raises(ShapeError, match=r"state has shape \(3,\); expected \(2,\)"):
        F.envelope_follower_stream(level, 1.0, 2.0, torch.zeros(3), sample_rate=RATE)
    with pytest.raises(ShapeError, match="do not broadcast"):
        F.envelope_follower(level, torch.ones(3), 2.0, sample_rate=RATE)


def test_both_paths_have_the_same_numbers_and_gradients(rng, monkeypatch):
    if not _kernels.has_fast_kernels():
        pytest.skip("numba is not installed")
    level = torch.from_numpy(rng.random((5, 3000)) * (np.arange(3000) % 700 < 300))
    weights = torch.from_numpy(rng.standard_normal((5, 3000)))
    times = torch.tensor([[0.3], [50.0]], dtype=torch.float64).expand(2, 5).clone()

    def run():
        leaves = [v.clone().requires_grad_(True) for v in (level, *times)]
        follow = F.envelope_follower(*leaves, sample_rate=RATE)
        return follow.detach(), torch.autograd.grad((follow * weights).sum(), leaves)

    fast, fast_gradients = run()
    monkeypatch.setattr(_kernels, "has_fast_kernels", lambda: False)
    slow, slow_gradients = run()
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-13)
    torch.testing.assert_close(fast_gradients, slow_gradients, rtol=1e-9, atol=1e-11)


def test_second_derivatives(path):
    level = torch.rand(30, dtype=torch.float64, requires_grad=True)
    times = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda level, times: F.envelope_follower(level, *times, sample_rate=RATE), (level, times)
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside of torch.compile
def test_transforms_and_compilation():
    level = torch.rand(2, 100, dtype=torch.float64)
    times = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def run(time):
        return F.envelope_follower(level, time, 20.0, sample_rate=8000)

    mapped = torch.func.vmap(run)(times)
    torch.testing.assert_close(mapped[2], run(times[2]))
    forward = torch.func.jacfwd(run)(times[0])
    torch.testing.assert_close(forward, torch.autograd.functional.jacobian(run, times[0]))
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(times[1]), run(times[1]))


@pytest.mark.parametrize("cut", [0, 1, 700, 2000])
def test_latch_is_its_definition_on_both_paths(path, rng, cut):
    level = torch.from_numpy(rng.random((3, 2000)))
    upper = torch.tensor([0.9, 0.95, 0.99], dtype=torch.float64)
    lower, hold = upper - 0.2, torch.tensor([0.0, 5.0, 20.0], dtype=torch.float64)
    state = torch.tensor([[0.0, 0.0], [1.0, 3.0], [0.0, 7.0]], dtype=torch.float64)
    head, after = _branching.latch(level[:, :cut], upper, lower, hold, state)
    tail, _ = _branching.latch(level[:, cut:], upper, lower, hold, after)
    actual = torch.cat([head, tail], -1)
    for row in range(3):
        is_open, age = bool(state[row, 0]), state[row, 1]
        for n, now in enumerate(level[row]):
            age = 0 if now >= lower[row] else age + 1
            is_open = bool(now > upper[row]) or (is_open and bool(age <= hold[row]))
            assert actual[row, n] == is_open


def test_following_does_not_import_the_compiler_of_torch():
    code = (
        "import sys, torch; from sonograd.functional import envelope_follower as follow; "
        "x = torch.rand(100, requires_grad=True); "
        "follow(x, 1.0, 50.0, sample_rate=1000).sum().backward(); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
