"""What each instrument promises beyond the laws of all of them."""

import math

import numpy as np
import pytest
import torch
from scipy import special

from sonograd import functional as F
from sonograd import synths
from sonograd.errors import ParameterError, ShapeError
from sonograd.params import Curve

RATE = 16_000


def _level_db(y):
    """Spectrum of one second under a window whose side lobes are below -160 dB."""
    window = torch.kaiser_window(len(y), periodic=False, beta=22.0, dtype=torch.float64)
    power = torch.fft.rfft(y.double() * window).abs() * 2 / window.sum()
    return 20 * power.clamp_min(1e-12).log10()


def _tonal(name):
    waves = torch.randn(3, 256, dtype=torch.float64)
    return {
        "sine": lambda: synths.Oscillator(RATE),
        "saw": lambda: synths.Oscillator(RATE, shape="saw"),
        "square": lambda: synths.Oscillator(RATE, shape="square"),
        "triangle": lambda: synths.Oscillator(RATE, shape="triangle"),
        "harmonic": lambda: synths.Harmonic(RATE, harmonics=40),
        "wavetable": lambda: synths.Wavetable(RATE, tables=waves),
        "fm": lambda: synths.FM(RATE, algorithm="stack"),
        "modal": lambda: synths.Modal(RATE, body="harmonic"),
        "voice": lambda: synths.SourceFilter(RATE),
    }[name]()


@pytest.mark.parametrize(
    ("name", "floor_db"),
    [
        ("sine", -180),
        ("saw", -90),
        ("square", -90),
        ("triangle", -90),
        ("harmonic", -180),
        ("wavetable", -75),
        ("fm", -30),
        ("modal", -180),
        ("voice", -120),
    ],
)
@pytest.mark.parametrize("frequency_hz", [217.0, 1033.0, 3517.0])
def test_nothing_folds_back(name, floor_db, frequency_hz):
    """Between the harmonics there is nothing: those above half the rate are left out."""
    synth = _tonal(name)
    values = {"frequency_hz": torch.tensor(frequency_hz, dtype=torch.float64)}
    values |= {"position": 0.5} if name == "wavetable" else {}
    values |= {"breath": 0.0} if name == "voice" else {}
    if name == "modal":
        values["decays_s"] = torch.full((16,), 60.0)
        frequencies = frequency_hz * torch.arange(1, 17, dtype=torch.float64)
        y = F.modal_decay(
            frequencies,
            torch.full((16,), 1e9).double(),
            torch.ones(16).double(),
            RATE,
            sample_rate=RATE,
        )
    else:
        y = synth(2 * RATE, **values)[0, 0, RATE:]
    level = _level_db(y)
    top = level.max()
    for k in range(int(RATE / 2 / frequency_hz) + 1):
        middle = round(k * frequency_hz)
        level[max(middle - 15, 0) : middle + 16] = -300
    # The corrected waves promise it up to 0.44 of the rate.
    assert level[: int(0.44 * RATE)].max() - top < floor_db


@pytest.mark.slow
def test_an_hour_stays_in_tune():
    synth = synths.Oscillator(RATE)
    state = synth.init_state()
    hz = torch.tensor([441.03], dtype=torch.float64)
    for _ in range(3600):
        _, state = synth.stream(RATE, state, frequency_hz=hz)
    y, _ = synth.stream(100, state, frequency_hz=hz)
    time = 3600 + torch.arange(100, dtype=torch.float64) / RATE
    expected = (2 * torch.pi * torch.remainder(441.03 * time, 1.0)).sin()
    torch.testing.assert_close(y[0, 0], expected, atol=1e-4, rtol=0)


def test_harmonic_shares_add_up_to_the_amplitude():
    synth = synths.Harmonic(RATE, harmonics=3)
    y = synth(RATE, frequency_hz=100.0, amplitude=0.8, distribution=torch.tensor([0.5, 1.0, 0.5]))
    level = 10 ** (_level_db(y[0, 0])[[100, 200, 300]] / 20)
    torch.testing.assert_close(level, torch.tensor([0.2, 0.4, 0.2]).double(), atol=1e-5, rtol=0)


