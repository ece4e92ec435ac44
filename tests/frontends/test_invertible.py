import pytest
import torch

from sonograd.errors import ParameterError, ShapeError
from sonograd.frontends import InvertibleConstantQ

T = torch.arange(30_000) / 8000
SIGNALS = {
    "noise": torch.randn(30_000, generator=torch.Generator().manual_seed(0)),
    "tone": torch.sin(2 * torch.pi * 440 * T),
    "chirp": torch.sin(2 * torch.pi * 500 * T.square()),
    "impulse": (torch.arange(30_000) == 1234).float(),
    "last sample": (torch.arange(30_000) == 29_999).float(),
    "silence": torch.zeros(30_000),
    "direct current": torch.ones(30_000),
    "Nyquist": torch.tensor([1.0, -1.0]).repeat(15_000),
}


def make(*, sliced, **options):
    return InvertibleConstantQ(sample_rate=8000, fmin=100.0, sliced=sliced, **options)


@pytest.fixture(params=[False, True], ids=["whole", "sliced"])
def layer(request):
    return make(sliced=request.param)


@pytest.mark.parametrize("name", SIGNALS)
def test_inverse_is_exact(layer, name):
    x = SIGNALS[name]
    error = layer.inverse(layer(x)) - x
    assert float(error.norm()) <= 1e-6 * max(float(x.norm()), 1e-6)
    assert float(error.abs().max()) <= 2e-6 * max(1.0, float(x.abs().max()))
    wide = x.double()
    assert float((layer.inverse(layer(wide)) - wide).abs().max()) < 1e-13


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 100, 8191, 20_001])
def test_any_length(layer, samples):
    x = torch.randn(2, 3, samples)
    spectrum = layer(x)
    assert spectrum.samples == samples
    y = layer.inverse(spectrum)
    assert y.shape == x.shape
    torch.testing.assert_close(y, x, atol=3e-6, rtol=0)
    assert layer.inverse(spectrum, 50).shape == (2, 3, 50)
    assert layer.inverse(spectrum, samples + 5).shape == (2, 3, samples + 5)


@pytest.mark.parametrize("bins_per_octave", [1, 12, 48])
def test_redundancy(bins_per_octave):
    x = torch.randn(30_000)
    for sliced, most in ((False, 3.0), (True, 4.0)):
        layer = make(sliced=sliced, bins_per_octave=bins_per_octave)
        assert 1.5 <= layer.redundancy(30_000) < most
        if not sliced:
            spectrum = layer(x)
            count = spectrum.low.numel() + spectrum.high.numel()
            count += sum(2 * octave.numel() for octave in spectrum.octaves)
            assert count / 30_000 == pytest.approx(layer.redundancy(30_000))


def test_tones_are_where_they_belong(layer):
    spectrum = layer(SIGNALS["tone"])
    picture = layer.magnitudes(spectrum, frames=40)
    assert picture.shape == (len(layer.frequencies), 40)
    loudest = layer.frequencies[picture[:, 3:-3].argmax(0)]
    assert ((loudest / 440).log2().abs() < 1 / 12).all()
    near = (layer.frequencies / 440).log2().abs().argmin()
    # The bin whose center is nearest hears it at full level, but for its distance.
    assert (picture[near, 3:-3] > 0.6).all()
    torch.testing.assert_close(picture[near, 4:-4], picture[near, 20].expand(32), rtol=0.2, atol=0)


@pytest.mark.parametrize("blocks", [[30_000], [1, 7, 5000, 12_345, 3, 12_644], [1000] * 30])
def test_streams_equal_the_whole(blocks):
    layer = make(sliced=True)
    x = torch.randn(2, 30_000)
    whole = layer(x)
    stream, back = layer.stream(), layer.inverse_stream()
    parts = [stream.push(block) for block in x.split(blocks, dim=-1)]
    parts.append(stream.finish())
    for index, octave in enumerate(whole.octaves):
        joined = torch.cat([part.octaves[index] for part in parts], dim=-3)
        torch.testing.assert_close(joined, octave, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        torch.cat([part.low for part in parts], dim=-2), whole.low, atol=1e-6, rtol=1e-5
    )
    restored = torch.cat([back.push(part) for part in parts], dim=-1)
    torch.testing.assert_close(restored, layer.inverse(whole), atol=1e-6, rtol=0)
    torch.testing.assert_close(restored, x, atol=5e-6, rtol=0)


def test_a_stream_ends_once():
    stream = make(sliced=True).stream()
    stream.push(torch.zeros(2, 10))
    with pytest.raises(ShapeError, match=r"expected \(2, 'samples'\)"):
        stream.push(torch.zeros(3, 10))
    stream.finish()
    with pytest.raises(ParameterError, match="finished"):
        stream.push(torch.zeros(2, 10))
    with pytest.raises(ParameterError, match="finished"):
        stream.finish()
    with pytest.raises(ParameterError, match="sliced=True"):
        make(sliced=False).stream()
    with pytest.raises(ParameterError, match="sliced=True"):
        make(sliced=False).inverse_stream()


def test_a_stream_keeps_its_leading_axes():
    layer = make(sliced=True)
    stream, spectrum = layer.inverse_stream(), layer(torch.randn(2, 5000))
    stream.push(spectrum)
    with pytest.raises(ShapeError, match=r"expected \(2, 'slices', \d+\), as the spectra before"):
        stream.push(layer(torch.randn(3, 5000)))
    parts = [part[0, 0] for part in spectrum.parts]
    one = spectrum._replace(low=parts[0], octaves=tuple(parts[1:-1]), high=parts[-1])
    with pytest.raises(ShapeError, match=r"expected \('...', 'slices', \d+\)"):
        layer.inverse_stream().push(one)


