import math

import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE, SAMPLES = 16_000, 1000


def _tones(count, snr_db=None, low=100.0, high=7900.0):
    frequency = low + (high - low) * torch.rand(count, dtype=torch.float64)
    phase = 2 * torch.pi * torch.rand(count, dtype=torch.float64)
    level = 0.1 + torch.rand(count, dtype=torch.float64)
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    x = level[:, None] * (2 * torch.pi * frequency[:, None] * time + phase[:, None]).sin()
    if snr_db is not None:
        noise = torch.randn(count, SAMPLES, dtype=torch.float64)
        x = x + noise * (level / 2**0.5 * 10 ** (-snr_db / 20))[:, None]
    return x, frequency, torch.polar(level, phase)


def test_without_noise_it_is_exact():
    x, frequency, amplitude = _tones(300)
    fit = F.estimate_frequency(x, sample_rate=RATE)
    assert (fit.frequency_hz - frequency).abs().max() < 1e-9
    assert (fit.amplitudes[:, 0] - amplitude).abs().max() < 1e-9


@pytest.mark.parametrize("snr_db", [40, 20, 0])
def test_reaches_the_bound_that_no_estimate_can_beat(snr_db):
    count = 600
    x, frequency, _ = _tones(count, snr_db)
    fit = F.estimate_frequency(x, sample_rate=RATE)
    error = (fit.frequency_hz - frequency).square().mean().sqrt()
    bound = F.frequency_bound_hz(SAMPLES, snr_db, sample_rate=RATE)
    # The standard error of a deviation from 600 values is 2.9 %.
    assert error / bound == pytest.approx(1.0, abs=0.1)


def test_the_bound_is_the_inverse_of_the_information():
    """Computed from the Jacobian of the model; the formula leaves out terms of 1 / N."""
    time = torch.arange(SAMPLES, dtype=torch.float64)

    def tone(values):
        return values[1] * (2 * torch.pi * values[0] / RATE * time + values[2]).sin()

    jacobian = torch.autograd.functional.jacobian(
        tone, torch.tensor([1234.5, 0.7, 0.3], dtype=torch.float64)
    )
    sigma = 0.7 / 2**0.5 * 10 ** (-20 / 20)
    covariance = torch.linalg.inv(jacobian.T @ jacobian) * sigma**2
    bound = F.frequency_bound_hz(SAMPLES, 20, sample_rate=RATE)
    assert float(covariance[0, 0].sqrt()) == pytest.approx(bound, rel=5e-3)


def test_harmonics_share_what_they_know():
    """Five harmonics of one tone: the estimate is better than from the fundamental alone."""
    count, noise = 200, 0.2
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    frequency = 150 + 100 * torch.rand(count, 1, dtype=torch.float64)
    clean = sum((2 * torch.pi * k * frequency * time + k).sin() for k in range(1, 6))
    x = clean + noise * torch.randn(count, SAMPLES, dtype=torch.float64)
    start = frequency[:, 0] + 0.5
    errors = []
    for harmonics in (1, 5):
        fit = F.refine_frequency(x, start, sample_rate=RATE, harmonics=harmonics)
        errors.append(float((fit.frequency_hz - frequency[:, 0]).square().mean().sqrt()))
    # The information of harmonic k is k^2 times that of the fundamental: 55 in all.
    bound = F.frequency_bound_hz(SAMPLES, -20 * math.log10(noise * 2**0.5), sample_rate=RATE)
    assert errors[1] / (bound / 55**0.5) == pytest.approx(1.0, abs=0.25)
    assert errors[1] < errors[0] / 5
    fit = F.refine_frequency(clean, start, sample_rate=RATE, harmonics=5)
    expected = torch.polar(torch.ones(5), torch.arange(1.0, 6.0)).to(torch.complex128)
    torch.testing.assert_close(fit.amplitudes, expected.expand(count, 5), atol=1e-6, rtol=0)


def test_searches_where_it_is_told():
    time = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    x = (2 * torch.pi * 1000 * time).sin() + 0.3 * (2 * torch.pi * 3000 * time).sin()
    loud = F.estimate_frequency(x, sample_rate=RATE).frequency_hz
    soft = F.estimate_frequency(x, sample_rate=RATE, low_hz=2000.0, high_hz=4000.0).frequency_hz
    assert float(loud) == pytest.approx(1000, abs=0.2)
    assert float(soft) == pytest.approx(3000, abs=0.5)


def test_shapes_and_precision():
    x, frequency, _ = _tones(6)
    fit = F.estimate_frequency(x.float().reshape(2, 3, SAMPLES), sample_rate=RATE)
    assert fit.amplitudes.shape == (2, 3, 1)
    torch.testing.assert_close(fit.frequency_hz.flatten(), frequency, atol=1e-3, rtol=0)
    alone = F.estimate_frequency(x[2], sample_rate=RATE)
    torch.testing.assert_close(
        alone.frequency_hz, F.estimate_frequency(x, sample_rate=RATE).frequency_hz[2]
    )


def test_silence_has_no_frequency():
    x = torch.zeros(2, 100, dtype=torch.float64, requires_grad=True)
    fit = F.estimate_frequency(x, sample_rate=RATE)
    assert (fit.frequency_hz == 0).all()
    assert (fit.amplitudes == 0).all()
    (fit.frequency_hz.sum() + fit.amplitudes.abs().square().sum()).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("harmonics", [1, 3])
def test_gradients_are_those_of_the_optimum(harmonics):
    """Also with noise, where a Gauss-Newton step alone would have another derivative."""
    time = torch.arange(40, dtype=torch.float64) / RATE
    x = sum((2 * torch.pi * k * 1500 * time + k).sin() / k for k in range(1, harmonics + 1))
    x = (x + 0.03 * torch.randn(40, dtype=torch.float64)).requires_grad_()
    start = torch.tensor(1510.0, dtype=torch.float64)

    def run(x):
        fit = F.refine_frequency(x, start, sample_rate=RATE, harmonics=harmonics, iterations=12)
        return fit.frequency_hz, fit.amplitudes

    assert torch.autograd.gradcheck(run, x, atol=1e-3, rtol=1e-3)


def test_refuses():
    with pytest.raises(ShapeError, match=r"x has shape \(3,\); expected"):
        F.estimate_frequency(torch.ones(3), sample_rate=RATE)
    with pytest.raises(ParameterError, match=r"low_hz is 500\.0 and high_hz 400\.0"):
        F.estimate_frequency(torch.ones(30), sample_rate=RATE, low_hz=500.0, high_hz=400.0)
    with pytest.raises(ParameterError, match="harmonics is 0"):
        F.refine_frequency(torch.ones(30), torch.tensor(5.0), sample_rate=RATE, harmonics=0)
    with pytest.raises(ParameterError, match="samples is 1"):
        F.frequency_bound_hz(1, 0.0, sample_rate=RATE)
