"""True peak: the synthesizable cases of EBU Tech 3341, scipy's resampling, and its laws."""

import math

import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional import true_peak

RATE = 48_000


def sine(fraction, degrees, amplitude, seconds=0.2):
    """Sine at a fraction of the sample rate, with slopes so that it has no overshoot."""
    count = round(seconds * RATE)
    phase = 2 * math.pi * fraction * torch.arange(count) + math.radians(degrees)
    slope = torch.ones(count)
    slope[:2000] = torch.linspace(0, 1, 2000)
    slope[-2000:] = torch.linspace(1, 0, 2000)
    return (amplitude * slope * torch.sin(phase))[None]


@pytest.mark.parametrize(
    ("fraction", "degrees", "amplitude", "expected"),
    [
        (1 / 4, 0, 0.5, -6),
        (1 / 4, 45, 0.5, -6),
        (1 / 6, 60, 0.5, -6),
        (1 / 8, 67.5, 0.5, -6),
        (1 / 4, 45, 1.41, 3),
    ],
)
def test_cases_15_to_19_of_tech_3341(fraction, degrees, amplitude, expected):
    peak = F.true_peak_dbtp(sine(fraction, degrees, amplitude), sample_rate=RATE)
    assert expected - 0.4 <= peak.item() <= expected + 0.2


def test_against_resampling_by_fft(rng):
    x = np.zeros(4096)
    x[500:3500] = rng.standard_normal(3000) * np.hanning(3000)
    x = signal.sosfilt(signal.butter(6, 0.8, output="sos"), x)
    expected = 20 * np.log10(np.abs(signal.resample(x, 4 * 4096)).max())
    actual = F.true_peak_dbtp(torch.from_numpy(x)[None], sample_rate=RATE)
    assert abs(actual.item() - expected) < 0.05


def test_laws(monkeypatch):
    x = torch.randn(3, 2, 5000)
    whole = F.true_peak_dbtp(x, sample_rate=RATE)
    assert whole.shape == (3, 2)
    assert (whole >= 20 * torch.log10(x.abs().amax(-1))).all()
    monkeypatch.setattr(true_peak, "_BLOCK", 333)
    torch.testing.assert_close(F.true_peak_dbtp(x, sample_rate=RATE), whole)
    padded = x.clone()
    padded[1, :, 3000:] = torch.nan
    cut = F.true_peak_dbtp(padded, sample_rate=RATE, lengths=[5000, 3000, 5000])
    torch.testing.assert_close(cut[1], F.true_peak_dbtp(x[1, :, :3000], sample_rate=RATE))
    torch.testing.assert_close(cut[0], whole[0])
    assert (F.true_peak_dbtp(0 * x, sample_rate=RATE) == -torch.inf).all()
    samples = F.true_peak_dbtp(x, sample_rate=RATE, oversampling=1)
    torch.testing.assert_close(samples, 20 * torch.log10(x.abs().amax(-1)))
    one = F.true_peak_dbtp(torch.ones(1, 1), sample_rate=RATE)
    torch.testing.assert_close(one, torch.zeros(1))


@pytest.mark.parametrize("oversampling", [None, 1])
def test_blocks_give_the_peak_of_the_whole(oversampling):
    x = torch.randn(3, 2, 3000, dtype=torch.float64)
    x[0, 0, -1] = x[1, 1, 0] = 9.0
    options = {"sample_rate": RATE, "oversampling": oversampling}
    whole = F.true_peak_dbtp(x, **options)
    for sizes in ([3000], [1, 0, 30, 33, 2, 2000, 934], [1] * 3000):
        peak = F.true_peak_dbtp_blocks(iter(x.split(sizes, -1)), **options)
        torch.testing.assert_close(peak, whole, rtol=0, atol=1e-12)
    short = x[..., :5]
    torch.testing.assert_close(
        F.true_peak_dbtp_blocks([short], **options), F.true_peak_dbtp(short, **options)
    )


def test_errors():
    with pytest.raises(ShapeError, match="no samples"):
        F.true_peak_dbtp_blocks([], sample_rate=RATE)
    with pytest.raises(AudioError, match="NaN"):
        F.true_peak_dbtp_blocks([torch.full((1, 9), torch.nan)], sample_rate=RATE)
    x = torch.randn(2, 100)
    with pytest.raises(ShapeError, match="channels, samples"):
        F.true_peak_dbtp(x[0], sample_rate=RATE)
    with pytest.raises(ShapeError, match="no samples"):
        F.true_peak_dbtp(x[:, :0], sample_rate=RATE)
    with pytest.raises(AudioError, match="NaN"):
        F.true_peak_dbtp(x / 0, sample_rate=RATE)
    with pytest.raises(ParameterError, match="oversampling is 0"):
        F.true_peak_dbtp(x, sample_rate=RATE, oversampling=0)
    with pytest.raises(ParameterError, match="sample_rate is -1"):
        F.true_peak_dbtp(x, sample_rate=-1)
