"""Losses of waveforms, against their formulas."""

import math

import numpy as np
import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.losses import DC, ESR, L1, L1SNR, L2, RMSE, LogCosh, QuantileMasked


@pytest.fixture
def pair():
    return torch.randn(2, 3, 2, 400, dtype=torch.float64).unbind()


def test_plain_errors(pair):
    estimate, reference = pair
    error = (estimate - reference).numpy()
    torch.testing.assert_close(L1()(*pair).item(), np.abs(error).mean())
    torch.testing.assert_close(L2()(*pair).item(), (error**2).mean())
    torch.testing.assert_close(RMSE()(*pair).item(), np.sqrt((error**2).mean(-1)).mean())


def test_esr_and_dc(pair):
    estimate, reference = (x.numpy() for x in pair)
    error = estimate - reference
    power = (reference**2).mean(-1)
    assert ESR()(*pair).item() == pytest.approx(((error**2).mean(-1) / power).mean())
    assert DC()(*pair).item() == pytest.approx((error.mean(-1) ** 2 / power).mean())


def test_dc_sees_the_mean_alone(pair):
    reference = pair[1]
    shifted = reference + 0.3
    power = reference.square().mean(-1)
    torch.testing.assert_close(DC(reduction="none")(shifted, reference), 0.09 / (power + 1e-8))


def test_log_cosh(pair):
    estimate, reference = pair
    for a in (0.1, 1.0, 5.0):
        expected = np.log(np.cosh(a * (estimate - reference).numpy())).mean() / a
        assert LogCosh(a=a)(*pair).item() == pytest.approx(expected)
    huge = LogCosh()(torch.full((4,), 1e4), torch.zeros(4))
    assert huge.item() == pytest.approx(1e4 - math.log(2))


def test_l1_snr_is_a_ratio_in_db(pair):
    reference = pair[1]
    loss = L1SNR(n_ffts=(64, 128), epsilon=1e-12, reduction="none")
    torch.testing.assert_close(
        loss(1.01 * reference, reference), torch.full((3, 2), -20.0).double()
    )
    silence = torch.zeros_like(reference)
    assert (loss(silence, reference).abs() < 1e-6).all()


def test_spectral_part_of_l1_snr_counts(pair):
    assert abs(L1SNR()(*pair) - L1SNR(n_ffts=(64,))(*pair)) > 1e-3


def test_quantile_leaves_the_largest_errors_out(pair):
    reference = pair[1]
    estimate = reference + 0.1
    estimate[..., 100:110] += 50
    loss = QuantileMasked(quantile=0.97, reduction="none")
    torch.testing.assert_close(loss(estimate, reference), torch.full((3, 2), 0.01).double())
    whole = QuantileMasked(quantile=1.0)(*pair)
    torch.testing.assert_close(whole, L2()(*pair))


def test_quantile_of_one_item_does_not_depend_on_another():
    reference = torch.zeros(2, 100)
    estimate = torch.ones(2, 100)
    estimate[1] = 1000.0
    torch.testing.assert_close(
        QuantileMasked(power=1, reduction="none")(estimate, reference),
        torch.tensor([1.0, 1000.0]),
    )


def test_dropped_samples_have_no_gradient():
    estimate = torch.arange(10.0).requires_grad_()
    QuantileMasked(quantile=0.8)(estimate, torch.zeros(10)).backward()
    assert (estimate.grad[8:] == 0).all()
    assert (estimate.grad[1:8] > 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ESR(epsilon=0), "epsilon is 0"),
        (lambda: DC(epsilon=-1), "epsilon is -1"),
        (lambda: LogCosh(a=0), "a is 0"),
        (lambda: L1SNR(n_ffts=(2,)), "n_ffts is"),
        (lambda: QuantileMasked(quantile=0), "quantile is 0"),
        (lambda: QuantileMasked(quantile=1.1), "quantile is 1.1"),
        (lambda: QuantileMasked(power=0.5), "power is 0.5"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
