import math
from itertools import pairwise

import pytest
import torch

from sonograd.effects import (
    Chain,
    Chorus,
    Compressor,
    Distortion,
    Freeverb,
    Gain,
    Gate,
    ParametricEQ,
    TwoStageLimiter,
    Width,
)
from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.matching import match, match_reference, match_synth
from sonograd.matching.align import REACH, overlay, shift_slope, shifted
from sonograd.matching.candidates import check_fix
from sonograd.matching.chains import build_chain, parse_fix, usual_holds
from sonograd.matching.equalize import band_response, fit_bands
from sonograd.matching.excerpts import choose_excerpts, survey
from sonograd.matching.fitting import Settings, make_plan, quick_fit
from sonograd.matching.identify import _depths
from sonograd.matching.solve import Problem, solve
from sonograd.matching.sources import Source
from sonograd.matching.stages import Plan
from sonograd.matching.weighting import fit_under_noise, looks_like_noise
from sonograd.params import Curve
from sonograd.synths import FilteredNoise, Harmonic, KarplusStrong, Modal

RATE = 8000


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# -- tangents ----------------------------------------------------------------------------------

BANDS = {"band1_gain_db": 3.0, "band2_gain_db": -4.0, "band3_frequency_hz": 2000.0}


@pytest.mark.parametrize(
    ("chain", "values"),
    [
        (
            Chain(eq=ParametricEQ(RATE, bands=3), c=Compressor(RATE), g=Gain(RATE, invert=True)),
            {"eq": BANDS, "c": {"knee_db": 3.0}},
        ),
        (Chain(c=Compressor(RATE), e=ParametricEQ(RATE, bands=["high_pass", "peak"])), {}),
        (Chain(c=Compressor(RATE, detector="rms", link="max")), {"c": {"knee_db": 3.0}}),
        (
            Chain(c=Compressor(RATE, smoothing="gain", link="mean", lookahead_ms=2.0)),
            {"c": {"knee_db": 3.0}},
        ),
        (Chain(c=Compressor(RATE, detector="rms", smoothing="gain", link="mean")), {}),
        (Chain(d=Distortion(RATE), l=TwoStageLimiter(RATE)), {"d": {"drive_db": 3.0}}),
        (Chain(c=Gain(RATE), g=Gate(RATE)), {"g": {"threshold_db": -15.0, "range_db": 15.0}}),
        (Chain(c=Compressor(RATE), f=Freeverb(RATE), w=Width(RATE)), {"f": {"width": 0.5}}),
    ],
)
def test_tangents_are_the_slopes(chain, values):
    x = 0.3 * noise(2, 2, 1500)
    plan = Plan(chain, values, {"g.hold_ms", "g.hysteresis_db", "w.width"})
    theta = plan.theta(plan.base)
    dual = plan.linearize(x, theta)
    torch.testing.assert_close(dual.value, plan.run(x, plan.values(theta)), atol=1e-12, rtol=0)
    step = 1e-6
    for k, spot in enumerate(plan.coordinates):
        sides = []
        for sign in (1, -1):
            moved = theta.clone()
            moved[k] += sign * step
            sides.append(plan.run(x, plan.values(moved)))
        slope = (sides[0] - sides[1]) / (2 * step)
        apart = (dual.tangent[k].double() - slope).norm()
        assert apart < 1e-4 * slope.norm() + 1e-6, spot.name


def test_solver_respects_the_range_and_lowers_the_cost():
    x = 0.3 * noise(1, 1, 4000)
    plan = Plan(Chain(gain=Gain(RATE)), {}, set())
    wet = torch.nn.functional.pad(100.0 * x, (REACH, REACH))  # 40 dB; the gain ends at 24 dB
    found = solve(plan, Problem(x, wet), torch.zeros(1, dtype=torch.float64))
    assert plan.values(found.theta)["gain"]["gain_db"] == 24.0
    assert list(found.history) == sorted(found.history)


