import librosa
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sonograd.errors import ParameterError
from sonograd.frontends import MelSpectrogram

RATE = 8000


@pytest.fixture
def music(rng):
    t = np.arange(3 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * hz * t) * np.exp(-(t % 0.5) * 5) for hz in (110, 220, 1234))
    return (0.2 * tones + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"power": 1.0}, {"power": 1.0}),
        ({"power": 0.5}, {"power": 0.5}),
        ({"mel_scale": "htk", "norm": "none"}, {"htk": True, "norm": None}),
        ({"pad_mode": "reflect"}, {"pad_mode": "reflect"}),
        ({"center": False}, {"center": False}),
        ({"win_length": 800, "window": "hamming"}, {"win_length": 800, "window": "hamming"}),
        ({"n_mels": 30, "fmin": 50.0, "fmax": 3000.0}, {"n_mels": 30, "fmin": 50, "fmax": 3000}),
        ({"n_fft": 1001, "hop_length": 77}, {"n_fft": 1001, "hop_length": 77}),
    ],
)
def test_equals_librosa(music, ours, theirs):
    shared = {"n_fft": 1024, "hop_length": 256}
    expected = librosa.feature.melspectrogram(
        y=music.astype(np.float64), sr=RATE, **shared | theirs
    )
    layer = MelSpectrogram(sample_rate=RATE, **shared | ours)
    actual = layer(torch.from_numpy(music)).numpy()
    assert np.linalg.norm(actual - expected) < 1e-5 * np.linalg.norm(expected)
    exact = layer(torch.from_numpy(music).double()).numpy()
    # librosa keeps its bank in float32.
    assert np.linalg.norm(exact - expected) < 1e-6 * np.linalg.norm(expected)
    with_gradient = layer(torch.from_numpy(music).requires_grad_()).detach().numpy()
    assert np.linalg.norm(with_gradient - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("trained", ["trainable", "trainable_stft", "trainable_window"])
def test_what_can_be_trained_begins_as_what_is_fixed(music, trained):
    fixed = MelSpectrogram(sample_rate=RATE, n_fft=256, n_mels=20)
    layer = MelSpectrogram(sample_rate=RATE, n_fft=256, n_mels=20, **{trained: True})
    x = torch.from_numpy(music)
    y = layer(x)
    expected = fixed(x)
    assert (y - expected).norm() < 1e-5 * expected.norm()
    with torch.no_grad():
        assert (layer(x) - expected).norm() < 1e-5 * expected.norm()
    y.sum().backward()
    ((name, parameter),) = layer.named_parameters()
    assert name in {"bank", "kernels", "window"}
    assert parameter.grad.isfinite().all()
    assert parameter.grad.any()


def test_gradients():
    layer = MelSpectrogram(
        sample_rate=RATE,
        n_fft=16,
        hop_length=7,
        n_mels=3,
        trainable=True,
        trainable_stft=True,
        trainable_window=True,
    ).double()
    values = dict(layer.named_parameters())
    x = torch.randn(1, 30, dtype=torch.float64, requires_grad=True)

    def run(x, *tensors):
        return torch.func.functional_call(layer, dict(zip(values, tensors, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *values.values()))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_silence_has_finite_gradients(power):
    layer = MelSpectrogram(sample_rate=RATE, n_fft=64, n_mels=8, power=power, trainable_stft=True)
    x = torch.zeros(2, 300, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()
    assert layer.kernels.grad.isfinite().all()


class LargestTensor(TorchDispatchMode):
    """Remember the largest memory that any operation gave, except one and the result."""

    def __init__(self, given):
        super().__init__()
        self.given, self.sizes = given.untyped_storage().data_ptr(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        if isinstance(result, torch.Tensor):
            storage = result.untyped_storage()
            if storage.data_ptr() != self.given:
                self.sizes.append(storage.nbytes())
        return result

    def besides(self, result):
        return max(n for n in self.sizes if n != result.untyped_storage().nbytes())


def test_long_signals_need_no_more_scratch():
    layer = MelSpectrogram(sample_rate=RATE, n_fft=512, hop_length=128, n_mels=16)
    largest = []
    for seconds in (40, 400):
        x = torch.zeros(seconds * RATE)
        with torch.no_grad(), LargestTensor(x) as watch:
            y = layer(x)
        largest.append(watch.besides(y))
    assert largest[1] < 1.2 * largest[0]


def test_frequencies_are_peaks():
    layer = MelSpectrogram(sample_rate=RATE, n_fft=4096, n_mels=40)
    peaks = layer.bank.argmax(-1) * (RATE / 4096)
    np.testing.assert_allclose(layer.frequencies, peaks, atol=RATE / 4096)
    assert not layer.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 5000.0}, "fmax is 5000.0 Hz; expected at most half the sample rate"),
        ({"mel_scale": "bark"}, "scale is 'bark'"),
        ({"norm": "slany"}, "norm is 'slany'"),
        ({"power": 0.0}, "power is 0.0; expected a positive number"),
        ({"n_mels": 0}, "n_mels is 0"),
        ({"hop_length": 0}, "hop_length is 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ParameterError, match=message):
        MelSpectrogram(**{"sample_rate": RATE, "n_fft": 128, "n_mels": 20} | options)


def test_empty_filters_are_told():
    with pytest.warns(UserWarning, match=r"\d+ of 2000 mel filters are empty.*fewer n_mels"):
        MelSpectrogram(n_mels=2000)


def test_an_unknown_scale_is_named_as_the_argument():
    with pytest.raises(
        ParameterError, match=r"^mel_scale is 'bark'; expected one of 'slaney', 'htk'"
    ):
        MelSpectrogram(mel_scale="bark")
