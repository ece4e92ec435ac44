"""Structures: alignment, names, side chains, what a graph runs together, refusals."""

import pytest
import torch

from sonograd.effects import (
    Bypass,
    Chain,
    Compressor,
    Curve,
    Distortion,
    Gain,
    Graph,
    Mix,
    Pan,
    Parallel,
    Send,
    Vibrato,
)
from sonograd.errors import ParameterError, ShapeError

RATE = 8000


def noise(channels=2, samples=400):
    return 0.3 * torch.randn(channels, samples, dtype=torch.float64)


def clean(rate):
    """An effect that is late but does nothing else to speak of."""
    return Distortion(rate, oversampling=2)


def tone():
    time = torch.arange(2000, dtype=torch.float64) / RATE
    return 1e-3 * torch.sin(2 * torch.pi * 440 * time)[None]


def test_mix_compensates_the_latency_of_its_effect():
    x = tone()
    wet = {"drive_db": 0.0}
    for structure in (Mix(clean(RATE)), Parallel(dry=Gain(RATE), wet=clean(RATE))):
        assert structure.latency == 64
        name = "wet" if isinstance(structure, Parallel) else "effect"
        gains = {"wet_db": -6.0206, "dry_db": -6.0206} if name == "wet" else {}
        y = structure(x, **{name: wet}, **gains)
        # A dry part that came 64 samples early would be nearly the opposite of the wet one.
        assert torch.allclose(y[..., 100:-100], x[..., 100:-100], atol=2e-6)


def test_send_adds_and_bypass_keeps_the_latency():
    x = tone()
    y = Send(clean(RATE))(x, level_db=-6.0206, effect={"drive_db": 0.0})
    assert torch.allclose(y[..., 100:-100], 1.5 * x[..., 100:-100], atol=2e-6)
    bypassed = Bypass(clean(RATE))
    assert bypassed.latency == 64
    assert torch.equal(bypassed(x), x)
    assert not torch.allclose(Bypass(clean(RATE), bypassed=False)(x), x)


def test_a_chain_is_one_effect_after_the_other():
    x = noise()
    chain = Chain(Gain(RATE), Distortion(RATE), last=Gain(RATE))
    expected = Gain(RATE)(Distortion(RATE)(Gain(RATE)(x, gain_db=6.0), drive_db=3.0), gain_db=-2.0)
    actual = chain(x, gain={"gain_db": 6.0}, distortion={"drive_db": 3.0}, last={"gain_db": -2.0})
    assert torch.allclose(actual, expected, atol=1e-12)
    assert chain.stage_names == ("gain", "distortion", "last")
    assert Chain(Gain(RATE), Gain(RATE), Gain(RATE)).stage_names == ("gain", "gain_2", "gain_3")


def test_curves_act_where_the_signal_is_late():
    x = torch.ones(1, 300, dtype=torch.float64)
    step = Curve(torch.cat([torch.zeros(150), torch.full((150,), -60.0)]).double())
    chain = Chain(Vibrato(RATE), Vibrato(RATE), Gain(RATE))
    y = chain(x, gain={"gain_db": step}, vibrato={"depth_ms": 0.0}, vibrato_2={"depth_ms": 0.0})
    assert torch.allclose(y[0, 2:150], torch.ones(148, dtype=torch.float64))
    assert torch.allclose(y[0, 150:], torch.full((150,), 1e-3, dtype=torch.float64))
    moved = Mix(Chain(Vibrato(RATE), Vibrato(RATE)))(x, mix=Curve(step.values / -60))
    assert moved.shape == x.shape


def test_a_side_chain_is_as_late_as_the_signal():
    x = noise(samples=600)
    side = torch.zeros_like(x)
    side[:, 300:] = 1.0
    values = {"threshold_db": -20.0, "ratio": 10.0, "attack_ms": 0.01, "side_chain": side}
    alone = Compressor(RATE)(x, **values)
    late = Chain(Vibrato(RATE), Compressor(RATE))
    together = late(x, vibrato={"depth_ms": 0.0}, compressor=values)
    assert torch.allclose(together, alone, atol=1e-9)
    flat = Chain(Chain(Vibrato(RATE), Compressor(RATE)))
    nested = flat(x, chain={"vibrato": {"depth_ms": 0.0}, "compressor": values})
    assert torch.allclose(nested, alone, atol=1e-9)


