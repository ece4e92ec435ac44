import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError
from sonograd.frontends import GammatoneFilterbank, GammatoneSpectrogram

RATE = 8000


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_is_the_weighted_transform(rng, power):
    x = rng.standard_normal((2, 3000))
    layer = GammatoneSpectrogram(
        sample_rate=RATE, n_fft=512, hop_length=200, n_bands=30, fmin=50.0, power=power
    )
    bank = F.gammatone_filterbank(
        sample_rate=RATE, n_fft=512, n_bands=30, fmin=50.0, dtype=torch.float64
    )
    spectrum = F.stft(torch.from_numpy(x), n_fft=512, hop_length=200, pad_mode="constant")
    expected = bank @ spectrum.abs() ** power / 512
    np.testing.assert_allclose(layer(torch.from_numpy(x)), expected, rtol=1e-10)
    single = layer(torch.from_numpy(x).float())
    np.testing.assert_allclose(single, expected, rtol=1e-4)


def test_equals_nnaudio(rng):
    features = pytest.importorskip("nnAudio.features")
    x = torch.from_numpy(rng.standard_normal((2, 9000))).float()
    theirs = features.Gammatonegram(sr=RATE, verbose=False, pad_mode="constant")(x)
    ours = GammatoneSpectrogram(sample_rate=RATE)(x)
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def test_filters_in_time_equal_scipy(rng):
    x = rng.standard_normal((2, 2000))
    layer = GammatoneFilterbank(sample_rate=RATE, n_bands=12, fmin=50.0)
    actual = layer(torch.from_numpy(x))
    assert actual.shape == (2, 12, 2000)
    for band, sos in enumerate(F.gammatone_sos(layer.frequencies, sample_rate=RATE)):
        expected = signal.sosfilt(sos.numpy(), x)
        np.testing.assert_allclose(actual[:, band], expected, atol=1e-5)
    single = layer(torch.from_numpy(x).float())
    np.testing.assert_allclose(single, actual, atol=1e-4)


def test_energy_of_a_sinusoid():
    layer = GammatoneSpectrogram(
        sample_rate=RATE, n_fft=1024, n_bands=20, fmin=100.0, method="filters"
    )
    hz = float(layer.frequencies[10])
    t = torch.arange(RATE) / RATE
    y = layer(0.5 * torch.sin(2 * torch.pi * hz * t))
    np.testing.assert_allclose(y[10, 5:10], 0.125, rtol=1e-3)
    assert y[:, 8].argmax() == 10
    magnitude = GammatoneSpectrogram(
        sample_rate=RATE, n_fft=1024, n_bands=20, fmin=100.0, method="filters", power=1.0
    )(0.5 * torch.sin(2 * torch.pi * hz * t))
    np.testing.assert_allclose(magnitude[10, 5:10], 0.125**0.5, rtol=1e-3)


@pytest.mark.parametrize("method", ["fft", "filters"])
def test_gradients(method):
    layer = GammatoneSpectrogram(
        sample_rate=RATE,
        n_fft=16,
        hop_length=7,
        n_bands=3,
        fmin=500.0,
        method=method,
        trainable=method == "fft",
        trainable_window=True,
    ).double()
    values = dict(layer.named_parameters())
    x = torch.randn(1, 30, dtype=torch.float64, requires_grad=True)

    def run(x, *tensors):
        return torch.func.functional_call(layer, dict(zip(values, tensors, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *values.values()))
    silence = torch.zeros(1, 30, requires_grad=True)
    layer(silence).sum().backward()
    assert silence.grad.isfinite().all()


def test_bad_arguments():
    with pytest.raises(ParameterError, match="method is 'iir'; expected one of 'fft', 'filters'"):
        GammatoneSpectrogram(method="iir")
    with pytest.raises(ParameterError, match="method 'filters' has no bins to train"):
        GammatoneSpectrogram(method="filters", trainable=True)
    with pytest.raises(ParameterError, match="n_bands is 0"):
        GammatoneFilterbank(n_bands=0)
    with pytest.raises(ParameterError, match=r"fmax is 20000.0 Hz; expected at most half"):
        GammatoneFilterbank(fmax=20000.0)
