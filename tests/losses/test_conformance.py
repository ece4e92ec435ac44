"""Laws that every loss obeys. A new loss is found by itself."""

import copy
import inspect
from dataclasses import dataclass

import pytest
import torch

import sonograd.losses
from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.losses import (
    ESR,
    L1,
    SNR,
    Criterion,
    Loss,
    MaskCriterion,
    PreEmphasis,
    RandomResolutionSTFT,
    ThresholdedSNR,
)

#: What a class needs to be built, or to be built small.
SETTINGS = {
    "STFTLoss": {"n_fft": 64, "phase": 0.5},
    "MultiResolutionSTFT": {"n_ffts": (64, 32), "magnitude": 0.1},
    "RandomResolutionSTFT": {"min_fft": 16, "max_fft": 64},
    "SumAndDifferenceSTFT": {"n_ffts": (64, 32)},
    "MelSTFT": {"sample_rate": 8000, "n_mels": 8, "n_fft": 64},
    "ChromaSTFT": {"sample_rate": 8000, "n_fft": 64},
    "ComplexMultiResolution": {"win_lengths": (64, 32), "hop_length": 16, "min_fft": 64},
    "RelativeVolumeMelLoss": {"n_fft": 64, "hop_length": 16, "n_mels": 6},
    "L1SNR": {"n_ffts": (32,)},
    "LogWMSE": {"sample_rate": 400},
    "Prefiltered": {"loss": ESR(), "prefilter": PreEmphasis()},
    "PermutationInvariant": {"loss": SNR()},
    "MixtureInvariant": {"loss": ThresholdedSNR()},
    "OnMagnitudes": {"loss": L1()},
}


def _find(base):
    found = []
    for name in sonograd.losses.__all__:
        thing = getattr(sonograd.losses, name)
        if inspect.isclass(thing) and issubclass(thing, base) and not inspect.isabstract(thing):
            found.append(thing)
    return found


def build(cls, **changes):
    torch.manual_seed(0)
    return cls(**(copy.deepcopy(SETTINGS.get(cls.__name__, {})) | changes)).eval()


ALL = _find(Criterion)
MASKS = [cls for cls in ALL if issubclass(cls, MaskCriterion)]
LOSSES = [cls for cls in ALL if cls not in MASKS]


@pytest.fixture(params=LOSSES, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


def _pair(*shape, dtype=torch.float64):
    """An estimate with some truth in it, and its reference: items, stems, channels, samples."""
    noise, reference = torch.randn(2, *shape, dtype=dtype).unbind()
    return reference + 0.5 * noise, reference


def test_all_losses_are_found():
    assert len(LOSSES) >= 25
    assert {"L1", "SISDR", "MultiResolutionSTFT", "PermutationInvariant"} <= {
        cls.__name__ for cls in LOSSES
    }
    assert {cls.__name__ for cls in MASKS} == {
        "ComponentLoss",
        "KLDivergence",
        "MaskLoss",
        "OnMagnitudes",
    }
    subclasses = {cls for cls in Loss.__subclasses__() if not cls.__name__.startswith("_")}
    public = {cls for cls in subclasses if cls.__module__.startswith("sonograd.losses")}
    assert public <= set(LOSSES)


def test_gradient_is_right(cls):
    estimate, reference = _pair(1, 2, 2, 100)
    estimate.requires_grad_()
    loss = build(cls)
    assert torch.autograd.gradcheck(lambda x: loss(x, reference), estimate, fast_mode=True)


@pytest.mark.parametrize("silent", ["estimate", "reference", "both", "one stem", "perfect"])
def test_silence_and_perfection_are_harmless(cls, silent):
    pair = _pair(2, 2, 2, 300, dtype=torch.float32)
    for level in (1.0, 1e-6):
        _check_gradient_is_finite(cls, silent, *(level * x for x in pair))


def _check_gradient_is_finite(cls, silent, estimate, reference):
    if silent in {"estimate", "both"}:
        estimate = torch.zeros_like(estimate)
    if silent in {"reference", "both"}:
        reference = torch.zeros_like(reference)
    if silent == "one stem":
        reference[:, 0] = 0
        estimate[0, 1] = 0
    if silent == "perfect":
        estimate = reference.clone()
    estimate.requires_grad_()
    loss = build(cls)(estimate, reference)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(estimate.grad).all()


def test_items_do_not_interact(cls):
    estimate, reference = _pair(3, 2, 2, 300)
    loss = build(cls, reduction="none")
    whole = loss(estimate, reference)
    assert whole.shape[0] == 3
    parts = [loss(e, r) for e, r in zip(estimate, reference, strict=True)]
    torch.testing.assert_close(whole, torch.stack(parts))
    estimate[1] *= 100
    reference[1] = 0
    torch.testing.assert_close(loss(estimate, reference)[[0, 2]], whole[[0, 2]], rtol=0, atol=1e-12)


def test_reductions(cls):
    pair = _pair(3, 2, 2, 300)
    values = build(cls, reduction="none")(*pair)
    torch.testing.assert_close(build(cls)(*pair), values.mean())
    torch.testing.assert_close(build(cls, reduction="sum")(*pair), values.sum())
    with pytest.raises(ParameterError, match=r"reduction is 'median'; expected 'mean', 'sum'"):
        build(cls, reduction="median")


def test_perfect_is_best(cls):
    estimate, reference = _pair(2, 2, 2, 300)
    noise = estimate - reference
    loss = build(cls)
    best, better, worse = (loss(reference + gain * noise, reference) for gain in (0, 0.02, 1))
    assert best < better < worse


def test_half_precision_and_autocast_are_computed_in_float32(cls):
    estimate, reference = _pair(2, 2, 2, 300, dtype=torch.float32)
    loss = build(cls)
    expected = loss(estimate, reference)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(estimate, reference), expected)
    rough = loss(estimate.bfloat16(), reference.bfloat16())
    assert rough.dtype == torch.float32
    exact = loss(estimate.bfloat16().float(), reference.bfloat16().float())
    torch.testing.assert_close(rough, exact)
    assert loss(estimate.double(), reference.double()).dtype == torch.float64


