"""Presets: what ships, what is refused; exporters against the programs they write for."""

import json

import numpy as np
import pytest
import torch

from sonograd.effects import (
    Chain,
    Clipping,
    Compressor,
    DeEsser,
    Delay,
    Distortion,
    Freeverb,
    Gain,
    Gate,
    HighPass,
    Learnable,
    LinearGain,
    LowPass,
    Mix,
    Notch,
    Pan,
    ParametricEQ,
    Peak,
    Width,
    export,
    from_preset,
    preset,
    preset_names,
    read_preset,
    write_preset,
)
from sonograd.errors import ConfigError, ParameterError

RATE = 44100


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_works_at_every_rate(name):
    for rate in (16000, None):
        chain, values = read_preset(name, rate)
        x = 0.1 * torch.randn(2, 1000)
        y = chain(x, **values)
        assert y.shape == x.shape
        assert bool(y.isfinite().all())
        assert not torch.equal(y, x)
        assert 0.01 < float(y.square().mean().sqrt() / x.square().mean().sqrt()) < 10
    data = preset(chain, values)
    again, same = from_preset(json.loads(json.dumps(data)))
    assert preset(again, same) == data


def test_at_least_a_dozen_ship():
    assert len(preset_names()) >= 12
    assert {"broadcast_voice", "telephone", "drum_bus", "mastering", "tape", "room", "hall"} <= set(
        preset_names()
    )


def test_files_round_trip_exactly(tmp_path):
    chain = Chain(Gain(RATE), second=Pan(RATE, law_db=4.5))
    values = {"gain": {"gain_db": 1 / 3}, "second": {"pan": torch.tensor([[0.1]])}}
    write_preset(preset(chain, values), tmp_path / "mine.json")
    again, same = read_preset(tmp_path / "mine.json")
    assert same == {"gain": {"gain_db": 1 / 3}, "second": {"pan": float(torch.tensor(0.1))}}
    assert again.stage("second").law_db == 4.5


def test_values_per_channel_are_kept():
    data = preset(Gain(RATE), {"gain_db": torch.tensor([[1.0, -2.0]])})
    chain, values = from_preset(data)
    assert preset(chain, values) == data
    y = chain(torch.ones(2, 3), **values)
    assert torch.allclose(20 * y.log10(), torch.tensor([[1.0], [-2.0]]).expand(2, 3), atol=1e-6)


def test_learned_values_become_a_preset():
    learned = Learnable(Chain(Gain(RATE)), {"gain": {"gain_db": -6.0}})
    data = learned.preset()
    assert data["chain"][0]["params"]["gain_db"] == pytest.approx(-6.0, abs=1e-12)
    turned = LinearGain(-0.5).preset(RATE)
    assert turned["chain"][0]["options"] == {"invert": True}
    assert turned["chain"][0]["params"]["gain_db"] == pytest.approx(-6.0206, abs=1e-4)
    with pytest.raises(ParameterError, match="a preset holds one set"):
        Learnable(Gain(RATE), batch=3).preset()


def test_what_is_written_can_be_read():
    for values in ({"gain_db": 90.0}, {"gain_db": torch.tensor([[-90.0, 3.0]])}):
        data = preset(Peak(RATE), values)
        chain, again = from_preset(data)
        assert preset(chain, again) == data
        x = torch.randn(2, 300, dtype=torch.float64)
        assert torch.equal(chain(x, **again), Peak(RATE)(x, **values))
    for wrong in (float("nan"), float("inf"), torch.tensor([[0.0, float("nan")]])):
        with pytest.raises(ParameterError, match="expected finite numbers from -24 to 24"):
            preset(Peak(RATE), {"gain_db": wrong})
    with pytest.raises(ParameterError, match=r"a preset holds one number$"):
        preset(Pan(RATE), {"pan": torch.zeros(1, 2)})
    slow = preset(DeEsser(1000))  # below half of the rate, below the range elsewhere
    assert preset(*from_preset(slow)) == slow
    from_preset(slow, 44100)


