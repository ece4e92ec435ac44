"""Laws that every instrument must obey. Instruments are found by themselves."""

import inspect

import pytest
import torch

from sonograd import synths
from sonograd.errors import ParameterError, ShapeError
from sonograd.params import Curve
from sonograd.synths import Synth, synth_types

RATE = 8000
# Small ones, and every way of making sound that an instrument has.
OPTIONS = {
    "FM": [{"algorithm": "pair"}, {"algorithm": "branch"}, {"algorithm": ((1,), (2,), ())}],
    "FilteredNoise": [{"bands": 5, "hop_length": 7}, {"bands": 33, "hop_length": 64}],
    "Harmonic": [{"harmonics": 5}],
    "Modal": [{"body": "bell", "modes": 3}],
    "Oscillator": [{"shape": s} for s in ("sine", "saw", "square", "triangle")],
    "SourceFilter": [{"formants": 3}, {"tract": "reflections", "formants": 2}],
    "Wavetable": [{"tables": torch.linspace(-1, 1, 48).reshape(3, 16).cos()}],
}
CASES = [(kind, o) for name, kind in synth_types().items() for o in OPTIONS.get(name, [{}])]


def _label(case):
    kind, options = case
    shown = [v for v in options.values() if isinstance(v, str | int)]
    return "-".join([kind.__name__, *map(str, shown)])


@pytest.fixture(params=CASES, ids=_label)
def synth(request):
    kind, options = request.param
    return kind(RATE, **options)


def _generator(seed=5):
    return torch.Generator().manual_seed(seed)


def _inside(synth, param, share, dtype=torch.float64, batch=None):
    """A value of a parameter in the middle of its range; vectors are different everywhere."""
    width = synth.widths.get(param.name)
    place = torch.tensor(share, dtype=torch.float64)
    if param.name == "frequency_hz":
        place = param.to_unit(torch.tensor(311.0, dtype=torch.float64))
    if width:
        place = place + (0.02 * torch.arange(width)) % 0.3
    value = param.from_unit(place).to(dtype)
    return value if batch is None else value.expand(batch, *value.shape).clone()


# Where no corner lies near: of waves, of envelopes, of partials that come and go.
SHARES = {
    "phase_turns": 0.13,
    "gate_s": 1e-6,
    "attack_s": 0.01,
    "decay_s": 0.3,
    "formants_hz": 0.5,
    "feedback": 0.2,
    "levels": 0.05,
    "ratios": 0.4,
    "reflections": 0.6,
}


def _values(synth, dtype=torch.float64, batch=None, *, moving=False):
    values = {}
    for param in synth.params:
        value = _inside(synth, param, SHARES.get(param.name, 0.37), dtype, batch)
        if moving and param.moves:
            value = value if batch else value.expand(1, *value.shape)
            drift = torch.linspace(0.97, 1.03, 4, dtype=dtype)
            value = Curve(value.unsqueeze(-1) * drift, 11)
        values[param.name] = value
    return values


def _gradcheck(run, value):
    return torch.autograd.gradcheck(run, value, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_the_suite_finds_all_instruments():
    public = {n for n in synths.__all__ if inspect.isclass(getattr(synths, n))}
    public = {n for n in public if issubclass(getattr(synths, n), Synth)} - {"Synth"}
    assert public <= set(synth_types())
    assert len(public) >= 9


@pytest.mark.parametrize("moving", [False, True])
def test_batch_equals_items(synth, moving):
    values = _values(synth, batch=3, moving=moving)
    scale = torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)
    for name, value in values.items():
        raw = value.values if isinstance(value, Curve) else value
        raw = raw * scale.reshape(-1, *(1,) * (raw.ndim - 1))
        values[name] = Curve(raw, 11) if isinstance(value, Curve) else raw
    together = synth(150, generator=[_generator(k) for k in range(3)], **values)
    assert together.shape == (3, 1, 150)
    for k in range(3):
        alone = {
            n: Curve(v.values[k : k + 1], 11) if isinstance(v, Curve) else v[k : k + 1]
            for n, v in values.items()
        }
        one = synth(150, generator=_generator(k), **alone)
        torch.testing.assert_close(together[k : k + 1], one, rtol=1e-9, atol=1e-11)


def test_gradients_of_every_parameter(synth):
    values = _values(synth)
    for name, value in values.items():
        param = value.clone().requires_grad_()

        def run(v, name=name):
            return synth(40, generator=_generator(), **{**values, name: v})

        assert _gradcheck(run, param), name


