import librosa
import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends import PCEN, LogCompression


@pytest.mark.parametrize("frames", [1, 5, 32, 33, 200])
def test_pcen_equals_librosa(rng, frames):
    x = rng.random((40, frames))
    layer = PCEN(rate=0.04, gain=0.9, bias=1.5, power=0.4, trainable=False)
    rate = float(layer.values()["rate"])
    expected = librosa.pcen(x, gain=0.9, bias=1.5, power=0.4, b=rate, eps=1e-6)
    # librosa's level starts at 1.
    actual = layer(torch.from_numpy(x), start=torch.ones(40, dtype=torch.float64))
    np.testing.assert_allclose(actual, expected, atol=1e-7)


def test_average_equals_the_recursion(rng):
    x = rng.random((2, 3, 100))
    rate = np.array([0.01, 0.5, 1.0])
    level, expected = x[..., 0], np.zeros_like(x)
    for n in range(100):
        level = (1 - rate) * level + rate * x[..., n]
        expected[..., n] = level
    actual = F.exponential_average(torch.from_numpy(x), torch.from_numpy(rate))
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_level_does_not_matter(rng):
    x = torch.from_numpy(rng.random((10, 300)) + 0.1)
    layer = PCEN(gain=1.0, trainable=False)
    torch.testing.assert_close(layer(1000 * x), layer(x), rtol=1e-3, atol=1e-3)


def test_blocks_go_on(rng):
    x = torch.from_numpy(rng.random((4, 90)))
    rate = torch.tensor([0.1], dtype=torch.float64)
    whole = F.exponential_average(x, rate)
    first = F.exponential_average(x[:, :37], rate)
    second = F.exponential_average(x[:, 37:], rate, start=first[:, -1])
    torch.testing.assert_close(torch.cat([first, second], -1), whole)


def test_gradients():
    x = torch.rand(2, 3, 40, dtype=torch.float64, requires_grad=True)
    for layer in (PCEN(bands=3).double(), LogCompression(bands=3).double()):
        values = dict(layer.named_parameters())

        def run(x, *tensors, layer=layer, names=tuple(values)):
            return torch.func.functional_call(layer, dict(zip(names, tensors, strict=True)), x)

        assert torch.autograd.gradcheck(run, (x, *values.values()))
        silence = torch.zeros(3, 50, dtype=torch.float64, requires_grad=True)
        y = layer(silence)
        assert (y == 0).all()
        y.sum().backward()
        assert silence.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_any_step_stays_in_range():
    layer = PCEN(bands=4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(-30.0)
    assert all((value >= 0).all() for value in layer.values().values())
    assert layer(torch.rand(4, 10)).isfinite().all()


def test_log_compression():
    x = torch.tensor([[0.0, 1.0, 11.0]])
    torch.testing.assert_close(LogCompression(factor=9.0)(x).detach(), torch.tensor([[0, 1.0, 2]]))


def test_bad_arguments():
    for options, message in [
        ({"rate": 1.0}, "rate is 1.0; expected a number between 0 and 1"),
        ({"gain": 0.0}, "gain is 0.0"),
        ({"bands": 0}, "bands is 0"),
        ({"epsilon": 0.0}, "epsilon is 0.0"),
    ]:
        with pytest.raises(ParameterError, match=message):
            PCEN(**options)
    with pytest.raises(ParameterError, match=r"factor is 0\.0"):
        LogCompression(factor=0.0)
    with pytest.raises(ShapeError, match=r"shape \(3, 5\).*expected \(..., 4, frames\)"):
        PCEN(bands=4)(torch.rand(3, 5))
    with pytest.raises(ShapeError, match=r"dtype torch\.complex64"):
        PCEN()(torch.zeros(3, 5, dtype=torch.complex64))