def test_masked_samples_do_not_count():
    x = 0.3 * noise(1, 1, 4000)
    wet = 0.5 * x
    wet[..., 1000:1100] = 9.0
    mask = torch.ones_like(x)
    mask[..., 1000:1100] = 0
    padded = torch.nn.functional.pad(wet, (REACH, REACH))
    plan = Plan(Chain(gain=Gain(RATE)), {}, set())
    found = solve(plan, Problem(x, padded, 0, mask), torch.zeros(1, dtype=torch.float64))
    assert found.null_db > 200


# -- alignment ---------------------------------------------------------------------------------


def test_shift_reads_between_samples():
    time = torch.arange(-REACH, 3000 + REACH, dtype=torch.float64)
    x = torch.sin(0.7 * time)[None]
    y, slope = shifted(x, 0.3), shift_slope(x, 0.3)
    at = torch.arange(REACH, 3000 - REACH, dtype=torch.float64) + 0.3
    torch.testing.assert_close(y[0, REACH : 3000 - REACH], torch.sin(0.7 * at), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        slope[0, REACH : 3000 - REACH], 0.7 * torch.cos(0.7 * at), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("delay", [-300, 0, 7, 1234])
def test_overlay_finds_delays_either_way(delay):
    x = noise(1, 8000)
    wet = -torch.roll(x, delay, -1)
    found = overlay(x, wet, max_delay=2000)
    assert (found.delay, found.polarity) == (delay, -1)
    assert found.coherence > 0.5


@pytest.mark.parametrize("polarity", [1, -1])
def test_overlay_sees_the_delay_through_filters(polarity):
    eq = ParametricEQ(RATE, bands=3)
    x = noise(1, 40_000)
    values = {"band1_gain_db": 12.0, "band2_gain_db": 9.0, "band2_frequency_hz": 300.0}
    y = polarity * 0.1 * eq(x, **values, band3_gain_db=-12.0)
    wet = torch.fft.irfft(
        torch.fft.rfft(y, 1 << 16)
        * torch.exp(-2j * torch.pi * torch.arange((1 << 15) + 1) / (1 << 16) * 41.3),
        1 << 16,
    )[:, :40_000]
    found = overlay(x, wet, max_delay=2000)
    assert found.delay + found.fraction == pytest.approx(41.3, abs=0.05)
    assert found.polarity == polarity
    assert found.other is None


def test_overlay_of_other_material_has_no_coherence():
    assert overlay(noise(1, 16_000), noise(1, 16_000, seed=1), max_delay=4000).coherence < 0.1


def test_excerpts_of_long_recordings_are_apart_and_inside():
    x = noise(1, 120 * RATE).float() * torch.linspace(0.01, 0.5, 120 * RATE)
    source = Source(x, "dry", RATE)
    found = choose_excerpts(source, source, 0, total_s=10.0)
    assert len(found) == 3
    assert all(e.start - e.context >= 0 and e.start + e.samples <= x.shape[-1] for e in found)
    assert all(b.start - a.start >= a.samples for a, b in pairwise(found))


def test_sources_read_beyond_their_ends_and_at_another_rate():
    x = torch.sin(torch.arange(4000) * 0.1)[None]
    source = Source(x, "dry", RATE)
    assert source.read(-5, 10)[0, :5].abs().max() == 0
    half = Source(x, "wet", RATE, to_rate=RATE // 2)
    assert half.resampled
    assert half.samples == 2000
    expected = torch.sin(torch.arange(500, 600) * 0.2).double()
    torch.testing.assert_close(half.read(500, 100)[0], expected, atol=1e-3, rtol=0)


# -- bands -------------------------------------------------------------------------------------


def test_bands_are_found_from_a_transfer_function():
    stage = ParametricEQ(RATE, bands=["low_shelf", "peak", "peak", "high_shelf"])
    truth = {
        "band1_frequency_hz": 120.0, "band1_gain_db": 6.0, "band1_q": 0.7,
        "band2_frequency_hz": 500.0, "band2_gain_db": -8.0, "band2_q": 2.0,
        "band3_frequency_hz": 1500.0, "band3_gain_db": 7.0, "band3_q": 1.5,
        "band4_frequency_hz": 2800.0, "band4_gain_db": -5.0, "band4_q": 0.7,
    }  # fmt: skip
    x = noise(1, 6 * RATE)
    measured = band_response(x, 0.5 * stage(x, **truth), sample_rate=RATE)
    best = fit_bands(stage, measured)[0]
    pulse = torch.zeros(1, 8192, dtype=torch.float64)
    pulse[0, 0] = 1
    curves = [torch.fft.rfft(stage(pulse, **v)).abs().log10() * 20 for v in (best.values, truth)]
    apart = (curves[0] + best.gain_db - curves[1] + 6.02)[0, 40:]
    assert apart.square().mean().sqrt() < 0.1


# -- chains ------------------------------------------------------------------------------------


def test_chain_names():
    chain = build_chain("EQ4, comp,gain", RATE)
    assert chain.stage_names == ("parametric_eq", "compressor", "gain")
    assert len(chain.stage("parametric_eq").bands) == 4
    assert usual_holds(chain)["compressor.makeup_db"] == 0.0
    assert "compressor.makeup_db" not in usual_holds(build_chain("comp", RATE))
    with pytest.raises(ParameterError, match="chain is ''"):
        build_chain("", RATE)


def test_fix_needs_a_stage_where_several_have_the_name():
    chain = build_chain("comp,comp", RATE)
    with pytest.raises(ParameterError, match=r"compressor\.ratio or compressor_2\.ratio"):
        parse_fix(chain, {"ratio": 2})
    assert parse_fix(chain, {"compressor_2.ratio": 2}) == {"compressor_2.ratio": 2.0}


# -- references --------------------------------------------------------------------------------


def test_what_is_held_is_held_where_the_start_has_it():
    chain = build_chain("compressor,gain", RATE)
    plan = make_plan(chain, {}, start={"compressor": {"knee_db": 6.0, "ratio": 3.0}})
    assert plan.base["compressor"]["knee_db"] == 6.0
    assert "compressor.knee_db" in plan.held
    assert "compressor.ratio" not in plan.held


def test_tangents_are_the_same_without_compiled_kernels(monkeypatch):
    chain = build_chain("eq3,compressor,gain", RATE)
    plan = make_plan(chain, {})
    x = 0.3 * noise(1, 1, 2000)
    theta = plan.theta({"parametric_eq": BANDS, "compressor": {"threshold_db": -25.0}})
    fast = plan.linearize(x, theta)
    monkeypatch.setattr("sonograd.matching._kernels.has_fast_kernels", lambda: False)
    plain = plan.linearize(x, theta)
    for ours, theirs in zip(fast.tangent, plain.tangent, strict=True):
        limit = 1e-4 * float(theirs.abs().max()) + 1e-7
        torch.testing.assert_close(ours, theirs, atol=limit, rtol=0)


def test_auto_refuses_to_fix_what_no_chain_has():
    assert check_fix({"attack_ms": 5.0}, RATE, 6) == {"attack_ms": 5.0}
    with pytest.raises(ParameterError, match="fix names 'foo_ms'"):
        check_fix({"foo_ms": 3.0}, RATE, 6)
    with pytest.raises(ParameterError, match="attack_ms is -4"):
        check_fix({"attack_ms": -4.0}, RATE, 6)


def test_noise_of_a_codec_is_weighed_by_where_and_when_it_is_loud():
    time = torch.arange(6 * RATE) / RATE
    slope = 1 / (1 + torch.fft.rfftfreq(time.numel(), 1 / RATE) / 300)
    x = torch.fft.irfft(torch.fft.rfft(noise(1, time.numel())) * slope.square(), time.numel())
    x = x * (0.05 + (2 * math.pi * 2 * time).sin().abs() ** 8)
    truth = {"threshold_db": -25.0, "ratio": 4.0, "attack_ms": 8.0, "release_ms": 80.0}
    y = Compressor(RATE)(x, **truth)
    # Noise of low frequencies that follows the level, and nothing left above 3 kHz.
    low = torch.fft.rfft(noise(1, x.shape[-1], seed=1))
    low[:, int(0.1 * low.shape[-1]) :] = 0
    spectrum = torch.fft.rfft(y)
    spectrum[:, int(0.75 * spectrum.shape[-1]) :] = 0
    loud = torch.nn.functional.avg_pool1d(y.abs(), 201, 1, 100)
    coded = torch.fft.irfft(spectrum, x.shape[-1])
    wet = coded + 0.5 * loud * torch.fft.irfft(low, x.shape[-1])
    chain = build_chain("compressor", RATE)
    problem = Problem(x[None], torch.nn.functional.pad(wet, (REACH, REACH))[None])
    settings = Settings({}, {"compressor": truth}, 0.0, free_delay=False)
    fit = quick_fit(chain, problem, settings)
    assert looks_like_noise(fit, problem, RATE)
    better = fit_under_noise(fit, problem)
    errors = [
        abs(found.plan.values(found.solution.theta)["compressor"]["attack_ms"] / 8.0 - 1)
        for found in (fit, better)
    ]
    assert errors[1] < 0.02 < errors[0]
    assert better.solution.cost >= fit.solution.cost


def test_a_wrong_model_is_no_noise():
    x = 0.2 * noise(1, 5 * RATE) * (torch.arange(5 * RATE) % 4000 < 1500)
    wet = Compressor(RATE, detector="rms")(x, threshold_db=-25.0, ratio=4.0, attack_ms=8.0)
    problem = Problem(x[None], torch.nn.functional.pad(wet, (REACH, REACH))[None])
    settings = Settings({}, None, 0.0, free_delay=False, starts=1)
    fit = quick_fit(build_chain("compressor", RATE), problem, settings)
    assert fit.solution.null_db < 50
    assert not looks_like_noise(fit, problem, RATE)


def test_chorus_is_found_by_its_swing():
    x = 0.2 * noise(1, 4 * RATE)
    truth = {"rate_hz": 1.3, "depth": 0.3, "center_ms": 8.0, "mix": 0.4}
    result = match(x, Chorus(RATE)(x, **truth), "chorus", sample_rate=RATE)
    assert result.score.null_db > 35
    for name, value in truth.items():
        assert result.values["chorus"][name] == pytest.approx(value, rel=0.02)


def test_reference_brings_levels_together_or_says_why_not():
    time = torch.arange(4 * RATE) / RATE
    even, uneven = 0.1 * noise(1, 4 * RATE), 0.1 * noise(1, 4 * RATE, seed=2)
    uneven = uneven * (0.03 + (2 * math.pi * 0.7 * time).sin().square())
    closer = match_reference(uneven, even, sample_rate=RATE)
    assert closer.after.dynamics_db < closer.before.dynamics_db
    assert not any("dynamics" in note for note in closer.notes)
    left = match_reference(even, uneven, sample_rate=RATE)
    assert left.values["compressor"]["ratio"] == 1.0
    assert any("left alone" in note for note in left.notes)


def test_reference_meets_loudness_exactly_and_comes_closer():
    dark = ParametricEQ(RATE, bands=1)(0.1 * noise(2, 8 * RATE), band1_gain_db=-9.0)
    bright = 0.02 * noise(2, 8 * RATE, seed=1)
    found = match_reference(bright, dark, sample_rate=RATE)
    assert found.after.loudness_lu == pytest.approx(0, abs=1e-6)
    assert abs(found.before.loudness_lu) > 3
    assert found.after.spectrum_db < 0.6 * found.before.spectrum_db
    assert "different material" in found.warning
    assert found.process(bright).shape == bright.shape
    assert found.preset["format"] == "sonograd-preset"


def test_reference_refuses_silence_and_bad_amounts():
    x = noise(1, RATE)
    with pytest.raises(AudioError, match="reference is silent"):
        match_reference(x, torch.zeros_like(x), sample_rate=RATE)
    with pytest.raises(ParameterError, match="amount"):
        match_reference(x, x, sample_rate=RATE, amount=2)


# -- instruments -------------------------------------------------------------------------------


def test_harmonic_gets_pitch_and_levels():
    synth = Harmonic(RATE, harmonics=8)
    shares = torch.tensor([1.0, 0.5, 0.3, 0.2, 0, 0, 0, 0])
    x = synth(RATE, frequency_hz=220.0, amplitude=0.5, distribution=shares, phase_turns=0.2)[0]
    found = match_synth(x, synth)
    pitch = found.values["frequency_hz"]
    assert isinstance(pitch, Curve)
    assert float(pitch.values[5:-5].mean()) == pytest.approx(220, rel=1e-3)
    assert found.null_db > 20
    assert found.values["phase_turns"] == pytest.approx(0.2, abs=0.05)


def test_noise_gets_its_spectrum():
    synth = FilteredNoise(RATE, bands=33)
    x = synth(RATE, amplitude=0.3, magnitudes=torch.linspace(1, 0, 33), generator=3)[0]
    found = match_synth(x, synth)
    mean = found.values["magnitudes"].values.mean(-1)[0] * found.values["amplitude"]
    torch.testing.assert_close(mean.float(), torch.linspace(0.3, 0, 33), atol=0.03, rtol=0)


def test_struck_body_gets_its_modes():
    synth = Modal(RATE, modes=3)
    truth = {"levels": torch.tensor([1.0, 0.5, 0.4]), "decays_s": torch.tensor([1.0, 0.6, 0.5])}
    found = match_synth(synth(RATE, frequency_hz=330.0, **truth)[0], synth)
    assert found.null_db > 60
    assert found.values["frequency_hz"] == pytest.approx(330, rel=1e-5)
    torch.testing.assert_close(found.values["decays_s"].float(), truth["decays_s"])


def test_string_gets_pitch_and_decay():
    synth = KarplusStrong(RATE)
    x = synth(RATE, frequency_hz=196.0, decay_s=1.0, generator=5)[0]
    found = match_synth(x, synth, steps=3)
    assert float(found.values["frequency_hz"]) == pytest.approx(196, rel=1e-3)
    assert float(found.values["decay_s"]) == pytest.approx(1.0, rel=0.15)
    assert len(found.history) == 3


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (torch.zeros(1, RATE), AudioError, "silent"),
        (torch.full((1, RATE), math.nan), AudioError, "finite"),
        (torch.ones(2, RATE), ShapeError, "channels"),
        (torch.ones(1, 10), AudioError, "expected at least"),
    ],
)
def test_synth_matching_refuses(target, error, message):
    with pytest.raises(error, match=message):
        match_synth(target, Harmonic(RATE))


