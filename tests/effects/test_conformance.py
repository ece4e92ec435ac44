"""The laws that every effect and every structure obeys; both are found by themselves."""

import inspect
import json
import math

import numpy as np
import pytest
import torch

from sonograd.effects import (
    Bypass,
    Chain,
    Compressor,
    ConvolutionReverb,
    Curve,
    Delay,
    Distortion,
    Effect,
    FDNReverb,
    FirEQ,
    Flanger,
    Gain,
    Graph,
    GraphicEQ,
    LowPass,
    Mix,
    MultitapDelay,
    NoiseReverb,
    Pan,
    Parallel,
    ParametricEQ,
    Phaser,
    RoomReverb,
    Send,
    Structure,
    Tremolo,
    effect_types,
    from_preset,
    preset,
)
from sonograd.errors import AudioError, ParameterError, ShapeError

RATE = 8000
SAMPLES = 330

#: How to make each structure; a new one without an entry here fails.
STRUCTURES = {
    Chain: lambda rate: Chain(Distortion(rate, oversampling=2), Delay(rate), last=Gain(rate)),
    Parallel: lambda rate: Parallel(dry=Gain(rate), wet=Distortion(rate, oversampling=3)),
    Mix: lambda rate: Mix(Distortion(rate, oversampling=2)),
    Send: lambda rate: Send(Chain(Distortion(rate, oversampling=2), Delay(rate))),
    Bypass: lambda rate: Bypass(Distortion(rate, oversampling=2), bypassed=False),
    Graph: lambda rate: Graph(
        {
            "one": Gain(rate),
            "two": Gain(rate),
            "bent": Distortion(rate, oversampling=2),
            "sum": Tremolo(rate),
        },
        {"one": ["input"], "two": ["input"], "bent": ["one"], "sum": ["bent", "two", "input"]},
    ),
}
#: Constructor arguments that keep the suite fast.
SMALL = {
    NoiseReverb: {"duration_s": 0.05},
    RoomReverb: {"duration_s": 0.05, "order": 2},
    ConvolutionReverb: {"impulse": [1.0, 0.5, -0.25]},
    MultitapDelay: {"taps": 2},
}
#: Choices that change the code that runs.
VARIANTS = {
    "distortion oversampled": lambda rate: Distortion(rate, oversampling=5),
    "delay filtered": lambda rate: Delay(rate, filtered=True),
    "delay in time": lambda rate: Delay(rate, sync="1/64t"),
    "pan 4.5 dB": lambda rate: Pan(rate, law_db=4.5),
    "pan 6 dB": lambda rate: Pan(rate, law_db=6),
    "flanger triangle": lambda rate: Flanger(rate, shape="triangle", phase=0.1),
    "phaser in time": lambda rate: Phaser(rate, sync="1/32"),
    "gain inverted": lambda rate: Gain(rate, invert=True),
    "16 delay lines": lambda rate: FDNReverb(rate, lines=16, size=0.5),
}


def _members():
    made = {}
    for name, kind in effect_types().items():
        if not kind.__module__.startswith("sonograd."):
            continue
        if issubclass(kind, Structure):
            made[name] = STRUCTURES[kind]
        else:
            made[name] = lambda rate, kind=kind: kind(rate, **SMALL.get(kind, {}))
    return {**made, **VARIANTS}


MEMBERS = _members()


@pytest.fixture(params=MEMBERS, ids=lambda name: name.replace(" ", "_"))
def make(request):
    return MEMBERS[request.param]


@pytest.fixture
def effect(make):
    return make(RATE)


def channels_of(effect):
    return max(effect.channel_counts or (2,))


