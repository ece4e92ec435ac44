import math

import numpy as np
import pytest
import torch
from scipy import signal

from sonograd import effects as fx
from sonograd import functional as F
from sonograd.errors import ParameterError

RATE = 44_100
GRID = torch.linspace(20, 20_000, 200, dtype=torch.float64)


def _response(effect, hz, **values):
    """The gain in dB of an effect at frequencies, from its impulse response."""
    x = torch.zeros(1, 1 << 16, dtype=torch.float64)
    x[0, 100] = 1
    spectrum = torch.fft.rfft(effect(x, **values)).abs()[0]
    bins = torch.as_tensor(hz).double() / RATE * (1 << 16)
    low = bins.floor().long()
    return 20 * (spectrum[low] + (bins - low) * (spectrum[low + 1] - spectrum[low])).log10()


def test_a_filter_is_its_section():
    x = torch.randn(2, 2, 400, dtype=torch.float64)
    frequency = torch.tensor([500.0, 3000.0], dtype=torch.float64)
    actual = fx.Peak(RATE)(x, frequency_hz=frequency, gain_db=-6.0, q=2.0)
    sections = F.peak_biquad(frequency, -6.0, 2.0, sample_rate=RATE)[:, None, None]
    torch.testing.assert_close(actual, F.sosfilt(x, sections), rtol=0, atol=1e-11)


def test_each_channel_may_have_its_own_filter():
    x = torch.randn(1, 2, 300, dtype=torch.float64)
    cutoffs = torch.tensor([[200.0, 5000.0]], dtype=torch.float64)
    both = fx.HighPass(RATE, order=4)(x, cutoff_hz=cutoffs)
    alone = fx.HighPass(RATE, order=4)(x[:, 1:], cutoff_hz=5000.0)
    torch.testing.assert_close(both[:, 1:], alone)


def test_a_moving_cutoff_ends_where_a_standing_one_is():
    x = torch.randn(1, 1, 8000, dtype=torch.float64)
    curve = fx.Curve(torch.tensor([[200.0, 4000.0, 4000.0]]), hop_length=2000)
    for effect in (
        fx.LowPass(RATE, order=1),
        fx.LowPass(RATE, order=8),
        fx.ResonantLowPass(RATE),
    ):
        moving = effect(x, cutoff_hz=curve)
        standing = effect(x, cutoff_hz=4000.0)
        assert (moving - standing)[..., :1000].abs().max() > 0.1
        torch.testing.assert_close(moving[..., -1000:], standing[..., -1000:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 4, 8])
def test_passes_are_butterworth(order):
    x = torch.randn(1, 600, dtype=torch.float64)
    for effect, kind in ((fx.LowPass, "low"), (fx.HighPass, "high")):
        sos = signal.butter(order, 700, kind, fs=RATE, output="sos")
        actual = effect(RATE, order=order)(x, cutoff_hz=700.0)
        np.testing.assert_allclose(actual, signal.sosfilt(sos, x), atol=1e-10)


def test_parametric_eq_is_its_bands_in_a_row():
    kinds = ["high_pass", "low_shelf", "peak", "notch", "peak", "low_pass"]
    effect = fx.ParametricEQ(RATE, bands=kinds)
    assert "band1_gain_db" not in effect.names
    assert effect.names[:5] == (
        "band1_frequency_hz",
        "band1_q",
        "band2_frequency_hz",
        "band2_gain_db",
        "band2_q",
    )
    x = torch.randn(1, 2, 400, dtype=torch.float64)
    values = {"band2_gain_db": 5.0, "band3_gain_db": -4.0, "band5_q": 3.0, "band5_gain_db": 2.0}
    y = effect(x, **values)
    singles = {
        "high_pass": fx.ResonantHighPass,
        "low_shelf": fx.LowShelf,
        "peak": fx.Peak,
        "notch": fx.Notch,
        "low_pass": fx.ResonantLowPass,
    }
    full = {**effect.defaults(), **values}
    expected = x
    for k, kind in enumerate(kinds, start=1):
        single = singles[kind](RATE)
        own = {}
        for name in single.names:
            other = name.replace("cutoff_hz", "frequency_hz")
            own[name] = full[f"band{k}_{other}"]
        expected = single(expected, **own)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)


