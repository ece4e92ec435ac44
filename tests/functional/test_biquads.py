import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 44_100


def _prototype(kind, gain, q):
    """Analog numerator and denominator at 1 rad/s, highest power first."""
    root = math.sqrt(gain)
    return {
        "peak": ([1, gain / q, 1], [1, 1 / (gain * q), 1]),
        "low_shelf": ([gain, gain * root / q, gain**2], [gain, root / q, 1]),
        "high_shelf": ([gain**2, gain * root / q, gain], [1, root / q, gain]),
        "low_pass": ([0, 0, 1], [1, 1 / q, 1]),
        "high_pass": ([1, 0, 0], [1, 1 / q, 1]),
        "band_pass": ([0, 1 / q, 0], [1, 1 / q, 1]),
        "notch": ([1, 0, 1], [1, 1 / q, 1]),
        "all_pass": ([1, -1 / q, 1], [1, 1 / q, 1]),
    }[kind]


WITH_GAIN = ("peak", "low_shelf", "high_shelf")
KINDS = (*WITH_GAIN, "low_pass", "high_pass", "band_pass", "notch", "all_pass")


def _design(kind, frequency_hz, gain_db, q):
    function = getattr(F, f"{kind}_biquad")
    values = (frequency_hz, gain_db, q) if kind in WITH_GAIN else (frequency_hz, q)
    return function(*values, sample_rate=RATE)


@pytest.mark.parametrize("kind", KINDS)
@given(frequency_hz=st.floats(20, 20_000), gain_db=st.floats(-24, 24), q=st.floats(0.1, 10))
def test_design_is_the_analog_prototype_warped(kind, frequency_hz, gain_db, q):
    warp = 2 * RATE * math.tan(math.pi * frequency_hz / RATE)
    powers = np.array([warp**-2, 1 / warp, 1.0])
    gain = 10 ** (gain_db / 40)
    numerator, denominator = _prototype(kind, gain, q)
    expected = signal.bilinear(numerator * powers, denominator * powers, fs=RATE)
    actual = _design(kind, frequency_hz, gain_db, q).numpy()
    np.testing.assert_allclose(actual[3:], expected[1], atol=1e-9)
    np.testing.assert_allclose(actual[3 - len(expected[0]) : 3], expected[0], atol=1e-9 * gain**2)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", ["low_pass", "high_pass"])