def signal(effect, *, batch=2, samples=SAMPLES, channels=None):
    """Noise that gets louder and softer, with a pause."""
    count = channels or channels_of(effect)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, count, samples, generator=generator, dtype=torch.float64)
    swell = 0.2 + 0.8 * torch.sin(torch.arange(samples) * (2 * math.pi / 150)).abs()
    x = 0.4 * x * swell
    x[..., samples // 2 : samples // 2 + 40] = 0
    return x


def inside(effect, batch=2):
    """Unit vectors away from the ends."""
    generator = torch.Generator().manual_seed(5)
    width = len(effect.names)
    return 0.25 + 0.5 * torch.rand(batch, width, generator=generator, dtype=torch.float64)


def run(effect, x, unit):
    return effect(x, **effect.from_unit(unit))


def smooth(effect):
    """Which entries of the unit vector have an exact gradient."""
    if isinstance(effect, Structure):
        flags = [param.smooth for param in effect.params]
        for name in effect.stage_names:
            flags += smooth(effect.stage(name))
        return flags
    return [param.smooth for param in effect.params]


def test_every_name_is_unique_and_tells_its_unit():
    units = {"dB": "_db", "Hz": "_hz", "ms": "_ms", "s": "_s", "deg": "_deg", "m": "_m"}
    for name, make in MEMBERS.items():
        effect = make(RATE)
        assert len(set(effect.names)) == len(effect.names), name
        for param in effect.params:
            if param.unit != "1":
                assert param.name.endswith(units[param.unit]), (name, param.name)


def test_unit_vectors_go_there_and_back(effect):
    unit = inside(effect)
    values = effect.from_unit(unit)
    assert torch.allclose(effect.to_unit(values), unit, atol=1e-9)
    for end in (0.0, 1.0):
        vector = torch.full_like(unit, end)
        assert torch.allclose(effect.to_unit(effect.from_unit(vector)), vector, atol=1e-9)


def test_defaults_are_in_range_and_what_is_used(effect):
    x = signal(effect)
    unit = effect.to_unit(effect.defaults())
    assert bool(((unit >= 0) & (unit <= 1)).all())
    assert torch.equal(effect(x, **effect.defaults()), effect(x))


def test_dtype_and_leading_dimensions_are_kept(effect):
    x = signal(effect, batch=6)
    y = effect(x)
    assert y.dtype == torch.float64
    assert y.shape == (6, effect.output_channels(x.shape[1]), SAMPLES)
    folded = effect(x.reshape(2, 3, *x.shape[1:]))
    assert torch.equal(folded.reshape(y.shape), y)
    single = effect(x[0].float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), y[0], atol=2e-2, rtol=1e-3)


@pytest.mark.parametrize("cuts", [(1, 7, 0, 130, 64), (31,) * 10])
def test_streaming_in_blocks_of_any_size_equals_the_whole(effect, cuts):
    x, values = signal(effect), effect.from_unit(inside(effect))
    whole = effect(x, **values)
    padded = torch.nn.functional.pad(x, (0, effect.latency))
    state, begin, parts = effect.init_state(2, x.shape[1]), 0, []
    for length in (*cuts, padded.shape[-1]):
        y, state = effect.stream(padded[..., begin : begin + length], state, **values)
        parts.append(y)
        begin += length
    streamed = torch.cat(parts, dim=-1)[..., effect.latency :]
    assert torch.allclose(streamed, whole, atol=1e-10)


def test_a_curve_streams_as_well(effect):
    x = signal(effect)
    moving = {
        param.name: Curve(param.from_unit(torch.linspace(0.3, 0.6, 9, dtype=torch.float64)), 50)
        for param in effect.params
        if param.moves
    }
    if not moving:
        pytest.skip("nothing moves")
    whole = effect(x, **moving)
    held = effect(x, **{name: float(curve.values[0]) for name, curve in moving.items()})
    assert not torch.allclose(whole, held)
    padded = torch.nn.functional.pad(x, (0, effect.latency))
    state, parts = effect.init_state(2, x.shape[1]), []
    for block in padded.split(77, dim=-1):
        y, state = effect.stream(block, state, **moving)
        parts.append(y)
    assert torch.allclose(torch.cat(parts, dim=-1)[..., effect.latency :], whole, atol=1e-10)


def test_a_batch_equals_its_items(effect):
    x, unit = signal(effect, batch=3), inside(effect, batch=3)
    together = run(effect, x, unit)
    for k in range(3):
        alone = run(effect, x[k], unit[k])
        assert torch.allclose(together[k], alone, atol=1e-10)