def test_gradients_of_every_curve(synth):
    for name in [p.name for p in synth.params if p.moves]:
        values = _values(synth, moving=True)
        points = values[name].values.clone().requires_grad_()

        def run(v, name=name, values=values):
            return synth(30, generator=_generator(), **{**values, name: Curve(v, 11)})

        assert _gradcheck(run, points), name


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch's own use
def test_jacobians_forward_and_backward(synth):
    """All three ways to the derivative agree."""
    vector = synth.to_unit(_values(synth))[0]

    def run(vector):
        return synth(25, generator=7, **synth.from_unit(vector))[0, 0]

    forward = torch.func.jacfwd(run)(vector)
    torch.testing.assert_close(torch.func.jacrev(run)(vector), forward)
    plain = torch.autograd.functional.jacobian(run, vector)
    torch.testing.assert_close(plain, forward)


def test_every_parameter_matters(synth):
    vector = synth.to_unit(_values(synth)).requires_grad_()
    synth(400, generator=_generator(), **synth.from_unit(vector)).square().sum().backward()
    dead = [n for n, g in zip(synth.names, vector.grad[0].tolist(), strict=True) if g == 0]
    allowed = {"gate_s"} if isinstance(synth, synths.Envelope) else set()
    assert vector.grad.isfinite().all()
    assert set(dead) <= allowed | {n for n in synth.names if n.startswith("levels.")}


@pytest.mark.parametrize("moving", [False, True])
def test_blocks_equal_the_whole(synth, moving):
    values = _values(synth, batch=2, moving=moving)
    whole = synth(900, generator=_generator(), **values)
    state = synth.init_state(2, generator=_generator())
    parts = []
    for length in (1, 0, 2, 61, 64, 65, 7, 300, 400):
        part, state = synth.stream(length, state, **values)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, -1), whole, rtol=1e-9, atol=1e-10)
    assert state.position == 900


def test_long_sounds_are_made_in_segments(synth, monkeypatch):
    values = _values(synth, moving=True)
    whole = synth(700, generator=_generator(), **values)
    monkeypatch.setattr("sonograd.synths.base._SEGMENT", 97)
    monkeypatch.setattr("sonograd.synths.voice._AT_ONCE", 1)
    pieces = synth(700, generator=_generator(), **values)
    torch.testing.assert_close(pieces, whole, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_empty_and_short(synth, samples):
    y = synth(samples, batch=2, generator=_generator())
    assert y.shape == (2, 1, samples)
    assert y.isfinite().all()
    longer = synth(500, batch=2, generator=_generator())
    torch.testing.assert_close(y, longer[..., :samples])
    assert synth(5, batch=0).shape == (0, 1, 5)


def test_zero_amplitude_is_silence_with_finite_gradients(synth):
    values = _values(synth)
    values["amplitude"] = torch.zeros((), dtype=torch.float64)
    for value in values.values():
        value.requires_grad_()
    y = synth(200, generator=_generator(), **values)
    assert (y == 0).all()
    y.square().sum().add(y.sum()).backward()
    for name, value in values.items():
        assert value.grad.isfinite().all(), name


@pytest.mark.parametrize("end", ["low", "high"])
def test_ends_of_the_ranges_are_finite(synth, end):
    for param in synth.params:
        width = synth.widths.get(param.name)
        value = torch.full((width,) if width else (), getattr(param, end), dtype=torch.float64)
        value.requires_grad_()
        y = synth(300, generator=_generator(), **{param.name: value})
        assert y.isfinite().all(), param.name
        y.square().sum().backward()
        assert value.grad.isfinite().all(), param.name


def test_out_of_range_is_clamped_and_learns_the_way_back(synth):
    for param in synth.params:
        width = synth.widths.get(param.name)
        size = (width,) if width else ()
        beyond = torch.full(size, param.high * 1.5 + 1.0, dtype=torch.float64)
        most = torch.full(size, param.high, dtype=torch.float64)
        y, z = (synth(50, generator=_generator(), **{param.name: v}) for v in (beyond, most))
        torch.testing.assert_close(y, z)


def test_the_generator_decides(synth):
    values = _values(synth, torch.float32)
    first = synth(300, generator=_generator(1), **values)
    assert torch.equal(first, synth(300, generator=_generator(1), **values))
    assert torch.equal(first, synth(300, generator=_generator(2), **values)) != synth.random
    assert torch.equal(synth(300, generator=7, **values), synth(300, generator=7, **values))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    drawn = synth(300, **values)
    assert torch.equal(before, torch.get_rng_state()) != synth.random
    torch.manual_seed(3)
    assert torch.equal(drawn, synth(300, **values))


def test_dtype_follows(synth):
    assert synth(20).dtype == torch.float32
    assert synth(20, amplitude=torch.tensor(0.5, dtype=torch.float64)).dtype == torch.float64
    wide = type(synth)(RATE, **synth.options()).double()
    assert wide(20).dtype == torch.float64
    half = type(synth)(RATE, **synth.options()).to(torch.bfloat16)
    assert half(20).dtype == torch.bfloat16
    assert half(0).dtype == torch.bfloat16
    single = synth(300, generator=_generator(), **_values(synth, torch.float32))
    double = synth(
        300, generator=_generator(), **{n: v.double() for n, v in _values(synth).items()}
    )
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=3e-4)