def test_inputs_are_left_alone_in_any_memory_layout(cls):
    estimate, reference = _pair(2, 2, 2, 300)
    before = estimate.clone(), reference.clone()
    loss = build(cls)
    expected = loss(estimate, reference)
    strided = [x.movedim(-1, 0).contiguous().movedim(0, -1) for x in (estimate, reference)]
    assert not strided[0].is_contiguous()
    torch.testing.assert_close(loss(*strided), expected)
    assert torch.equal(estimate, before[0])
    assert torch.equal(reference, before[1])


def test_nothing_is_learned_and_copies_agree(cls):
    loss = build(cls)
    assert not list(loss.parameters())
    pair = _pair(2, 2, 2, 300)
    torch.testing.assert_close(copy.deepcopy(loss).double()(*pair), loss(*pair), rtol=1e-6, atol=0)
    assert "reduction" in repr(loss) or "n_fft" in repr(loss)


BAD = [
    (torch.zeros(2, 2, 1, 300), torch.zeros(2, 2, 2, 300), "must be equal"),
    (torch.zeros(2, 2, 2, 299), torch.zeros(2, 2, 2, 300), "must be equal"),
    (torch.zeros(2, 2, 2, 300).int(), torch.zeros(2, 2, 2, 300).int(), "floating-point"),
    (torch.zeros(2, 2, 2, 0), torch.zeros(2, 2, 2, 0), "empty"),
    (torch.zeros(0, 2, 2, 300), torch.zeros(0, 2, 2, 300), "empty"),
    (torch.zeros(1, 1, 4410, 2), torch.zeros(1, 1, 4410, 2), r"pass estimate\.mT"),
]


def test_bad_shapes_are_refused(cls):
    loss = build(cls)
    for estimate, reference, message in BAD:
        with pytest.raises(ShapeError, match=message):
            loss(estimate, reference)


@pytest.mark.parametrize("name", ["estimate", "reference"])
def test_what_is_no_number_is_named(cls, name):
    loss = build(cls)
    for value in (float("nan"), float("inf")):
        pair = dict(zip(("estimate", "reference"), _pair(2, 2, 2, 300), strict=True))
        pair[name][0, 1, 0, 7] = value
        loss.check_finite = True
        with pytest.raises(AudioError, match=f"{name} holds 1 values of 2400 that are NaN"):
            loss(**pair)
        loss.check_finite = False
        assert not torch.isfinite(loss(**pair))


# Losses of masks.


