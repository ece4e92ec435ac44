import librosa
import numpy as np
import pytest
import torch
from scipy import signal

from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends import STFT

RATE = 8000
SCALES = {
    "none": {},
    "short": {"freq_bins": 20},
    "linear": {"freq_scale": "linear", "fmin": 100.0, "fmax": 3000.0, "freq_bins": 40},
    "log": {"freq_scale": "log", "fmin": 30.0, "fmax": 4000.0},
    "log2": {"freq_scale": "log2", "fmin": 50.0, "fmax": 2000.0, "freq_bins": 77},
}


def frequencies(n_fft, freq_scale="none", freq_bins=None, fmin=50.0, fmax=6000.0):
    bins = n_fft // 2 + 1 if freq_bins is None else freq_bins
    k = np.arange(bins)
    if freq_scale == "none":
        return k * RATE / n_fft
    if freq_scale == "linear":
        return fmin + k * (fmax - fmin) / bins
    return fmin * (fmax / fmin) ** (k / bins)


def direct(x, hz, n_fft, hop_length, window, pad_mode):
    """The definition by direct summation in float64; x is (samples,)."""
    mode = {"replicate": "edge", "circular": "wrap"}.get(pad_mode, pad_mode)
    wide = np.pad(x, n_fft // 2, mode=mode)
    full = np.zeros(n_fft)
    before = (n_fft - len(window)) // 2
    full[before : before + len(window)] = window
    kernels = full * np.exp(-2j * np.pi * hz[:, None] / RATE * np.arange(n_fft))
    count = 1 + (len(wide) - n_fft) // hop_length
    frames = np.stack([wide[m * hop_length :][:n_fft] for m in range(count)])
    return kernels @ frames.T


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n_fft", [128, 127])
@pytest.mark.parametrize("trainable", [False, True])
def test_equals_the_definition(rng, scale, n_fft, trainable):
    x = rng.standard_normal(700)
    layer = STFT(sample_rate=RATE, n_fft=n_fft, hop_length=30, trainable=trainable, **SCALES[scale])
    hz = frequencies(n_fft, **SCALES[scale])
    window = signal.get_window("hann", n_fft)
    expected = direct(x, hz, n_fft, 30, window, "constant")
    np.testing.assert_allclose(layer.frequencies, hz, rtol=1e-6)
    with torch.no_grad():
        actual = layer(torch.from_numpy(x))
        # Trained kernels are kept in float32.
        np.testing.assert_allclose(actual, expected, atol=2e-5 if trainable else 1e-10)
        single = layer(torch.from_numpy(x).float())
    assert single.dtype == torch.complex64
    error = np.linalg.norm(single.numpy() - expected) / np.linalg.norm(expected)
    assert error < 6e-7


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("window", ["hamming", ("kaiser", 6.0), ("tukey", 0.3), "boxcar"])
def test_windows_and_padding(rng, pad_mode, window):
    x = rng.standard_normal(500)
    layer = STFT(
        sample_rate=RATE,
        n_fft=128,
        win_length=90,
        hop_length=33,
        window=window,
        pad_mode=pad_mode,
    )
    shape = signal.get_window(window, 90)
    expected = direct(x, frequencies(128), 128, 33, shape, pad_mode)
    np.testing.assert_allclose(layer(torch.from_numpy(x)), expected, atol=1e-10)


def test_equals_librosa_and_torch(rng):
    x = rng.standard_normal((2, 5000)).astype(np.float32)
    ours = STFT(n_fft=512)(torch.from_numpy(x))
    np.testing.assert_allclose(ours, librosa.stft(x, n_fft=512), atol=2e-5)
    window = torch.hann_window(512)
    theirs = torch.stft(torch.from_numpy(x), 512, 128, window=window, return_complex=True)
    reflected = STFT(n_fft=512, pad_mode="reflect")(torch.from_numpy(x))
    np.testing.assert_allclose(reflected, theirs, atol=2e-5)


@pytest.mark.parametrize("scale", ["none", "short", "log"])
@pytest.mark.parametrize("trainable", [False, True])
def test_forms_of_the_output(rng, scale, trainable):
    x = torch.from_numpy(rng.standard_normal((2, 900)))
    options = SCALES[scale] | {"sample_rate": RATE, "n_fft": 128, "trainable": trainable}
    plain = STFT(**options)(x).detach()
    for output, expected in [
        ("magnitude", plain.abs()),
        ("power", plain.abs() ** 2),
        ("phase", plain.angle()),
    ]:
        layer = STFT(**options, output=output)
        with torch.no_grad():
            np.testing.assert_allclose(layer(x), expected, atol=1e-9)
        np.testing.assert_allclose(layer(x.clone().requires_grad_()).detach(), expected, atol=1e-9)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "circular"])
