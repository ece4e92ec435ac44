import math

import librosa
import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 11025
SMALL = {"sample_rate": RATE, "fmin": 110.0, "n_bins": 60, "hop_length": 128}


def definition(x, *, hop_length, window=None, scale=np.sqrt, **layout):
    """Sum of the definition in float64, bin by bin and frame by frame."""
    bins = F.constant_q_bins(**layout)
    window = window or (lambda u: 0.5 + 0.5 * np.cos(2 * np.pi * u))
    rows = []
    for f, length in zip(bins.frequencies.tolist(), bins.lengths.tolist(), strict=True):
        half = math.ceil(length / 2) - 1
        n = np.arange(-half, half + 1)
        w = window(n / length)
        atom = w / np.abs(w).sum() * np.exp(2j * np.pi * n * f / layout["sample_rate"])
        padded = np.pad(x, (half, half + 1))  # The last frame may be centered after the end.
        places = range(0, len(x) + 1, hop_length)
        frames = [np.vdot(atom, padded[t : t + 2 * half + 1]) for t in places]
        rows.append(scale(length) * np.array(frames))
    return np.array(rows)


def deviation(actual, expected):
    return np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected)


def music(samples, rate=RATE):
    """Return a few decaying notes with harmonics, and a little noise."""
    t = np.arange(samples) / rate
    rng = np.random.default_rng(1)
    x = 0.01 * rng.standard_normal(samples)
    for start, pitch in ((0.0, 131.0), (0.2, 196.0), (0.45, 330.0), (0.6, 587.0)):
        after = np.clip(t - start, 0, None)
        for harmonic in range(1, 7):
            tone = np.sin(2 * np.pi * pitch * harmonic * after) / harmonic
            x += 0.2 * tone * np.exp(-3 * after) * (t >= start)
    return x


