"""What every front end owes, whatever is inside; new ones are found by themselves."""

import copy
import inspect
import pickle
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from torch.utils import _pytree as pytree

import sonograd.frontends
from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends import FrontEnd, InvertibleConstantQ

TINY = runpy.run_path(str(Path(__file__).with_name("tiny.py")))["TINY"]


def concrete(cls):
    """Return the subclasses that the package offers."""
    found = set()
    for child in cls.__subclasses__():
        if getattr(sonograd.frontends, child.__name__, None) is child:
            found.add(child)
        found |= concrete(child)
    return found


FRONT_ENDS = sorted(concrete(FrontEnd), key=lambda cls: cls.__name__)


@pytest.fixture(params=FRONT_ENDS, ids=lambda cls: cls.__name__)
def layer(request):
    if request.param not in TINY:
        pytest.fail(f"add a builder of {request.param.__name__} to tests/frontends/tiny.py")
    return TINY[request.param]().eval()


def tensors(result):
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def assert_same(actual, expected, **tolerance):
    pairs = list(zip(tensors(actual), tensors(expected), strict=True))
    for one, other in pairs:
        scale = max(float(other.abs().max()) if other.numel() else 1.0, 1e-3)
        torch.testing.assert_close(one / scale, other / scale, **{"rtol": 0, **tolerance})


def pick(result, *index):
    return [leaf[index] for leaf in tensors(result)]


def test_there_are_front_ends():
    assert len(FRONT_ENDS) >= 10


def test_batch_items_and_channels_are_separate(layer):
    x = torch.randn(2, 3, 3001)
    with torch.no_grad():
        together = layer(x)
        for index in ((0, 0), (1, 2)):
            assert_same(pick(together, *index), layer(x[index]), atol=2e-5)
        assert_same(pick(together, 1), layer(x[1]), atol=2e-5)


def test_other_items_and_strides_do_not_matter(layer):
    x = torch.randn(3001, 2).T
    loud = torch.stack([x[0], 100 * x[1]])
    with torch.no_grad():
        assert_same(pick(layer(x), 0), pick(layer(loud), 0), atol=2e-5)
        assert_same(layer(x), layer(x.contiguous()), atol=1e-6)


def test_precision_follows_the_input(layer):
    x = torch.randn(2, 2500, dtype=torch.float64)
    with torch.no_grad():
        wide, single = layer(x), layer(x.float())
        assert {leaf.dtype.to_real() for leaf in tensors(wide)} == {torch.float64}
        assert {leaf.dtype.to_real() for leaf in tensors(single)} == {torch.float32}
        assert_same(
            single,
            [leaf.to(s.dtype) for leaf, s in zip(tensors(wide), tensors(single), strict=True)],
            atol=2e-3,
        )


def test_half_precision_and_autocast_work_in_float32(layer):
    x = torch.randn(1, 2500).bfloat16()
    with torch.no_grad():
        expected = layer(x.float())
        assert_same(layer(x), expected, atol=1e-6)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_same(layer(x.float()), expected, atol=1e-6)


def test_gradients_are_finite_on_silence(layer):
    x = torch.zeros(1, 2000, requires_grad=True)
    total = sum(
        (torch.view_as_real(leaf) if leaf.is_complex() else leaf).sum()
        for leaf in tensors(layer(x))
    )
    total.backward()
    assert x.grad.isfinite().all()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("output", ["magnitude", "power", "phase", "complex"])
def test_gradients_are_finite_in_every_form(layer, output):
    if layer.output is None or output not in layer.outputs:
        pytest.skip("has no such form")
    layer.output = output
    x = torch.randn(1, 2000)
    x[:, 500:] = 0
    x.requires_grad_()
    result = layer(x)
    (torch.view_as_real(result) if result.is_complex() else result).sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any() or output == "phase"


def test_parameters_get_gradients(layer):
    if not list(layer.parameters()):
        pytest.skip("has no parameters")
    result = tensors(layer(torch.randn(1, 3000)))
    sum(leaf.abs().square().sum() for leaf in result).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("samples", [0, 1, 2, 17, 300])
def test_short_signals_give_finite_results(layer, samples):
    with torch.no_grad():
        for leaf in tensors(layer(torch.randn(2, samples))):
            assert leaf.isfinite().all()
            assert leaf.shape[0] == 2