GOOD = {"format": "sonograd-preset", "version": 1, "sample_rate": RATE, "chain": [{"type": "gain"}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version: 2 was written by a newer sonograd; this one reads up to 1"),
        ({"version": "1"}, "version: got '1'"),
        ({"format": "x"}, "format: got 'x'; expected 'sonograd-preset'"),
        ({"sample_rate": 0}, "sample_rate: got 0"),
        ({"chian": []}, "chian: no such key. Did you mean 'chain'"),
        ({"chain": []}, "chain: expected a list of at least one effect"),
        ({"chain": [3]}, r"chain\[0\]: expected an object"),
        (
            {"chain": [{"type": "compresor"}]},
            r"chain\[0\].type: there is no effect 'compresor'. Did you mean 'compressor'",
        ),
        (
            {"chain": [{"type": "gain", "params": {"gain_bd": 3}}]},
            r"chain\[0\].params.gain_bd: gain has no such parameter; .* Did you mean 'gain_db'",
        ),
        (
            {"chain": [{"type": "gain", "params": {"gain_db": 99}}]},
            r"gain_db: got 99; expected a number from -60 to 24 \(dB\)",
        ),
        ({"chain": [{"type": "gain", "params": {"gain_db": "3"}}]}, "got '3'; expected a number"),
        ({"chain": [{"type": "gain", "options": {"inverted": True}}]}, "Did you mean 'invert'"),
        ({"chain": [{"type": "pan", "options": {"law_db": 5}}]}, "law_db is 5; expected one of"),
        ({"chain": [{"type": "gain", "stages": []}]}, "gain has no stages"),
        ({"chain": [{"type": "mix"}]}, "stages: expected a list"),
        ({"chain": [{"type": "gain", "name": "training"}]}, "'training' cannot be the name"),
        ({"chain": [{"type": "gain", "name": "self"}]}, "'self' cannot be the name"),
        (
            {"chain": [{"type": "compressor", "options": {"lookahead_ms": "5"}}]},
            r"chain\[0\].options: lookahead_ms is '5'; expected a number of ms from 0 to 1000",
        ),
        (
            {"chain": [{"type": "graph", "options": {"sources": 3}, "stages": [{"type": "gain"}]}]},
            r"chain\[0\].options: graph: sources is 3; expected a mapping",
        ),
        (
            {"chain": [{"type": "graph", "stages": [{"type": "gain"}]}]},
            "node 'gain' listens to nothing",
        ),
        (
            {"chain": [{"type": "mix", "stages": [{"type": "gain"}]}]},
            "mix has the stages gain; expected one, with the name 'effect'",
        ),
        (
            {"chain": [{"type": "chain", "options": {"a": 1}, "stages": [{"type": "gain"}]}]},
            r"options\.a: no such key",
        ),
        (
            {"chain": [{"type": "gain", "name": "a"}, {"type": "gain", "name": "a"}]},
            "expected a name of its own",
        ),
    ],
)
def test_what_is_wrong_with_a_preset_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        from_preset({**GOOD, **change})


def test_every_problem_is_told_at_once():
    chain = [{"type": "gian"}, {"type": "gain", "params": {"gain": 1, "gain_db": 99}, "x": 1}]
    with pytest.raises(ConfigError) as caught:
        from_preset({**GOOD, "chain": chain})
    assert len(caught.value.problems) == 4


def test_files_that_are_no_presets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no preset of that name; .* Did you mean 'telephone'"):
        read_preset("telefone")
    broken = tmp_path / "a.json"
    broken.write_text("{,")
    with pytest.raises(ConfigError, match="not valid JSON at line 1"):
        read_preset(broken)
    broken.write_text("[1]")
    with pytest.raises(ConfigError, match="got list; expected an object"):
        read_preset(broken)


EQ = Chain(
    ParametricEQ(RATE, bands=["low_shelf", "peak", "high_shelf", "high_pass"]),
    Gain(RATE),
    HighPass(RATE, order=4),
    LowPass(RATE),
    Notch(RATE),
)
EQ_VALUES = {
    "parametric_eq": {
        "band1_gain_db": 3.0,
        "band2_frequency_hz": 400.0,
        "band2_gain_db": -4.5,
        "band2_q": 2.0,
        "band3_gain_db": 2.0,
        "band4_frequency_hz": 40.0,
    },
    "gain": {"gain_db": -3.0},
    "high_pass": {"cutoff_hz": 60.0},
    "low_pass": {"cutoff_hz": 15000.0},
    "notch": {"frequency_hz": 50.0, "q": 8.0},
}


