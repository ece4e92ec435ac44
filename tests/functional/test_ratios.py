import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import ShapeError

PER_SIGNAL = [F.snr, F.sdr, F.si_sdr, F.sd_sdr]


@pytest.fixture
def orthogonal(rng):
    """A reference and a noise of unit energy, orthogonal to each other."""
    pair, _ = np.linalg.qr(rng.standard_normal((500, 2)))
    return torch.from_numpy(pair.T.copy()).unbind()


@pytest.mark.parametrize(("gain", "level"), [(1.0, 0.1), (0.5, 0.3), (-2.0, 1e-4), (3.0, 7.0)])
def test_closed_form(orthogonal, gain, level):
    s, n = orthogonal
    estimate = gain * s + level * n
    noise = (1 - gain) ** 2 + level**2
    expected = {
        F.snr: -10 * math.log10(noise),
        F.sdr: -10 * math.log10(noise),
        F.si_sdr: 10 * math.log10(gain**2 / level**2),
        F.sd_sdr: 10 * math.log10(gain**2 / noise),
    }
    for function, value in expected.items():
        np.testing.assert_allclose(function(estimate, s), value, atol=1e-9)


def test_sources_are_aggregated(orthogonal):
    s, n = orthogonal
    reference = torch.stack((2 * s, 0 * s, s))
    estimate = reference + torch.stack((0.1 * n, 0.2 * n, 0.3 * n))
    expected = 10 * math.log10(5 / 0.14)
    np.testing.assert_allclose(F.sa_sdr(estimate, reference), expected, atol=1e-9)
    both = F.sa_sdr(estimate.expand(4, 3, -1), reference.expand(4, 3, -1))
    np.testing.assert_allclose(both, [expected] * 4, atol=1e-9)


@given(exponent=st.integers(-6, 6), other=st.integers(-6, 6))
def test_scale_invariance(exponent, other):
    generator = torch.Generator().manual_seed(exponent * 17 + other)
    s, e = torch.randn(2, 3, 400, generator=generator).unbind()
    e = e + s
    a, b = 10.0**exponent, 10.0**other
    torch.testing.assert_close(F.si_sdr(a * e, b * s), F.si_sdr(e, s), rtol=0, atol=1e-4)
    for function in (F.snr, F.sd_sdr, F.sa_sdr):
        torch.testing.assert_close(function(a * e, a * s), function(e, s), rtol=0, atol=1e-4)


def test_scale_of_the_estimate_matters_where_it_should():
    s, e = torch.randn(2, 100)
    e = e + s
    for function in (F.snr, F.sd_sdr):
        assert abs(function(2 * e, s) - function(e, s)) > 0.1


@pytest.mark.parametrize("function", PER_SIGNAL)
def test_items_do_not_interact(function):
    estimate, reference = torch.randn(2, 2, 3, 50, dtype=torch.float64)
    values = function(estimate, reference)
    assert values.shape == (2, 3)
    estimate[0, 0] = 0
    reference[1, 1] = 0
    changed = function(estimate, reference)
    same = torch.tensor([[False, True, True], [True, False, True]])
    assert torch.equal(values[same], changed[same])


def test_silence():
    zero, one = torch.zeros(8), torch.ones(8)
    wave = torch.tensor([1.0, -1.0] * 4)
    nan, inf = math.nan, math.inf
    cases = {
        F.snr: [inf, -inf, nan, 0.0],
        F.sdr: [inf, -inf, nan, 0.0],
        F.si_sdr: [inf, nan, nan, nan],
        F.sd_sdr: [inf, nan, nan, -inf],
    }
    pairs = [(one, one), (one, zero), (zero, zero), (zero, one)]
    for function, expected in cases.items():
        actual = [float(function(estimate, reference)) for estimate, reference in pairs]
        np.testing.assert_array_equal(actual, expected)
    assert F.si_sdr(wave, one) == -inf
    sources = [float(F.sa_sdr(e.expand(2, 8), r.expand(2, 8))) for e, r in pairs]
    np.testing.assert_array_equal(sources, [inf, -inf, nan, 0.0])


@pytest.mark.parametrize("function", [*PER_SIGNAL, F.sa_sdr])
def test_gradients_and_shapes(function):
    estimate = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (estimate, reference))
    with pytest.raises(ShapeError, match="nothing is broadcast"):
        function(torch.ones(2, 5), torch.ones(1, 5))
