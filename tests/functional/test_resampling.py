import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import resampling

RATES = [(44100, 48000), (48000, 44100), (44100, 16000), (8000, 44100), (3, 1), (1, 3), (1001, 999)]


def direct(x, from_rate, to_rate, zeros=64, rolloff=0.9475937167399596, beta=14.769656459379492):
    """Sum of the definition in float64."""
    cutoff = rolloff * min(1, to_rate / from_rate)
    y = np.zeros(round(len(x) * to_rate / from_rate))
    for j in range(len(y)):
        place = cutoff * (j * from_rate / to_rate - np.arange(len(x)))
        inside = np.clip(1 - (place / zeros) ** 2, 0, None)
        window = np.where(np.abs(place) < zeros, np.i0(beta * np.sqrt(inside)) / np.i0(beta), 0)
        y[j] = (x * cutoff * np.sinc(place) * window).sum()
    return y


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("samples", [1, 7, 400])
def test_equals_the_definition(rng, from_rate, to_rate, samples):
    x = rng.standard_normal(samples)
    actual = F.resample(torch.from_numpy(x), from_rate=from_rate, to_rate=to_rate)
    np.testing.assert_allclose(actual, direct(x, from_rate, to_rate), atol=1e-11)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_both_ways_to_compute_are_one(rng, monkeypatch, from_rate, to_rate):
    x = torch.from_numpy(rng.standard_normal((2, 500)))
    plain = F.resample(x, from_rate=from_rate, to_rate=to_rate)
    monkeypatch.setattr(resampling, "_LARGEST_BANK", 0)
    monkeypatch.setattr(resampling, "_POINTS", 10_000)
    other = F.resample(x, from_rate=from_rate, to_rate=to_rate)
    np.testing.assert_allclose(other, plain, atol=1e-12)


def test_a_sinusoid_stays_one():
    t = torch.arange(44100, dtype=torch.float64) / 44100
    y = F.resample(torch.sin(2 * torch.pi * 1000 * t), from_rate=44100, to_rate=48000)
    u = torch.arange(48000, dtype=torch.float64) / 48000
    error = (y - torch.sin(2 * torch.pi * 1000 * u))[2000:-2000].abs().max()
    assert error < 1e-7


def test_what_does_not_fit_is_removed():
    t = torch.arange(44100, dtype=torch.float64) / 44100
    y = F.resample(torch.sin(2 * torch.pi * 9000 * t), from_rate=44100, to_rate=16000)
    assert y[2000:-2000].abs().max() < 1e-5


@pytest.mark.parametrize("largest", [1 << 22, 0])
def test_gradients(monkeypatch, largest):
    monkeypatch.setattr(resampling, "_LARGEST_BANK", largest)
    x = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: F.resample(x, from_rate=3, to_rate=5, zeros=4), x)


def test_shapes_and_types():
    x = torch.randn(2, 3, 300)
    assert F.resample(x, from_rate=8000, to_rate=8000) is x
    assert F.resample(x, from_rate=2, to_rate=1).shape == (2, 3, 150)
    assert F.resample(x.half(), from_rate=2, to_rate=1).dtype == torch.float16
    assert F.resample(x[..., :0], from_rate=2, to_rate=1).shape == (2, 3, 0)
    assert F.resample(x[:0], from_rate=2, to_rate=1).shape == (0, 3, 150)


def test_bad_arguments():
    x = torch.zeros(10)
    with pytest.raises(ParameterError, match="from_rate is 0; expected a whole number"):
        F.resample(x, from_rate=0, to_rate=1)
    with pytest.raises(ParameterError, match=r"to_rate is 44100\.5; expected a whole number"):
        F.resample(x, from_rate=48000, to_rate=44100.5)
    with pytest.raises(ParameterError, match="zeros is 0"):
        F.resample(x, from_rate=2, to_rate=1, zeros=0)
    with pytest.raises(ParameterError, match="rolloff is 2"):
        F.resample(x, from_rate=2, to_rate=1, rolloff=2)
    with pytest.raises(ParameterError, match="beta is -1"):
        F.resample(x, from_rate=2, to_rate=1, beta=-1)
    with pytest.raises(ShapeError, match=r"dtype torch\.int16"):
        F.resample(x.short(), from_rate=2, to_rate=1)
