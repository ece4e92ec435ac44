import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _kernels, state_variable

RATE = 44_100
KINDS = ("low_pass", "band_pass", "high_pass", "notch", "all_pass")


@pytest.fixture(params=["kernel", "torch"])
def path(request, monkeypatch):
    """Run with and without compiled kernels."""
    if request.param == "torch":
        monkeypatch.setattr(_kernels, "has_fast_kernels", lambda: False)
    elif not _kernels.has_fast_kernels():
        pytest.skip("numba is not installed")
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_constant_values_give_the_biquad(path, rng, kind):
    x = torch.from_numpy(rng.standard_normal((2, 3000)))
    actual = F.state_variable_filter(x, 900.0, 3.0, sample_rate=RATE, kind=kind)
    design = getattr(F, f"{kind}_biquad")(900.0, 3.0, sample_rate=RATE)
    torch.testing.assert_close(actual, F.sosfilt(x, design[None]), rtol=0, atol=1e-10)


def _loop(x, g, k):
    """Zavalishin's equations, one sample after the other."""
    first = second = 0.0
    low = np.zeros_like(x)
    for n in range(len(x)):
        band = (first + g[n] * (x[n] - second)) / (1 + g[n] * (g[n] + k[n]))
        low[n] = second + g[n] * band
        first, second = 2 * band - first, 2 * low[n] - second
    return low


@pytest.mark.parametrize("segment", [1 << 18, 300])
def test_moving_values_match_the_loop(path, rng, segment, monkeypatch):
    monkeypatch.setattr(state_variable, "_SEGMENT", segment)
    x = rng.standard_normal(2000)
    cutoff = np.exp(rng.uniform(np.log(50), np.log(15_000), 2000))
    q = rng.uniform(0.5, 20, 2000)
    actual = F.state_variable_filter(
        torch.from_numpy(x), torch.from_numpy(cutoff), torch.from_numpy(q), sample_rate=RATE
    )
    np.testing.assert_allclose(actual, _loop(x, np.tan(np.pi * cutoff / RATE), 1 / q), atol=1e-9)


def test_single_precision_batches_and_broadcasts(path, rng):
    x = torch.from_numpy(rng.standard_normal((2, 1, 400))).float()
    cutoff = torch.tensor([[300.0], [3000.0], [30_000.0]])
    y = F.state_variable_filter(x, cutoff, 2.0, sample_rate=RATE)
    assert y.shape == (2, 3, 400)
    assert y.dtype == torch.float32
    alone = F.state_variable_filter(x[1, 0].double(), 3000.0, 2.0, sample_rate=RATE)
    torch.testing.assert_close(y[1, 1].double(), alone, rtol=0, atol=1e-6)
    held = F.state_variable_filter(x[1, 0], 0.49 * RATE, 2.0, sample_rate=RATE)
    torch.testing.assert_close(y[1, 2], held)


def test_gradients():
    x = torch.randn(40, dtype=torch.float64, requires_grad=True)
    cutoff = torch.linspace(500, 9000, 40, dtype=torch.float64, requires_grad=True)
    q = torch.tensor([1.7], dtype=torch.float64, requires_grad=True)
    for kind in KINDS:
        assert torch.autograd.gradcheck(
            lambda *v, kind=kind: F.state_variable_filter(*v, sample_rate=RATE, kind=kind),
            (x, cutoff, q),
            fast_mode=True,
        )


def test_empty_and_wrong():
    x = torch.zeros(2, 10)
    assert F.state_variable_filter(x[:, :0], 100.0, sample_rate=RATE).shape == (2, 0)
    with pytest.raises(ParameterError, match="kind is 'low'"):
        F.state_variable_filter(x, 100.0, sample_rate=RATE, kind="low")
    with pytest.raises(ShapeError, match=r"cutoff_hz has shape \(5,\)"):
        F.state_variable_filter(x, torch.ones(5), sample_rate=RATE)
    with pytest.raises(ShapeError, match=r"cutoff_hz has shape \(10,\)"):
        F.state_variable_filter(x[:, :1], torch.ones(10), sample_rate=RATE)
