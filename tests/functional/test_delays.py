import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("delay", [0, 1, 7, 2000])
def test_whole_delays_are_exact(rng, interpolation, delay):
    x = torch.from_numpy(rng.standard_normal((2, 500)))
    y = F.fractional_delay(x, delay / RATE, sample_rate=RATE, interpolation=interpolation)
    expected = np.concatenate([np.zeros((2, delay)), x.numpy()], axis=1)[:, :500]
    np.testing.assert_allclose(y, expected, atol=1e-9)


def test_linear_is_that_of_numpy(rng):
    x = rng.standard_normal(800)
    delay = 5 + 4 * np.sin(np.arange(800) / 50)
    y = F.fractional_delay(
        torch.from_numpy(x),
        torch.from_numpy(delay / RATE),
        sample_rate=RATE,
        interpolation="linear",
    )
    time = np.arange(800)
    expected = np.interp(time - delay, time, x)
    np.testing.assert_allclose(y[10:], expected[10:], atol=1e-9)


def test_cubic_reproduces_cubics_and_delays_tones():
    time = torch.arange(200, dtype=torch.float64)
    delay = torch.linspace(1.5, 6.25, 200, dtype=torch.float64)

    def cubic(t):
        return 1e-6 * t**3 - 1e-3 * t**2 + 0.1 * t - 3

    y = F.fractional_delay(cubic(time), delay / RATE, sample_rate=RATE)
    torch.testing.assert_close(y[12:-1], cubic(time - delay)[12:-1], rtol=0, atol=1e-9)


def test_a_growing_delay_lowers_the_pitch():
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    tone = torch.sin(2 * torch.pi * 1000 * time)
    y = F.fractional_delay(tone, 0.1 * time, sample_rate=RATE)
    assert int(torch.fft.rfft(y * torch.hann_window(RATE)).abs().argmax()) == 900


def test_echo_matches_its_definition(rng):
    x = rng.standard_normal((2, 1000))
    w = x.copy()
    for n in range(137, 1000):
        w[:, n] += 0.6 * w[:, n - 137]
    late = np.concatenate([np.zeros((2, 137)), w[:, :-137]], axis=1)
    y = F.echo(torch.from_numpy(x), sample_rate=1000, delay_s=0.137, feedback=0.6, mix=0.3)
    np.testing.assert_allclose(y, 0.7 * x + 0.3 * late, atol=1e-12)


def test_ping_pong_alternates():
    x = torch.zeros(2, 50)
    x[0, 0] = 1
    y = F.echo(x, sample_rate=1000, delay_s=0.01, feedback=0.5, mix=1.0, ping_pong=True)
    expected = torch.zeros(2, 50)
    expected[1, 10], expected[0, 20], expected[1, 30], expected[0, 40] = 1, 0.5, 0.25, 0.125
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("samples", [0, 1, 9, 10, 11])
def test_short_signals(samples):
    x = torch.ones(1, samples)
    y = F.echo(x, sample_rate=1000, delay_s=0.01, mix=0.5)
    assert y.shape == x.shape
    assert (y[:, :10] == 0.5).all()
    assert F.fractional_delay(x, 0.01, sample_rate=1000).abs().sum() == max(0, samples - 10)


def test_gradients():
    x = torch.randn(2, 30, dtype=torch.float64, requires_grad=True)
    delay = (torch.rand(30, dtype=torch.float64) * 5 + 0.1).requires_grad_(True)
    feedback = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    for kind in ("linear", "cubic"):
        assert torch.autograd.gradcheck(
            lambda x, d, k=kind: F.fractional_delay(x, d, sample_rate=1.0, interpolation=k),
            (x, delay),
        )
    assert torch.autograd.gradcheck(
        lambda x, f: F.echo(x, sample_rate=100, delay_s=0.07, feedback=f), (x, feedback)
    )


def test_refuses():
    x = torch.zeros(1, 10)
    with pytest.raises(ParameterError, match="less than one sample"):
        F.echo(x, sample_rate=1000, delay_s=0.0005)
    with pytest.raises(ParameterError, match="interpolation is 'sinc'"):
        F.fractional_delay(x, 0.1, sample_rate=1000, interpolation="sinc")
    with pytest.raises(ParameterError, match="delay_s is -1"):
        F.fractional_delay(x, -1.0, sample_rate=1000)
    with pytest.raises(ShapeError, match=r"expected \(..., 10\)"):
        F.fractional_delay(x, torch.ones(9), sample_rate=1000)


def test_pieces_of_a_moving_delay_are_the_whole():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 70_001, generator=generator)
    curve = 0.01 * torch.rand(70_001, generator=generator)
    whole = F.fractional_delay(x, curve, sample_rate=44_100)
    with torch.no_grad():
        assert torch.equal(F.fractional_delay(x, curve, sample_rate=44_100), whole)