def test_any_number_of_bands():
    x = torch.randn(1, 200, dtype=torch.float64)
    assert fx.ParametricEQ(RATE, bands=2).bands == ("peak", "peak")
    effect = fx.ParametricEQ(RATE, bands=40)
    assert len(effect.names) == 120
    torch.testing.assert_close(effect(x), x, rtol=0, atol=1e-9)
    with pytest.raises(ParameterError, match="bands is 0; expected a whole number from 1"):
        fx.ParametricEQ(RATE, bands=0)
    with pytest.raises(ParameterError, match="Did you mean 'peak'"):
        fx.ParametricEQ(RATE, bands=["peek"])
    with pytest.raises(ParameterError, match="order is 3; expected one of 1, 2, 4, 8"):
        fx.LowPass(RATE, order=3)


@pytest.mark.parametrize("bands", [10, 31])
def test_graphic_eq_meets_its_gains(bands):
    effect = fx.GraphicEQ(RATE, bands=bands)
    gains = 10 * torch.sin(torch.arange(bands) * 1.3)
    values = dict(zip(effect.names, gains.tolist(), strict=True))
    keep = effect.centers_hz > 300  # where the grid of the transform is fine enough
    actual = _response(effect, effect.centers_hz[keep], **values)
    torch.testing.assert_close(actual, gains[keep].double(), rtol=0, atol=0.02)


@pytest.mark.parametrize("phase", ["linear", "minimum"])
def test_fir_eq_follows_its_points(phase):
    effect = fx.FirEQ(RATE, taps=4095, phase=phase)
    gains = 6 * torch.sin(torch.arange(10) * 1.3)
    values = dict(zip(effect.names, gains.tolist(), strict=True))
    keep = effect.centers_hz > 400
    actual = _response(effect, effect.centers_hz[keep], **values)
    torch.testing.assert_close(actual, gains[keep].double(), rtol=0, atol=0.3)
    assert effect.latency == (2047 if phase == "linear" else 0)


def test_linear_phase_keeps_a_flat_signal_in_place():
    x = torch.randn(1, 3000, dtype=torch.float64)
    torch.testing.assert_close(fx.FirEQ(RATE)(x), x, rtol=0, atol=1e-9)
    with pytest.raises(ParameterError, match="taps is 100; expected an odd number"):
        fx.FirEQ(RATE, taps=100)


def test_tilt_turns_around_its_pivot():
    levels = _response(fx.Tilt(RATE), [60.0, 1000.0, 19_000.0], tilt_db=12.0, pivot_hz=1000.0)
    np.testing.assert_allclose(levels, [-6, 0, 6], atol=0.1)


@pytest.mark.parametrize(("bands", "order"), [(2, 2), (3, 4), (5, 8)])
def test_crossover_sums_flat_and_splits(bands, order):
    effect = fx.Crossover(RATE, bands=bands, order=order)
    assert _response(effect, GRID[10:]).abs().max() < 1e-2
    x = torch.randn(1, 2, 500, dtype=torch.float64)
    ready = effect.resolve(x, 0, {})
    parts, _ = effect.split(x, None, ready)
    assert parts.shape == (bands, 1, 2, 500)
    torch.testing.assert_close(parts.sum(0), effect(x))
    muted = {f"band{k}_gain_db": -60.0 for k in range(2, bands + 1)}
    torch.testing.assert_close(effect(x, **muted), parts[0], rtol=0, atol=0.01)


def test_splits_out_of_order_are_sorted():
    x = torch.randn(1, 500, dtype=torch.float64)
    effect = fx.Crossover(RATE, bands=3)
    right = effect(x, split1_hz=900.0, split2_hz=3000.0, band1_gain_db=-20.0)
    wrong = effect(x, split1_hz=3000.0, split2_hz=900.0, band1_gain_db=-20.0)
    torch.testing.assert_close(right, wrong)


def test_low_cutoffs_stay_exact_in_single_precision():
    x = torch.randn(1, 20_000)
    values = {"frequency_hz": 30.0, "gain_db": 6.0, "q": 10.0}
    narrow = fx.Peak(RATE)(x, **values).double()
    wide = fx.Peak(RATE)(x.double(), **values)
    assert (narrow - wide).norm() < 1e-6 * wide.norm()
    assert math.isfinite(float(narrow.sum()))