def test_alike_nodes_run_as_one_batch(monkeypatch):
    calls = []
    original = Gain.process

    def counted(self, x, memory, values):
        calls.append(x.shape[0])
        return original(self, x, memory, values)

    monkeypatch.setattr(Gain, "process", counted)
    nodes = {name: Gain(RATE) for name in ("a", "b", "c")} | {"end": Gain(RATE, invert=True)}
    sources = {"a": ["input"], "b": ["input"], "c": ["a"], "end": ["b", "c"]}
    x = noise().expand(2, -1, -1)
    y = Graph(nodes, sources)(x, a={"gain_db": 6.0}, b={"gain_db": torch.tensor([0.0, -6.0])})
    assert calls == [4, 2, 2]
    gains = 10 ** (6 / 20) + torch.tensor([1.0, 10 ** (-6 / 20)]).double()
    assert torch.allclose(y, -gains[:, None, None] * x)


def test_graph_paths_are_aligned_and_the_output_can_be_chosen():
    nodes = {"late": clean(RATE), "dry": Gain(RATE), "sum": Gain(RATE)}
    sources = {"late": ["input"], "dry": ["input"], "sum": ["late", "dry"]}
    x = tone()
    y = Graph(nodes, sources)(x, late={"drive_db": 0.0})
    assert torch.allclose(y[..., 100:-100], 2 * x[..., 100:-100], atol=2e-6)
    both = Graph(nodes, sources, output=["late", "dry"])(x, late={"drive_db": 0.0})
    assert torch.allclose(both, y)


def test_mono_widens_where_paths_meet():
    x = noise(channels=1)
    y = Parallel(dry=Gain(RATE), left=Pan(RATE))(x, left={"pan": -1.0}, dry_db=-6.0)
    assert y.shape == (2, 400)
    assert torch.allclose(y[1], 10 ** (-6 / 20) * x[0])


def test_unit_vectors_of_a_chain_are_named():
    chain = Chain(Gain(RATE), Mix(Gain(RATE)))
    assert chain.names == ("gain.gain_db", "mix.mix", "mix.effect.gain_db")
    values = chain.from_unit(torch.tensor([0.5, 0.25, 1.0]))
    assert values["mix"]["mix"] == 0.25
    assert values["mix"]["effect"]["gain_db"] == 24.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Chain, "chain has no stages; expected at least one effect"),
        (lambda: Chain(3), "a stage is 3; expected an Effect"),
        (lambda: Chain(Gain(RATE), Gain(44100)), "8000, 44100 Hz; expected one sample rate"),
        (lambda: Chain(keys=Gain(RATE)), "'keys' cannot be the name of a stage"),
        (lambda: Graph({}, {}), "graph has no stages"),
        (
            lambda: Graph({"a": Gain(RATE), "b": Gain(RATE)}, {"a": ["b"], "b": ["a"]}),
            "there is a cycle: a -> b -> a",
        ),
        (lambda: Graph({"a": Gain(RATE)}, {"a": ["a"]}), "there is a cycle: a -> a"),
        (lambda: Graph({"a": Gain(RATE)}, {}), "node 'a' listens to nothing"),
        (lambda: Graph({"a": Gain(RATE)}, {"a": ["b"]}), "a source of 'a' names 'b'"),
        (lambda: Graph({"abc": Gain(RATE)}, {"abd": ["input"]}), "Did you mean 'abc'"),
        (lambda: Graph({"a": Gain(RATE)}, {"a": ["input"]}, "b"), "output names 'b'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_wrong_values_of_stages_are_refused():
    chain = Chain(Gain(RATE))
    with pytest.raises(ParameterError, match=r"no stage or parameter 'gian'.*Did you mean 'gain'"):
        chain(noise(), gian={"gain_db": 3.0})
    with pytest.raises(ParameterError, match="gain is a stage of chain; expected a mapping"):
        chain(noise(), gain=3.0)
    with pytest.raises(ShapeError, match=r"gain_db has shape \(3,\)"):
        chain(noise(), gain={"gain_db": torch.zeros(3)})