def test_dual_mono_equals_mono(effect):
    if effect.mixes_channels or 1 not in (effect.channel_counts or (1,)):
        pytest.skip("channels depend on each other")
    x, unit = signal(effect, channels=1), inside(effect)
    values = effect.defaults() if "spread_deg" in str(effect.names) else effect.from_unit(unit)
    mono = effect(x, **values)
    both = effect(x.expand(-1, 2, -1), **values)
    assert torch.allclose(both, mono.expand_as(both), atol=1e-10)


def test_gradients_of_every_parameter_are_exact(effect):
    flags = smooth(effect)
    if not any(flags):
        pytest.skip("nothing smooth")
    x, start = signal(effect, batch=1, samples=160), inside(effect, batch=1)[0]
    mask = torch.tensor(flags)

    def bent(moved):
        return run(effect, x, torch.where(mask, moved, start))

    unit = start.clone().requires_grad_()
    assert torch.autograd.gradcheck(bent, (unit,), fast_mode=True, eps=1e-7, atol=2e-4, rtol=2e-3)


def test_gradients_of_the_signal_are_exact(effect):
    if not all(smooth(effect)) or not effect.names:
        pytest.skip("the gradient is a straight-through estimate")
    unit = inside(effect, batch=1)
    x = signal(effect, batch=1, samples=90)
    x = (x + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: run(effect, x, unit), (x,), fast_mode=True, eps=1e-7, atol=2e-4, rtol=2e-3
    )


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # by torch.func itself
def test_forward_mode_under_vmap_agrees_with_reverse_mode(effect):
    if not effect.names:
        pytest.skip("no parameters")
    x, unit = signal(effect, batch=1, samples=120), inside(effect, batch=1)[0]
    unit.requires_grad_()
    y = run(effect, x, unit)
    weight = torch.randn_like(y)
    (backward,) = torch.autograd.grad((weight * y).sum(), unit)
    jacobian = torch.func.jacfwd(lambda u: run(effect, x, u))(unit.detach())
    forward = (weight[..., None] * jacobian).flatten(0, -2).sum(0)
    assert torch.allclose(forward, backward, rtol=1e-6, atol=1e-8)


def test_vmap_equals_a_loop(effect):
    x, unit = signal(effect, batch=3, samples=100), inside(effect, batch=3)
    mapped = torch.func.vmap(lambda x, u: run(effect, x, u))(x, unit)
    for k in range(3):
        assert torch.allclose(mapped[k], run(effect, x[k], unit[k]), atol=1e-10)


@pytest.mark.parametrize("silent", [False, True])
def test_values_and_gradients_are_finite_at_every_end(effect, silent):
    width = len(effect.names)
    middle = effect.to_unit()
    ends = [torch.zeros(1, width), torch.ones(1, width), middle]
    for k in range(width):
        for end in (0.0, 1.0):
            corner = middle.clone()
            corner[:, k] = end
            ends.append(corner)
    unit = torch.cat([end.double() for end in ends]).requires_grad_()
    x = signal(effect, batch=1, samples=150).expand(len(unit), -1, -1).clone()
    x = (0 * x if silent else x).requires_grad_()
    y = run(effect, x, unit)
    assert bool(y.isfinite().all())
    y.square().sum().backward()
    assert bool(x.grad.isfinite().all())
    assert unit.grad is None or bool(unit.grad.isfinite().all())


def test_what_is_out_of_range_is_clamped_and_still_pulls(effect):
    x, width = signal(effect, batch=1, samples=100), len(effect.names)
    unit = torch.full((1, width), 1.7, dtype=torch.float64, requires_grad=True)
    y = run(effect, x, unit)
    assert torch.equal(y, run(effect, x, torch.ones(1, width, dtype=torch.float64)))
    if not width:
        return
    y.square().sum().backward()
    assert unit.grad is None or bool(unit.grad.isfinite().all())


def test_every_parameter_matters(effect):
    if not effect.names or isinstance(effect, Structure):
        pytest.skip("tested stage by stage")
    x = signal(effect, batch=1, samples=1500)
    x[..., :300] *= 0.003
    x[..., 700:] *= 0.003
    missing = []
    for k, name in enumerate(effect.names):
        differs = False
        for seed in (1, 2):
            unit = inside(effect, batch=1) if seed == 1 else 1 - inside(effect, batch=1)
            moved = unit.clone()
            moved[:, k] = 0.95 - moved[:, k] if seed == 1 else 0.02
            differs = differs or not torch.equal(run(effect, x, unit), run(effect, x, moved))
        if not differs:
            missing.append(name)
    assert not missing


