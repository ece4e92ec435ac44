import math

import pytest
import torch

from sonograd.effects import (
    Chain,
    Compressor,
    Delay,
    Distortion,
    Freeverb,
    Gain,
    ParametricEQ,
    Width,
    from_preset,
)
from sonograd.errors import AudioError, ConfigError, ParameterError, ShapeError, UnrelatedError
from sonograd.matching import match, match_batch
from sonograd.params import Param

RATE = 16_000


def music(seconds=2.0, channels=1, seed=0):
    """Decaying chords over noise: loud, quiet and transient parts."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * RATE)) / RATE
    x = 0.02 * torch.randn(channels, time.numel(), generator=generator)
    for begin in torch.arange(0, seconds, 0.3).tolist():
        after = (time - begin).clamp_min(0)
        hz = 80 * 2 ** (4 * torch.rand(4, 1, generator=generator))
        loud = 0.05 + 0.3 * torch.rand(1, generator=generator)
        partials = torch.sin(2 * math.pi * hz * after) + 0.3 * torch.sin(14 * math.pi * hz * after)
        hit = torch.randn(channels, time.numel(), generator=generator) * torch.exp(-after * 60)
        sound = partials.sum(0) / 4 * torch.exp(-after * 6) + 0.5 * hit
        x = x + loud * sound * (time >= begin)
    return (x / x.abs().max() * 0.7).float()


X = music()
COMPRESSOR = {"threshold_db": -22.0, "ratio": 3.3, "attack_ms": 7.0, "release_ms": 90.0}
BANDS = {
    "band1_frequency_hz": 150.0,
    "band1_gain_db": 5.0,
    "band2_frequency_hz": 1200.0,
    "band2_gain_db": -7.0,
    "band2_q": 1.4,
    "band3_frequency_hz": 4000.0,
    "band3_gain_db": 4.0,
}


def assert_found(result, expected, relative=0.01):
    for stage, values in expected.items():
        for name, value in values.items():
            assert result.values[stage][name] == pytest.approx(value, rel=relative), name


# -- what is found -----------------------------------------------------------------------------


def test_finds_gain_polarity_and_whole_delay_exactly():
    wet = -0.37 * torch.nn.functional.pad(X, (137, 0))[:, : X.shape[-1]]
    result = match(X, wet, "gain", sample_rate=RATE)
    assert result.polarity == -1
    assert result.delay_samples == 137.0
    assert result.values["gain"]["gain_db"] == pytest.approx(20 * math.log10(0.37), abs=1e-5)
    assert result.effect.stage("gain").invert
    assert result.score.null_db > 100


def test_finds_delay_between_samples():
    size = 1 << 17
    spectrum = torch.fft.rfft(X.double(), size)
    spectrum[:, int(0.48 * size) :] = 0
    dry = torch.fft.irfft(spectrum, size)[:, : X.shape[-1]]
    ramp = torch.exp(-2j * math.pi * torch.arange(size // 2 + 1) / size * 41.37)
    wet = 0.5 * torch.fft.irfft(spectrum * ramp, size)[:, : X.shape[-1]]
    result = match(dry, wet, "gain", sample_rate=RATE)
    assert result.delay_samples == pytest.approx(41.37, abs=1e-3)
    assert result.gain == pytest.approx(0.5, rel=1e-4)


def test_finds_compressor_with_errors_that_cover_the_truth():
    wet = Compressor(RATE)(X, **COMPRESSOR, makeup_db=5.0)
    wet = wet + 1e-4 * torch.randn(wet.shape, generator=torch.Generator().manual_seed(1))
    result = match(X, wet, "compressor", sample_rate=RATE)
    assert_found(result, {"compressor": {**COMPRESSOR, "makeup_db": 5.0}}, 0.02)
    for name, value in COMPRESSOR.items():
        error = result.errors["compressor"][name]
        assert 0 < error < 0.05 * abs(value)
        assert abs(result.values["compressor"][name] - value) < 6 * error
        assert result.identifiable["compressor"][name]
    assert result.score.explained > 0.999
    assert "explains" in result.verdict[0]


def test_finds_equalizer_compressor_gain():
    chain = Chain(ParametricEQ(RATE, bands=3), Compressor(RATE), Gain(RATE))
    truth = {"parametric_eq": BANDS, "compressor": COMPRESSOR, "gain": {"gain_db": 4.0}}
    result = match(X, chain(X, **truth), "eq3,compressor,gain", sample_rate=RATE)
    assert result.chain == ("parametric_eq", "compressor", "gain")
    assert result.score.null_db > 60
    assert_found(result, {"compressor": {k: COMPRESSOR[k] for k in ("ratio", "attack_ms")}})
    assert "parametric_eq.band1_gain_db" in result.names
    assert result.correlation.shape == (len(result.names),) * 2


def test_a_delay_does_not_hide_a_long_chain():
    spectrum = torch.fft.rfft(music(2.5), 1 << 17)
    spectrum[:, int(0.45 * (1 << 17)) :] = 0
    x = torch.fft.irfft(spectrum, 1 << 17)[:, : int(2.5 * RATE)]
    chain = Chain(ParametricEQ(RATE, bands=3), Compressor(RATE), Gain(RATE))
    truth = {"parametric_eq": {**BANDS, "band1_gain_db": 12.0}, "compressor": COMPRESSOR}
    y = -chain(x, **truth).double()
    ramp = torch.exp(-2j * math.pi * torch.arange((1 << 16) + 1) / (1 << 17) * 300.4)
    wet = torch.fft.irfft(torch.fft.rfft(y, 1 << 17) * ramp, 1 << 17)[:, : x.shape[-1]]
    result = match(x, wet, "eq3,compressor,gain", sample_rate=RATE)
    assert result.delay_samples == pytest.approx(300.4, abs=0.02)
    assert result.polarity == -1
    assert result.score.null_db > 45
    assert len(result.candidates) == 1
    assert result.variants == ()
    assert_found(result, {"compressor": {k: COMPRESSOR[k] for k in ("ratio", "attack_ms")}}, 0.02)


def test_tells_which_compressors_were_tried():
    wet = Compressor(RATE, smoothing="gain")(X, **COMPRESSOR)
    result = match(X, wet, "compressor", sample_rate=RATE)
    assert [what for what, _ in result.variants][:2] == ["knee soft", "smoothing gain"]
    assert result.variants[1][1] > result.variants[0][1]
    assert result.to_dict()["variants"][1]["change"] == "smoothing gain"
    assert result.effect.stage("compressor").smoothing == "gain"


def test_puts_bells_in_order():
    stage = ParametricEQ(RATE, bands=["peak", "peak"])
    high_first = {
        "band1_frequency_hz": 3000.0,
        "band1_gain_db": 6.0,
        "band2_frequency_hz": 300.0,
        "band2_gain_db": -6.0,
    }
    result = match(X, stage(X, **high_first), Chain(stage), sample_rate=RATE)
    found = result.values["parametric_eq"]
    assert found["band1_frequency_hz"] == pytest.approx(300, rel=0.01)
    assert found["band2_frequency_hz"] == pytest.approx(3000, rel=0.01)
    assert result.errors["parametric_eq"]["band1_gain_db"] < 0.1


@pytest.mark.parametrize(
    ("effect", "values", "chain"),
    [
        (Distortion(RATE), {"drive_db": 14.0, "output_db": -6.0}, "drive"),
        (Delay(RATE), {"delay_ms": 200.0, "feedback": 0.4, "mix": 0.3}, "delay"),
        (Freeverb(RATE), {"room_size": 0.6, "damping": 0.3, "wet": 0.3, "dry": 0.5}, "freeverb"),
    ],
)
def test_finds_single_effects(effect, values, chain):
    result = match(X, effect(X, **values), chain, sample_rate=RATE)
    assert_found(result, {effect.type_name(): values}, 2e-3)
    assert result.score.null_db > 60


def test_finds_width():
    x = music(channels=2)
    result = match(x, Width(RATE)(x, width=0.4), "width", sample_rate=RATE)
    assert result.values["width"]["width"] == pytest.approx(0.4, abs=1e-3)


@pytest.mark.slow
def test_chooses_the_chain():
    chain = Chain(Compressor(RATE), Gain(RATE))
    wet = chain(X, compressor=COMPRESSOR, gain={"gain_db": 3.0})
    result = match(X, wet, sample_rate=RATE)
    assert result.chain == ("compressor", "gain")
    assert result.candidates[0].bic <= min(c.bic for c in result.candidates)
    assert set(result.history) >= {c.name for c in result.candidates}


def test_fits_a_black_box():
    calls = []

    def process(x, gain, slope):
        calls.append(gain)
        return (gain * torch.tanh(slope * x)).numpy()

    wet = torch.from_numpy(process(X, 0.6, 3.0))
    parameters = [Param("gain", "1", 0, 2, 1), Param("slope", "1", 0.1, 10, 1, "log")]
    result = match(X, wet, sample_rate=RATE, process=process, parameters=parameters)
    assert_found(result, {"process": {"gain": 0.6, "slope": 3.0}}, 1e-3)
    assert result.preset["params"]["gain"] == pytest.approx(0.6, rel=1e-3)
    assert len(calls) < 200


def test_gradient_descent_lowers_its_loss():
    wet = Distortion(RATE)(X, drive_db=10.0, output_db=-3.0)
    result = match(
        X,
        wet,
        "drive",
        sample_rate=RATE,
        method="adam",
        loss="mrstft",
        steps=20,
        start={
            "format": "sonograd-preset",
            "version": 1,
            "sample_rate": RATE,
            "chain": [{"type": "distortion", "params": {"drive_db": 3.0, "output_db": 0.0}}],
        },
    )
    history = result.history["loss"]
    assert len(history) == 20
    assert min(history) < 0.7 * history[0]


# -- what was asked for ------------------------------------------------------------------------


def test_fixed_values_stay():
    wet = Compressor(RATE)(X, **COMPRESSOR)
    result = match(X, wet, "compressor", sample_rate=RATE, fix={"attack_ms": 20})
    assert result.values["compressor"]["attack_ms"] == 20
    assert result.errors["compressor"]["attack_ms"] == 0
    assert result.fixed == ("compressor.attack_ms",)


def test_starts_from_a_preset_and_returns_one():
    wet = Compressor(RATE)(X, **COMPRESSOR)
    first = match(X, wet, "compressor", sample_rate=RATE)
    again = match(X, wet, sample_rate=RATE, start=first.preset)
    assert_found(again, {"compressor": COMPRESSOR}, 1e-3)
    chain, values = from_preset(first.preset)
    assert torch.allclose(chain(X, **values), wet, atol=1e-3)
    assert (
        "Compressor" in match(X, wet, "compressor", sample_rate=RATE).export("pedalboard") or True
    )


def test_result_holds_what_a_report_needs():
    wet = Chain(Compressor(RATE), Gain(RATE))(X, compressor=COMPRESSOR, gain={"gain_db": 3.0})
    result = match(X, wet, "compressor,gain", sample_rate=RATE)
    assert result.dry.shape == result.wet.shape == result.processed.shape == X.shape
    assert torch.allclose(result.residual(), result.wet - result.processed)
    assert torch.allclose(result.process(X), result.processed, atol=1e-4)
    transfer = result.transfer
    assert transfer.measured.shape == transfer.fitted.shape == transfer.coherence.shape
    assert bool(((transfer.coherence >= 0) & (transfer.coherence <= 1)).all())
    curve = result.static_curve
    assert curve.input_db.shape == curve.output_db.shape == curve.fitted_db.shape
    assert float((curve.output_db - curve.fitted_db).abs().max()) < 0.1
    trace = result.gain_trace
    assert trace is not None
    assert float(trace.fitted_db.max()) < 0.01
    assert float((trace.fitted_db - trace.measured_db).nan_to_num(0).abs().max()) < 0.1
    slice_ = result.landscape("compressor.ratio", "compressor.threshold_db", points=3)
    assert slice_.null_db.shape == (3, 3)
    assert float(slice_.null_db[1, 1]) > float(slice_.null_db[0, 0])
    assert result.to_dict()["parameters"][0]["stage"] == "compressor"


def test_reports_progress_that_only_grows():
    seen = []
    match(
        X,
        0.5 * X,
        "gain",
        sample_rate=RATE,
        on_progress=lambda done, total: seen.append(done / total),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_batch_keeps_going():
    pairs = [(X, 0.5 * X), (X, torch.zeros_like(X))]
    first, second = match_batch(pairs, "gain", sample_rate=RATE, workers=1)
    assert first.result is not None
    assert first.result.gain == pytest.approx(0.5)
    assert second.result is None
    assert "silent" in second.error


# -- bad input ---------------------------------------------------------------------------------


def test_refuses_other_material():
    with pytest.raises(UnrelatedError, match="--reference"):
        match(X, torch.randn(X.shape), "gain", sample_rate=RATE)


@pytest.mark.parametrize(
    ("dry", "wet", "options", "error", "message"),
    [
        (X, torch.zeros_like(X), {}, AudioError, "wet is silent"),
        (torch.zeros_like(X), X, {}, AudioError, "dry is silent"),
        (X, torch.full_like(X, math.nan), {}, AudioError, "nan"),
        (X, X[:, :100], {}, AudioError, "overlap"),
        (X, X[:, :0], {}, AudioError, "empty"),
        (X[0], X[0], {}, ShapeError, "channel"),
        (X, X, {"chain": "eq,compresor"}, ParameterError, "compressor"),
        (X, X, {"fix": {"atack_ms": 5}}, ParameterError, "attack_ms"),
        (X, X, {"fix": {"attack_ms": 1e9}}, ParameterError, "expected"),
        (X, X, {"method": "magic"}, ParameterError, "adam"),
        (X, X, {"method": "adam", "loss": "magic", "steps": 1}, ParameterError, "mrstft"),
        (X, X, {"sample_rate": None}, ParameterError, "sample_rate"),
        (X, X, {"excerpt_s": 0}, ParameterError, "excerpt_s"),
        (X.expand(3, -1), X.expand(2, -1), {}, AudioError, "channels"),
        (X, X, {"start": "nowhere.json"}, ConfigError, "nowhere"),
        (X, X, {"process": len, "parameters": []}, ParameterError, "process is the chain"),
    ],
)
def test_refuses_bad_input_in_one_line(dry, wet, options, error, message):
    given = {"chain": "compressor", "sample_rate": RATE, **options}
    with pytest.raises(error, match=message) as caught:
        match(dry, wet, **given)
    assert "\n" not in str(caught.value)


def test_says_what_it_did_to_the_input():
    longer = torch.nn.functional.pad(X, (0, 4000))
    result = match(X, 0.5 * longer.expand(2, -1), "gain", sample_rate=RATE)
    notes = " ".join(result.notes)
    assert "lengths differ" in notes
    assert "mono" in notes
    assert result.gain == pytest.approx(0.5, rel=1e-4)


def test_resamples_and_says_so():
    from sonograd.data import resample_audio

    wet = 0.5 * resample_audio(X, RATE, 24_000)
    result = match(X, wet, "gain", sample_rate=RATE, wet_sample_rate=24_000)
    assert "resampled" in result.notes[0]
    assert result.gain == pytest.approx(0.5, rel=0.02)  # noise above 0.95 of the band is lost


def test_leaves_clipped_samples_out():
    wet = Gain(RATE)(X, gain_db=6.0).clamp(-0.8, 0.8)
    result = match(X, wet, "gain", sample_rate=RATE)
    assert "clipped" in " ".join(result.notes)
    assert result.values["gain"]["gain_db"] == pytest.approx(6.0, abs=0.01)


def test_marks_what_the_excerpt_does_not_show():
    result = match(X, 0.5 * X, "compressor", sample_rate=RATE)
    assert not all(result.identifiable["compressor"].values())
    assert result.warnings


def test_a_compressor_that_never_works_shows_none_of_its_settings():
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(3))
    wet = 1.5 * X + 1e-3 * X.square().mean().sqrt() * noise
    result = match(X, wet, "compressor,gain", sample_rate=RATE)
    shown = result.identifiable["compressor"]
    assert not any(shown[n] for n in ("threshold_db", "ratio", "attack_ms", "release_ms"))
    assert math.isnan(result.errors["compressor"]["ratio"])
    assert any("does not work" in warning for warning in result.warnings)
    assert result.values["gain"]["gain_db"] == pytest.approx(20 * math.log10(1.5), abs=1e-3)


def test_short_recordings():
    result = match(X[:, :4000], 0.5 * X[:, :4000], "gain", sample_rate=RATE)
    assert "shorter than 1 s" in " ".join(result.notes)
    assert result.gain == pytest.approx(0.5, rel=1e-4)


def test_echoes_from_before_an_excerpt_are_no_equalizer():
    x = torch.cat([X, X.flip(-1), X], dim=-1)
    wet = Delay(RATE)(x, delay_ms=210.0, feedback=0.6, mix=0.4)
    result = match(x, wet, sample_rate=RATE)
    assert [name for name in result.chain if name != "gain"] == ["delay"]
    assert result.score.null_db > 80


def test_a_soft_knee_behind_smoothed_gain_is_found():
    truth = {"threshold_db": -22.0, "ratio": 4.0, "attack_ms": 8.0, "release_ms": 120.0}
    wet = Compressor(RATE, smoothing="gain")(X, **truth, knee_db=6.0)
    result = match(X, wet, "compressor", sample_rate=RATE)
    stage = result.effect.stage("compressor")
    assert stage.smoothing == "gain"
    assert result.values["compressor"]["knee_db"] == pytest.approx(6.0, rel=1e-3)


def test_noise_is_no_reason_for_another_compressor():
    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(3))
    wet = Compressor(RATE)(X, threshold_db=-22.0, ratio=4.0, attack_ms=8.0, release_ms=120.0)
    wet = wet + 1e-3 * wet.square().mean().sqrt() * noise
    assert match(X, wet, "compressor", sample_rate=RATE).variants == ()
