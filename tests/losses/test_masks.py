"""Losses on masks: their formulas, and a real network."""

from types import SimpleNamespace

import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.losses import (
    L1,
    RMSE,
    ComponentLoss,
    KLDivergence,
    MaskLoss,
    OnMagnitudes,
    kl_divergence,
)


@pytest.fixture
def given():
    stems = torch.randn(2, 3, 1, 9, 5, dtype=torch.complex128)
    masks = torch.rand(2, 3, 1, 9, 5, dtype=torch.float64)
    return SimpleNamespace(masks=masks, mix_spectrum=stems.sum(dim=1), latent=None), stems


def test_on_magnitudes(given):
    estimate, stems = given
    masked = estimate.masks * estimate.mix_spectrum.abs().unsqueeze(1)
    expected = (masked - stems.abs()).abs().mean()
    torch.testing.assert_close(OnMagnitudes(L1())(estimate, stems), expected)
    root = (masked - stems.abs()).square().mean(dim=(-2, -1)).sqrt().mean()
    torch.testing.assert_close(OnMagnitudes(RMSE())(estimate, stems), root)
    torch.testing.assert_close(OnMagnitudes(L1())(estimate, stems.abs()), expected)


def test_mask_loss_weighs_bins_by_the_mix(given):
    estimate, stems = given
    mix = estimate.mix_spectrum.abs().unsqueeze(1)
    ideal = (stems.abs() / mix).clamp(max=1)
    for distance, power in (("l1", 1), ("l2", 2)):
        error = (estimate.masks - ideal).abs() ** power
        expected = ((mix * error).sum((2, 3, 4)) / mix.sum((2, 3, 4))).mean()
        torch.testing.assert_close(MaskLoss(distance=distance)(estimate, stems), expected)


def test_one_empty_bin_of_the_mix_does_not_matter(given):
    estimate, stems = given
    before = MaskLoss(distance="l2")(estimate, stems)
    estimate.mix_spectrum[0, 0, 0, 0] = 1e-9
    assert MaskLoss(distance="l2")(estimate, stems) < before + 0.1


def test_component_loss(given):
    estimate, stems = given
    mix, y = estimate.mix_spectrum.abs().unsqueeze(1), stems.abs()
    rest = (mix - y).clamp(min=0)

    def energy(x):
        return x.square().sum((2, 3, 4))

    def unit(x):
        return x / energy(x).sqrt()[..., None, None, None]

    masks = estimate.masks
    expected = (
        0.3 * energy(masks * y - y) / energy(mix)
        + 0.5 * energy(masks * rest) / energy(mix)
        + 0.1 * energy(unit(masks * rest) - unit(rest))
    ).mean()
    ours = ComponentLoss(alpha=0.5, beta=0.2)(estimate, stems)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)


def test_component_loss_is_least_near_the_mask_of_wiener(given):
    estimate, stems = given
    estimate.masks.requires_grad_()
    optimizer = torch.optim.Adam([estimate.masks], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        ComponentLoss(alpha=0.5, beta=0.0)(estimate, stems).backward()
        optimizer.step()
    y = stems.abs()
    rest = (estimate.mix_spectrum.abs().unsqueeze(1) - y).clamp(min=0)
    wiener = y.square() / (y.square() + rest.square())
    loud = y > 0.3
    torch.testing.assert_close(estimate.masks[loud].detach(), wiener[loud], atol=0.02, rtol=0)


def test_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    ours = kl_divergence(mean, log_variance)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1))
    torch.testing.assert_close(ours, expected.mean(dim=(1, 2)))


def test_variational_loss_needs_a_latent(given):
    with pytest.raises(ParameterError, match="has no latent"):
        KLDivergence()(*given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ComponentLoss(alpha=0.2, beta=0.8), "sum below 1"),
        (lambda: ComponentLoss(alpha=-0.1), "alpha is -0.1"),
        (lambda: MaskLoss(distance="l3"), "distance is 'l3'"),
        (lambda: KLDivergence(distance="l3"), "distance is 'l3'"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
