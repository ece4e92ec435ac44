import numpy as np
import pytest
import torch
from scipy.signal import get_window
from scipy.signal import windows as oracle

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

PAIRS = {
    "hann": (F.hann, oracle.hann),
    "hamming": (F.hamming, oracle.hamming),
    "blackman": (F.blackman, oracle.blackman),
    "blackman_harris": (F.blackman_harris, oracle.blackmanharris),
    "sine": (F.sine, oracle.cosine),
    "kaiser_0": (
        lambda n, **k: F.kaiser(n, beta=0.0, **k),
        lambda n, **k: oracle.kaiser(n, 0, **k),
    ),
    "kaiser_9": (
        lambda n, **k: F.kaiser(n, beta=9.0, **k),
        lambda n, **k: oracle.kaiser(n, 9, **k),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 16, 1023])
def test_equals_scipy(name, periodic, length):
    ours, theirs = PAIRS[name]
    actual = ours(length, periodic=periodic, dtype=torch.float64)
    np.testing.assert_allclose(actual, theirs(length, sym=not periodic), atol=1e-14)


@pytest.mark.parametrize("name", PAIRS)
def test_is_designed_in_float64_and_cast_once(name):
    window = PAIRS[name][0]
    assert torch.equal(window(4095), window(4095, dtype=torch.float64).float())


def test_kaiser_does_not_overflow():
    window = F.kaiser(101, beta=5000.0, periodic=False)
    assert window.isfinite().all()
    assert window.argmax() == 50
    assert window.max() == 1


def test_squares_of_overlapping_sines_sum_to_one():
    squares = F.sine(64, periodic=False, dtype=torch.float64).square()
    np.testing.assert_allclose(squares[:32] + squares[32:], 1, rtol=1e-15)


def test_bad_arguments():
    with pytest.raises(ParameterError, match="length is -1; expected at least 0"):
        F.hann(-1)
    with pytest.raises(ParameterError, match="beta is -1"):
        F.kaiser(8, beta=-1)


NAMED = ["hann", "hamming", "blackman", "blackmanharris", "nuttall", "flattop", "boxcar"]
NAMED += ["bartlett", "triang", "cosine", ("kaiser", 8.0), ("gaussian", 5.0), ("tukey", 0.3)]
NAMED += [("tukey", 0.0), ("tukey", 1.0)]


@pytest.mark.parametrize("window", NAMED, ids=str)
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 1023])
def test_names_are_those_of_scipy(window, periodic, length):
    actual = F.get_window(window, length, periodic=periodic, dtype=torch.float64)
    expected = get_window(window, length, fftbins=periodic)
    np.testing.assert_allclose(actual, expected, atol=1e-14)


def test_a_window_may_be_given_or_misnamed():
    window = torch.rand(8)
    assert F.get_window(window, 8) is window
    with pytest.raises(ShapeError, match=r"window has shape \(8,\); expected \(9,\)"):
        F.get_window(window, 9)
    with pytest.raises(ParameterError, match="window is 'hanning'; expected a tensor, one of"):
        F.get_window("hanning", 8)
    with pytest.raises(ParameterError, match=r"window is \('hann', 2\); expected 'hann'"):
        F.get_window(("hann", 2), 8)
    with pytest.raises(ParameterError, match=r"alpha of the tukey window is 2\.0"):
        F.get_window(("tukey", 2), 8)
    with pytest.raises(ParameterError, match="sigma is 0"):
        F.gaussian(8, sigma=0)
