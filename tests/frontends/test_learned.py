import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends import LearnedDecoder, LearnedFilterbank

RATE = 8000
KINDS = ["free", "sinc", "gabor"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center", [True, False])
def test_equals_the_definition(rng, kind, center):
    x = rng.standard_normal((2, 300))
    layer = LearnedFilterbank(
        sample_rate=RATE, filters=5, taps=33, hop_length=7, kind=kind, center=center
    )
    kernels = layer.kernels(torch.zeros((), dtype=torch.float64)).detach().numpy()
    g = kernels[0] + 1j * kernels[1] if kind == "gabor" else kernels[0]
    wide = np.pad(x, ((0, 0), (16, 16))) if center else x
    count = 1 + (wide.shape[-1] - 33) // 7
    expected = np.stack([wide[:, 7 * m : 7 * m + 33] @ g.T for m in range(count)], axis=-1)
    with torch.no_grad():
        np.testing.assert_allclose(layer(torch.from_numpy(x)), expected, atol=1e-12)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), expected, atol=1e-12)


def response(kernel, hz):
    n = np.arange(kernel.shape[-1]) - kernel.shape[-1] // 2
    return np.abs((kernel * np.exp(2j * np.pi * hz * n / RATE)).sum())


def test_gabor_kernels_pass_their_band():
    center = torch.tensor([1000.0], dtype=torch.float64)
    kernels = F.gabor_kernels(center, torch.full_like(center, 200.0), sample_rate=RATE, taps=401)
    kernel = (kernels[0] + 1j * kernels[1])[0].numpy()
    assert response(kernel, 1000) == pytest.approx(1, abs=1e-6)
    assert response(kernel, 1100) == pytest.approx(0.5, abs=1e-4)
    assert response(kernel, 900) == pytest.approx(0.5, abs=1e-4)
    assert response(kernel, -1000) < 1e-6


def test_sinc_kernels_pass_their_band():
    center = torch.tensor([1000.0, 3900.0], dtype=torch.float64)
    kernels = F.sinc_kernels(center, torch.full_like(center, 400.0), sample_rate=RATE, taps=401)
    for hz, gain in [(900, 1), (1100, 1), (1200, 0.5), (800, 0.5), (1400, 0), (500, 0)]:
        assert response(kernels[0].numpy(), hz) == pytest.approx(gain, abs=0.01)
    assert response(kernels[1].numpy(), 3990) == pytest.approx(1, abs=0.05)


def test_bands_begin_equally_wide_in_mel():
    layer = LearnedFilterbank(sample_rate=RATE, filters=30, kind="gabor", fmin=100.0)
    expected = F.mel_frequencies(32, fmin=100.0, fmax=4000.0)
    np.testing.assert_allclose(layer.frequencies.detach(), expected[1:-1], rtol=1e-4)
    assert (layer.bandwidths > 0).all()


@pytest.mark.parametrize("value", [-60.0, 60.0])
@pytest.mark.parametrize("kind", ["sinc", "gabor"])
def test_any_step_stays_in_range(kind, value):
    layer = LearnedFilterbank(sample_rate=RATE, filters=4, taps=65, kind=kind)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)
    assert ((layer.frequencies >= 0) & (layer.frequencies <= RATE / 2)).all()
    low, high = RATE / 65, RATE / 2
    assert ((layer.bandwidths >= 0.999 * low) & (layer.bandwidths <= 1.001 * high)).all()
    assert layer(torch.randn(2, 500)).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool_length", [None, 11])
def test_gradients(kind, pool_length):
    layer = LearnedFilterbank(
        sample_rate=RATE, filters=3, taps=9, hop_length=5, kind=kind, pool_length=pool_length
    ).double()
    values = dict(layer.named_parameters())
    x = torch.randn(1, 40, dtype=torch.float64, requires_grad=True)

    def run(x, *tensors):
        return torch.func.functional_call(layer, dict(zip(values, tensors, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *values.values()))


def test_pooling_is_a_weighted_mean_of_the_square(rng):
    x = torch.from_numpy(rng.standard_normal(400))
    options = {"sample_rate": RATE, "filters": 9, "taps": 33, "kind": "gabor"}
    pooled = LearnedFilterbank(**options, hop_length=20, pool_length=41)
    plain = LearnedFilterbank(**options, hop_length=1)
    with torch.no_grad():
        energy = plain(x).abs().square()
        place = torch.linspace(-1, 1, 41, dtype=torch.float64)
        width = pooled.pool_width[0].double().exp()
        weight = torch.exp(-0.5 * (place / width).square())
        wide = torch.nn.functional.pad(energy, (20, 20)).unfold(-1, 41, 20)
        expected = wide @ (weight / weight.sum())
        np.testing.assert_allclose(pooled(x), expected, rtol=1e-6, atol=1e-9)
        assert pooled(x).shape == (9, 20)


@pytest.mark.parametrize(
    ("kind", "filters", "taps", "hop_length"),
    [("free", 64, 16, 8), ("free", 40, 33, 11), ("gabor", 64, 33, 8)],
)
def test_inverse(kind, filters, taps, hop_length):
    layer = LearnedFilterbank(
        sample_rate=RATE, filters=filters, taps=taps, hop_length=hop_length, kind=kind
    )
    x = torch.randn(2, 400, dtype=torch.float64)
    back = layer.inverse(layer(x).detach(), length=400)
    covered = (400 - 1) // hop_length * hop_length
    np.testing.assert_allclose(back[..., :covered], x[..., :covered], atol=1e-6)


def test_decoder_begins_as_the_inverse_and_is_learned():
    for kind, filters in (("free", 40), ("gabor", 40)):
        layer = LearnedFilterbank(
            sample_rate=RATE, filters=filters, taps=32, hop_length=8, kind=kind, center=False
        )
        decoder = LearnedDecoder(layer).double()
        x = torch.randn(2, 400, dtype=torch.float64)
        y = decoder(layer(x), length=400)
        if kind == "free":
            np.testing.assert_allclose(y.detach(), x, atol=1e-5)
        y.square().sum().backward()
        assert decoder.kernels.grad.any()
        assert all(p.grad.any() for p in layer.parameters())


def test_bad_arguments():
    for options, message in [
        ({"kind": "mel"}, "kind is 'mel'; expected one of 'free', 'sinc', 'gabor'"),
        ({"taps": 0}, "taps is 0"),
        ({"filters": 0}, "filters is 0"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"pool_length": 0}, "pool_length is 0"),
        ({"output": "power"}, "output is 'power'; it can be chosen for kind='gabor'"),
        ({"kind": "sinc", "fmax": 9000.0}, "fmax is 9000.0 Hz; expected at most half"),
    ]:
        with pytest.raises(ParameterError, match=message):
            LearnedFilterbank(**options)
    few = LearnedFilterbank(filters=4, taps=64, hop_length=32)
    with pytest.raises(ParameterError, match="4 filters of 64 taps every 32 samples cannot"):
        few.inverse(torch.zeros(4, 10))
    with pytest.raises(ShapeError, match="expected real"):
        few.inverse(torch.zeros(4, 10, dtype=torch.complex64))
    pooled = LearnedFilterbank(kind="gabor", pool_length=101)
    with pytest.raises(ParameterError, match="pooled energies cannot be inverted"):
        pooled.inverse(torch.zeros(64, 10))
    with pytest.raises(ParameterError, match="cannot be decoded"):
        LearnedDecoder(pooled)
    assert not hasattr(few, "frequencies")
