import librosa
import numpy as np
import pytest
import torch
from scipy import fft

from sonograd import functional as F
from sonograd.errors import ParameterError
from sonograd.frontends import MFCC, CombinedFrequencyPeriodicity

RATE = 8000


@pytest.fixture
def music(rng):
    t = np.arange(2 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * hz * t) * np.exp(-(t % 0.5) * 5) for hz in (110, 220, 1234))
    return 0.2 * tones + 0.01 * rng.standard_normal(len(t))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"n_mfcc": 13, "lifter": 22.0}, {"n_mfcc": 13, "lifter": 22}),
        ({"dct_norm": False}, {"norm": None}),
        ({"n_mels": 40, "mel_scale": "htk"}, {"n_mels": 40, "htk": True}),
    ],
)
def test_mfcc_equals_librosa(music, ours, theirs):
    expected = librosa.feature.mfcc(y=music, sr=RATE, n_fft=512, **theirs)
    actual = MFCC(sample_rate=RATE, n_fft=512, **ours)(torch.from_numpy(music)).numpy()
    assert np.linalg.norm(actual - expected) < 1e-6 * np.linalg.norm(expected)
    single = MFCC(sample_rate=RATE, n_fft=512, **ours)(torch.from_numpy(music).float()).numpy()
    assert np.linalg.norm(single - expected) < 1e-5 * np.linalg.norm(expected)


def test_every_signal_has_its_own_maximum(music):
    x = torch.from_numpy(np.stack([music, 1e-6 * music]))
    layer = MFCC(sample_rate=RATE, n_fft=256, n_mels=40)
    torch.testing.assert_close(layer(x)[1], layer(x[1]))


def test_mfcc_gradients():
    layer = MFCC(
        sample_rate=RATE, n_fft=16, hop_length=7, n_mels=4, n_mfcc=3, trainable=True, top_db=None
    ).double()
    bank = layer.mel.bank
    x = torch.randn(1, 30, dtype=torch.float64, requires_grad=True)

    def run(x, bank):
        return torch.func.functional_call(layer, {"mel.bank": bank}, x)

    assert torch.autograd.gradcheck(run, (x, bank))


def test_mfcc_of_silence():
    x = torch.zeros(2, 500, requires_grad=True)
    y = MFCC(sample_rate=RATE, n_fft=64, n_mels=20)(x)
    np.testing.assert_allclose(y[:, 0].detach(), -100 * 20**0.5, rtol=1e-6)
    y.sum().backward()
    assert (x.grad == 0).all()


def test_cosine_basis_equals_scipy(rng):
    x = rng.standard_normal(17)
    for norm in (True, False):
        basis = F.cosine_basis(9, 17, norm=norm)
        expected = fft.dct(x, norm="ortho" if norm else None)[:9]
        np.testing.assert_allclose(basis @ torch.from_numpy(x), expected, atol=1e-12)


def cepstra(magnitude, exponents, cutoffs):
    """The whole, two-sided spectrum through plain Fourier transforms."""
    n = 2 * (len(magnitude) - 1)
    whole = np.concatenate([magnitude, magnitude[-2:0:-1]])
    distance = np.minimum(np.arange(n), n - np.arange(n))
    found = [whole ** exponents[0]]
    for level, g in enumerate(exponents[1:]):
        y = np.maximum(np.fft.fft(found[-1]).real / np.sqrt(n), 0)
        y = y**g if g else np.log(y + np.finfo(float).eps)
        y[distance < cutoffs[level % 2]] = 0
        found.append(y)
    half = [f[: n // 2 + 1] for f in found]
    return (half[-2], half[-1]) if len(half) % 2 == 0 else (half[-1], half[-2])


@pytest.mark.parametrize("exponents", [(0.24, 0.6, 1.0), (0.5, 0.5), (0.3, 0.0, 1.0), (1, 1, 1, 1)])
def test_cepstra_equal_the_definition(rng, exponents):
    magnitude = rng.random(33)
    expected = cepstra(magnitude, exponents, (3, 5))
    actual = F.generalized_cepstra(torch.from_numpy(magnitude), exponents=exponents, cutoffs=(3, 5))
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("hz", [110.0, 220.0, 440.0, 659.3])
def test_the_fundamental_wins(hz):
    t = torch.arange(16000) / 16000
    tone = sum(torch.sin(2 * torch.pi * hz * k * t) / k for k in range(1, 9))
    layer = CombinedFrequencyPeriodicity()
    found = layer.frequencies[layer(tone)[:, 25].argmax()]
    assert abs(float(torch.log2(found / hz))) < 1.5 / 48


def test_parts_multiply_to_the_whole(music):
    layer = CombinedFrequencyPeriodicity(sample_rate=RATE, win_length=1025, fmax=900.0)
    x = torch.from_numpy(music).float()
    plain, by_bin, by_period = layer.parts(x)
    with torch.no_grad():
        torch.testing.assert_close(by_bin * by_period, layer(x))
    torch.testing.assert_close(layer(x.clone().requires_grad_()).detach(), layer(x))
    assert plain.shape == by_bin.shape == (len(layer.frequencies), 1 + len(x) // 320)


def test_the_transform_has_a_fast_length():
    layer = CombinedFrequencyPeriodicity(sample_rate=22050)
    assert layer.n_fft == 11520
    assert CombinedFrequencyPeriodicity().n_fft == 8000
    layer = CombinedFrequencyPeriodicity(sample_rate=22050, n_fft=11024)
    assert layer.n_fft == 11024
    silence = torch.zeros(30000)
    silence[:320] = torch.randn(320)
    with torch.no_grad():
        assert (layer(silence)[:, 20:] == 0).all()


def test_combined_periodicity_is_differentiable():
    layer = CombinedFrequencyPeriodicity(
        sample_rate=800, win_length=33, resolution_hz=20.0, hop_length=25, fmin=80.0, fmax=300.0
    )
    x = torch.randn(60, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x, atol=1e-4)
    silence = torch.zeros(2, 60, requires_grad=True)
    layer(silence).sum().backward()
    assert silence.grad.isfinite().all()


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (MFCC, {"n_mfcc": 200}, r"n_mfcc is 200; expected 1 to n_mels \(128\)"),
        (MFCC, {"lifter": -1.0}, "lifter is -1.0"),
        (MFCC, {"amin": 0.0}, "amin is 0.0"),
        (MFCC, {"top_db": -3.0}, "top_db is -3.0"),
        (CombinedFrequencyPeriodicity, {"fmax": 9000.0}, "fmax 9000.0 Hz; expected 0 < fmin"),
        (CombinedFrequencyPeriodicity, {"n_fft": 8001}, "n_fft is 8001; expected an even number"),
        (CombinedFrequencyPeriodicity, {"resolution_hz": 0.0}, "resolution_hz is 0.0"),
        (CombinedFrequencyPeriodicity, {"exponents": (1.0,)}, "expected at least 2 numbers"),
        (
            CombinedFrequencyPeriodicity,
            {"win_length": 9000},
            "win_length is 9000; expected at most",
        ),
        (CombinedFrequencyPeriodicity, {"hop_length": 0}, "hop_length is 0"),
        (CombinedFrequencyPeriodicity, {"bins_per_octave": 0}, "bins_per_octave is 0"),
    ],
)
def test_bad_arguments(layer, options, message):
    with pytest.raises(ParameterError, match=message):
        layer(**options)
