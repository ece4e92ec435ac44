"""Losses of weighted signals."""

import math

import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.losses import (
    ESR,
    L2,
    AWeighting,
    KWeighting,
    LogWMSE,
    MultiResolutionSTFT,
    PreEmphasis,
    Prefiltered,
)


@pytest.mark.parametrize(
    "prefilter",
    [AWeighting(sample_rate=8000), KWeighting(sample_rate=8000), PreEmphasis(kind="folded")],
)
def test_both_signals_are_filtered(prefilter):
    estimate, reference = torch.randn(2, 3, 500, dtype=torch.float64).unbind()
    expected = ESR()(prefilter(estimate), prefilter(reference))
    torch.testing.assert_close(Prefiltered(ESR(), prefilter)(estimate, reference), expected)


def test_weighting_forgives_what_is_not_heard():
    time = torch.arange(8000) / 8000
    reference = torch.sin(2 * torch.pi * 1000 * time)
    rumble = reference + 0.1 * torch.sin(2 * torch.pi * 25 * time)
    loss = Prefiltered(L2(), AWeighting(sample_rate=8000))
    assert loss(rumble, reference) < 1e-3 * L2()(rumble, reference)


def test_a_spectral_loss_can_be_prefiltered():
    estimate, reference = torch.randn(2, 2, 4000).unbind()
    loss = Prefiltered(MultiResolutionSTFT(batch_coupled=True), KWeighting(sample_rate=8000))
    assert torch.isfinite(loss(estimate, reference))
    with pytest.raises(ParameterError, match="couples the batch"):
        Prefiltered(MultiResolutionSTFT(batch_coupled=True), PreEmphasis(), reduction="none")


def test_log_wmse():
    stem, mix = torch.randn(2, 3, 1, 4000, dtype=torch.float64).unbind()
    loss = LogWMSE(sample_rate=8000, reduction="none")
    error = 0.1 * torch.randn_like(stem)
    powers = [F.k_weighting(x, sample_rate=8000).square().mean(dim=-1) for x in (error, mix)]
    expected = 4 * torch.log(powers[0] / powers[1] + 1e-8)
    torch.testing.assert_close(loss(stem + error, stem, mix=mix), expected)
    # A silent stem is no special case, and the level of everything does not matter.
    silence = torch.zeros_like(stem)
    torch.testing.assert_close(loss(silence + error, silence, mix=mix), expected)
    torch.testing.assert_close(
        loss(1e-2 * (stem + error), 1e-2 * stem, mix=1e-2 * mix), expected, rtol=1e-5, atol=1e-5
    )
    best = 4 * math.log(1e-8)
    assert loss(silence, silence, mix=silence).max().item() == pytest.approx(best)
    with pytest.raises(ShapeError, match="mix has shape"):
        loss(stem, stem, mix=mix[..., :100])


def test_bad_settings_are_refused():
    for make in (AWeighting, KWeighting, LogWMSE):
        with pytest.raises(ParameterError, match="sample_rate is 0"):
            make(sample_rate=0)
    with pytest.raises(ParameterError, match="kind is 'shelf'"):
        PreEmphasis(kind="shelf")
