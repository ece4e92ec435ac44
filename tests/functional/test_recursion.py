import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import _recursion_blocks

RATE = 44_100


def _equalizer(low_hz=40.0, q=10.0):
    design = [
        F.low_shelf_biquad(80.0, 3.0, sample_rate=RATE),
        F.peak_biquad(low_hz, 6.0, q, sample_rate=RATE),
        F.peak_biquad(300.0, -12.0, 1.0, sample_rate=RATE),
        F.peak_biquad(1000.0, 4.0, 2.0, sample_rate=RATE),
        F.low_pass_biquad(9000.0, sample_rate=RATE),
        F.high_shelf_biquad(8000.0, 3.0, sample_rate=RATE),
    ]
    return torch.stack(design)


def _error(actual, expected):
    return np.linalg.norm(actual.double().numpy() - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("low_hz", [30.0, 45.0, 60.0])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-11), (torch.float32, 1e-6)])
def test_sosfilt_matches_scipy(rng, low_hz, dtype, bound):
    x = torch.from_numpy(rng.standard_normal((2, 100_001))).to(dtype)
    sos = _equalizer(low_hz)
    actual = F.sosfilt(x, sos)
    assert actual.dtype == dtype
    assert _error(actual, signal.sosfilt(sos.numpy(), x.double().numpy())) < bound


def test_autocast_and_half_precision_do_not_reach_the_recursion(rng):
    x = torch.from_numpy(rng.standard_normal((2, 5000))).float()
    expected = F.sosfilt(x, _equalizer())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(F.sosfilt(x, _equalizer()), expected, rtol=0, atol=0)
    half = F.sosfilt(x.bfloat16(), _equalizer())
    assert half.dtype == torch.bfloat16
    wide = F.sosfilt(x.bfloat16().float(), _equalizer())
    torch.testing.assert_close(half, wide.bfloat16(), rtol=0, atol=0)


@given(
    samples=st.integers(0, 300),
    sections=st.integers(1, 4),
    batch=st.sampled_from([(), (3,), (2, 1), (2, 3)]),
    own=st.sampled_from([(), (3,), (2, 1), (1, 3)]),
)
def test_leading_dimensions_broadcast(samples, sections, batch, own):
    generator = np.random.default_rng(samples)
    x = generator.standard_normal((*batch, samples))
    frequency = torch.from_numpy(generator.uniform(100, 9000, (*own, sections)))
    sos = F.peak_biquad(frequency, 6.0, 1.0, sample_rate=RATE)
    actual = F.sosfilt(torch.from_numpy(x), sos)
    lead = np.broadcast_shapes(batch, own)
    assert actual.shape == (*lead, samples)
    x, sos = np.broadcast_to(x, (*lead, samples)), sos.expand(*lead, sections, 6).numpy()
    for item in np.ndindex(lead) if samples else ():
        np.testing.assert_allclose(actual[item], signal.sosfilt(sos[item], x[item]), atol=1e-12)


def test_sections_are_normalized(rng):
    x = torch.from_numpy(rng.standard_normal(500))
    sos = _equalizer()
    torch.testing.assert_close(F.sosfilt(x, 3.0 * sos), F.sosfilt(x, sos))


@pytest.mark.parametrize(
    "poles", [(1.0, 0.0), (1.0, 1.0), (-1.0, -1.0), (0.5, 0.5), (0.0, 0.0), (1.02, 0.3)]
)
def test_real_double_marginal_and_unstable_poles(rng, poles):
    x = rng.standard_normal(700)
    sos = np.array([[1.0, 0.3, -0.2, *np.poly(poles)]])
    expected = signal.sosfilt(sos, x)
    assert _error(F.sosfilt(torch.from_numpy(x), torch.from_numpy(sos)), expected) < 1e-10


@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_stream_equals_whole(cuts):
    x = torch.randn(2, 400, dtype=torch.float64)
    sos = _equalizer()
    cuts = sorted(cuts)
    state, parts = None, []
    for begin, end in zip([0, *cuts], [*cuts, 400], strict=True):
        part, state = F.sosfilt_stream(x[:, begin:end], sos, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, -1), F.sosfilt(x, sos), rtol=0, atol=1e-11)
    assert state.shape == (2, 6, 2)


def test_stream_follows_changing_sections(rng):
    """The state does not depend on the sections: a change takes effect as in direct form II."""
    x = rng.standard_normal(300)
    before, after = _equalizer()[1:2], _equalizer(low_hz=5000.0, q=0.5)[1:2]
    head, state = F.sosfilt_stream(torch.from_numpy(x[:130]), before, None)
    tail, _ = F.sosfilt_stream(torch.from_numpy(x[130:]), after, state)
    w = np.zeros(302)
    expected = np.zeros(300)
    for n in range(300):
        b0, b1, b2, _, a1, a2 = (before if n < 130 else after)[0].numpy()
        w[n + 2] = x[n] - a1 * w[n + 1] - a2 * w[n]
        expected[n] = b0 * w[n + 2] + b1 * w[n + 1] + b2 * w[n]
    np.testing.assert_allclose(torch.cat([head, tail]), expected, atol=1e-9)


