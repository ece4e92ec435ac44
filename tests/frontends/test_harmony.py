import librosa
import numpy as np
import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.frontends import Chroma, HarmonicPercussive

RATE = 8000


@pytest.fixture
def music(rng):
    t = np.arange(RATE) / RATE
    x = np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 660 * t)
    x[:: RATE // 4] += 20
    return 0.1 * x + 0.001 * rng.standard_normal(len(t))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"norm": "euclidean"}, {"norm": 2}),
        ({"norm": "sum"}, {"norm": 1}),
        ({"norm": "none"}, {"norm": None}),
        ({"n_chroma": 24, "tuning": 0.25}, {"n_chroma": 24, "tuning": 0.25}),
    ],
)
def test_chroma_equals_librosa(music, ours, theirs):
    expected = librosa.feature.chroma_stft(
        y=music, sr=RATE, n_fft=1024, **({"tuning": 0.0} | theirs)
    )
    actual = Chroma(sample_rate=RATE, n_fft=1024, **ours)(torch.from_numpy(music))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


def test_pitch_class():
    t = torch.arange(RATE) / RATE
    y = Chroma(sample_rate=RATE, n_fft=4096)(torch.sin(2 * torch.pi * 440 * t))
    assert (y[:, 5].argmax() == 9).all()  # A, counted from C


@pytest.mark.parametrize("norm", ["max", "sum", "euclidean", "none"])
def test_chroma_of_silence(norm):
    x = torch.zeros(2, 500, requires_grad=True)
    y = Chroma(sample_rate=RATE, n_fft=128, norm=norm)(x)
    assert (y == 0).all()
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_parts_equal_librosa(music):
    expected = librosa.effects.hpss(music, n_fft=512, hop_length=128)
    layer = HarmonicPercussive(sample_rate=RATE, n_fft=512)
    parts = layer(torch.from_numpy(music))
    inner = slice(0, len(music) // 128 * 128)
    for ours, theirs in zip(parts, expected, strict=True):
        np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-6)
    np.testing.assert_allclose(parts.sum(0)[inner], music[inner], atol=1e-10)


def test_margins_leave_a_rest(music):
    layer = HarmonicPercussive(sample_rate=RATE, n_fft=512, margins=(3.0, 3.0))
    x = torch.from_numpy(music)
    assert (layer(x).sum(0) - x).norm() > 0.05 * x.norm()


def test_parts_have_gradients():
    layer = HarmonicPercussive(
        sample_rate=RATE, n_fft=16, time_length=3, frequency_length=3, hop_length=8
    )
    x = torch.randn(2, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


def test_bad_arguments():
    with pytest.raises(ParameterError, match="norm is 'l2'; expected one of 'max', 'sum'"):
        Chroma(norm="l2")
    with pytest.raises(ParameterError, match="time_length is 4; expected an odd number"):
        HarmonicPercussive(time_length=4)
    with pytest.raises(ParameterError, match=r"margins are \(0.5, 1.0\)"):
        HarmonicPercussive(margins=(0.5, 1.0))
    with pytest.raises(ParameterError, match="power is 0"):
        HarmonicPercussive(power=0)
