import math

import numpy as np
import pytest
import torch

from sonograd import effects as fx
from sonograd.errors import ParameterError, ShapeError

RATE = 8000


def _tone(level_db, samples=4000):
    time = torch.arange(samples, dtype=torch.float64) / RATE
    level = torch.as_tensor(level_db, dtype=torch.float64)
    return torch.pow(10, level / 20) * torch.sin(2 * math.pi * 500 * time)[None]


def test_compressor_settles_on_its_curve():
    """A constant level: 10 dB over the threshold at 4:1 is 2.5 dB over it afterwards."""
    x = torch.full((1, 4000), 10 ** (-10 / 20), dtype=torch.float64)
    for options in ({}, {"smoothing": "gain"}, {"detector": "rms"}, {"link": "max"}):
        y = fx.Compressor(RATE, **options)(x, threshold_db=-20.0, ratio=4.0, release_ms=5.0)
        assert 20 * y[0, -1].log10() == pytest.approx(-17.5, abs=1e-3), options
    y = fx.Compressor(RATE)(x, threshold_db=-20.0, ratio=4.0, release_ms=5.0, makeup_db=7.5)
    assert 20 * y[0, -1].log10() == pytest.approx(-10.0, abs=1e-3)


def test_ratio_one_and_a_threshold_that_is_not_reached_do_nothing():
    x = torch.randn(1, 500, dtype=torch.float64) * 1e-3
    torch.testing.assert_close(fx.Compressor(RATE)(x), x)
    torch.testing.assert_close(fx.Compressor(RATE)(x, threshold_db=-80.0, ratio=1.0), x)


def test_links():
    x = torch.stack([_tone(-6)[0], _tone(-40)[0]])
    values = {"threshold_db": -20.0, "ratio": 4.0}
    free = fx.Compressor(RATE)(x, **values)
    torch.testing.assert_close(free[1], x[1])
    linked = fx.Compressor(RATE, link="max")(x, **values)
    gain = linked / x
    torch.testing.assert_close(gain[0, 3:4:2], gain[1, 3:4:2])
    assert (linked[1, 2000:].abs().max() / x[1].abs().max()) < 0.5
    mean = fx.Compressor(RATE, link="mean")(x, **values)
    assert mean[0].norm() > linked[0].norm()


def test_side_chain_ducks():
    music, voice = torch.ones(1, 2, 1000), torch.zeros(1, 1, 1000)
    voice[..., 300:] = 1.0
    duck = fx.Compressor(RATE)
    y = duck(music, side_chain=voice, threshold_db=-20.0, attack_ms=0.1)
    assert (y[..., :300] == 1).all()
    assert (y[..., 320:] < 0.3).all()
    with pytest.raises(ShapeError, match="side_chain has shape"):
        duck(music, side_chain=voice[..., :500])


def test_lookahead_moves_the_gain_before_the_sound():
    x = torch.full((1, 600), 0.01, dtype=torch.float64)
    x[:, 300:] = 1.0
    values = {"threshold_db": -30.0, "ratio": 100.0, "attack_ms": 0.01}
    late = fx.Compressor(RATE)(x, **values)
    early = fx.Compressor(RATE, lookahead_ms=5.0)
    assert early.latency == 40
    y = early(x, **values)
    assert late[0, 299] == 0.01
    assert y[0, 261] < 0.005
    assert y[0, 255] == 0.01


def test_gate_opens_holds_and_closes():
    x = torch.full((1, 1200), 1e-3, dtype=torch.float64)
    x[:, 200:400] = 0.5  # above: opens
    x[:, 400:600] = 0.08  # below the threshold, above the lower one: stays open
    values = {
        "threshold_db": -20.0,
        "hysteresis_db": 6.0,
        "hold_ms": 25.0,
        "attack_ms": 0.01,
        "release_ms": 0.01,
        "range_db": 40.0,
        "ratio": 100.0,
    }
    gain = fx.Gate(RATE, detector="peak")(x, **values) / x
    assert gain[0, 199] == pytest.approx(0.01)
    np.testing.assert_allclose(gain[0, 210:800], 1.0, atol=1e-9)  # 25 ms are 200 samples
    assert gain[0, 815] == pytest.approx(0.01)


def test_gate_without_hold_is_an_expander():
    x = torch.full((1, 2000), 10 ** (-50 / 20), dtype=torch.float64)
    for smoothing in ("level", "gain"):
        y = fx.Gate(RATE, smoothing=smoothing)(x, threshold_db=-40.0, ratio=2.0, release_ms=1.0)
        assert 20 * y[0, -1].log10() == pytest.approx(-60.0, abs=1e-2)


@pytest.mark.parametrize("oversample", [1, 4])
@pytest.mark.parametrize("link", ["max", "none"])
def test_limiter_never_passes_its_ceiling(rng, oversample, link):
    burst = np.where(np.arange(4000) % 900 < 30, 4.0, 0.3)
    x = torch.from_numpy(rng.standard_normal((2, 2, 4000)) * burst)
    limiter = fx.Limiter(RATE, oversample=oversample, link=link, lookahead_ms=2.0)
    for release_ms in (1.0, 50.0, 1000.0):
        y = limiter(x, ceiling_db=-6.0, gain_db=10.0, release_ms=release_ms)
        assert y.abs().max() <= 10 ** (-6 / 20) * (1 + 1e-9)
    soft = 0.01 * torch.randn(1, 2, 500, dtype=torch.float64)
    torch.testing.assert_close(limiter(soft), soft)


