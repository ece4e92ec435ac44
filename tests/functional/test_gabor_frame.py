import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import gabor_pieces
from sonograd.functional.gabor_transform import (
    slice_count,
    slice_window,
    sliced_analysis,
    sliced_synthesis,
)


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


@pytest.mark.parametrize("size", [2, 8, 250, 2000])
@pytest.mark.parametrize("together", [1, 3000, 1 << 21])
def test_in_pieces_is_the_same(size, together, monkeypatch):
    """Bin after bin, some rows at a time, is what the tables for gradients give."""
    monkeypatch.setattr(gabor_pieces, "_SAMPLES", together)
    monkeypatch.setattr(gabor_pieces, "_POINTS", together)
    frame = F.gabor_frame(edges(), sample_rate=1000, size=size, group=5)
    x = torch.randn(3, 2, size, dtype=torch.float64)
    found, expected = F.gabor_analysis(x, frame), F.gabor_analysis(x.requires_grad_(), frame)
    for part, other in zip(found.parts, expected.parts, strict=True):
        torch.testing.assert_close(part, other.detach(), atol=1e-14, rtol=1e-12)
    # Coefficients of no signal, too.
    edited = found._replace(octaves=tuple(torch.randn_like(part) for part in found.octaves))
    tracked = edited._replace(low=edited.low.clone().requires_grad_())
    torch.testing.assert_close(
        F.gabor_synthesis(edited, frame),
        F.gabor_synthesis(tracked, frame).detach(),
        atol=1e-13,
        rtol=1e-12,
    )


def test_single_precision_is_designed_in_double():
    frame = F.gabor_frame(edges(), sample_rate=1000, size=1_000_000, group=12, dtype=torch.float32)
    wide = F.gabor_frame(edges(), sample_rate=1000, size=1_000_000, group=12)
    torch.testing.assert_close(frame.windows, wide.windows.float(), atol=0, rtol=0)
    x = torch.randn(1_000_000)
    spectrum = F.gabor_analysis(x, frame)
    for part, other in zip(spectrum.parts, F.gabor_analysis(x.double(), wide).parts, strict=True):
        assert float((part - other).norm() / other.norm()) < 4e-7
    assert float((F.gabor_synthesis(spectrum, frame) - x).norm() / x.norm()) < 5e-7


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
@pytest.mark.parametrize("gradients", [False, True])
def test_slices_join_to_the_signal(samples, overlap, gradients):
    frame = F.gabor_frame(edges(), sample_rate=1000, size=40, group=12)
    window = slice_window(40, overlap)
    x = torch.randn(2, samples, dtype=torch.float64, requires_grad=gradients)
    spectrum = sliced_analysis(x, frame, window, overlap=overlap)._replace(samples=samples)
    count = slice_count(samples, size=40, overlap=overlap)
    assert spectrum.low.shape[:-1] == (2, count)
    # The first begins before the signal, and there is nothing after the last.
    padded = torch.nn.functional.pad(x, (overlap, count * (40 - overlap) - samples))
    for number in range(count):
        part = padded[:, number * (40 - overlap) :][:, :40] * window
        alone = F.gabor_analysis(part, frame)
        torch.testing.assert_close(spectrum.octaves[0][:, number], alone.octaves[0])
    joined = sliced_synthesis(spectrum, frame, window, overlap=overlap)
    torch.testing.assert_close(joined, x, atol=1e-14, rtol=0)


def test_bad_arguments():
    with pytest.raises(ParameterError, match="size is 5"):
        F.gabor_frame(edges(), sample_rate=1000, size=5, group=12)
    with pytest.raises(ParameterError, match="overlap is 30; expected 1 to 20"):
        slice_window(40, 30)
    frame = F.gabor_frame(edges(), sample_rate=1000, size=60, group=12)
    with pytest.raises(ShapeError, match="made for 60"):
        F.gabor_analysis(torch.zeros(61), frame)