def test_harmonic_partials_are_stretched():
    y = synths.Harmonic(RATE, harmonics=4)(RATE, frequency_hz=200.0, inharmonicity=0.01)[0, 0]
    for k in range(1, 5):
        expected = 200 * k * (1 + 0.01 * k * k) ** 0.5
        low, high = expected - 60, expected + 60
        found = F.estimate_frequency(y, sample_rate=RATE, low_hz=low, high_hz=high).frequency_hz
        assert float(found) == pytest.approx(expected, abs=0.5)


def test_harmonic_paths_agree():
    """Without stiffness partials are powers of one phasor, otherwise sines: the same sound."""
    synth = synths.Harmonic(RATE, harmonics=20)
    hz = Curve(torch.linspace(200, 900, 5, dtype=torch.float64), 500)
    y = synth(2000, frequency_hz=hz)
    z = synth(2000, frequency_hz=hz, inharmonicity=torch.tensor(1e-300, dtype=torch.float64))
    torch.testing.assert_close(y, z, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["bright", "dark"])
def test_noise_has_the_spectrum_it_was_given(name):
    gains = torch.linspace(0, 1, 33) if name == "bright" else torch.linspace(1, 0, 33)
    y = synths.FilteredNoise(RATE, bands=33)(
        40 * RATE, magnitudes=gains, amplitude=1.0, generator=torch.Generator().manual_seed(1)
    )
    pieces = y[0, 0].unfold(-1, 1024, 1024) * torch.hann_window(1024)
    power = torch.fft.rfft(pieces).abs().square().mean(0) / torch.hann_window(1024).square().sum()
    expected = torch.nn.functional.interpolate(
        gains[None, None], 513, mode="linear", align_corners=True
    )[0, 0]
    torch.testing.assert_close(power.sqrt(), expected, atol=0.08, rtol=0)


def test_wavetable_plays_its_tables_and_what_lies_between():
    tables = torch.stack([F.harmonic_table(torch.eye(3)[k].double(), size=64) for k in (0, 2)])
    synth = synths.Wavetable(RATE, tables=tables)
    turns = torch.arange(2000, dtype=torch.float64) * 50 / RATE
    hz = torch.tensor(50.0, dtype=torch.float64)
    for position in (0.0, 0.3, 1.0):
        y = synth(2000, frequency_hz=hz, position=position)[0, 0]
        expected = (1 - position) * (2 * torch.pi * turns).sin()
        expected = expected + position * (6 * torch.pi * turns).sin()
        torch.testing.assert_close(y, expected, atol=2e-5, rtol=0)


def test_wavetable_learns_its_tables():
    synth = synths.Wavetable(RATE, tables=torch.randn(2, 64), trainable=True)
    synth(500, position=0.4).square().sum().backward()
    assert (synth.tables.grad.abs() > 0).all()
    assert [n for n, _ in synth.named_parameters()] == ["tables"]
    assert "tables" in synths.Wavetable(RATE).state_dict()


def test_wavetable_refuses_what_is_no_wave():
    with pytest.raises(ShapeError, match=r"tables has shape \(64,\).*unsqueeze"):
        synths.Wavetable(RATE, tables=torch.ones(64))
    with pytest.raises(ParameterError, match="finite"):
        synths.Wavetable(RATE, tables=torch.full((1, 8), math.nan))


def test_fm_is_chownings_formula():
    """A pair: the Bessel series of the sidebands."""
    y = synths.FM(RATE)(
        RATE,
        frequency_hz=torch.tensor(4000.0, dtype=torch.float64),
        amplitude=1.0,
        ratios=torch.tensor([1.0, 0.06]),
        levels=torch.tensor([1.0, 2.5]),
    )[0, 0]
    level = 10 ** (_level_db(y) / 20)
    for n in range(6):
        for side in (4000 + 240 * n, 4000 - 240 * n):
            assert float(level[side]) == pytest.approx(abs(special.jv(n, 2.5)), abs=1e-6)


