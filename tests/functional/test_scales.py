import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import ParameterError


@given(level=st.floats(-200, 200), reference=st.floats(1e-3, 1e3))
def test_round_trip(level, reference):
    level_db = torch.tensor(level, dtype=torch.float64)
    amplitude = F.db_to_amplitude(level_db, reference=reference)
    back = F.amplitude_to_db(amplitude, reference=reference)
    assert math.isclose(float(back), level, abs_tol=1e-10)


def test_known_values_and_complex_input():
    actual = F.amplitude_to_db(torch.tensor([3 + 4j, 0j], dtype=torch.complex128))
    np.testing.assert_allclose(actual, [20 * math.log10(5), -math.inf])
    assert F.db_to_amplitude(torch.tensor(-math.inf)) == 0


def test_floor_has_zero_gradient_on_silence():
    x = torch.tensor([0.0, 1.0, -1e-3], dtype=torch.float64, requires_grad=True)
    y = F.amplitude_to_db(x, floor_db=-80, reference=2.0)
    np.testing.assert_allclose(y.detach(), [-80, -20 * math.log10(2), -60 - 20 * math.log10(2)])
    y.sum().backward()
    expected = 20 / math.log(10) / np.array([np.inf, 1.0, -1e-3])
    np.testing.assert_allclose(x.grad, expected)


@pytest.mark.parametrize("reference", [0.0, -1.0, math.nan, math.inf])
def test_bad_reference(reference):
    with pytest.raises(ParameterError, match="expected a positive amplitude"):
        F.amplitude_to_db(torch.ones(1), reference=reference)
    with pytest.raises(ParameterError, match="expected a positive amplitude"):
        F.db_to_amplitude(torch.ones(1), reference=reference)