def test_limiter_nearly_keeps_true_peaks_of_tones():
    time = torch.arange(8192, dtype=torch.float64) / 44100
    for frequency in (997.0, 11025.0, 15000.0):
        x = torch.sin(2 * torch.pi * frequency * time + 0.8)[None]
        y = fx.Limiter(44100)(x, ceiling_db=-1.0, gain_db=6.0)
        spectrum = torch.fft.rfft(y)  # interpolated 16 times, away from the ends
        fine = 16 * torch.fft.irfft(spectrum, 16 * y.shape[-1])[0, 16 * 1500 : -16 * 500]
        assert 20 * float(fine.abs().max().log10()) < -1.0 + 0.035


def test_limiter_sees_peaks_between_samples():
    """A tone of a quarter of the rate, 45 degrees off: its samples are 3 dB below its peaks."""
    time = torch.arange(2000, dtype=torch.float64)
    x = torch.sin(math.pi / 2 * time + math.pi / 4)[None]
    plain = fx.Limiter(RATE, oversample=1)(x, ceiling_db=-1.0)
    seen = fx.Limiter(RATE, oversample=4)(x, ceiling_db=-1.0)
    middle = slice(500, 1500)
    torch.testing.assert_close(plain[0, middle], x[0, middle])
    true_peak = seen[0, middle].abs().max() * math.sqrt(2)
    assert 20 * true_peak.log10() == pytest.approx(-1.0, abs=0.05)


def test_multiband_compressor_turns_down_one_band_only():
    x = _tone(-6) + 0.01 * torch.sin(2 * math.pi * 3500 / RATE * torch.arange(4000))[None]
    values = {f"band{k}_threshold_db": 0.0 for k in (1, 2, 3)}
    effect = fx.MultibandCompressor(RATE)
    values |= {"split1_hz": 200.0, "split2_hz": 1500.0}
    before = torch.fft.rfft(effect(x, **values)[0]).abs()
    after = torch.fft.rfft(effect(x, **{**values, "band2_threshold_db": -30.0})[0]).abs()
    low, high = 250, 1750  # bins of 500 and 3500 Hz
    assert after[low] < 0.3 * before[low]
    assert after[high] == pytest.approx(float(before[high]), rel=0.05)


def test_transient_shaper_is_blind_to_level():
    decay = torch.exp(-torch.arange(2000, dtype=torch.float64) / 400)
    x = (decay * torch.sin(0.7 * torch.arange(2000)))[None]
    shaper = fx.TransientShaper(RATE)
    torch.testing.assert_close(shaper(x), x)
    sharper = shaper(x, attack_db=12.0)
    torch.testing.assert_close(shaper(0.01 * x, attack_db=12.0), 0.01 * sharper)
    assert (sharper[0, :40].norm() / x[0, :40].norm()) > 2
    longer = shaper(x, sustain_db=12.0)
    assert (longer[0, 1200:].norm() / x[0, 1200:].norm()) > 1.5


@pytest.mark.parametrize("mode", ["split", "wide"])
def test_de_esser_acts_on_sharp_sounds_only(mode):
    effect = fx.DeEsser(RATE, mode=mode)
    dull = _tone(-6)
    sharp = 0.5 * torch.sin(2 * math.pi * 3700 / RATE * torch.arange(4000))[None].double()
    values = {"frequency_hz": 2500.0, "threshold_db": -40.0, "ratio": 10.0}
    assert effect(dull, **values)[0, 2000:].norm() > 0.95 * dull[0, 2000:].norm()
    assert effect(sharp, **values)[0, 2000:].norm() < 0.3 * sharp[0, 2000:].norm()


def test_time_conventions_differ_as_they_say():
    x = torch.cat([torch.ones(1, 400), torch.full((1, 4000), 1e-3)], -1).double()
    values = {"threshold_db": -60.0, "ratio": 2.0, "attack_ms": 0.01, "release_ms": 50.0}
    gains = {
        name: fx.Compressor(RATE, time_convention=name)(x, **values) / x
        for name in ("juce", "tau", "10-90")
    }
    assert gains["juce"][0, 800] > gains["10-90"][0, 800] > gains["tau"][0, 800]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Compressor", {"link": "stereo"}, "link is 'stereo'; expected one of"),
        ("Compressor", {"detector": "pk"}, "detector is 'pk'"),
        (
            "Compressor",
            {"lookahead_ms": -1.0},
            "lookahead_ms is -1.0; expected a number of ms from 0 to 1000",
        ),
        ("Compressor", {"time_convention": "ms"}, "time_convention is 'ms'"),
        ("Gate", {"smoothing": "no"}, "smoothing is 'no'"),
        ("Limiter", {"oversample": 3}, "oversample is 3"),
        ("MultibandCompressor", {"bands": 9}, "bands is 9"),
        ("DeEsser", {"mode": "both"}, "mode is 'both'"),
    ],
)
def test_refuses_options(kind, options, message):
    with pytest.raises(ParameterError, match=message):
        getattr(fx, kind)(RATE, **options)