def test_ffmpeg_computes_the_same(rng):
    av = pytest.importorskip("av")
    chain = Chain(EQ, Width(RATE))
    values = {"chain": EQ_VALUES, "width": {"width": 1.4}}
    x = 0.2 * rng.standard_normal((2, 4096))
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="dblp", layout="stereo")
    last = source
    for item in export(chain, values, "ffmpeg").split(","):
        name, _, arguments = item.partition("=")
        node = graph.add(name, arguments)
        last.link_to(node)
        last = node
    sink = graph.add("abuffersink")
    last.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(x, format="dblp", layout="stereo")
    frame.sample_rate = RATE
    source.push(frame)
    source.push(None)
    parts = []
    while True:
        try:
            parts.append(sink.pull().to_ndarray())
        except (av.EOFError, av.BlockingIOError):
            break
    actual = np.concatenate(parts, axis=-1)
    expected = chain(torch.from_numpy(x), **values).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_pedalboard_computes_the_same(rng):
    pytest.importorskip("pedalboard")
    chain = Chain(
        Gain(RATE, invert=True), Peak(RATE), Compressor(RATE), Distortion(RATE), Clipping(RATE),
        Gate(RATE), Delay(RATE), Freeverb(RATE),
    )  # fmt: skip
    values = {
        "peak": {"frequency_hz": 2000.0, "gain_db": 5.0},
        "compressor": {"threshold_db": -25.0, "makeup_db": 3.0},
        "distortion": {"drive_db": 6.0, "output_db": -2.0},
        "gate": {"threshold_db": -40.0},
        "delay": {"delay_ms": 100.0},
    }
    without_gate = Chain(*(chain.stage(n) for n in chain.stage_names if n != "gate"))
    values.pop("gate")
    code = export(without_gate, values, "pedalboard")
    scope = {}
    exec(code, scope)
    x = (0.2 * rng.standard_normal((2, 8000))).astype("f4")
    actual = scope["board"](x, RATE)
    expected = without_gate(torch.from_numpy(x).double(), **values).numpy()
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert error < 2e-5


def test_equalizer_apo_text():
    text = export(EQ, EQ_VALUES, "equalizer-apo")
    assert text.startswith("Filter: ON LSC Fc 80 Hz Gain 3 dB Q 0.7071067812\n")
    assert "Filter: ON PK Fc 400 Hz Gain -4.5 dB Q 2\n" in text
    assert "Preamp: -3 dB" in text
    assert text.count("HPQ") == 3


@pytest.mark.parametrize(
    ("chain", "target", "message"),
    [
        (Freeverb(RATE), "ffmpeg", r"freeverb \(freeverb\) cannot be exported to ffmpeg"),
        (Distortion(RATE, oversampling=2), "pedalboard", "oversampling is 2, and there it is 1"),
        (Compressor(RATE, link="max"), "pedalboard", "link is 'max', and there it is 'none'"),
        (Mix(Gain(RATE)), "pedalboard", "only chains can"),
        (Compressor(RATE), "equalizer-apo", "cannot be exported to Equalizer APO"),
        (HighPass(RATE, order=1), "equalizer-apo", "its filters have order 2"),
        (Gain(RATE), "cubase", "target is 'cubase'; expected one of pedalboard"),
    ],
)
def test_what_cannot_be_expressed_is_refused(chain, target, message):
    with pytest.raises(ParameterError, match=message):
        export(chain, None, target)
    with pytest.raises(ParameterError, match="no whole number"):
        export(Delay(RATE), {"delay_ms": 100.001}, "pedalboard")
    with pytest.raises(ParameterError, match="only single numbers"):
        export(Gain(RATE), {"gain_db": torch.zeros(2)}, "ffmpeg")