def test_no_items_give_no_items(layer):
    with torch.no_grad():
        full, none = layer(torch.zeros(1, 2000)), layer(torch.zeros(0, 2000))
    for one, other in zip(tensors(none), tensors(full), strict=True):
        assert one.shape == (0, *other.shape[1:])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: torch.zeros(2000, dtype=torch.int16), ShapeError, "int16"),
        (lambda: torch.zeros(2000, dtype=torch.complex64), ShapeError, "complex64"),
        (lambda: torch.tensor(1.0), ShapeError, "no axes"),
        (lambda: torch.full((2000,), torch.nan), ParameterError, "NaN"),
        (lambda: torch.full((2000,), torch.inf), ParameterError, "infinite"),
    ],
)
def test_bad_input_is_refused(layer, make, error, message):
    with pytest.raises(error, match=message) as caught:
        layer(make())
    assert "\n" not in str(caught.value)


def test_only_parameters_are_in_the_state(layer):
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}


def test_construction_is_silent(layer, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TINY[type(layer)]()
    assert capfd.readouterr() == ("", "")


def test_arguments_are_keywords(layer):
    kinds = {p.kind for p in inspect.signature(type(layer)).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("sample_rate", [0, -1, float("nan"), float("inf")])
def test_sample_rate_is_checked(layer, sample_rate):
    with pytest.raises(ParameterError, match=r"sample_rate|fmin|fmax"):
        type(layer)(sample_rate=sample_rate)


def test_copies_do_the_same(layer):
    x = torch.randn(2, 2000)
    with torch.no_grad():
        expected = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert_same(other(x), expected, atol=0)
            assert other.sample_rate == layer.sample_rate


def test_frequencies_belong_to_the_bins(layer):
    if not hasattr(layer, "frequencies"):
        pytest.skip("bins are no frequencies")
    frequencies = layer.frequencies.detach()
    assert frequencies.ndim == 1
    assert bool((frequencies.diff() > 0).all())
    assert bool((frequencies >= 0).all())
    assert float(frequencies[-1]) <= 4000 * (1 + 1e-6)
    if not isinstance(layer, InvertibleConstantQ):
        assert layer(torch.randn(2000)).shape[-2] == len(frequencies)


def test_its_name_is_printed(layer):
    assert repr(layer).startswith(f"{type(layer).__name__}(")
    assert "8000" in repr(layer)


def test_default_device_does_not_matter(layer):
    x = torch.randn(1, 2000)
    with torch.no_grad():
        expected = layer(x)
        with torch.device("meta"):
            assert_same(layer(x), expected, atol=1e-6)


def check_export(layer, sizes, *, shapes=((3, 9001), (2, 6000), (5, 4100))):
    with torch.no_grad():
        program = torch.export.export(layer, (torch.randn(2, 6000),), dynamic_shapes=(sizes,))
        for shape in shapes:
            x = torch.randn(shape)
            assert_same(program.module()(x), layer(x), atol=1e-4)
    return program


@pytest.mark.slow
def test_export_takes_any_batch_and_length(layer):
    check_export(layer, {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO})


@pytest.mark.slow
def test_export_holds_for_a_stated_range_of_lengths(layer):
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=600, max=1 << 24)
    check_export(layer, {0: batch, 1: length}, shapes=((1, 600), (3, 100_001)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_equals_eager(layer):
    compiled = torch.compile(layer, backend="aot_eager")
    for samples in (6000, 7001):
        x = torch.randn(2, samples)
        with torch.no_grad():
            assert_same(compiled(x), layer(x), atol=1e-4)
    x = torch.randn(2, 6000, requires_grad=True)
    sum(leaf.abs().sum() for leaf in tensors(compiled(x))).backward()
    assert x.grad.isfinite().all()


@pytest.mark.slow
def test_export_of_default_sizes_takes_other_lengths():
    layer = sonograd.frontends.HarmonicPercussive()
    dynamic = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    with torch.no_grad():
        program = torch.export.export(layer, (torch.randn(2, 20000),), dynamic_shapes=(dynamic,))
        for shape in ((3, 30001), (1, 15000)):
            x = torch.randn(shape)
            assert_same(program.module()(x), layer(x), atol=1e-4)
