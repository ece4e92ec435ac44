import librosa
import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends import STFT, GriffinLim


@pytest.fixture
def music(rng):
    t = np.arange(12000) / 8000
    tones = np.sin(2 * np.pi * 220 * t * (1 + 0.1 * t)) * np.exp(-(t % 0.5) * 3)
    return torch.from_numpy(tones + 0.05 * rng.standard_normal(len(t))).float()


def distance(layer, y, magnitude):
    frames = min(magnitude.shape[-1], layer(y).shape[-1])
    rest = layer(y)[..., :frames] - magnitude[..., :frames]
    return float(rest.norm() / magnitude.norm())


def test_converges_as_far_as_librosa(music):
    layer = STFT(n_fft=512, output="magnitude")
    magnitude = layer(music)
    options = {"n_fft": 512, "hop_length": 128}
    for steps in (4, 16, 32):
        # From phases of zero both are the same sequence; from random ones only on average.
        y = F.griffin_lim(magnitude, **options, iterations=steps, seed=None)
        z = librosa.griffinlim(magnitude.numpy(), n_iter=steps, init=None, **options)
        theirs = distance(layer, torch.from_numpy(z), magnitude)
        assert distance(layer, y, magnitude) < 1.01 * theirs
        random = F.griffin_lim(magnitude, **options, iterations=steps)
        assert distance(layer, random, magnitude) < 1.01 * theirs


def test_momentum_helps_and_iterations_too(music):
    layer = STFT(n_fft=512, output="magnitude")
    magnitude = layer(music)

    def result(**options):
        return distance(layer, GriffinLim(n_fft=512, **options)(magnitude), magnitude)

    assert result(iterations=20) < result(iterations=20, momentum=0.0)
    assert result(iterations=20) < result(iterations=5) < result(iterations=0)


def test_a_spectrum_with_its_phases_is_a_fixed_point(music):
    # Cosine-phase pulses have phases of zero in every frame that is centered on one.
    x = torch.zeros(1024, dtype=torch.float64)
    x[::64] = 1.0
    layer = STFT(n_fft=128, hop_length=64)
    spectrum = layer(x)
    phase = spectrum / spectrum.abs().clamp(min=1e-12)
    y = F.istft(spectrum.abs() * phase, n_fft=128, hop_length=64, length=1024)
    np.testing.assert_allclose(y, x, atol=1e-9)


def test_seeds(music):
    magnitude = STFT(n_fft=256, output="magnitude")(torch.stack([music, -2 * music]))
    layer = GriffinLim(n_fft=256, iterations=3)
    assert torch.equal(layer(magnitude), layer(magnitude))
    torch.testing.assert_close(layer(magnitude)[1], layer(magnitude[1]))
    other = GriffinLim(n_fft=256, iterations=3, seed=1)
    assert not torch.allclose(layer(magnitude), other(magnitude))
    before = torch.get_rng_state()
    layer(magnitude)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("samples", [1000, 1111])
def test_length_and_shape(samples):
    x = torch.randn(2, 3, samples)
    magnitude = STFT(n_fft=128, win_length=100, hop_length=25, output="magnitude")(x)
    layer = GriffinLim(n_fft=128, win_length=100, hop_length=25, iterations=2)
    assert layer(magnitude, length=samples).shape == x.shape
    assert layer(magnitude.double()).dtype == torch.float64
    assert not layer.state_dict()


def test_silence_and_gradients():
    magnitude = torch.zeros(33, 6, requires_grad=True)
    y = GriffinLim(n_fft=64, iterations=3)(magnitude)
    assert (y == 0).all()
    y.sum().backward()
    assert magnitude.grad.isfinite().all()
    magnitude = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(GriffinLim(n_fft=8, iterations=2), magnitude)


def test_bad_arguments():
    with pytest.raises(ParameterError, match=r"momentum is 1\.5; expected 0 to below 1"):
        GriffinLim(momentum=1.5)
    with pytest.raises(ParameterError, match="iterations is -1"):
        GriffinLim(iterations=-1)
    with pytest.raises(ParameterError, match="win_length is 99"):
        GriffinLim(n_fft=64, win_length=99)
    with pytest.raises(ShapeError, match=r"with 33 bins for n_fft 64"):
        GriffinLim(n_fft=64)(torch.zeros(30, 4))
    with pytest.raises(ShapeError, match=r"dtype torch\.complex64"):
        GriffinLim(n_fft=64)(torch.zeros(33, 4, dtype=torch.complex64))