def test_autocast_changes_nothing(synth):
    y = synth(300, generator=7)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(synth(300, generator=7), y)


@pytest.mark.parametrize("rate", [60, 192_000])
def test_any_sample_rate(synth, rate):
    y = type(synth)(rate, **synth.options())(200, generator=7)
    assert y.isfinite().all()
    assert y.abs().max() > 1e-3


@pytest.mark.gpu
def test_gpu_equals_cpu(synth):
    values = _values(synth, torch.float32, moving=True)
    there = {
        n: Curve(v.values.cuda(), 11) if isinstance(v, Curve) else v.cuda()
        for n, v in values.items()
    }
    y = synth(700, generator=_generator(), **values)
    z = synth.cuda()(700, generator=_generator(), **there)
    assert z.is_cuda
    torch.testing.assert_close(z.cpu(), y, rtol=1e-3, atol=2e-4)


def test_a_curve_is_straight_between_its_points(synth):
    """Few points and all the values on the lines between them give the same sound."""
    for name in [p.name for p in synth.params if p.moves]:
        values = _values(synth, moving=True)
        few = values[name]
        many = few.sample(0, 60)
        many = many if name in synth.widths else many[:, 0]
        y = synth(60, generator=_generator(), **values)
        z = synth(60, generator=_generator(), **{**values, name: Curve(many, 1)})
        torch.testing.assert_close(y, z, rtol=1e-9, atol=1e-10)


def test_unit_vectors_go_there_and_back(synth):
    assert len(set(synth.names)) == len(synth.names)
    vector = torch.rand(4, len(synth.names), dtype=torch.float64)
    values = synth.from_unit(vector)
    torch.testing.assert_close(synth.to_unit(values), vector)
    assert synth(30, **values).shape == (4, 1, 30)
    default = synth(100, generator=_generator(), **synth.from_unit(synth.to_unit()))
    torch.testing.assert_close(
        default.float(), synth(100, generator=_generator()), atol=1e-5, rtol=0
    )
    with pytest.raises(ShapeError, match=r"vector has shape \(2,\); expected"):
        synth.from_unit(torch.rand(2) if len(synth.names) != 2 else torch.rand(2, 2, 2))
    with pytest.raises(ShapeError, match="not a Curve"):
        synth.to_unit({"amplitude": Curve(torch.ones(3))})


def test_declarations(synth):
    for param in synth.params:
        suffix = {"Hz": "_hz", "s": "_s", "turns": "_turns"}.get(param.unit, "")
        assert param.name.endswith(suffix)
        assert (param.unit in {"1", "rad"}) == (suffix == "")
        assert param.unit != "Hz" or param.high < RATE / 2
    assert type(synth)(RATE, **synth.options()).names == synth.names
    parameters = set(inspect.signature(type(synth).process).parameters)
    assert parameters == {"self", "samples", "state", "values"}


def test_bad_input_is_named(synth):
    name = synth.params[0].name
    with pytest.raises(ParameterError, match=rf"no parameter '{name}x'.*[Dd]id you mean.*{name}"):
        synth(10, **{name + "x": 1.0})
    with pytest.raises(ParameterError, match=f"{name} is nan"):
        synth(10, **{name: float("nan")})
    width = synth.widths.get("levels")
    with pytest.raises(ParameterError, match=r"amplitude\[1\] is inf; expected finite"):
        synth(10, amplitude=torch.tensor([1.0, float("inf")]))
    with pytest.raises(ParameterError, match="amplitude is 'loud'; expected a number"):
        synth(10, amplitude="loud")
    with pytest.raises(ShapeError, match=r"amplitude has shape \(2, 3\); for"):
        synth(10, amplitude=torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"amplitude has shape \(3,\); for 2 items"):
        synth(10, batch=2, amplitude=torch.ones(3))
    with pytest.raises(ParameterError, match=r"samples is 2\.5; expected a whole number"):
        synth(2.5)
    with pytest.raises(ParameterError, match="samples is -1"):
        synth(-1)
    with pytest.raises(ParameterError, match="state is NoneType"):
        synth.stream(10, None)
    with pytest.raises(ParameterError, match="batch is -1"):
        synth(10, batch=-1)
    for rate in (0, -44100, float("nan"), "44100", None):
        with pytest.raises(ParameterError, match="sample_rate is"):
            type(synth)(rate, **synth.options())
    if width:
        with pytest.raises(ShapeError, match=rf"levels has shape \({width + 1},\)"):
            synth(10, levels=torch.ones(width + 1))
    fixed = [p.name for p in synth.params if not p.moves]
    if fixed:
        with pytest.raises(ParameterError, match=f"{fixed[0]} cannot move over time"):
            synth(10, **{fixed[0]: Curve(torch.ones(3))})
    if synth.random:
        with pytest.raises(ParameterError, match="3 generators were given for 2 items"):
            synth(10, batch=2, generator=[_generator()] * 3)
