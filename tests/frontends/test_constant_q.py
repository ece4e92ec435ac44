import math

import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError
from sonograd.frontends import ConstantQ, VariableQ

SMALL = {"sample_rate": 8000, "hop_length": 64, "fmin": 200.0, "n_bins": 30}


def deviation(actual, expected):
    actual = actual.detach()
    return float((actual - expected).abs().norm() / expected.abs().norm())


@pytest.mark.parametrize("gamma", [0.0, 15.0, None])
@pytest.mark.parametrize("method", ["fold", "direct", "octaves"])
def test_every_method_equals_the_function(method, gamma):
    x = torch.randn(2, 3000)
    layer = VariableQ(**SMALL, gamma=gamma, method=method)
    expected = F.constant_q(x, **SMALL, gamma=gamma, tolerance=1e-6)
    assert deviation(layer(x), expected) < 1e-4
    if gamma == 0:
        assert deviation(ConstantQ(**SMALL, method=method)(x), expected) < 1e-4


@pytest.mark.parametrize("hop_length", [64, 63, 100])
@pytest.mark.parametrize("normalization", ["librosa", "convolutional", "wrap"])
def test_octaves_halve_the_rate_and_change_nothing(hop_length, normalization):
    options = {**SMALL, "fmin": 60.0, "hop_length": hop_length, "normalization": normalization}
    layer = ConstantQ(**options, method="octaves")
    x = torch.randn(3001)
    assert deviation(layer(x), ConstantQ(**options, method="direct")(x)) < 1e-4
    halvings = [group.halvings for group in layer.plan.groups]
    assert (max(halvings) > 0) == (hop_length % 2 == 0)


def test_defaults():
    layer = ConstantQ()
    assert layer.sample_rate == 22050
    assert layer.hop_length == 512
    assert len(layer.frequencies) == 84
    np.testing.assert_allclose(layer.frequencies[[0, -1]], [32.7032, 3951.066], rtol=1e-5)
    c = layer(torch.zeros(22050))
    assert c.dtype == torch.complex64
    assert c.shape == (84, 44)


@pytest.mark.parametrize("method", ["fold", "direct", "octaves"])
def test_forms_of_the_output(method):
    x = torch.randn(2000)
    c = ConstantQ(**SMALL, method=method)(x)
    for output, expected in (
        ("magnitude", c.abs()),
        ("power", c.abs().square()),
        ("phase", c.angle()),
    ):
        actual = ConstantQ(**SMALL, method=method, output=output)(x)
        assert not actual.is_complex()
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["fold", "direct", "octaves"])
def test_moved_bins_equal_a_layer_laid_out_there(method):
    options = {**SMALL, "method": method, "normalization": "convolutional"}
    layer = ConstantQ(**options, trainable_frequencies=True, trainable_bandwidths=True)
    octave = 0.5 * math.atanh(2 / 12 / 0.5)  # Two semitones.
    with torch.no_grad():
        layer.frequency_octaves.fill_(octave)
        layer.bandwidth_octaves.fill_(octave)
    other = ConstantQ(**{**options, "fmin": 200.0 * 2 ** (2 / 12)})
    torch.testing.assert_close(layer.frequencies, other.frequencies)
    torch.testing.assert_close(layer.lengths, other.lengths)
    torch.testing.assert_close(layer.bandwidths, 8000 / other.lengths)
    x = torch.randn(3000)
    assert deviation(layer(x), other(x)) < 2e-4


def test_bins_stay_in_their_reach():
    layer = ConstantQ(**SMALL, trainable=True, reach_octaves=0.25)
    first = layer.frequencies.detach().clone()
    with torch.no_grad():
        layer.frequency_octaves.fill_(1e3)
    assert (layer.frequencies <= first * 2**0.25 * (1 + 1e-6)).all()
    near = ConstantQ(sample_rate=8000, fmin=3900.0, n_bins=1, trainable=True)
    with torch.no_grad():
        near.frequency_octaves.fill_(1e3)
    assert near.frequencies.item() == 4000


