import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ShapeError

RATE = 8000
FREQUENCIES = torch.tensor([300.0, 811.0, 1999.0, 3900.0, 4500.0], dtype=torch.float64)
DECAYS = torch.tensor([0.5, 0.2, 0.05, 0.3, 0.3], dtype=torch.float64)
GAINS = torch.tensor([1.0, 0.5, -0.7, 1.0, 1.0], dtype=torch.float64)


def _expected(n):
    mask = np.array([1, 1, 1, 0.5, 0])
    t = n / RATE
    return sum(
        m * g * 10 ** (-3 * t / d) * np.sin(2 * np.pi * f * t)
        for f, d, g, m in zip(*(v.numpy() for v in (FREQUENCIES, DECAYS, GAINS)), mask, strict=True)
    )


def test_closed_form_and_blocks():
    y = F.modal_decay(FREQUENCIES, DECAYS, GAINS, 1000, sample_rate=RATE)
    np.testing.assert_allclose(y, _expected(np.arange(1000)), atol=1e-11)
    late = F.modal_decay(FREQUENCIES, DECAYS, GAINS, 10, sample_rate=RATE, start=990)
    torch.testing.assert_close(late, y[990:])


def test_resonators_answer_an_impulse_with_the_decay():
    impulse = torch.zeros(800, dtype=torch.float64)
    impulse[0] = 1
    y = F.modal_filter(impulse, FREQUENCIES, DECAYS, GAINS, sample_rate=RATE)
    z = F.modal_decay(FREQUENCIES, DECAYS, GAINS, 800, sample_rate=RATE)
    torch.testing.assert_close(y, z, atol=1e-11, rtol=0)


def test_resonators_equal_scipy(rng):
    x = rng.standard_normal((2, 500))
    y = F.modal_filter(torch.from_numpy(x), FREQUENCIES, DECAYS, GAINS, sample_rate=RATE)
    sos = F.modal_biquad(FREQUENCIES, DECAYS, GAINS, sample_rate=RATE).numpy()
    expected = sum(signal.lfilter(s[:3], s[3:], x) for s in sos)
    np.testing.assert_allclose(y, expected, atol=1e-11)


def test_gradients_and_batches():
    values = [v[:2].expand(3, 2).clone().requires_grad_() for v in (FREQUENCIES, DECAYS, GAINS)]
    assert torch.autograd.gradcheck(
        lambda *v: F.modal_decay(*v, 20, sample_rate=RATE), values, atol=1e-5
    )
    assert F.modal_decay(
        FREQUENCIES[:1], DECAYS[:1], values[2][:, :1], 9, sample_rate=RATE
    ).shape == (3, 9)


def test_refuses_different_numbers_of_modes():
    with pytest.raises(ShapeError, match=r"\(5,\), \(4,\) and \(5,\)"):
        F.modal_decay(FREQUENCIES, DECAYS[:4], GAINS, 5, sample_rate=RATE)
