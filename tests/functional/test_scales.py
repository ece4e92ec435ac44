import math

import librosa
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


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_equal_librosa(scale):
    hz = torch.linspace(0, 20000, 999, dtype=torch.float64)
    mel = F.hz_to_mel(hz, scale=scale)
    np.testing.assert_allclose(mel, librosa.hz_to_mel(hz.numpy(), htk=scale == "htk"), rtol=1e-12)
    np.testing.assert_allclose(F.mel_to_hz(mel, scale=scale), hz, rtol=1e-10, atol=1e-9)
    count = F.mel_frequencies(20, fmin=50, fmax=4000, scale=scale)
    expected = librosa.mel_frequencies(20, fmin=50, fmax=4000, htk=scale == "htk")
    np.testing.assert_allclose(count, expected, rtol=1e-10)


def test_mel_scales_are_differentiable():
    x = torch.tensor([10.0, 500.0, 1500.0, 7000.0], dtype=torch.float64, requires_grad=True)
    for scale in ("slaney", "htk"):
        assert torch.autograd.gradcheck(lambda v, s=scale: F.hz_to_mel(v, scale=s), x)
        assert torch.autograd.gradcheck(lambda v, s=scale: F.mel_to_hz(v / 200, scale=s), x)


@pytest.mark.parametrize("top_db", [None, 30.0, 80.0])
@pytest.mark.parametrize("reference", [1.0, 0.5])
def test_power_to_db_equals_librosa(rng, top_db, reference):
    power = rng.random((5, 7)) ** 20
    expected = librosa.power_to_db(power, ref=reference, top_db=top_db)
    actual = F.power_to_db(torch.from_numpy(power), reference=reference, top_db=top_db)
    np.testing.assert_allclose(actual, expected, atol=1e-10)


def test_bad_mel_and_power():
    with pytest.raises(ParameterError, match="scale is 'bark'; expected one of 'slaney', 'htk'"):
        F.hz_to_mel(1.0, scale="bark")
    with pytest.raises(ParameterError, match="fmin is 9 and fmax 3"):
        F.mel_frequencies(3, fmin=9, fmax=3)
    with pytest.raises(ParameterError, match="count is 0"):
        F.mel_frequencies(0, fmin=0, fmax=3)
    with pytest.raises(ParameterError, match="amin is 0"):
        F.power_to_db(torch.ones(2, 2), amin=0)
    with pytest.raises(ParameterError, match="top_db is -1"):
        F.power_to_db(torch.ones(2, 2), top_db=-1)