@pytest.mark.parametrize("method", ["fold", "direct", "octaves"])
def test_gradients_of_bins(method):
    layer = ConstantQ(
        sample_rate=8000, hop_length=100, fmin=800.0, n_bins=5, method=method,
        trainable_frequencies=True, trainable_bandwidths=True,
    ).double()  # fmt: skip
    x = torch.randn(600, dtype=torch.float64, requires_grad=True)

    def transform(x, *moved):
        return torch.func.functional_call(
            layer, {"frequency_octaves": moved[0], "bandwidth_octaves": moved[1]}, (x,)
        )

    moved = [torch.full((5,), 0.0123, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(transform, (x, *moved), atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("output", ["complex", "magnitude", "power"])
def test_gradients_of_free_kernels(output):
    layer = ConstantQ(
        sample_rate=8000, hop_length=100, fmin=2000.0, n_bins=3, method="direct",
        trainable=True, output=output,
    ).double()  # fmt: skip
    x = torch.randn(300, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]
    assert names

    def transform(x, *kernels):
        return torch.func.functional_call(layer, dict(zip(names, kernels, strict=True)), (x,))

    assert torch.autograd.gradcheck(transform, (x, *layer.parameters()), fast_mode=True)


def test_a_bin_learns_the_pitch():
    t = torch.arange(8000) / 8000
    x = torch.cos(2 * math.pi * 450 * t)
    layer = ConstantQ(
        sample_rate=8000, hop_length=512, fmin=440.0, n_bins=1, trainable_frequencies=True,
        output="power",
    )  # fmt: skip
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.003)
    for _ in range(40):
        optimizer.zero_grad()
        (-layer(x)[..., 4:-4].mean().log()).backward()
        optimizer.step()
    assert abs(layer.frequencies.item() - 450) < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fft"}, "method is 'fft'; expected one of 'fold', 'direct', 'octaves'"),
        ({"output": "loud"}, "output is 'loud'; expected one of 'complex'"),
        ({"fmax": 9000.0, "n_bins": None}, "fmax is 9000.0 Hz"),
        ({"n_bins": 200}, "n_bins is 200"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"hop_length": 0.5}, "hop_length is 0.5"),
        ({"pad_mode": "mirror"}, "pad_mode is 'mirror'"),
        ({"reach_octaves": 3.0}, "reach_octaves is 3.0"),
        ({"lengths": "librosa", "method": "direct"}, "lengths is 'librosa' with method 'direct'"),
        ({"lengths": "librosa", "trainable": True}, "lengths is 'librosa' .* trained bins"),
        ({"lengths": "whole"}, "lengths is 'whole'"),
        ({"normalization": "loud"}, "normalization is 'loud'"),
        ({"window": "hamming", "trainable": True}, "does not vanish at its ends"),
        (
            {"method": "direct", "trainable": True, "trainable_frequencies": True},
            "free kernels have neither",
        ),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ParameterError, match=message) as caught:
        ConstantQ(**{**SMALL, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("output", ["magnitude", "power"])
def test_onnx(output, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    layer = ConstantQ(**SMALL, method="direct", output=output).eval()
    path = tmp_path / "constant_q.onnx"
    dynamic = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    torch.onnx.export(
        layer, (torch.randn(2, 4000),), path, dynamo=True, dynamic_shapes=(dynamic,), verbose=False
    )
    session = runtime.InferenceSession(path)
    name = session.get_inputs()[0].name
    for shape in ((2, 4000), (3, 5003), (1, 1000)):
        x = torch.randn(shape)
        (actual,) = session.run(None, {name: x.numpy()})
        assert deviation(torch.from_numpy(actual), layer(x)) < 1e-4


def test_parameters_do_not_share_memory():
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        layer = VariableQ(
            sample_rate=8000, fmin=500.0, n_bins=3, hop_length=200, trainable=True, output="power"
        )
    finally:
        torch.set_default_dtype(default)
    with torch.no_grad():
        layer.frequency_octaves.add_(0.1)
    assert (layer.bandwidth_octaves == 0).all()
    x = torch.randn(400, dtype=torch.float64)
    names = ("frequency_octaves", "bandwidth_octaves")

    def run(*values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    values = [getattr(layer, name).detach().clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(run, values)