def test_no_samples_one_sample_and_no_items(effect):
    count = channels_of(effect)
    out = effect.output_channels(count)
    assert effect(torch.zeros(count, 0)).shape == (out, 0)
    assert effect(torch.zeros(0, count, 5)).shape == (0, out, 5)
    assert effect(torch.full((count, 1), 0.5)).shape == (out, 1)
    y, _ = effect.stream(torch.zeros(count, 0), effect.init_state(1, count))
    assert y.shape == (out, 0)


def test_a_preset_goes_there_and_back(effect):
    values = effect.from_unit(inside(effect, batch=1)[0])
    data = preset(effect, values)
    chain, again = from_preset(json.loads(json.dumps(data)))
    assert preset(chain, again) == data
    x = signal(effect)
    expected = effect(x, **values)
    assert torch.allclose(chain(x, **again), expected, atol=1e-12)


def test_wrong_input_is_refused_in_one_line(effect):
    count = channels_of(effect)
    x = torch.zeros(count, 50)
    with pytest.raises(ShapeError, match=r"x has shape \(50,\); expected \(..., channels"):
        effect(x[0])
    with pytest.raises(ShapeError, match="float"):
        effect(x.to(torch.int16))
    with pytest.raises(ShapeError, match="from_numpy"):
        effect(x.numpy())
    x[-1, 7] = math.nan
    with pytest.raises(AudioError, match=rf"x is nan at channel {count - 1}, sample 7"):
        effect(x)
    with pytest.raises(ParameterError, match="no_such_thing"):
        effect(torch.zeros(count, 5), no_such_thing=1.0)
    with pytest.raises(ShapeError, match="vector has shape"):
        effect.from_unit(torch.zeros(1, len(effect.names) + 1))


def test_a_missing_sample_rate_is_named():
    kinds = [kind for kind in effect_types().values() if not issubclass(kind, Structure)]
    for kind in kinds:
        with pytest.raises(ParameterError, match="sample_rate is None; expected the rate"):
            kind(None)
        with pytest.raises(ParameterError, match="sample_rate is -1"):
            kind(-1)
        with pytest.raises(TypeError, match=f"{kind.__name__} needs the sample_rate") as caught:
            kind()
        assert isinstance(caught.value, ParameterError)