@dataclass
class Estimate:
    masks: torch.Tensor
    mix_spectrum: torch.Tensor
    latent: tuple[torch.Tensor, torch.Tensor] | None = None


def _masks(dtype=torch.float64, batch=2):
    stems = torch.randn(batch, 2, 2, 9, 5, 2, dtype=dtype)
    stems = torch.view_as_complex(stems)
    mix = stems.sum(dim=1)
    masks = torch.rand(batch, 2, 2, 9, 5, dtype=dtype)
    latent = torch.randn(2, batch, 3, 4, dtype=dtype).unbind()
    return Estimate(masks, mix, latent), stems


@pytest.fixture(params=MASKS, ids=lambda cls: cls.__name__)
def mask_cls(request):
    return request.param


def test_mask_gradient_is_right(mask_cls):
    estimate, stems = _masks()
    loss = build(mask_cls)

    def value(masks, mean, log_variance):
        return loss(Estimate(masks, estimate.mix_spectrum, (mean, log_variance)), stems)

    inputs = [x.clone().requires_grad_() for x in (estimate.masks, *estimate.latent)]
    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.parametrize("silent", ["mask", "stem", "mix", "all", "perfect"])
def test_mask_silence_is_harmless(mask_cls, silent):
    estimate, stems = _masks(torch.float32)
    if silent in {"mask", "all"}:
        estimate.masks.zero_()
    if silent in {"stem", "all"}:
        stems.zero_()
    if silent in {"mix", "all"}:
        estimate.mix_spectrum.zero_()
    if silent == "perfect":
        estimate.masks = stems.abs() / estimate.mix_spectrum.abs().unsqueeze(1)
    estimate.latent[1].fill_(-200.0)
    for x in (estimate.masks, *estimate.latent):
        x.requires_grad_()
    loss = build(mask_cls)(estimate, stems)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(x.grad).all() for x in (estimate.masks, *estimate.latent))


def test_mask_items_do_not_interact_and_reductions_agree(mask_cls):
    estimate, stems = _masks(batch=3)
    loss = build(mask_cls, reduction="none")
    whole = loss(estimate, stems)
    assert whole.shape == (3,)
    torch.testing.assert_close(build(mask_cls)(estimate, stems), whole.mean())
    torch.testing.assert_close(build(mask_cls, reduction="sum")(estimate, stems), whole.sum())
    for item in range(3):
        latent = tuple(x[item, None] for x in estimate.latent)
        one = Estimate(estimate.masks[item, None], estimate.mix_spectrum[item, None], latent)
        torch.testing.assert_close(loss(one, stems[item, None])[0], whole[item])


def test_ideal_masks_beat_none_and_all(mask_cls):
    estimate, stems = _masks()
    loss = build(mask_cls)
    ideal = (stems.abs() / estimate.mix_spectrum.abs().unsqueeze(1)).clamp(max=1.0)
    scores = [
        loss(Estimate(masks, estimate.mix_spectrum, estimate.latent), stems)
        for masks in (ideal, torch.zeros_like(ideal), torch.ones_like(ideal))
    ]
    assert scores[0] < min(scores[1:])


def test_latent_counts(mask_cls):
    estimate, stems = _masks()
    nothing = tuple(torch.zeros_like(x) for x in estimate.latent)
    at_rest = Estimate(estimate.masks, estimate.mix_spectrum, nothing)
    loss = build(mask_cls, kl_weight=0.5)
    difference = loss(estimate, stems) - loss(at_rest, stems)
    expected = 0.5 * sonograd.losses.kl_divergence(*estimate.latent).mean()
    torch.testing.assert_close(difference, expected)
    with pytest.raises(ParameterError, match="kl_weight is -1"):
        build(mask_cls, kl_weight=-1)


def test_mask_shapes_and_numbers_are_checked(mask_cls):
    estimate, stems = _masks()
    loss = build(mask_cls)
    with pytest.raises(ShapeError, match="they must be equal"):
        loss(estimate, stems[:, :1])
    with pytest.raises(ShapeError, match="spectrum of the mix"):
        loss(Estimate(estimate.masks, stems, estimate.latent), stems)
    estimate.masks[0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(AudioError, match="masks holds 1 values"):
        loss(estimate, stems)


def test_random_resolutions_are_known():
    """The suite runs it in evaluation mode, where it always draws the same."""
    assert not build(RandomResolutionSTFT).training
