import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError

SHAPES = [0.3, 0.5, 1.0, 1.84, 2.7]


def _pulse(rd, count=200_000):
    turns = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return F.glottal_pulse(turns, torch.tensor(rd, dtype=torch.float64))


@pytest.mark.parametrize("rd", SHAPES)
def test_the_flow_comes_back_to_zero(rd):
    """The definition: no flow is left at the end, it closes with slope -1, and opens from 0."""
    y = _pulse(rd)
    assert abs(float(y.mean())) < 1e-6
    assert float(y.min()) == pytest.approx(-1.0, abs=3e-3)
    assert abs(float(y[0])) < 1e-3
    assert abs(float(y[-1])) < 1e-3
    assert float(y.cumsum(0).min()) > -1e-3 * len(y)


@pytest.mark.parametrize("rd", [0.5, 1.0, 2.5])
def test_the_shape_is_what_rd_says(rd):
    """Rd is peak flow over (closing slope x period) / 0.11; its regressions hold that roughly."""
    flow = _pulse(rd).cumsum(0) / 200_000
    assert float(flow.max()) / 0.11 == pytest.approx(rd, rel=0.12)


@pytest.mark.parametrize("rd", SHAPES)
def test_harmonics_are_those_of_the_pulse(rd):
    y = _pulse(rd).numpy()
    k = np.arange(1, 41)
    numeric = 2j * np.fft.fft(y)[1:41] / len(y) * np.exp(-1j * np.pi * k / len(y))
    closed = F.glottal_harmonics(torch.tensor(rd, dtype=torch.float64), 40).numpy()
    np.testing.assert_allclose(closed, numeric, atol=2e-5)


def test_harmonics_add_up_to_the_pulse():
    rd = torch.tensor([0.8, 1.5], dtype=torch.float64)
    turns = torch.linspace(0, 1, 500, dtype=torch.float64)
    series = F.glottal_harmonics(rd, 4000)
    k = torch.arange(1, 4001, dtype=torch.float64)
    angle = 2 * torch.pi * k * turns[:, None]
    y = (series[:, None] * torch.polar(torch.ones_like(angle), angle)).sum(-1).imag
    torch.testing.assert_close(y, F.glottal_pulse(turns, rd[:, None]), atol=3e-3, rtol=0)


def test_breathy_is_darker():
    level = F.glottal_harmonics(torch.tensor(SHAPES), 30).abs()
    tilt = level[:, 20] / level[:, 0]
    assert (tilt.diff() < 0).all()
    assert level.dtype == torch.float32


def test_gradients():
    rd = torch.tensor([0.31, 0.9, 1.7, 2.6], dtype=torch.float64, requires_grad=True)
    turns = torch.rand(7, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: F.glottal_harmonics(r, 6), rd, atol=1e-5)
    assert torch.autograd.gradcheck(F.glottal_pulse, (turns, rd), atol=1e-5)


def test_refuses():
    with pytest.raises(ParameterError, match="harmonics is 0"):
        F.glottal_harmonics(torch.tensor(1.0), 0)
