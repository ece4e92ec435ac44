import math

import numpy as np
import pytest
import scipy.signal
import torch

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import (
    a_weighting,
    a_weighting_gain,
    k_weighting,
    k_weighting_gain,
    pre_emphasis,
)

#: IEC 61672-1:2013, table 3, nominal frequencies and design goals in dB.
IEC = {
    10: -70.4, 20: -50.5, 31.5: -39.4, 63: -26.2, 100: -19.1, 125: -16.1, 250: -8.6, 500: -3.2,
    1000: 0.0, 2000: 1.2, 4000: 1.0, 8000: -1.1, 16000: -6.6, 20000: -9.3,
}  # fmt: skip


def test_a_weighting_is_the_table_of_the_standard():
    # Nominal frequencies stand for tenths of decades.
    exact = torch.tensor([10 ** (round(10 * math.log10(f)) / 10) for f in IEC])
    level = 20 * a_weighting_gain(exact).log10()
    np.testing.assert_allclose(level, list(IEC.values()), atol=0.051)


@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000])
def test_a_weighting_of_tones_up_to_the_end(sample_rate):
    time = torch.arange(sample_rate, dtype=torch.float64) / sample_rate
    for frequency in (30.0, 1000.0, 0.45 * sample_rate):
        tone = torch.sin(2 * torch.pi * frequency * time)
        middle = slice(sample_rate // 4, -sample_rate // 4)
        gain = a_weighting(tone, sample_rate=sample_rate)[middle].norm() / tone[middle].norm()
        expected = a_weighting_gain(torch.tensor(frequency))
        assert 20 * math.log10(gain / expected) == pytest.approx(0, abs=0.01)


def test_k_weighting_is_the_filters_of_the_standard():
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    shelf += [1.0, -1.69065929318241, 0.73248077421585]
    sections = [shelf, [1, -2, 1, 1, -1.99004745483398, 0.99007225036621]]
    frequency = np.array([20.0, 100.0, 997.0, 5000.0, 20000.0])
    _, response = scipy.signal.freqz_sos(sections, frequency, fs=48000)
    gain = k_weighting_gain(torch.from_numpy(frequency))
    np.testing.assert_allclose(gain, np.abs(response), rtol=1e-9)
    noise = np.random.default_rng(0).standard_normal(48000)
    expected = scipy.signal.sosfilt(sections, noise)
    actual = k_weighting(torch.from_numpy(noise), sample_rate=48000)
    assert 20 * math.log10(actual.norm() / np.linalg.norm(expected)) == pytest.approx(0, abs=0.01)


def test_nothing_wraps_around_the_ends():
    click = torch.zeros(2000, dtype=torch.float64)
    click[-1] = 1
    assert a_weighting(click, sample_rate=8000)[:100].abs().max() < 1e-4
    assert k_weighting(click, sample_rate=8000)[:100].abs().max() < 1e-3


def test_pre_emphasis_is_a_filter():
    x = torch.randn(2, 100, dtype=torch.float64)
    for kind, taps in (("high_pass", [1, -0.85]), ("folded", [1, 0, -0.85])):
        expected = scipy.signal.lfilter(taps, 1, x.numpy())
        np.testing.assert_allclose(pre_emphasis(x, kind=kind), expected, atol=1e-12)
    assert torch.equal(pre_emphasis(torch.ones(1), kind="folded"), torch.ones(1))
    assert pre_emphasis(torch.ones(0)).shape == (0,)


def test_gradients_and_types():
    x = torch.randn(2, 60, dtype=torch.float64, requires_grad=True)
    for weight in (a_weighting, k_weighting):
        assert torch.autograd.gradcheck(lambda y, w=weight: w(y, sample_rate=1000), x)
        assert weight(x.detach().half(), sample_rate=1000).dtype == torch.float32
        assert weight(torch.zeros(2, 0), sample_rate=1000).shape == (2, 0)


def test_bad_input_is_refused():
    with pytest.raises(ParameterError, match="sample_rate is 0"):
        a_weighting(torch.ones(4), sample_rate=0)
    with pytest.raises(ParameterError, match="coefficient is 2"):
        pre_emphasis(torch.ones(4), coefficient=2)
    with pytest.raises(ParameterError, match="kind is 'low'"):
        pre_emphasis(torch.ones(4), kind="low")
    with pytest.raises(ShapeError, match="floating"):
        pre_emphasis(torch.ones(4).int())
