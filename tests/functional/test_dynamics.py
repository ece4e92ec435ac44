import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _kernels

RATE = 44_100
LEVELS = torch.linspace(-80, 20, 401, dtype=torch.float64)


def test_hard_knees_are_two_lines():
    over = np.maximum(LEVELS.numpy() + 20, 0)
    under = np.maximum(-20 - LEVELS.numpy(), 0)
    compressed = F.compressor_gain_db(LEVELS, threshold_db=-20.0, ratio=4.0)
    np.testing.assert_allclose(compressed, -0.75 * over, atol=1e-12)
    np.testing.assert_allclose(F.limiter_gain_db(LEVELS, threshold_db=-20.0), -over, atol=1e-12)
    gated = F.gate_gain_db(LEVELS, threshold_db=-20.0, ratio=10.0)
    np.testing.assert_allclose(gated, -9 * under, atol=1e-12)


def test_soft_knee_joins_both_lines_smoothly():
    def curve(level, knee_db):
        return F.compressor_gain_db(level, threshold_db=-20.0, ratio=2.0, knee_db=knee_db)

    outside = (LEVELS + 20).abs() >= 6
    torch.testing.assert_close(curve(LEVELS, 12.0)[outside], curve(LEVELS, 0.0)[outside])
    assert curve(torch.tensor(-20.0), 12.0) == pytest.approx(-0.5 * 12 / 8)
    level = torch.tensor([-26.0, -14.0], dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(curve(level, 12.0).sum(), level)[0]
    torch.testing.assert_close(slope, torch.tensor([0.0, -0.5], dtype=torch.float64))


@pytest.mark.parametrize("knee_db", [0.0, 6.0])
def test_gradients_are_finite_at_the_edges(knee_db):
    values = torch.tensor([-20.0, 3.0, knee_db], dtype=torch.float64, requires_grad=True)
    for curve in (F.compressor_gain_db, F.gate_gain_db):
        gain = curve(LEVELS, threshold_db=values[0], ratio=values[1], knee_db=values[2])
        (gradient,) = torch.autograd.grad(gain.sum(), values)
        assert gradient.isfinite().all()


def _defined(x, threshold_db, ratio, attack_ms, release_ms):
    """The defining recursion, sample by sample."""
    rise, fall = (np.exp(-2000 * np.pi / (RATE * t)) for t in (attack_ms, release_ms))
    follow, gain, threshold = 0.0, np.ones_like(x), 10 ** (threshold_db / 20)
    for n, level in enumerate(np.abs(x)):
        follow = level + (rise if level > follow else fall) * (follow - level)
        gain[n] = 1.0 if follow < threshold else (follow / threshold) ** (1 / ratio - 1)
    return gain


def test_compressor_matches_its_definition(rng):
    x = rng.standard_normal((2, 3000)) * np.linspace(0, 1, 3000)
    values = {"threshold_db": -12.0, "ratio": 4.0, "attack_ms": 2.0, "release_ms": 60.0}
    actual = F.compressor_gain(torch.from_numpy(x), sample_rate=RATE, **values)
    for channel in range(2):
        np.testing.assert_allclose(actual[channel], _defined(x[channel], **values), rtol=1e-12)
    linked = F.compressor_gain(torch.from_numpy(x), sample_rate=RATE, link="max", **values)
    expected = _defined(np.abs(x).max(0), **values)
    np.testing.assert_allclose(linked[0], expected, rtol=1e-12)
    assert linked.shape == (1, 3000)


def test_values_per_item_and_gradients():
    x = torch.randn(2, 1, 40, dtype=torch.float64)
    threshold = torch.tensor([[-20.0], [-10.0]], dtype=torch.float64, requires_grad=True)
    ratio = torch.tensor([[2.0], [8.0]], dtype=torch.float64, requires_grad=True)
    times = torch.tensor([[0.4], [0.9]], dtype=torch.float64, requires_grad=True)

    def run(threshold, ratio, times):
        return F.compressor_gain(
            x,
            sample_rate=RATE,
            threshold_db=threshold,
            ratio=ratio,
            attack_ms=times,
            release_ms=3 * times,
        )

    gain = run(threshold, ratio, times)
    alone = F.compressor_gain(
        x[1], sample_rate=RATE, threshold_db=-10.0, ratio=8.0, attack_ms=0.9, release_ms=2.7
    )
    torch.testing.assert_close(gain[1], alone)
    assert torch.autograd.gradcheck(run, (threshold, ratio, times))


def test_silence_has_unit_gain_and_finite_gradients():
    x = torch.zeros(1, 20, requires_grad=True)
    values = {"threshold_db": -40.0, "ratio": 4.0, "attack_ms": 1.0, "release_ms": 10.0}
    gain = F.compressor_gain(x, sample_rate=RATE, **values)
    assert (gain == 1).all()
    assert torch.autograd.grad(gain.sum(), x)[0].isfinite().all()


def test_refuses():
    values = {"threshold_db": -40.0, "ratio": 4.0, "attack_ms": 1.0, "release_ms": 10.0}
    with pytest.raises(ParameterError, match="link is 'stereo'"):
        F.compressor_gain(torch.zeros(1, 4), sample_rate=RATE, link="stereo", **values)
    with pytest.raises(ShapeError, match=r"\(..., channels, samples\)"):
        F.compressor_gain(torch.zeros(4), sample_rate=RATE, **values)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("knee_db", [0.0, 6.0])
def test_curve_gain_is_the_curve_in_db(fast, knee_db, monkeypatch):
    if not fast:
        monkeypatch.setattr(_kernels, "has_fast_kernels", lambda: False)
    elif not _kernels.has_fast_kernels():
        pytest.skip("numba is not installed")
    levels = LEVELS[None] + torch.zeros(3, 1)
    ratio = torch.tensor([[1.0], [2.0], [20.0]], dtype=torch.float64)
    expected = F.compressor_gain_db(levels, threshold_db=-20.0, ratio=ratio, knee_db=knee_db)
    level = torch.pow(10.0, levels / 20)
    for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        gain = F.curve_gain(
            level.to(dtype), threshold_db=-20.0, slope=1 / ratio - 1, knee_db=knee_db, makeup_db=3.0
        )
        assert gain.dtype == dtype
        np.testing.assert_allclose(20 * gain.double().log10(), expected + 3.0, atol=bound)


@pytest.mark.parametrize("fast", [True, False])
def test_curve_gain_has_first_and_second_derivatives(fast, monkeypatch):
    if not fast:
        monkeypatch.setattr(_kernels, "has_fast_kernels", lambda: False)
    level = torch.rand(2, 9, dtype=torch.float64).add_(0.05).requires_grad_(True)
    values = [
        torch.tensor([[v]], dtype=torch.float64, requires_grad=True)
        for v in (-10.0, -0.7, 6.0, 2.0)
    ]

    def run(level, threshold, slope, knee, makeup):
        return F.curve_gain(
            level, threshold_db=threshold, slope=slope, knee_db=knee, makeup_db=makeup
        )

    assert torch.autograd.gradcheck(run, (level, *values))
    assert torch.autograd.gradgradcheck(run, (level, *values))


def test_gradients_at_the_edges_are_finite():
    level = torch.tensor([[0.0, 1e-13, 0.1, 1.0]], requires_grad=True)
    values = [torch.tensor([[v]], requires_grad=True) for v in (-20.0, 0.0, 0.0)]
    gain = F.curve_gain(level, threshold_db=values[0], slope=values[1], knee_db=values[2])
    found = torch.autograd.grad(gain.sum(), (level, *values))
    assert all(v.isfinite().all() for v in found)
