"""Losses that are ratios of energies, against the exact measures."""

import math

import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.losses import SASDR, SDSDR, SISDR, SNR, LogEnergy, ThresholdedSNR

MEASURES = [(SNR, F.snr), (SISDR, F.si_sdr), (SDSDR, F.sd_sdr)]


@pytest.fixture
def pair():
    noise, reference = torch.randn(2, 3, 2, 1000, dtype=torch.float64).unbind()
    return reference + 0.3 * noise, reference


@pytest.mark.parametrize(("loss", "measure"), MEASURES)
def test_they_are_the_negative_measures(loss, measure, pair):
    ours = loss(epsilon=1e-15, reduction="none")(*pair)
    torch.testing.assert_close(ours, -measure(*pair), rtol=1e-9, atol=1e-9)


def test_source_aggregated(pair):
    ours = SASDR(epsilon=1e-15)(*pair)
    expected = -F.sa_sdr(*(x.flatten(-2) for x in pair))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ShapeError, match="stems, channels"):
        SASDR()(torch.ones(2, 10), torch.ones(2, 10))


@pytest.mark.parametrize(("loss", "measure"), MEASURES)
def test_the_cap_is_smooth(loss, measure, pair):
    reference = pair[1]
    assert loss(epsilon=1e-3)(reference, reference).item() == pytest.approx(-30, abs=1e-6)
    assert loss()(reference, reference).item() == pytest.approx(-80, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_scale_invariance(pair, scale):
    estimate, reference = (x.float() for x in pair)
    expected = SISDR()(estimate, reference)
    torch.testing.assert_close(SISDR()(scale * estimate, reference), expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(SISDR()(estimate, scale * reference), expected, rtol=0, atol=2e-3)
    for loss in (SNR(), SDSDR()):
        both = loss(scale * estimate, scale * reference)
        torch.testing.assert_close(both, loss(estimate, reference), rtol=0, atol=2e-3)


def test_zero_mean_ignores_offsets(pair):
    estimate, reference = pair
    for loss in (SISDR, SNR, SDSDR):
        centered = loss(zero_mean=True)
        torch.testing.assert_close(centered(estimate + 5, reference - 3), centered(*pair))
        assert loss()(estimate + 5, reference) > loss()(*pair) + 5


@pytest.mark.parametrize("loss", [SNR(), SISDR(), SDSDR()])
def test_silent_reference_pulls_the_estimate_down(loss):
    estimate = torch.randn(400).requires_grad_()
    loss(estimate, torch.zeros(400)).backward()
    assert (estimate.grad * estimate.detach()).sum() > 0


@pytest.mark.parametrize("zero_mean", [False, True])
@pytest.mark.parametrize("loss", [SNR, SISDR, SDSDR])
def test_pairwise_equals_pair_by_pair(loss, zero_mean):
    estimate = torch.randn(2, 3, 2, 500, dtype=torch.float64) + 0.2
    reference = torch.randn(2, 4, 2, 500, dtype=torch.float64) - 0.1
    ours = loss(zero_mean=zero_mean)
    table = ours.pairwise(estimate, reference)
    assert table.shape == (2, 3, 4)
    single = loss(zero_mean=zero_mean, reduction="none")
    for i in range(3):
        for j in range(4):
            expected = single(estimate[:, i], reference[:, j]).mean(dim=-1)
            torch.testing.assert_close(table[:, i, j], expected)


def test_thresholded_snr_of_active_stems(pair):
    ours = ThresholdedSNR(threshold_db=100, reduction="none")(*pair)
    torch.testing.assert_close(ours, -F.snr(*pair), rtol=0, atol=1e-6)
    assert ThresholdedSNR(threshold_db=30)(pair[1], pair[1]).item() == pytest.approx(-30)


def test_thresholded_snr_of_inactive_stems():
    stems = torch.randn(2, 3, 1, 500, dtype=torch.float64)
    stems[:, 1] = 0
    mix = stems.sum(dim=1)
    loss = ThresholdedSNR(reduction="none")
    estimate = stems + 0.1 * mix.unsqueeze(1)
    value = loss(estimate, stems, mix=mix.unsqueeze(-3))[:, 1, 0]
    expected = 10 * math.log10(1e-2 + 1e-3)
    torch.testing.assert_close(value, torch.full_like(value, expected))
    # The level of everything does not matter, as long as there is any.
    quiet = loss(1e-2 * estimate, 1e-2 * stems, mix=1e-2 * mix.unsqueeze(-3))[:, 1, 0]
    torch.testing.assert_close(quiet, value)
    # Without the mix, full scale takes its place.
    alone = loss(estimate, stems)[:, 1, 0]
    power = (0.1 * mix).square().mean(dim=(-2, -1))
    torch.testing.assert_close(alone, 10 * torch.log10(power + 1e-3))
    everything = torch.zeros(2, 3, 1, 500)
    assert torch.isfinite(loss(everything, everything, mix=everything)).all()


def test_mix_is_not_broadcast_by_accident():
    stems = torch.ones(2, 3, 2, 50)
    loss = ThresholdedSNR()
    loss(stems, stems, mix=stems.sum(dim=1, keepdim=True))
    for wrong in (stems.sum(dim=1), stems[:, :1, :1], stems[..., :49], stems[:, :2]):
        with pytest.raises(ShapeError, match="mix has shape"):
            loss(stems, stems, mix=wrong)


def test_log_energy_counts_in_decades():
    reference = torch.zeros(1, 1, 100, dtype=torch.float64)
    loss = LogEnergy(floor_db=-200)
    for power in (-1, -3):
        estimate = torch.full_like(reference, math.sqrt(10.0**power))
        assert loss(estimate, reference).item() == pytest.approx(power)
    assert LogEnergy(floor_db=-25)(reference, reference).item() == pytest.approx(-2.5)
    with pytest.raises(ShapeError, match="channels, samples"):
        loss(reference[0, 0], reference[0, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SISDR(epsilon=0.0), "epsilon is 0"),
        (lambda: SASDR(epsilon=-1.0), "epsilon is -1"),
        (lambda: ThresholdedSNR(threshold_db=0), "threshold_db is 0"),
        (lambda: LogEnergy(floor_db=math.inf), "floor_db is inf"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
