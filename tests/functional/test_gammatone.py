import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError
from sonograd.functional.gammatone import equivalent_rectangular_bandwidth


@pytest.mark.parametrize("hz", [440.0, 1000.0, 3000.0, 7000.0])
def test_filters_equal_scipy(hz):
    ours = F.gammatone_sos(torch.tensor([hz]), sample_rate=16000)[0]
    b, a = signal.gammatone(hz, "iir", fs=16000)
    _, expected = signal.freqz(b, a, 512)
    _, actual = signal.sosfreqz(ours.numpy(), 512)
    # scipy multiplies the sections out, which costs it digits at low frequencies.
    np.testing.assert_allclose(actual, expected, atol=2e-6)


def test_weights_are_the_responses_of_the_filters():
    bank = F.gammatone_filterbank(
        sample_rate=8000, n_fft=512, n_bands=20, fmin=50, dtype=torch.float64
    )
    centers = F.gammatone_frequencies(20, fmin=50, fmax=4000)
    for row, sos in zip(bank, F.gammatone_sos(centers, sample_rate=8000), strict=True):
        _, response = signal.sosfreqz(sos.numpy(), np.linspace(0, np.pi, 257))
        np.testing.assert_allclose(row, np.abs(response), atol=1e-9)


def test_gain_is_one_at_the_centers():
    centers = F.gammatone_frequencies(20, fmin=50, fmax=4000)
    for hz, sos in zip(centers, F.gammatone_sos(centers, sample_rate=8000), strict=True):
        _, response = signal.sosfreqz(sos.numpy(), [2 * np.pi * float(hz) / 8000])
        np.testing.assert_allclose(np.abs(response), 1, rtol=1e-9)


def test_centers_are_equally_many_bandwidths_apart():
    hz = F.gammatone_frequencies(30, fmin=50, fmax=8000)
    assert hz[0] == pytest.approx(50, rel=1e-12)
    middle = equivalent_rectangular_bandwidth((hz[1:] * hz[:-1]).sqrt())
    steps = hz.diff() / middle
    assert (steps.max() / steps.min()) < 1.05
    ratio = (hz[1:] + 24.7 * 9.26449) / (hz[:-1] + 24.7 * 9.26449)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_bad_arguments():
    with pytest.raises(ParameterError, match="width is 0"):
        F.gammatone_sos(torch.tensor([100.0]), sample_rate=8000, width=0)
    with pytest.raises(ParameterError, match="expected 0 to below half the sample rate"):
        F.gammatone_sos(torch.tensor([4000.0]), sample_rate=8000)
    with pytest.raises(ParameterError, match="n_bands is 0"):
        F.gammatone_filterbank(sample_rate=8000, n_fft=64, n_bands=0)
    with pytest.raises(ParameterError, match="fmax is 9000"):
        F.gammatone_filterbank(sample_rate=8000, n_fft=64, fmax=9000)
    with pytest.raises(ParameterError, match="count is 0"):
        F.gammatone_frequencies(0, fmin=50, fmax=8000)
    with pytest.raises(ParameterError, match="fmin is 100 and fmax 50"):
        F.gammatone_frequencies(3, fmin=100, fmax=50)