def test_fm_index_is_held_where_it_would_alias():
    """The third upper sideband, at 9650 Hz, would fold back to 6350."""
    values = {
        "frequency_hz": torch.tensor(5000.0, dtype=torch.float64),
        "levels": torch.tensor([1.0, 8.0]),
        "ratios": torch.tensor([1.0, 0.31]),
    }
    held, free = (
        _level_db(synths.FM(RATE, limit=limit)(RATE, **values)[0, 0])[6350]
        for limit in (True, False)
    )
    assert held < -35
    assert free > -25


def test_fm_algorithms():
    assert synths.FM(RATE, algorithm="stack").carriers == (0,)
    assert synths.FM(RATE, algorithm="parallel").carriers == (0, 1, 2, 3)
    assert synths.FM(RATE, algorithm=((2,), (2,), ())).operators == 3
    with pytest.raises(ParameterError, match="operator 1 has the modulator 1; expected"):
        synths.FM(RATE, algorithm=((1,), (1,)))
    with pytest.raises(ParameterError, match=r"algorithm is 'stak'.*[Dd]id you mean.*stack"):
        synths.FM(RATE, algorithm="stak")
    with pytest.raises(ParameterError, match="no operators"):
        synths.FM(RATE, algorithm=())


def test_envelope_steers_a_parameter():
    level = synths.Envelope(RATE)(1000, gate_s=0.03, attack_s=0.01)
    assert float(level.max()) == pytest.approx(1.0, abs=0.01)
    tone = synths.Oscillator(RATE)
    y = tone(1000, amplitude=Curve(level[:, 0]))
    torch.testing.assert_close(y, tone(1000) * level)


def test_envelope_times_are_found_by_gradient():
    synth = synths.Envelope(2000)
    true = {"attack_s": 0.02, "decay_s": 0.1, "sustain": 0.5, "release_s": 0.08}
    target = synth(900, gate_s=0.3, **true)
    vector = synth.to_unit().requires_grad_()
    optimizer = torch.optim.Adam([vector], 0.03)
    for _ in range(120):
        optimizer.zero_grad()
        values = synth.from_unit(vector) | {"gate_s": 0.3, "amplitude": 1.0}
        (synth(900, **values) - target).square().mean().backward()
        optimizer.step()
    found = synth.from_unit(vector.detach())
    for name, value in true.items():
        assert float(found[name]) == pytest.approx(value, rel=0.02), name


