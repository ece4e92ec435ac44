import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.gabor_frame import cut_slices, join_slices, slice_count, slice_window


def edges(fmin=100.0, bins=24, per_octave=12):
    return [fmin * 2 ** (k / per_octave) for k in range(-1, bins + 1)]


@pytest.mark.parametrize("size", [2, 4, 10, 100, 1000, 4096])
@pytest.mark.parametrize("group", [1, 5, 12, 100])
def test_synthesis_undoes_analysis(size, group):
    frame = F.gabor_frame(edges(), sample_rate=1000, size=size, group=group)
    x = torch.randn(3, size, dtype=torch.float64)
    spectrum = F.gabor_analysis(x, frame)
    assert len(spectrum.octaves) == -(-24 // group)
    torch.testing.assert_close(F.gabor_synthesis(spectrum, frame), x, atol=1e-13, rtol=0)


def test_bands_are_the_definition():
    size, rate = 2000, 1000
    frame = F.gabor_frame(edges(), sample_rate=rate, size=size, group=12)
    x = torch.randn(size, dtype=torch.float64)
    points = np.round(np.array(edges()) * size / rate).astype(int)
    spectrum = np.fft.fft(x.numpy())
    for k in (0, 11, 12, 23):
        start, center, stop = points[k : k + 3]
        window = np.zeros(size)
        window[start:center] = np.sin(np.pi / 2 * np.arange(center - start) / (center - start))
        window[center:stop] = np.cos(np.pi / 2 * np.arange(stop - center) / (stop - center))
        band = 2 * np.fft.ifft(spectrum * window)  # The analytic signal of the band.
        octave = F.gabor_analysis(x, frame).octaves[k // 12][k % 12]
        # At the times where the coefficients lie; between samples, by its Fourier series.
        time = np.arange(len(octave)) * size / len(octave)
        index = np.arange(start, stop)
        wave = np.exp(2j * np.pi * np.outer(time, index) / size)
        expected = 2 / size * wave @ (spectrum * window)[index]
        np.testing.assert_allclose(octave, expected, atol=1e-12)
        whole = time == np.round(time)
        np.testing.assert_allclose(octave.numpy()[whole], band[time[whole].astype(int)], atol=1e-12)


def test_a_sinusoid_measures_its_amplitude():
    frame = F.gabor_frame(edges(), sample_rate=1000, size=20_000, group=12)
    t = torch.arange(20_000, dtype=torch.float64) / 1000
    spectrum = F.gabor_analysis(0.7 * torch.cos(2 * torch.pi * 200 * t), frame)
    np.testing.assert_allclose(spectrum.octaves[1][0].abs(), 0.7, rtol=1e-6)
    spectrum = F.gabor_analysis(0.3 * torch.cos(2 * torch.pi * 20 * t), frame)
    np.testing.assert_allclose(spectrum.low.abs().max(), 0.3, rtol=1e-2)


def test_frame_is_tight():
    """Halving the coefficients of one bin removes what the frame says: synthesis is the adjoint."""
    frame = F.gabor_frame(edges(), sample_rate=1000, size=500, group=12)
    x, y = torch.randn(2, 500, dtype=torch.float64)
    a, b = F.gabor_analysis(x, frame), F.gabor_analysis(y, frame)

    def product(one, other, size):
        return (one * other.conj()).real.sum() * size / one.shape[-1]

    total = sum(product(p, q, 500) / 2 for p, q in zip(a.octaves, b.octaves, strict=True))
    total = total + product(a.low, b.low, 500) + product(a.high, b.high, 500)
    torch.testing.assert_close(total, (x * y).sum(), atol=1e-10, rtol=0)


def test_gradients():
    frame = F.gabor_frame(edges(), sample_rate=1000, size=60, group=12)
    x = torch.randn(60, dtype=torch.float64, requires_grad=True)

    def louder(x):
        spectrum = F.gabor_analysis(x, frame)
        octaves = tuple(octave * octave.abs() for octave in spectrum.octaves)
        return F.gabor_synthesis(spectrum._replace(octaves=octaves), frame)

    assert torch.autograd.gradcheck(louder, x)


@pytest.mark.parametrize("samples", [0, 1, 39, 40, 41, 100, 333])
@pytest.mark.parametrize("overlap", [1, 10, 20])
def test_slices_join_to_the_signal(samples, overlap):
    window = slice_window(40, overlap)
    x = torch.randn(2, samples, dtype=torch.float64)
    slices = cut_slices(x, window, overlap=overlap)
    assert slices.shape == (2, slice_count(samples, size=40, overlap=overlap), 40)
    joined = join_slices(slices, window, overlap=overlap, samples=samples)
    torch.testing.assert_close(joined, x, atol=1e-14, rtol=0)


def test_bad_arguments():
    with pytest.raises(ParameterError, match="size is 5"):
        F.gabor_frame(edges(), sample_rate=1000, size=5, group=12)
    with pytest.raises(ParameterError, match="overlap is 30; expected 1 to 20"):
        slice_window(40, 30)
    frame = F.gabor_frame(edges(), sample_rate=1000, size=60, group=12)
    with pytest.raises(ShapeError, match="made for 60"):
        F.gabor_analysis(torch.zeros(61), frame)