def test_every_option_refuses_what_it_does_not_take():
    for name, kind in effect_types().items():
        if issubclass(kind, Structure) or not kind.__module__.startswith("sonograd."):
            continue
        for option in set(inspect.signature(kind).parameters) - {"sample_rate"}:
            for wrong in (object(), "nothing like it", math.nan, -math.inf, [object()], {}):
                with pytest.raises((ParameterError, ShapeError)) as caught:
                    kind(RATE, **{option: wrong})
                assert "expected" in str(caught.value), (name, option, wrong)
                assert "\n" not in str(caught.value), (name, option, wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Compressor(RATE, lookahead_ms="5"), "lookahead_ms is '5'; expected a number of"),
        (lambda: Compressor(RATE, lookahead_ms=math.nan), "lookahead_ms is nan"),
        (lambda: ParametricEQ(RATE, bands=2.5), "bands is 2.5; expected a whole number from 1"),
        (lambda: Distortion(RATE, oversampling=2.0), "oversampling is 2.0; expected a whole"),
        (lambda: Tremolo(RATE, phase=math.nan), "phase is nan; expected a number of turns"),
        (lambda: Gain(RATE, invert="yes"), "invert is 'yes'; expected True or False"),
        (lambda: Delay(RATE, filtered="no"), "filtered is 'no'; expected True or False"),
        (lambda: LowPass(RATE, order="4"), r"order is '4'; expected one of 1, 2, 4, 8\.$"),
        (lambda: LowPass(RATE, order=True), "order is True"),
        (lambda: LowPass(RATE, order=4.0), "order is 4.0"),
        (lambda: Curve(torch.tensor([1.0, 2.0]), 1.5), "hop_length is 1.5; expected a whole"),
        (lambda: Bypass(Gain(RATE), bypassed=1), "bypassed is 1; expected True or False"),
        (lambda: Graph({"a": Gain(RATE)}, 3), "sources is 3; expected a mapping"),
        (lambda: Graph({"a": Gain(RATE)}, {"a": [3]}), "expected names of nodes"),
        (lambda: Chain(training=Gain(RATE)), "'training' cannot be the name of a stage"),
        (lambda: GraphicEQ(1), "sample_rate is 1; expected at least 66 Hz"),
        (lambda: FirEQ(1), "sample_rate is 1; expected at least 66 Hz"),
    ],
)
def test_wrong_choices_say_what_is_expected(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_numbers_of_numpy_become_plain_ones():
    effect = LowPass(np.int64(RATE), order=np.int32(4))
    assert type(effect.sample_rate) is int
    assert json.dumps(preset(effect))
    assert Pan(RATE, law_db=6).law_db == 6.0


def test_half_precision_stays_near(effect):
    x = 0.5 * signal(effect, batch=1)
    expected = effect(x)
    for dtype, near in ((torch.float16, 0.02), (torch.bfloat16, 0.1)):
        y = effect(x.to(dtype))
        assert y.dtype == dtype
        assert torch.allclose(y.double(), expected, atol=near)


def test_low_sample_rates_work(effect):
    slow = type(effect)(1000) if not isinstance(effect, Structure) else effect
    y = slow(signal(slow, batch=1, samples=200))
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_values_that_are_no_finite_numbers_are_refused(effect, wrong):
    if isinstance(effect, Structure) or not effect.params:
        pytest.skip("tested stage by stage")
    x, name = signal(effect, samples=20), effect.params[0].name
    for value in (wrong, torch.tensor([1.0, wrong])):
        with pytest.raises(ParameterError, match=f"{name} (is|holds values).*finite|is (nan|inf)"):
            effect(x, **{name: value})
    with pytest.raises(ParameterError, match="not all finite"):
        Curve(torch.tensor([0.0, wrong]))


def test_values_over_time_without_a_curve_are_refused_with_the_remedy():
    with pytest.raises(ShapeError, match=r"moves over time is a Curve\(gain_db, hop_length\)"):
        Gain(RATE)(torch.zeros(2, 5), gain_db=torch.zeros(1, 2, 5))


SIDE_CHAINS = sorted(
    name for name, kind in effect_types().items() if "side_chain" in kind.audio_inputs
)


@pytest.mark.parametrize("name", SIDE_CHAINS)
def test_side_chains_are_checked_like_the_signal(name):
    effect = effect_types()[name](RATE)
    x = signal(effect, batch=1).float()
    y = effect(x, side_chain=x)
    assert torch.equal(effect(x, side_chain=None), effect(x))
    assert effect(x, side_chain=x.double()).dtype == torch.float32
    assert torch.allclose(effect(x, side_chain=x.double()), y)
    chain = Chain(Distortion(RATE, oversampling=2), last=effect)
    for run, around in ((effect, lambda v: v), (chain, lambda v: {"last": v})):
        for wrong in (x.numpy(), x.tolist(), 0.5):
            with pytest.raises(ShapeError, match=r"side_chain is a .*torch.from_numpy"):
                run(x, **around({"side_chain": wrong}))
        bad = x.clone()
        bad[0, 1, 9] = math.nan
        with pytest.raises(AudioError, match="side_chain is nan at channel 1, sample 9"):
            run(x, **around({"side_chain": bad}))


def test_options_are_attributes(effect):
    for name, value in effect.options().items():
        if not isinstance(effect, Structure):
            assert getattr(effect, name) is not None or value is None


def test_moving_to_another_block_size_of_channels_is_refused(effect):
    count = channels_of(effect)
    state = effect.init_state(1, count)
    with pytest.raises(ShapeError, match="start another one with init_state"):
        effect.stream(torch.zeros(3, count, 5), state)
    with pytest.raises(ParameterError, match="expected what init_state"):
        effect.stream(torch.zeros(count, 5), None)


def test_members_are_found():
    assert len(MEMBERS) > 40
    assert all(issubclass(kind, Effect) for kind in effect_types().values())