@pytest.mark.parametrize("frequency_hz", [41.2, 221.3, 987.77])
def test_string_is_in_tune(frequency_hz):
    y = synths.KarplusStrong(RATE)(
        2 * RATE, frequency_hz=frequency_hz, generator=torch.Generator().manual_seed(1)
    )[0, 0]
    piece = y[RATE // 4 :].double()
    found = F.estimate_frequency(
        piece, sample_rate=RATE, low_hz=0.8 * frequency_hz, high_hz=1.2 * frequency_hz
    ).frequency_hz
    assert abs(1200 * math.log2(float(found) / frequency_hz)) < 1.0


def test_string_reaches_an_eighth_of_the_rate():
    assert synths.KarplusStrong(8000).params[0].high == pytest.approx(8000 / 8.01)
    assert synths.KarplusStrong(44_100).params[0].high == 5000


def test_driven_body_equals_the_struck_one():
    synth = synths.Modal(RATE, body="bell")
    click = torch.zeros(2, 1, 600, dtype=torch.float64)
    click[..., 0] = 1
    values = {"frequency_hz": torch.tensor([300.0, 500.0], dtype=torch.float64), "amplitude": 0.7}
    torch.testing.assert_close(
        synth.drive(click, **values), synth(600, **values), atol=1e-9, rtol=0
    )
    with pytest.raises(ShapeError, match=r"excitation has shape \(1, 600\)"):
        synth.drive(click[0])
    with pytest.raises(ShapeError, match="2 channels, expected 1"):
        synth.drive(click.expand(2, 2, 600))


def test_bodies_have_as_many_modes_as_wanted():
    synth = synths.Modal(RATE, body="marimba", modes=9)
    ratios = synth.defaults()["ratios"]
    assert len(ratios) == 9
    assert (ratios.diff() > 0).all()
    with pytest.raises(ParameterError, match="modes is 0"):
        synths.Modal(RATE, modes=0)
    with pytest.raises(ParameterError, match="body is 'drum'"):
        synths.Modal(RATE, body="drum")


def test_voice_has_its_formants():
    """The spectral envelope, found by linear prediction, peaks at them."""
    formants = torch.tensor([600.0, 1700.0, 3100.0])
    synth = synths.SourceFilter(RATE, formants=3)
    y = synth(
        RATE,
        frequency_hz=90.0,
        formants_hz=formants,
        bandwidths_hz=torch.tensor([60.0, 70.0, 90.0]),
        breath=0.0,
        generator=torch.Generator().manual_seed(1),
    )[0, 0].double()
    flat = y[1:] - 0.95 * y[:-1]
    k, _ = F.linear_prediction(flat * torch.hann_window(RATE - 1, dtype=torch.float64), 8)
    poles = np.roots(F.reflections_to_polynomial(k).numpy())
    poles = poles[(poles.imag > 0) & (np.abs(poles) > 0.95)]
    found = np.sort(np.angle(poles)) * RATE / 2 / np.pi
    for formant in formants.tolist():
        assert np.abs(found - formant).min() < 40


def test_voice_by_reflections_equals_voice_by_formants():
    by_formants = synths.SourceFilter(RATE)
    by_reflections = synths.SourceFilter(RATE, tract="reflections")
    y, z = (
        s(2000, generator=torch.Generator().manual_seed(2)) for s in (by_formants, by_reflections)
    )
    torch.testing.assert_close(y, z, atol=1e-5, rtol=0)
    with pytest.raises(ParameterError, match="formants is 17"):
        synths.SourceFilter(RATE, formants=17)


def test_breath_is_noise_and_the_rest_is_not():
    synth = synths.SourceFilter(RATE)
    y = [synth(RATE, breath=b, generator=torch.Generator().manual_seed(1))[0, 0] for b in (0, 0.5)]
    periodicity = [F.track_pitch(x, sample_rate=RATE).periodicity.median() for x in y]
    assert periodicity[0] > 0.99
    assert periodicity[1] < 0.95


def test_the_landscape_of_the_frequency_is_what_the_guide_says():
    """A tone of 100 Hz, 1000 samples: dozens of valleys, the true one reaches from 96 to 104 Hz."""
    hz = torch.arange(20, 400, dtype=torch.float64)
    tones = synths.Oscillator(RATE)(1000, frequency_hz=hz)[:, 0]
    spectra = torch.fft.rfft(tones).abs()
    distance = (spectra - spectra[80]).abs().mean(-1)
    slope = distance.diff().sign()
    assert int(((slope[:-1] < 0) & (slope[1:] > 0)).sum()) >= 24
    falling, rising = distance[60:81].diff() < 0, distance[80:101].diff() > 0
    assert falling[-4:].all()
    assert rising[:4].all()
    assert not falling[-8:].all()
    assert not rising[:8].all()


def test_frequency_is_not_convex_but_can_be_estimated():
    """Descent from 30 Hz beside the truth is stuck; the estimator gets there from nowhere."""
    synth = synths.Oscillator(RATE)
    target = synth(1000, frequency_hz=torch.tensor(440.0, dtype=torch.float64))[0, 0]
    hz = torch.tensor(480.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([hz], 0.5)
    for _ in range(200):
        optimizer.zero_grad()
        (synth(1000, frequency_hz=hz)[0, 0] - target).square().mean().backward()
        optimizer.step()
    assert abs(float(hz.detach()) - 440) > 10
    found = F.estimate_frequency(target, sample_rate=RATE).frequency_hz
    assert float(found) == pytest.approx(440.0, abs=1e-6)