def signals(samples):
    t = np.arange(samples) / RATE
    return {
        "noise": np.random.default_rng(0).standard_normal(samples),
        "music": music(samples),
        "chirp": signal.chirp(t, 60, t[-1], 5400, method="logarithmic"),
        "sine": np.sin(2 * np.pi * 441.3 * t),
        "impulse": np.eye(1, samples, samples // 3)[0],
        "late impulse": np.eye(1, samples, samples - 1)[0],
    }


@pytest.mark.parametrize("name", signals(10))
def test_equals_the_definition(name):
    x = signals(9001)[name]
    expected = definition(x, **SMALL)
    assert deviation(F.constant_q(torch.from_numpy(x), **SMALL), expected) < 1e-4
    single = F.constant_q(torch.from_numpy(x).float(), **SMALL)
    assert single.dtype == torch.complex64
    assert deviation(single, expected) < 1e-4


@pytest.mark.parametrize(
    "change",
    [
        {"hop_length": 441},
        {"hop_length": 1},
        {"hop_length": 5000},
        {"gamma": 20.0},
        {"gamma": None},
        {"filter_scale": 0.5},
        {"bins_per_octave": 36, "n_bins": 100},
        {"bins_per_octave": 1, "n_bins": 6},
        {"fmin": RATE / 2, "n_bins": 1},
        {"fmin": 5000.0, "n_bins": 2, "filter_scale": 0.05},
    ],
)
def test_equals_the_definition_for_any_bins_and_hop(rng, change):
    layout = {**SMALL, **change}
    x = rng.standard_normal(5000 if layout["hop_length"] > 1 else 200)
    assert deviation(F.constant_q(torch.from_numpy(x), **layout), definition(x, **layout)) < 1e-4


@pytest.mark.parametrize(
    ("window", "shape"),
    [
        ("hamming", lambda u: 0.54 + 0.46 * np.cos(2 * np.pi * u)),
        ("rectangular", np.ones_like),
        ("sine", lambda u: np.cos(np.pi * u)),
        (("gaussian", 60.0), lambda u: 10 ** (-60 / 20 * (2 * u) ** 2)),
        (("kaiser", 9.0), lambda u: np.i0(9 * np.sqrt(1 - (2 * u) ** 2)) / np.i0(9)),
        (lambda u: torch.cos(math.pi * u) ** 4, lambda u: np.cos(np.pi * u) ** 4),
    ],
)
def test_window_is_obeyed(rng, window, shape):
    x = rng.standard_normal(4000)
    expected = definition(x, window=shape, **SMALL)
    assert deviation(F.constant_q(torch.from_numpy(x), window=window, **SMALL), expected) < 1e-4


def test_tolerance_sets_the_error(rng):
    x = rng.standard_normal(9001)
    expected = definition(x, **SMALL)
    for tolerance in (1e-2, 1e-3, 1e-6):
        actual = F.constant_q(torch.from_numpy(x), tolerance=tolerance, **SMALL)
        assert 0.01 * tolerance < deviation(actual, expected) < 1.2 * tolerance


@pytest.mark.parametrize(
    ("normalization", "scale"),
    [("librosa", np.sqrt), ("convolutional", lambda _: 1.0), ("wrap", lambda _: 2.0)],
)
def test_normalizations(rng, normalization, scale):
    x = rng.standard_normal(4000)
    actual = F.constant_q(torch.from_numpy(x), normalization=normalization, **SMALL)
    assert deviation(actual, definition(x, scale=scale, **SMALL)) < 1e-4


def test_a_sinusoid_measures_its_amplitude():
    bins = F.constant_q_bins(sample_rate=RATE, fmin=110.0, n_bins=60)
    t = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    for k in (0, 13, 59):
        x = 0.7 * torch.cos(2 * math.pi * bins.frequencies[k] * t + 0.4)
        c = F.constant_q(x, normalization="wrap", **SMALL)[k, 20:-20]
        np.testing.assert_allclose(c.abs(), 0.7, rtol=2e-4)
        # No phase drift: the phase is that of the sinusoid at the middle of the frame.
        place = torch.arange(20, 20 + len(c)) * 128
        expected = 0.7 * torch.exp(1j * (2 * math.pi * bins.frequencies[k] * place / RATE + 0.4))
        np.testing.assert_allclose(c, expected, atol=2e-4)


def test_white_noise_is_equally_loud_in_every_bin(rng):
    x = torch.from_numpy(rng.standard_normal(20 * RATE))
    power = F.constant_q(x, **SMALL).abs().square().mean(-1)
    np.testing.assert_allclose(power, 1.5, rtol=0.25)


@pytest.mark.parametrize(
    "change",
    [{}, {"hop_length": 441}, {"hop_length": 1024, "n_bins": 24}, {"filter_scale": 0.7},
     {"bins_per_octave": 24, "n_bins": 101}, {"gamma": 10.0}, {"window": "hamming"}],

)  # fmt: skip
def test_librosa_lengths_equal_librosa(change):
    layout = {"hop_length": 256, "fmin": 65.4, "n_bins": 72, "sample_rate": 22050, **change}
    x = music(4 * 22050, 22050).astype(np.float32)
    theirs = {key: value for key, value in layout.items() if key != "sample_rate"}
    expected = librosa.vqt(x, sr=22050, sparsity=0, **{"gamma": 0, **theirs})
    actual = F.constant_q(torch.from_numpy(x), lengths="librosa", **layout).numpy()
    assert actual.shape == expected.shape
    inner = slice(expected.shape[1] // 4, -expected.shape[1] // 4)
    limit = 2e-3 if change.get("window") else 3e-5  # Its filters ring where the window jumps.
    assert deviation(actual[:, inner], expected[:, inner]) < limit
    assert deviation(actual, expected) < 2e-2


@pytest.mark.parametrize("value", [0.0, 0.5], ids=["silence", "direct current"])
def test_constant_signals(value):
    x = torch.full((4000,), value, dtype=torch.float64)
    expected = definition(x.numpy(), **SMALL)
    np.testing.assert_allclose(F.constant_q(x, **SMALL), expected, atol=1e-4)


def test_nyquist():
    x = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(2000)
    layout = {**SMALL, "fmin": 2000.0, "n_bins": 18}
    np.testing.assert_allclose(
        F.constant_q(x, **layout), definition(x.numpy(), **layout), atol=3e-4
    )


@pytest.mark.parametrize("pad_mode", ["reflect", "replicate", "circular"])
def test_pad_modes_go_on_outside(rng, pad_mode):
    x = rng.standard_normal(3000)
    mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[pad_mode]
    more = 16 * 128
    expected = F.constant_q(torch.from_numpy(np.pad(x, more, mode=mode)), **SMALL)
    actual = F.constant_q(torch.from_numpy(x), pad_mode=pad_mode, **SMALL)
    np.testing.assert_allclose(actual, expected[:, 16 : 16 + actual.shape[-1]], atol=1e-3)


def test_long_signals_equal_their_parts(rng):
    x = torch.from_numpy(rng.standard_normal((2, 40 * RATE))).float()
    whole = F.constant_q(x, **SMALL)
    part = F.constant_q(x[:, 20 * RATE // 128 * 128 :][:, : 10 * RATE], **SMALL)
    shift = 20 * RATE // 128
    inner = slice(30, part.shape[-1] - 30)
    expected = part[..., inner]
    assert deviation(whole[..., shift:][..., inner], expected.numpy()) < 1e-5
    with torch.no_grad():
        assert deviation(F.constant_q(x.requires_grad_(), **SMALL), whole.numpy()) < 1e-6


def test_shapes_and_short_signals():
    assert F.constant_q(torch.zeros(2, 3, 1000), **SMALL).shape == (2, 3, 60, 8)
    assert F.constant_q(torch.zeros(0), **SMALL).shape == (60, 1)
    assert F.constant_q(torch.zeros(0, 5), **SMALL).shape == (0, 60, 1)
    x = np.array([0.5, -1.0])
    assert deviation(F.constant_q(torch.from_numpy(x), **SMALL), definition(x, **SMALL)) < 1e-4


def test_gradients():
    layout = {**SMALL, "n_bins": 20, "hop_length": 300}
    x = torch.randn(2, 700, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: F.constant_q(x, **layout), x, fast_mode=True)


@pytest.mark.parametrize("window", ["hann", ("gaussian", 40.0), ("kaiser", 6.0), "sine"])
def test_kernels_have_gradients(window):
    bins = F.constant_q_bins(sample_rate=8000, fmin=400.0, n_bins=4)

    def kernels(frequencies, lengths):
        moved = bins._replace(frequencies=frequencies, lengths=lengths)
        kernel = F.constant_q_kernels(moved, sample_rate=8000, window=window, half_length=200)
        return kernel.real, kernel.imag

    # Lengths at which no sample lies on the end of a window.
    values = (bins.frequencies.requires_grad_(), (bins.lengths + 0.3).requires_grad_())
    assert torch.autograd.gradcheck(kernels, values, fast_mode=True)


def test_kernels_are_the_definition():
    bins = F.constant_q_bins(sample_rate=8000, fmin=400.0, n_bins=4)
    kernels = F.constant_q_kernels(bins, sample_rate=8000, normalization="convolutional")
    assert kernels.shape[1] % 2 == 1
    np.testing.assert_allclose(kernels.abs().sum(-1), 1.0)
    middle = kernels.shape[1] // 2
    np.testing.assert_allclose(kernels[:, middle].imag, 0, atol=1e-15)
    np.testing.assert_allclose(kernels, kernels.flip(-1).conj().resolve_conj(), atol=1e-15)


def test_bins():
    bins = F.constant_q_bins(sample_rate=22050, fmin=27.5, fmax=4186.1)
    assert len(bins.frequencies) == 88
    np.testing.assert_allclose(bins.frequencies[-1], 4186.009, rtol=1e-6)
    expected = librosa.filters.wavelet_lengths(freqs=bins.frequencies.numpy(), sr=22050)[0]
    np.testing.assert_allclose(bins.lengths, expected, rtol=1e-9)
    ear = F.constant_q_bins(sample_rate=22050, gamma=None)
    expected = librosa.filters.wavelet_lengths(freqs=ear.frequencies.numpy(), sr=22050, gamma=None)[
        0
    ]
    np.testing.assert_allclose(ear.lengths, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fmax": 6000.0, "n_bins": None}, r"fmax is 6000.0 Hz; expected 110.0 \(fmin\) to 5512.5"),
        ({"fmax": 50.0, "n_bins": None}, "fmax is 50.0 Hz"),
        ({"fmax": 5000.0}, "fmax is 5000.0 and n_bins 60; expected only one"),
        ({"n_bins": 80}, "n_bins is 80: the highest would lie above 5512.5 Hz.* at most 68"),
        ({"n_bins": 10**6}, "n_bins is 1000000: the highest .* at most 68"),
        ({"n_bins": 0}, "n_bins is 0; expected at least 1"),
        ({"fmin": 6000.0}, "fmin is 6000.0 Hz"),
        ({"fmin": 0.0}, "fmin is 0.0; expected a positive"),
        ({"fmin": float("nan")}, "fmin is nan"),
        ({"fmin": 1e-5, "n_bins": 2}, "longer than"),
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"filter_scale": 0.0}, "filter_scale is 0.0"),
        ({"bins_per_octave": 0}, "bins_per_octave is 0"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"window": "hunn"}, "window is 'hunn'; expected one of 'hann'"),
        ({"window": ("kaiser", -1.0)}, "window is"),
        ({"window": "gaussian"}, "window is"),
        ({"window": lambda u: u / 0}, "window returned no finite value"),
        ({"normalization": "loud"}, "normalization is 'loud'; expected one of 'librosa'"),
        ({"lengths": "whole"}, "lengths is 'whole'; expected one of 'continuous', 'librosa'"),
        ({"pad_mode": "mirror"}, "pad_mode is 'mirror'"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ParameterError, match=message) as caught:
        F.constant_q(torch.zeros(100), **{**SMALL, **arguments})
    assert "\n" not in str(caught.value)


def test_bad_input():
    with pytest.raises(ShapeError, match="int64"):
        F.constant_q(torch.zeros(100, dtype=torch.int64), **SMALL)
    with pytest.raises(ShapeError, match="no axes"):
        F.constant_q(torch.tensor(0.0), **SMALL)