def test_gradients():
    x = torch.randn(2, 70, dtype=torch.float64, requires_grad=True)
    values = torch.tensor(
        [[1000.0, 6.0, 0.7], [4000.0, -3.0, 2.0]], dtype=torch.float64, requires_grad=True
    )

    def run(x, values):
        return F.sosfilt(x, F.peak_biquad(*values.T, sample_rate=RATE))

    assert torch.autograd.gradcheck(run, (x, values), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, values), fast_mode=True)


def test_gradients_flow_through_stream_and_scan():
    x = torch.randn(1, 2100, dtype=torch.float64, requires_grad=True)
    sos = _equalizer(low_hz=2000.0, q=1.0)[1:4].clone().requires_grad_(True)

    def run(x, sos):
        head, state = F.sosfilt_stream(x[:, :1500], sos, None)
        return torch.cat([head, F.sosfilt_stream(x[:, 1500:], sos, state)[0]], -1)

    assert torch.autograd.gradcheck(run, (x, sos), fast_mode=True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_forward_mode_over_many_tangents():
    x = torch.randn(1, 200, dtype=torch.float64)
    start = torch.tensor([1000.0, 6.0, 0.7], dtype=torch.float64)

    def run(values):
        return F.sosfilt(x, F.peak_biquad(*values, sample_rate=RATE)[None])

    torch.testing.assert_close(torch.func.jacfwd(run)(start), torch.func.jacrev(run)(start))


@pytest.mark.parametrize(("order", "cutoff"), [(1, 0.1), (2, 0.1), (5, 0.1), (8, 0.2), (16, 0.5)])
def test_lfilter_matches_scipy(rng, order, cutoff):
    b, a = signal.butter(order, cutoff)
    x = rng.standard_normal((2, 3001))
    actual = F.lfilter(torch.from_numpy(x), torch.from_numpy(2 * b), torch.from_numpy(2 * a))
    assert _error(actual, signal.lfilter(b, a, x)) < 1e-11


def test_lfilter_of_clustered_poles_is_as_good_as_its_polynomial(rng):
    """Five poles near 1: what is left is what rounding the coefficients does, as for scipy."""
    b, a = signal.butter(5, 0.02)
    x = rng.standard_normal(3000)
    expected = signal.sosfilt(signal.butter(5, 0.02, output="sos"), x)
    actual = F.lfilter(*(torch.from_numpy(v) for v in (x, b, a)))
    assert _error(actual, expected) < 1e-6
    assert _error(torch.from_numpy(signal.lfilter(b, a, x)), expected) > 1e-12


@pytest.mark.parametrize(
    ("b", "a"),
    [([1.0], [1.0, -1.0]), ([1, 0.5], [1, -1.8, 1.01]), ([1.0, 2, 3], [2.0]), ([3.0], [2.0])],
    ids=["integrator", "unstable", "no poles", "gain"],
)
def test_lfilter_of_special_cases(rng, b, a):
    x = rng.standard_normal(500)
    b, a = np.asarray(b, np.float64), np.asarray(a, np.float64)
    actual = F.lfilter(*(torch.from_numpy(v) for v in (x, b, a)))
    assert _error(actual, signal.lfilter(b, a, x)) < 1e-11


def test_lfilter_gradients():
    x = torch.randn(2, 70, dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.4, 0.2, -0.3], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([1.2, -0.5, 0.4, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(F.lfilter, (x, b, a))


def test_refuses_wrong_layouts():
    x = torch.zeros(2, 10)
    with pytest.raises(ShapeError, match=r"sos has shape \(5,\)"):
        F.sosfilt(x, torch.zeros(5))
    with pytest.raises(ShapeError, match="does not broadcast"):
        F.sosfilt(x, torch.zeros(3, 1, 6))
    with pytest.raises(ShapeError, match="int64"):
        F.sosfilt(torch.zeros(4, dtype=torch.int64), _equalizer())
    with pytest.raises(ShapeError, match=r"state has shape \(2, 2\); expected \(2, 6, 2\)"):
        F.sosfilt_stream(x, _equalizer(), torch.zeros(2, 2))
    with pytest.raises(ParameterError, match="order 40"):
        F.lfilter(x, torch.ones(41), torch.ones(1))
    with pytest.raises(ShapeError, match="need taps"):
        F.lfilter(x, torch.ones(0), torch.ones(1))


def test_cascades_of_any_length(rng):
    x = torch.from_numpy(rng.standard_normal(300))
    sos = F.peak_biquad(
        torch.linspace(200, 9000, 40, dtype=torch.float64), 2.0, 1.0, sample_rate=RATE
    )
    expected = signal.sosfilt(sos.numpy(), x.numpy())
    assert _error(F.sosfilt(x, sos), expected) < 1e-11
    head, state = F.sosfilt_stream(x[:111], sos, None)
    tail, _ = F.sosfilt_stream(x[111:], sos, state)
    assert state.shape == (40, 2)
    assert _error(torch.cat([head, tail]), expected) < 1e-11


def test_vmap_and_forward_mode_equal_the_hand_written_form():
    x = torch.randn(3, 2, 200, dtype=torch.float64)
    sos = _equalizer(low_hz=800.0, q=1.0)
    tilts = torch.stack([sos, sos.roll(1, 0)])
    mapped = torch.func.vmap(lambda s: F.sosfilt(x[0], s))(tilts)
    torch.testing.assert_close(mapped[1], F.sosfilt(x[0], tilts[1]))
    streams = torch.func.vmap(lambda x: F.sosfilt_stream(x, sos, None)[1])(x)
    torch.testing.assert_close(streams[2], F.sosfilt_stream(x[2], sos, None)[1])
    a = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    taps = torch.randn(4, 2, dtype=torch.float64)
    filtered = torch.func.vmap(lambda b: F.lfilter(x[0], b, a))(taps)
    torch.testing.assert_close(filtered[3], F.lfilter(x[0], taps[3], a))
    for run, start in (
        (lambda s: F.sosfilt(x[0, :, :70], s), sos[:2]),
        (lambda a: F.lfilter(x[0, :, :70], taps[0], a), a),
    ):
        forward = torch.func.jacfwd(run)(start)
        torch.testing.assert_close(forward, torch.autograd.functional.jacobian(run, start))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(start, torch.ones_like(start))
            tangent = torch.autograd.forward_ad.unpack_dual(run(dual)).tangent
        torch.testing.assert_close(tangent, forward.flatten(2).sum(-1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from inside of torch.compile
@pytest.mark.parametrize("name", ["sosfilt", "sosfilt_stream", "lfilter"])
def test_compiles_without_a_graph_break(name):
    x = torch.randn(2, 1000, requires_grad=True)
    sos = _equalizer(low_hz=800.0, q=1.0).requires_grad_(True)
    runs = {
        "sosfilt": F.sosfilt,
        "sosfilt_stream": lambda x, s: F.sosfilt_stream(x, s, None)[0],
        "lfilter": lambda x, s: F.lfilter(x, s[1, :3], s[1, 3:]),
    }
    compiled = torch.compile(runs[name], fullgraph=True, backend="aot_eager")
    y = compiled(x, sos)
    torch.testing.assert_close(y, runs[name](x, sos))
    weights = torch.randn_like(y)
    expected = torch.autograd.grad((runs[name](x, sos) * weights).sum(), (x, sos))
    actual = torch.autograd.grad((y * weights).sum(), (x, sos))
    torch.testing.assert_close(actual, expected)


def test_backward_keeps_the_signal_and_the_block_states_only():
    x = torch.randn(2, 64_000, requires_grad=True)
    sos = _equalizer().requires_grad_(True)
    kept: dict[int, int] = {}

    def pack(saved):
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        F.sosfilt(x, sos)
    signal_bytes, state_bytes = 4 * x.numel(), 4 * x.numel() * 12 // 64
    assert sum(kept.values()) < signal_bytes + state_bytes + 400_000  # and small matrices


def test_what_a_design_of_one_section_gives_is_one_section():
    x = torch.randn(2, 300, dtype=torch.float64)
    section = F.peak_biquad(500.0, 3.0, 1.0, sample_rate=8000)
    assert torch.equal(F.sosfilt(x, section), F.sosfilt(x, section[None]))
    y, state = F.sosfilt_stream(x, section, None)
    assert torch.allclose(y, F.sosfilt(x, section))
    assert state.shape == (2, 1, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: F.sosfilt(x.numpy(), torch.ones(1, 6)),
            ShapeError,
            r"x is a ndarray.*from_numpy",
        ),
        (
            lambda x: F.sosfilt(x, [[1.0, 0, 0, 1, 0, 0]]),
            ShapeError,
            r"sos is a list.*torch.tensor",
        ),
        (lambda x: F.lfilter(x, [1.0], torch.ones(1)), ShapeError, "b is a list"),
        (lambda x: F.sosfilt(x, torch.zeros(2, 6)), ParameterError, "coefficient a0 .* is 0"),
        (lambda x: F.sosfilt_stream(x, torch.zeros(6), None), ParameterError, "a0 .* is 0"),
        (lambda x: F.lfilter(x, torch.ones(2), torch.zeros(2)), ParameterError, r"a\[0\] is 0"),
    ],
)
def test_what_is_no_filter_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.zeros(2, 9))


def test_the_operator_of_exported_graphs_has_the_same_values_and_gradients():
    shapes = [(2, 3, 100), (2, 3, 2), (2, 64, 64), (2, 2, 64), (2, 64, 2), (2, 2, 2)]
    inputs = [0.1 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
    results = []
    for run in (_recursion_blocks._operator, _recursion_blocks._BlockFilter.apply):
        leaves = [v.clone().requires_grad_() for v in inputs]
        outputs = run(*leaves)
        total = sum((v * torch.arange(v.numel()).reshape(v.shape)).sum() for v in outputs)
        results.append([*outputs, *torch.autograd.grad(total, leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
