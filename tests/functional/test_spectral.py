import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.spectral import istft, overlap_add, stft


def direct(x, n_fft, hop_length, window, offset, pad_mode):
    """Sum of the definition, frame by frame, on the signal extended by numpy."""
    before = (n_fft - len(window)) // 2
    full = np.pad(window, (before, n_fft - len(window) - before))
    padded = np.pad(x, n_fft, mode=pad_mode) if pad_mode else x
    shift = n_fft - offset if pad_mode else 0
    total = len(x) + 2 * offset
    count = max(0, 1 + (total - n_fft) // hop_length)
    frames = [padded[shift + m * hop_length :][:n_fft] * full for m in range(count)]
    return np.stack([np.fft.rfft(frame) for frame in frames], axis=-1)


@pytest.mark.parametrize("samples", [1, 2, 3, 17, 64, 301])
@pytest.mark.parametrize(("n_fft", "win_length"), [(32, 32), (33, 33), (32, 21), (31, 20), (48, 5)])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_equals_the_definition(rng, samples, n_fft, win_length, pad_mode):
    x = rng.standard_normal(samples)
    window = rng.standard_normal(win_length)
    actual = F.stft(
        torch.from_numpy(x),
        n_fft=n_fft,
        hop_length=7,
        window=torch.from_numpy(window),
        pad_mode=pad_mode,
    )
    expected = direct(x, n_fft, 7, window, n_fft // 2, pad_mode)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize(("n_fft", "win_length", "hop_length"), [(64, 64, 16), (65, 40, 13)])
def test_equals_scipy(rng, n_fft, win_length, hop_length):
    x = rng.standard_normal((2, 3, 400))
    window = signal.get_window("hann", win_length)
    before = (n_fft - win_length) // 2
    full = np.pad(window, (before, n_fft - win_length - before))
    oracle = signal.ShortTimeFFT(full, hop_length, fs=1, mfft=n_fft, phase_shift=None)
    expected = oracle.stft(x, padding="zeros")
    actual = F.stft(
        torch.from_numpy(x),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        pad_mode="constant",
    )
    first = -oracle.p_min  # scipy also has frames that begin before the signal
    np.testing.assert_allclose(actual, expected[..., first:][..., : actual.shape[-1]], atol=1e-12)


def test_equals_torch_with_its_conventions(rng):
    x = torch.from_numpy(rng.standard_normal((2, 1000)))
    for n_fft, win_length, hop_length in [(128, 128, 32), (128, 100, 33), (63, 63, 16)]:
        window = torch.hann_window(win_length, dtype=torch.float64)
        options = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
        theirs = torch.stft(x, **options, window=window, return_complex=True, pad_mode="reflect")
        ours = F.stft(x, **options)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        back = F.istft(ours * 0.5 + 1, **options)
        expected = torch.istft(ours * 0.5 + 1, **options, window=window)
        inner = slice(0, expected.shape[-1] - hop_length)
        np.testing.assert_allclose(back[..., inner], expected[..., inner], atol=1e-10)


@given(
    n_fft=st.integers(1, 70),
    share=st.floats(0, 1),
    fraction=st.floats(0.01, 0.5),
    samples=st.integers(0, 300),
    center=st.booleans(),
    pad_mode=st.sampled_from(["reflect", "constant"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_perfect_reconstruction(n_fft, share, fraction, samples, center, pad_mode, dtype):
    win_length = max(1, round(share * n_fft))
    # No zeros, so that signals that are not padded can be restored as well.
    window = F.hamming(win_length, dtype=dtype)
    hop_length = max(1, int(fraction * win_length))
    options = {"n_fft": n_fft, "hop_length": hop_length, "window": window, "center": center}
    x = torch.randn(2, 1, samples, dtype=dtype).clamp(-1, 1)
    spectrum = F.stft(x, **options, pad_mode=pad_mode, pad_end=True)
    assert spectrum.shape[:-1] == (2, 1, n_fft // 2 + 1)
    y = F.istft(spectrum, **options, length=samples)
    assert y.shape == x.shape
    assert y.dtype == dtype
    first = 0 if center else (n_fft - win_length) // 2
    last = samples if center else samples - (n_fft - win_length)
    if samples and last > first:
        error = (y - x)[..., first:last].abs().max()
        assert error <= (1e-12 if dtype == torch.float64 else 1e-6) * (1 if center else 12)


@pytest.mark.parametrize("samples", [0, 1, 15, 16, 17, 999, 1023, 1024])
def test_perfect_reconstruction_with_the_usual_hop(samples):
    x = torch.rand(3, samples) * 2 - 1
    spectrum = F.stft(x, n_fft=64, hop_length=16)
    assert spectrum.shape[-1] == 1 + samples // 16
    y = F.istft(spectrum, n_fft=64, hop_length=16, length=samples)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-6)


def test_half_overlap_is_exact_to_the_last_sample_only_with_padded_end():
    x = torch.rand(1023) * 2 - 1
    options = {"n_fft": 1024, "hop_length": 512}
    y = F.istft(F.stft(x, **options, pad_end=True), **options, length=1023)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-6)


def test_lengths():
    x = torch.randn(100)
    even, odd = {"n_fft": 32, "hop_length": 8}, {"n_fft": 33, "hop_length": 8}
    assert F.istft(F.stft(x, **even), **even).shape == (96,)
    assert F.istft(F.stft(x, **odd), **odd).shape == (97,)
    plain = {**even, "center": False}
    assert F.stft(x, **plain).shape == (17, 9)
    assert F.stft(x[:31], **plain).shape == (17, 0)
    assert F.istft(F.stft(x, **plain), **plain).shape == (96,)
    assert F.istft(F.stft(x[:31], **plain), **plain, length=5).tolist() == [0] * 5
    longer = F.istft(F.stft(x, **even), **even, length=200)
    torch.testing.assert_close(longer[:100], x, rtol=0, atol=1e-6)
    assert (longer[112:] == 0).all()


def test_leading_dimensions_and_half_precision():
    assert F.stft(torch.randn(2, 0, 3, 50), n_fft=16, hop_length=4).shape == (2, 0, 3, 9, 13)
    assert F.istft(torch.zeros(2, 0, 9, 5, dtype=torch.cfloat), n_fft=16, hop_length=4).shape == (
        2,
        0,
        16,
    )
    x = torch.randn(50).half()
    assert F.stft(x, n_fft=16, hop_length=4).dtype == torch.complex64
    assert torch.equal(F.stft(x, n_fft=16, hop_length=4), F.stft(x.float(), n_fft=16, hop_length=4))


def test_a_tone_and_an_impulse():
    n = torch.arange(256, dtype=torch.float64)
    tone = torch.cos(2 * math.pi * 5 / 32 * n)
    spectrum = F.stft(tone, n_fft=32, hop_length=8)
    # A periodic Hann window has the mean 1/2, and its neighbors half of that.
    np.testing.assert_allclose(spectrum[4:7, 8].abs(), [4, 8, 4], atol=1e-12)
    impulse = torch.zeros(65, dtype=torch.float64)
    impulse[32] = 1
    np.testing.assert_allclose(F.stft(impulse, n_fft=16, hop_length=4)[:, 8].abs(), 1, atol=1e-15)


def test_gradients():
    x = torch.randn(2, 11, dtype=torch.float64, requires_grad=True)
    window = (torch.rand(5, dtype=torch.float64) + 0.5).requires_grad_()
    fixed = torch.rand(5, dtype=torch.float64) + 0.5
    options = {"n_fft": 6, "hop_length": 2}

    def analyze(x, window):
        return torch.view_as_real(F.stft(x, window=window, **options))

    def synthesize(x, window):
        spectrum = F.stft(x, **options, window=fixed)
        return F.istft(spectrum, window=window, length=11, **options)

    assert torch.autograd.gradcheck(analyze, (x, window))
    assert torch.autograd.gradcheck(synthesize, (x, window))
    short = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: analyze(x, fixed), (short,))


@pytest.mark.slow
def test_is_one_graph():
    options = {"n_fft": 16, "hop_length": 5}

    def round_trip(x):
        return F.istft(F.stft(x, **options), **options, length=x.shape[-1])

    compiled = torch.compile(round_trip, backend="eager", fullgraph=True)
    for samples in (5, 100):
        x = torch.randn(2, samples)
        torch.testing.assert_close(compiled(x), round_trip(x))


def test_what_cannot_be_restored_is_refused():
    spectrum = torch.zeros(9, 4, dtype=torch.cfloat)
    with pytest.raises(ParameterError, match="hop_length is 16, too long for this window"):
        F.istft(spectrum, n_fft=16, hop_length=16)
    with pytest.raises(ParameterError, match="leaves out 7 samples of every hop"):
        F.istft(spectrum, n_fft=16, hop_length=17, window=torch.ones(10))
    with pytest.raises(ParameterError, match="too long"):
        F.istft(spectrum, n_fft=16, hop_length=4, window=torch.zeros(16))
    with pytest.raises(ParameterError, match="too long"):
        F.istft(spectrum, n_fft=16, hop_length=4, window=torch.full((16,), math.nan))


def test_errors():
    x = torch.randn(100)
    good = {"n_fft": 16, "hop_length": 4}
    with pytest.raises(ShapeError, match=r"x has dtype torch.int64.*x / 32768"):
        F.stft(torch.ones(8, dtype=torch.int64), **good)
    with pytest.raises(ShapeError, match="x has no axes"):
        F.stft(torch.tensor(1.0), **good)
    with pytest.raises(ParameterError, match="n_fft is 0; expected at least 1"):
        F.stft(x, n_fft=0, hop_length=4)
    with pytest.raises(ParameterError, match="hop_length is 0; expected at least 1"):
        F.stft(x, n_fft=16, hop_length=0)
    with pytest.raises(ParameterError, match=r"win_length is 17; expected 1 to n_fft \(16\)"):
        F.stft(x, win_length=17, **good)
    with pytest.raises(ShapeError, match=r"window has shape \(8,\); expected \(10,\)"):
        F.stft(x, window=torch.ones(8), win_length=10, **good)
    with pytest.raises(ParameterError, match="pad_mode is 'edge'"):
        F.stft(x, pad_mode="edge", **good)
    with pytest.raises(ShapeError, match=r"complex \(..., bins, frames\) with 9 bins"):
        F.istft(F.stft(x, **good).abs(), **good)
    with pytest.raises(ShapeError, match="with 17 bins for n_fft 32"):
        F.istft(F.stft(x, **good), n_fft=32, hop_length=4)
    with pytest.raises(ParameterError, match="length is -1"):
        F.istft(F.stft(x, **good), length=-1, **good)
    with pytest.raises(ParameterError, match="0 frames"):
        overlap_add(torch.zeros(0, 4), hop_length=2)


@given(hop=st.integers(1, 12), count=st.integers(1, 6), length=st.integers(1, 10))
def test_overlap_add_equals_a_loop(hop, count, length):
    frames = torch.randn(2, count, length, dtype=torch.float64)
    expected = torch.zeros(2, (count - 1) * hop + length, dtype=torch.float64)
    for k in range(count):
        expected[:, k * hop : k * hop + length] += frames[:, k]
    torch.testing.assert_close(overlap_add(frames, hop_length=hop), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "center", "samples"),
    [
        (512, 128, True, 5000),
        (513, 100, True, 44_444),
        (512, 77, False, 300_000),
        (64, 1, True, 300),
    ],
)
def test_inverse_in_pieces_is_the_whole(n_fft, hop_length, center, samples):
    window = torch.rand(n_fft, dtype=torch.float64) + 0.1
    options = {"n_fft": n_fft, "hop_length": hop_length, "window": window, "center": center}
    spectrum = stft(torch.randn(2, 3, samples, dtype=torch.float64), **options)
    for length in (None, samples, samples + 1000, samples - 250):
        pieces = istft(spectrum, **options, length=length)
        # With a gradient to be had, all frames are transformed at once.
        whole = istft(spectrum.clone().requires_grad_(), **options, length=length).detach()
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-10)