def test_butterworth_matches_scipy(order, kind):
    sos = F.butterworth(order, 1234.5, sample_rate=RATE, kind=kind)
    expected = signal.butter(order, 1234.5, kind.replace("_pass", ""), fs=RATE, output="sos")
    frequencies = np.geomspace(10, 22_000, 200)
    actual = F.frequency_response(sos, torch.from_numpy(frequencies), sample_rate=RATE)
    np.testing.assert_allclose(
        actual, signal.sosfreqz(expected, frequencies, fs=RATE)[1], atol=1e-10
    )
    assert sos.shape == (-(-order // 2), 6)


def test_frequency_response_matches_scipy_and_keeps_leading_dimensions(rng):
    sos = torch.stack([_design(k, 900.0, 4.0, 1.3) for k in KINDS]).reshape(2, 4, 6)
    frequencies = torch.from_numpy(rng.uniform(1, 22_000, 50))
    actual = F.frequency_response(sos, frequencies, sample_rate=RATE)
    for item in range(2):
        expected = signal.sosfreqz(sos[item].numpy(), frequencies.numpy(), fs=RATE)[1]
        np.testing.assert_allclose(actual[item], expected, rtol=1e-10, atol=1e-12)
    at_one = F.frequency_response(sos, float(frequencies[3]), sample_rate=RATE)
    torch.testing.assert_close(at_one, actual[:, 3])


def test_numbers_and_tensors_broadcast():
    many = F.peak_biquad(
        torch.tensor([[100.0], [1000.0]]), torch.tensor([3.0, -6.0, 9.0]), 0.7, sample_rate=RATE
    )
    assert many.shape == (2, 3, 6)
    torch.testing.assert_close(many[1, 2], F.peak_biquad(1000.0, 9.0, 0.7, sample_rate=RATE))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    values = torch.tensor([3000.0, 6.0, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: _design(kind, *v), values)


def test_refuses_what_is_out_of_range():
    with pytest.raises(ParameterError, match=r"frequency_hz is 30000.0; .*22050"):
        F.peak_biquad(30_000.0, 1.0, 1.0, sample_rate=RATE)
    with pytest.raises(ParameterError, match=r"q is 0\.0"):
        F.notch_biquad(1000.0, 0.0, sample_rate=RATE)
    with pytest.raises(ParameterError, match="frequency_hz is nan"):
        F.low_pass_biquad(math.nan, sample_rate=RATE)
    with pytest.raises(ParameterError, match="order is 0"):
        F.butterworth(0, 1000.0, sample_rate=RATE)
    with pytest.raises(ParameterError, match="expected 'low_pass' or 'high_pass'"):
        F.butterworth(2, 1000.0, sample_rate=RATE, kind="low")
    with pytest.raises(ShapeError, match=r"\(..., sections, 6\)"):
        F.frequency_response(torch.ones(5), 100.0, sample_rate=RATE)


def test_group_delay_matches_scipy():
    sos = torch.stack(
        [
            F.peak_biquad(1000.0, 6.0, 2.0, sample_rate=RATE),
            F.low_pass_biquad(5000.0, sample_rate=RATE),
        ]
    )
    grid = torch.linspace(50, 15_000, 60, dtype=torch.float64)
    _, expected = signal.group_delay(signal.sos2tf(sos.numpy()), w=grid.numpy(), fs=RATE)
    actual = F.group_delay(sos, grid, sample_rate=RATE)
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)
    one = F.group_delay(sos, 1000.0, sample_rate=RATE)
    near = torch.tensor([999.9, 1000.1], dtype=torch.float64)
    phases = F.frequency_response(sos, near, sample_rate=RATE).angle()
    slope = (phases[0] - phases[1]) / 0.2 * RATE / (2 * np.pi)
    assert one.shape == ()
    np.testing.assert_allclose(one, slope, rtol=1e-5)


@pytest.mark.parametrize("kind", ["low_pass", "high_pass", "all_pass"])
def test_first_order_sections(kind):
    analog = {"low_pass": [0, 1], "high_pass": [1, 0], "all_pass": [-1, 1]}[kind]
    warped = 2 * RATE * np.tan(np.pi * 700 / RATE)
    zeros, poles = np.array(analog) * [1 / warped, 1], [1 / warped, 1]
    b, a = signal.bilinear(zeros, poles, fs=RATE)
    section = F.first_order(700.0, sample_rate=RATE, kind=kind)
    np.testing.assert_allclose(section, [*b, 0, *a, 0], atol=1e-12)
    with pytest.raises(ParameterError, match="kind is 'notch'"):
        F.first_order(700.0, sample_rate=RATE, kind="notch")


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2))
def test_any_numbers_give_a_stable_section(raw):
    section = F.stable_biquad(torch.ones(3), torch.tensor(raw, dtype=torch.float64))
    assert np.abs(np.roots(section[3:].numpy())).max() < 1
    assert F.sosfilt(torch.ones(2000), section[None]).isfinite().all()


@given(st.lists(st.floats(-3, 3), max_size=8))
def test_any_numbers_give_a_stable_polynomial(raw):
    a = F.stable_polynomial(torch.tensor(raw, dtype=torch.float64))
    assert a.shape == (len(raw) + 1,)
    roots = np.roots(a.numpy())
    assert (np.abs(roots) < 1).all()


def test_stable_parameters_have_gradients():
    raw = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(F.stable_polynomial, raw)
    poles = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: F.stable_biquad(torch.ones(3), p), poles)


@pytest.mark.parametrize(
    ("arguments", "rate", "message"),
    [
        ((500.0, 3.0, 1.0), None, "sample_rate is None; expected a number of Hz, like 44100"),
        ((500.0, 3.0, 1.0), "44100", "sample_rate is '44100'; expected a number of Hz"),
        ((500.0, math.inf, 1.0), RATE, "gain_db is inf"),
        ((500.0, math.nan, 1.0), RATE, "gain_db is nan"),
        ((500.0, 3.0, math.nan), RATE, "q is nan"),
        ((None, 3.0, 1.0), RATE, "frequency_hz is None; expected a number or a tensor"),
    ],
)
def test_what_is_no_number_is_named(arguments, rate, message):
    with pytest.raises(ParameterError, match=message):
        F.peak_biquad(*arguments, sample_rate=rate)


def test_a_response_takes_one_section_as_designed():
    section = F.peak_biquad(500.0, 6.0, 1.0, sample_rate=RATE)
    at = F.frequency_response(section, 500.0, sample_rate=RATE)
    assert float(at.abs()) == pytest.approx(10 ** (6 / 20))
    assert F.group_delay(section, 500.0, sample_rate=RATE).isfinite()
    with pytest.raises(ParameterError, match="sample_rate is None"):
        F.frequency_response(section, 500.0, sample_rate=None)