@pytest.mark.parametrize("hop_length", [16, 33, 64])
@pytest.mark.parametrize("win_length", [128, 100])
def test_inverse_is_perfect(rng, pad_mode, hop_length, win_length):
    x = torch.from_numpy(rng.standard_normal((2, 3, 1000)))
    layer = STFT(
        n_fft=128, win_length=win_length, hop_length=hop_length, window="hamming", pad_mode=pad_mode
    )
    back = layer.inverse(layer(x), length=1000)
    inner = slice(0, 1000 // hop_length * hop_length)
    np.testing.assert_allclose(back[..., inner], x[..., inner], atol=1e-10)
    single = layer.inverse(layer(x.float()), length=1000)
    np.testing.assert_allclose(single[..., inner], x[..., inner], atol=3e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"freq_scale": "linear", "fmin": 0.0, "fmax": None, "freq_bins": 80},
        {"freq_scale": "log", "fmin": 4.0, "fmax": None, "freq_bins": 600},
        {"trainable": True},
    ],
)
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_other_banks_are_inverted_by_least_squares(rng, options, pad_mode):
    layer = STFT(
        sample_rate=RATE, n_fft=64, hop_length=16, pad_mode=pad_mode, window="hamming", **options
    )
    x = torch.from_numpy(rng.standard_normal((2, 320)))
    with torch.no_grad():
        spectrum = layer(x)
        back = layer.inverse(spectrum, length=320)
        # Trained kernels are compared with themselves: they are the same on both ways.
        np.testing.assert_allclose(back, x, atol=1e-6)
        # What is no spectrum of a signal gets the nearest one: the rest is orthogonal to all.
        noise = torch.from_numpy(rng.standard_normal(spectrum.shape)).to(torch.complex128)
        rest = noise - layer(layer.inverse(noise, length=320))
        other = layer(torch.from_numpy(rng.standard_normal((2, 320))))
        product = (rest * other.conj()).sum().real.abs()
    assert product < 1e-6 * rest.norm() * other.norm()


def test_inverse_says_what_is_lost():
    layer = STFT(sample_rate=RATE, n_fft=64, freq_scale="log", fmin=50.0, fmax=2000.0)
    with pytest.raises(ParameterError, match=r"33 bins from 50 to .* Hz cannot be inverted: parts"):
        layer.inverse(torch.zeros(33, 10, dtype=torch.complex64))
    with pytest.raises(ParameterError, match="freq_bins is 20 of 33: what lies above"):
        STFT(n_fft=64, freq_bins=20).inverse(torch.zeros(20, 4, dtype=torch.complex64))
    whole = STFT(sample_rate=RATE, n_fft=64, freq_scale="linear", fmin=0.0, fmax=None)
    with pytest.raises(ParameterError, match="length is 500, which has 32 frames; spectrum has 9"):
        whole.inverse(torch.zeros(33, 9, dtype=torch.complex64), length=500)
    with pytest.raises(ShapeError, match=r"spectrum has shape \(2, 30, 4\).* with 33 bins"):
        layer.inverse(torch.zeros(2, 30, 4, dtype=torch.complex64))


def test_gradients():
    x = torch.randn(1, 50, dtype=torch.float64, requires_grad=True)
    for options in (
        {},
        {"freq_scale": "log", "fmin": 300.0, "fmax": 3000.0, "freq_bins": 9},
        {"trainable": True},
    ):
        layer = STFT(
            sample_rate=RATE, n_fft=16, hop_length=7, trainable_window=True, **options
        ).double()
        values = dict(layer.named_parameters())
        assert set(values) == {"window"} | ({"kernels"} if options.get("trainable") else set())

        def run(x, *tensors, layer=layer, names=tuple(values)):
            return torch.func.functional_call(layer, dict(zip(names, tensors, strict=True)), x)

        assert torch.autograd.gradcheck(run, (x, *values.values()))


def test_gradient_of_the_inverse():
    layer = STFT(sample_rate=RATE, n_fft=16, freq_scale="linear", fmin=0.0, fmax=None, freq_bins=12)
    spectrum = torch.randn(12, 8, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: layer.inverse(s, length=28), spectrum)


@pytest.mark.parametrize("output", ["magnitude", "power", "phase", "complex"])
def test_silence_has_finite_gradients(output):
    for options in ({}, {"freq_scale": "log", "fmax": 3000.0}, {"trainable": True}):
        x = torch.zeros(1, 500, requires_grad=True)
        layer = STFT(sample_rate=RATE, n_fft=64, output=output, trainable_window=True, **options)
        layer(x).abs().sum().backward()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_nothing_but_parameters_is_stored():
    assert not STFT(freq_scale="log").state_dict()
    assert set(STFT(n_fft=64, trainable=True).state_dict()) == {"kernels"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"freq_scale": "mel"},
            "freq_scale is 'mel'; expected one of 'none', 'linear', 'log', 'log2'",
        ),
        ({"freq_bins": 70}, r"freq_bins is 70; expected 1 to 65 \(n_fft // 2 \+ 1\)"),
        ({"freq_scale": "log", "fmin": 0.0, "fmax": 99.0}, "fmin is 0.0 Hz; expected more than 0"),
        ({"freq_scale": "log", "fmax": 6000.0}, "fmax is 6000.0 Hz; expected at most half"),
        ({"win_length": 200}, r"win_length is 200; expected 1 to n_fft \(128\)"),
        ({"hop_length": 0}, "hop_length is 0; expected at least 1"),
        ({"window": "hanning"}, "window is 'hanning'; expected a tensor, one of bartlett"),
        ({"window": "kaiser"}, r"window is 'kaiser'; expected \('kaiser', number\)"),
        ({"pad_mode": "edge"}, "pad_mode is 'edge'; expected one of 'reflect'"),
        ({"output": "db"}, "output is 'db'"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"n_fft": 0}, "n_fft is 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ParameterError, match=message):
        STFT(**{"sample_rate": RATE, "n_fft": 128} | options)


@pytest.mark.parametrize("samples", [0, 1, 3, 63])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate", "circular"])
def test_short_clips(samples, pad_mode):
    x = torch.ones(2, samples)
    layer = STFT(n_fft=64, hop_length=200, pad_mode=pad_mode, freq_scale="none")
    y = layer(x)
    assert y.shape == (2, 33, 1)
    assert y.isfinite().all()


def test_silence_has_no_phase():
    x = torch.cat([torch.zeros(4000), torch.randn(4000)])
    phase = STFT(sample_rate=8000, n_fft=256, output="phase")(x)
    assert (phase[:, :60] == 0).all()
    assert (phase[:, 80:] != 0).any()
