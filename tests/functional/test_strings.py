import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError
from sonograd.functional import strings

RATE = 44_100


def _pluck(frequency_hz, samples=RATE, seed=3, **values):
    generator = torch.Generator().manual_seed(seed)
    options = {"sample_rate": RATE, "generator": generator, "dtype": torch.float64}
    return F.plucked_string(frequency_hz, samples, **options, **values).numpy()


@pytest.mark.parametrize("frequency_hz", [41.2, 110.0, 440.0, 987.77, 2500.3])
def test_is_in_tune_and_decays(frequency_hz):
    y = _pluck(frequency_hz, 2 * RATE, decay_s=2.0, damping=0.5)
    step = RATE // 2
    window = signal.windows.blackmanharris(step + 1)
    time = np.arange(step + 1) / RATE
    tone = window * np.exp(-2j * np.pi * frequency_hz * time)
    early, late = (np.sum(tone * y[n : n + step + 1]) for n in (0, step))
    turn = late / early * np.exp(-2j * np.pi * frequency_hz * step / RATE)
    cents = 1200 * np.log2(1 + np.angle(turn) / (2 * np.pi * 0.5) / frequency_hz)
    assert abs(cents) < 1.0
    assert -20 * np.log10(abs(turn)) == pytest.approx(60 * 0.5 / 2.0, abs=0.3)


@pytest.mark.parametrize(("delay", "taps"), [(3, 8), (40, 8), (200, 5)])
def test_loop_is_the_recursive_filter(rng, delay, taps):
    excitation, weights = rng.standard_normal(2000), rng.uniform(-0.12, 0.12, taps)
    actual = strings._resonate(excitation, delay, weights)
    denominator = np.concatenate([[1.0], np.zeros(delay - 1), -weights])
    np.testing.assert_allclose(actual, signal.lfilter([1.0], denominator, excitation), atol=1e-12)


def _partials(y, frequency_hz, count):
    window = signal.windows.blackmanharris(len(y))
    time = np.arange(len(y)) / RATE
    return np.array(
        [
            abs(np.sum(y * window * np.exp(-2j * np.pi * k * frequency_hz * time)))
            for k in range(1, count + 1)
        ]
    )


def test_pick_position_damping_and_brightness():
    picked = _partials(_pluck(200.0, 8000, pick_position=0.25), 200.0, 12)
    assert picked[[3, 7, 11]].max() < 0.1 * picked.mean()
    high = slice(20, 40)
    free, damped = (
        _partials(_pluck(200.0, 22_050, damping=d)[11_025:], 200.0, 40)[high].sum()
        for d in (0.1, 0.8)
    )
    assert damped < 0.1 * free
    bright, dull = (_partials(_pluck(200.0, 4000, brightness=b), 200.0, 40) for b in (1.0, 0.1))
    assert dull[30:].sum() / dull[:3].sum() < 0.3 * bright[30:].sum() / bright[:3].sum()


def test_seed_and_peak():
    assert np.array_equal(_pluck(330.0), _pluck(330.0))
    assert not np.array_equal(_pluck(330.0), _pluck(330.0, seed=4))
    assert np.abs(_pluck(330.0)[: int(RATE / 330)]).max() == 1
    for samples in (0, 1, 50):
        np.testing.assert_array_equal(_pluck(330.0, samples), _pluck(330.0, 500)[:samples])


def test_never_grows():
    for frequency in (30.0, 700.0, 5000.0):
        y = _pluck(frequency, 4 * RATE, decay_s=1e6, damping=1.0)
        assert np.abs(y[-RATE:]).max() <= 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("decay_s", 0.0), ("damping", 1.2), ("brightness", 0.0), ("pick_position", 1.0)],
)
def test_refuses(name, value):
    with pytest.raises(ParameterError, match=f"{name} is {value}"):
        _pluck(100.0, **{name: value})
    with pytest.raises(ParameterError, match="frequency_hz is 6000"):
        _pluck(6000.0)