def test_an_edit_is_heard(layer):
    """Removing an octave removes the tone in it, and nothing of another."""
    low, high = torch.sin(2 * torch.pi * 150 * T), torch.sin(2 * torch.pi * 1200 * T)
    spectrum = layer(low + high)
    keep = [
        octave * float(index < len(spectrum.octaves) - 2)
        for index, octave in enumerate(spectrum.octaves)
    ]
    y = layer.inverse(spectrum._replace(octaves=tuple(keep)))
    inside = slice(4000, -4000)
    assert float((y - low)[inside].norm() / low[inside].norm()) < 0.02


def test_gradients(layer):
    x = torch.randn(500, dtype=torch.float64, requires_grad=True)
    spectrum = layer(x)
    loss = sum(octave.abs().square().sum() for octave in spectrum.octaves)
    loss.backward()
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any()


def test_other_layouts_of_bins():
    for options in ({"n_bins": 5}, {"fmax": 900.0}, {"fmax": 4000.0}, {"bins_per_octave": 7}):
        layer = make(sliced=False, **options)
        x = torch.randn(5000)
        torch.testing.assert_close(layer.inverse(layer(x)), x, atol=5e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 5000.0}, "fmax is 5000.0 Hz"),
        ({"n_bins": 90}, "n_bins is 90"),
        ({"sliced": True, "slice_length": 101}, "slice_length is 101; expected an even number"),
        ({"sliced": True, "overlap": 0}, "overlap is 0"),
        ({"sliced": True, "slice_length": 1000, "overlap": 501}, "overlap is 501"),
        ({"slice_length": 1000}, "pass sliced=True"),
        ({"bins_per_octave": 0}, "bins_per_octave is 0"),
        ({"sample_rate": -1}, "sample_rate is -1"),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ParameterError, match=message):
        InvertibleConstantQ(**{"sample_rate": 8000, "fmin": 100.0, **options})


def test_bad_spectrum(layer):
    spectrum = layer(torch.randn(5000))
    with pytest.raises(ShapeError, match="what this layer gives for as many samples"):
        layer.inverse(spectrum._replace(octaves=spectrum.octaves[1:]))
    with pytest.raises(ShapeError, match="samples"):
        layer.inverse(spectrum._replace(samples=50_000))
    with pytest.raises(ShapeError, match="expected the same for all"):
        layer.inverse(spectrum._replace(low=spectrum.low[None]))
    with pytest.raises(
        ShapeError, match=r"high of spectrum has .*complex64; expected 1 axes or more"
    ):
        layer.inverse(spectrum._replace(high=spectrum.high + 0j))
    with pytest.raises(ShapeError, match=r"octave 0 of spectrum has .*float32; expected 2 axes"):
        layer.inverse(spectrum._replace(octaves=tuple(part.abs() for part in spectrum.octaves)))
    with pytest.raises(
        ShapeError, match=r"low of spectrum has .*int64; expected 1 axes or more, of torch.float32"
    ):
        layer.inverse(spectrum._replace(low=spectrum.low.long()))
    with pytest.raises(ShapeError, match="low of spectrum is a ndarray; expected a tensor"):
        layer.inverse(spectrum._replace(low=spectrum.low.numpy()))
    with pytest.raises(ShapeError, match="octaves of spectrum is a NoneType; expected a tuple"):
        layer.inverse(spectrum._replace(octaves=None))
    with pytest.raises(ParameterError, match="length is -1"):
        layer.inverse(spectrum, -1)
    with pytest.raises(ParameterError, match="frames is 0"):
        layer.magnitudes(spectrum, frames=0)
    other = make(sliced=layer.slice_length is None)(torch.randn(2, 5000))
    with pytest.raises(ShapeError, match="what this layer gives for as many samples"):
        layer.magnitudes(other, frames=5)


class HalfAsLoud(torch.nn.Module):
    """A round trip with an edit in between."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        spectrum = self.layer(x)
        quiet = tuple(octave * 0.5 for octave in spectrum.octaves)
        return self.layer.inverse(spectrum._replace(octaves=quiet))


@pytest.mark.slow
def test_an_exported_round_trip_equals_eager_at_any_length(tmp_path):
    network = HalfAsLoud(InvertibleConstantQ(sample_rate=8000, fmin=200.0))
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        network, (torch.randn(2, 6000),), dynamic_shapes=({0: auto, 1: auto},)
    )
    for shape in ((3, 9001), (2, 6000), (5, 33)):
        x = torch.randn(shape)
        assert torch.equal(program.module()(x), network(x))
    x = torch.randn(2, 4321, dtype=torch.float32, requires_grad=True)
    weight = torch.randn(2, 4321)
    (exported,) = torch.autograd.grad((program.module()(x) * weight).sum(), x)
    (eager,) = torch.autograd.grad((network(x) * weight).sum(), x)
    torch.testing.assert_close(exported, eager, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_an_exported_spectrum_can_be_saved_and_loaded(tmp_path):
    layer = InvertibleConstantQ(sample_rate=8000, fmin=200.0)
    program = torch.export.export(layer, (torch.randn(2, 2000),))
    torch.export.save(program, tmp_path / "layer.pt2")
    loaded = torch.export.load(tmp_path / "layer.pt2").module()
    x = torch.randn(2, 2000)
    for part, other in zip(loaded(x), layer(x), strict=True):
        if isinstance(part, torch.Tensor):
            assert torch.equal(part, other)
