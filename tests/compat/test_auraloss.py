"""The names of auraloss: signatures, values and gradients of the original."""

import inspect

import pytest
import torch

from sonograd.compat import auraloss as ours
from sonograd.errors import ParameterError, ShapeError

theirs = pytest.importorskip("auraloss")

NAMES = {
    "time": ["ESRLoss", "DCLoss", "LogCoshLoss", "SNRLoss", "SISDRLoss", "SDSDRLoss"],
    "freq": [
        "STFTMagnitudeLoss",
        "STFTLoss",
        "MelSTFTLoss",
        "ChromaSTFTLoss",
        "MultiResolutionSTFTLoss",
        "RandomResolutionSTFTLoss",
        "SumAndDifferenceSTFTLoss",
    ],
    "perceptual": ["FIRFilter"],
}
ALL = [(module, name) for module, names in NAMES.items() for name in names]


def _arguments(cls):
    parameters = inspect.signature(cls).parameters.values()
    return {
        p.name: tuple(p.default) if isinstance(p.default, list) else p.default for p in parameters
    }


@pytest.fixture
def pair():
    return torch.randn(2, 3, 2, 6000).unbind()


def test_all_classes_are_there():
    for module in ("time", "freq", "perceptual"):
        original = getattr(theirs, module)
        classes = {
            name
            for name, thing in vars(original).items()
            if inspect.isclass(thing) and thing.__module__ == original.__name__
        }
        assert classes <= set(getattr(ours, module).__all__)


@pytest.mark.parametrize(("module", "name"), ALL)
def test_signatures_are_equal(module, name):
    expected = _arguments(getattr(getattr(theirs, module), name))
    actual = _arguments(getattr(getattr(ours, module), name))
    actual.pop("seed", None)
    assert list(actual.items()) == list(expected.items())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", NAMES["time"])
def test_time_losses(pair, name, reduction):
    silent = (pair[0], torch.zeros_like(pair[1]))
    for given in (pair, silent):
        expected = getattr(theirs.time, name)(reduction=reduction)(*given)
        actual = getattr(ours.time, name)(reduction=reduction)(*given)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"w_lin_mag": 1.0},
        {"w_sc": 0.0, "w_log_mag": 0.0, "w_lin_mag": 1.0, "reduction": "sum"},
        {"w_phs": 0.1},
        {"mag_distance": "L2"},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"output": "full"},
        {"fft_size": 512, "hop_size": 100, "win_length": 300, "window": "hamming_window"},
        {"scale": "mel", "n_bins": 64, "sample_rate": 16000},
    ],
)
def test_stft_loss(pair, settings):
    expected = theirs.freq.STFTLoss(**settings)(*pair)
    actual = ours.freq.STFTLoss(**settings)(*pair)
    if settings.get("output") != "full":
        expected, actual = [expected], [actual]
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(e), rtol=1e-5, atol=1e-6)


def test_multi_resolution_value_and_gradient(pair):
    gradients, values = [], []
    for library in (theirs, ours):
        estimate = pair[0].clone().requires_grad_()
        value = library.freq.MultiResolutionSTFTLoss()(estimate, pair[1])
        value.backward()
        values.append(value.item())
        gradients.append(estimate.grad)
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


def test_multi_resolution_in_full(pair):
    expected = theirs.freq.MultiResolutionSTFTLoss(output="full")(*pair)
    actual = ours.freq.MultiResolutionSTFTLoss(output="full")(*pair)
    torch.testing.assert_close(actual[0], expected[0])
    for a, e in zip(actual[1:], expected[1:], strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(e), rtol=1e-5, atol=1e-6)


def test_sum_and_difference(pair):
    sizes = ([512, 256], [128, 64], [512, 200])
    for output in ("loss", "full"):
        expected = theirs.freq.SumAndDifferenceSTFTLoss(*sizes, w_diff=0.3, output=output)(*pair)
        actual = ours.freq.SumAndDifferenceSTFTLoss(*sizes, w_diff=0.3, output=output)(*pair)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_what_the_original_cannot_do(pair):
    assert torch.isfinite(ours.freq.ChromaSTFTLoss(16000)(*pair))
    plain = ours.freq.STFTLoss(scale_invariance=True)
    torch.testing.assert_close(plain(pair[0], 5 * pair[1]), plain(*pair), rtol=1e-4, atol=0)
    assert torch.isfinite(plain(*(x.mT.contiguous().mT for x in pair)))
    loss = ours.freq.MultiResolutionSTFTLoss(perceptual_weighting=True, sample_rate=44100)
    assert loss(*pair) != ours.freq.MultiResolutionSTFTLoss()(*pair)
    for kind in ("hp", "fd", "aw"):
        filtered = ours.perceptual.FIRFilter(kind)(*pair)
        assert [x.shape for x in filtered] == [x.shape for x in pair]


def test_random_resolutions_leave_global_numbers_alone(pair):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    loss = ours.freq.RandomResolutionSTFTLoss(max_fft_size=4096, mag_distance="L2")
    first = [loss(*pair).item() for _ in range(2)]
    assert torch.equal(torch.rand(1), expected)
    again = ours.freq.RandomResolutionSTFTLoss(max_fft_size=4096, mag_distance="L2")
    assert [again(*pair).item() for _ in range(2)] == first
    with pytest.raises(ShapeError, match="more than max_fft_size"):
        loss(pair[0][..., :4096], pair[1][..., :4096])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ours.freq.STFTLoss(window="hat"), "window is 'hat'"),
        (lambda: ours.freq.STFTLoss(output="all"), "output is 'all'"),
        (lambda: ours.freq.STFTLoss(reduction="max"), "reduction is 'max'"),
        (lambda: ours.freq.STFTLoss(mag_distance="L3"), "distance is 'L3'"),
        (lambda: ours.freq.STFTLoss(scale="mel", n_bins=3), "needs sample_rate"),
        (lambda: ours.freq.STFTLoss(scale="bark", n_bins=3, sample_rate=8e3), "scale is 'bark'"),
        (lambda: ours.freq.STFTLoss(scale="mel", sample_rate=8000), "n_bins is None"),
        (lambda: ours.freq.STFTLoss(perceptual_weighting=True), "needs sample_rate"),
        (lambda: ours.freq.MultiResolutionSTFTLoss([512]), "as many of each"),
        (lambda: ours.freq.RandomResolutionSTFTLoss(randomize_rate=0), "randomize_rate is 0"),
        (lambda: ours.perceptual.FIRFilter("lp"), "filter_type is 'lp'"),
        (lambda: ours.perceptual.FIRFilter("aw", ntaps=100), "ntaps is 100"),
        (lambda: ours.perceptual.FIRFilter(plot=True), "plot is True"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_bad_shapes_are_refused(pair):
    with pytest.raises(ShapeError, match=r"expected \(batch, channels, samples\)"):
        ours.freq.STFTLoss()(pair[0][0], pair[1][0])
    with pytest.raises(ShapeError, match="must be equal"):
        ours.time.ESRLoss()(pair[0], pair[1][:, :1])
    with pytest.raises(ShapeError, match=r"expected \(batch, 2, samples\)"):
        ours.perceptual.SumAndDifference()(pair[0][:, :1])