# -- around the solution, all over a recording -------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("c.threshold_db", "c.ratio"),
        ("c.ratio", "g.gain_db"),
        ("g.gain_db", "c.makeup_db"),
        ("c.attack_ms", "e.band1_gain_db"),
    ],
)
def test_a_slice_holds_what_each_setting_alone_leaves(names):
    chain = Chain(e=ParametricEQ(RATE, bands=2), c=Compressor(RATE, link="max"), g=Gain(RATE))
    base = {name: dict(given) for name, given in chain.defaults().items()}
    base["c"] |= {"threshold_db": -20.0, "ratio": 3.0}
    dry = noise(1, 2, 2000)
    wet = chain(dry, **base) + 1e-3 * noise(1, 2, 2000, seed=1)
    plan = Plan(chain, base, {c.name for c in Plan(chain, base, set()).coordinates} - set(names))
    spots = {c.name: c for c in plan.coordinates}
    axes = []
    for name in names:
        stage, _, param = name.partition(".")
        center = spots[name].from_value(base[stage][param])
        axes.append(center + 0.02 * torch.arange(1, 11).double() * (spots[name].high - center))
    found = _depths(plan, dry, wet, names, axes)
    for i, j in ((0, 0), (1, 9), (9, 3)):
        values = {name: dict(given) for name, given in base.items()}
        for name, axis, k in zip(names, axes, (i, j), strict=True):
            stage, _, param = name.partition(".")
            values[stage][param] = spots[name].to_value(float(axis[k]))
        rest = (chain(dry, **values) - wet).square().sum()
        expected = 10 * torch.log10(wet.square().sum() / rest)
        torch.testing.assert_close(found[i, j], expected, rtol=0, atol=1e-9)


def test_a_recording_is_surveyed_once(monkeypatch):
    source = Source(noise(1, 5 * RATE), "dry", RATE)
    first = survey(source)
    monkeypatch.setattr(source, "read", lambda *_: pytest.fail("was read again"))
    assert survey(source) is first
    assert len(first[0]) == len(first[1]) == len(first[2]) == 10
