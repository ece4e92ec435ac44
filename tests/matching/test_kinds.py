"""Kinds of processing that a match has to tell, and what it says where it cannot."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate, pad

from sonograd.effects import Compressor, Delay, ParametricEQ
from sonograd.errors import ParameterError, SonogradError
from sonograd.matching import fitting, match, match_batch
from sonograd.matching.align import REACH
from sonograd.matching.analyze import clipped_samples
from sonograd.matching.chains import build_chain
from sonograd.matching.fitting import make_plan
from sonograd.matching.levels import Levels
from sonograd.matching.solve import Problem
from sonograd.params import Param

RATE = 16_000


def tone(seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.sin(2 * torch.pi * 220 * time)[None]


def test_both_ceilings_of_integers_are_seen():
    steps = 2.0**15
    wet = (3 * tone() * steps).round().clamp(-steps, steps - 1) / steps
    found = clipped_samples(wet[None])
    assert torch.equal(found[0], (3 * tone()).abs() > 1)


def test_a_loud_sample_alone_is_not_clipped():
    wet = tone() * torch.linspace(0.1, 1, RATE)
    assert not bool(clipped_samples(wet[None]).any())


def test_a_few_samples_in_a_row_at_full_scale_are_clipped():
    wet = tone() * torch.linspace(0.1, 0.3, RATE)
    wet[:, 500:504] = 1.0
    found = clipped_samples(wet[None])[0, 0]
    assert found.nonzero()[:, 0].tolist() == [500, 501, 502, 503]
    wet[:, 500:504] = 0.6
    assert not bool(clipped_samples(wet[None]).any())


def bursts(seconds: float = 4.0) -> torch.Tensor:
    samples = round(seconds * RATE)
    noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    swing = (2 * math.pi * 1.5 * torch.arange(samples) / RATE).sin().abs() ** 4
    return 0.2 * noise * (0.03 + swing)


def turned(y: torch.Tensor, amount: float = 1.7) -> torch.Tensor:
    """Phases that wander at random, apart in each bin; levels stay but for 2 dB."""
    window = torch.hann_window(1024)
    bins = torch.stft(y, 1024, 256, window=window, return_complex=True)
    spots = bins.shape[-1] // 8 + 2
    wander = torch.randn(1, bins.shape[-2], spots, generator=torch.Generator().manual_seed(1))
    phase = interpolate(amount * wander, size=bins.shape[-1], mode="linear")
    bins = bins * torch.polar(torch.ones_like(phase), phase)
    return torch.istft(bins, 1024, 256, window=window, length=y.shape[-1])


def test_compressor_is_found_where_the_phase_is_lost():
    x = bursts()
    truth = {"threshold_db": -28.0, "ratio": 4.0, "attack_ms": 10.0, "release_ms": 100.0}
    result = match(x, turned(Compressor(RATE)(x, **truth)), "compressor", sample_rate=RATE)
    assert result.alignment.coherence < 0.5
    assert "L-BFGS" in " ".join(result.notes)
    found, errors = result.values["compressor"], result.errors["compressor"]
    assert found["ratio"] == pytest.approx(4.0, rel=0.1)
    assert found["release_ms"] == pytest.approx(100.0, rel=0.15)
    for name, value in truth.items():
        assert abs(found[name] - value) < 3 * errors[name]
        assert errors[name] < 0.4 * abs(value)


def test_equalizer_is_found_where_the_phase_is_lost():
    x = bursts()
    stage = ParametricEQ(RATE, bands=("peak", "high_shelf"))
    truth = {"band1_frequency_hz": 400.0, "band1_gain_db": 9.0, "band1_q": 1.0}
    truth |= {"band2_frequency_hz": 3000.0, "band2_gain_db": -8.0, "band2_q": 0.7}
    chain = build_chain("eq,gain", RATE, bands=("peak", "high_shelf"))
    result = match(x, turned(stage(x, **truth)), chain, sample_rate=RATE)
    assert "L-BFGS" in " ".join(result.notes)
    found = result.values["parametric_eq"]
    for band in (1, 2):
        gain, place = f"band{band}_gain_db", f"band{band}_frequency_hz"
        assert found[gain] == pytest.approx(truth[gain], abs=0.7)
        assert found[place] == pytest.approx(truth[place], rel=0.06)


def test_slopes_of_levels():
    x = bursts(0.5).double()[None]
    levels = Levels(x, RATE)
    assert levels.distance(3 * x) == pytest.approx(0.0, abs=0.01)
    plan = make_plan(build_chain("eq2,gain", RATE), {})
    theta = plan.theta({"parametric_eq": {"band1_gain_db": 4.0}, "gain": {"gain_db": 1.0}})
    _, slopes = levels.linearize(plan.linearize(x, theta))
    for place in range(len(plan)):
        step = torch.zeros_like(theta)
        step[place] = 1e-4
        up, down = (levels.of(plan.run(x, plan.values(theta + s))) for s in (step, -step))
        torch.testing.assert_close(slopes[:, place], (up - down) / 2e-4, rtol=1e-3, atol=2e-3)


def test_threshold_under_everything_is_known_with_the_gain_only():
    x = 0.3 * torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    x = x * (0.8 + 0.2 * (2 * math.pi * 3 * torch.arange(2 * RATE) / RATE).sin())
    y = Compressor(RATE)(x, threshold_db=-55.0, ratio=3.0, attack_ms=20.0, release_ms=200.0)
    y = y + 1e-3 * y.std() * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    result = match(x, y, "compressor,gain", sample_rate=RATE)
    shown = result.identifiable
    assert shown["compressor"]["ratio"]
    assert shown["compressor"]["attack_ms"]
    assert not shown["compressor"]["threshold_db"]
    assert not shown["gain"]["gain_db"]
    assert result.values["compressor"]["ratio"] == pytest.approx(3.0, rel=1e-3)
    assert any("only threshold and gain together" in warning for warning in result.warnings)


@pytest.mark.parametrize("delay_ms", [3.7, 80.0])
def test_short_and_long_delays(delay_ms):
    x = bursts(2.0)
    truth = {"delay_ms": delay_ms, "feedback": 0.3, "mix": 0.4}
    result = match(x, Delay(RATE)(x, **truth), "delay", sample_rate=RATE)
    assert result.score.null_db > 60
    assert result.values["delay"]["delay_ms"] == pytest.approx(delay_ms, rel=1e-4)


def test_refuses_what_cannot_be_asked_for():
    x = torch.randn(1, 22050, generator=torch.Generator().manual_seed(1))
    params = [Param("gain_db", "dB", -12.0, 12.0, 0.0)]

    def broken(x, gain_db):
        return x / 0 if gain_db else x * float("nan")

    def failing(x, gain_db):
        raise RuntimeError("no license")

    for options, what in (
        ({"process": broken, "parameters": params}, "no finite number"),
        ({"process": failing, "parameters": params}, "process failed at .*no license"),
        ({"process": broken, "parameters": params, "chain": "gain"}, "expected one of them"),
        ({"process": broken, "parameters": params, "start": "mastering"}, "start cannot be"),
        ({"process": failing, "parameters": []}, "parameters is"),
        ({"parameters": params}, "expected process, too"),
        ({"excerpt_s": math.inf}, "excerpt_s is inf; expected a positive number"),
        ({"steps": 2.5}, "steps is 2.5; expected a whole number"),
        ({"starts": 0}, "starts is 0; expected a whole number"),
        ({"chain": "compressor,,gain"}, "expected names like"),
        ({"chain": "eq99"}, "at most 32"),
    ):
        with pytest.raises(SonogradError, match=what):
            match(x, 0.5 * x, sample_rate=22050, **options)


def test_says_so_where_nothing_was_changed():
    x = torch.randn(1, 44100, generator=torch.Generator().manual_seed(1))
    found = match(x, 0.5 * x, "compressor", sample_rate=22050)
    assert found.verdict[0].startswith("Beside a gain nothing was changed")


def test_functions_that_cannot_travel_are_told():
    x = torch.randn(1, 22050, generator=torch.Generator().manual_seed(1))
    params = [Param("gain_db", "dB", -12.0, 12.0, 0.0)]
    with pytest.raises(ParameterError, match="workers=1"):
        match_batch(
            [(x, x), (x, x)],
            workers=2,
            sample_rate=22050,
            process=lambda x, gain_db: x,
            parameters=params,
        )


def test_no_near_echo_is_looked_for(monkeypatch):
    starts = []
    solve = fitting.solve

    def watched(plan, problem, theta, *given, **options):
        starts.extend(v["delay_ms"] for v in plan.values(theta).values() if "delay_ms" in v)
        return solve(plan, problem, theta, *given, **options)

    monkeypatch.setattr(fitting, "solve", watched)
    x = bursts(2.0)
    y = Delay(RATE)(x, delay_ms=3.0, feedback=0.3, mix=0.3)
    problem = Problem(x[None].double(), pad(y[None].double(), (REACH, REACH)))
    settings = fitting.Settings({}, None, 0.0, free_delay=False)
    for least in (0.0, 10.0):
        starts.clear()
        given = replace(settings, least_echo_ms=least)
        fitting.quick_fit(build_chain("delay", RATE), problem, given, iterations=0)
        assert (min(starts) < 10) == (least == 0)
