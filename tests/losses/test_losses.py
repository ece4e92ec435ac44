"""Laws of all losses of the first slice, and oracles in float64."""

import math

import numpy as np
import pytest
import torch

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.ratios import si_sdr
from sonograd.losses import L1, L2, SISDR, LogEnergy, MultiResolutionSTFT, STFTLoss

LOSSES = [
    L1,
    L2,
    SISDR,
    LogEnergy,
    lambda **kw: STFTLoss(n_fft=64, **kw),
    lambda **kw: MultiResolutionSTFT(n_ffts=(32, 64), **kw),
]


@pytest.fixture(params=LOSSES, ids=["L1", "L2", "SISDR", "LogEnergy", "STFT", "MultiSTFT"])
def make(request):
    return request.param


def _pair(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype), torch.randn(*shape, dtype=dtype)


def test_gradient_is_right(make):
    estimate, reference = _pair(2, 2, 100)
    estimate.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: make()(x, reference), estimate, fast_mode=True)


@pytest.mark.parametrize("silent", ["estimate", "reference", "both"])
def test_silence_is_harmless(make, silent):
    estimate, reference = _pair(2, 2, 300, dtype=torch.float32)
    if silent != "reference":
        estimate = torch.zeros_like(estimate)
    if silent != "estimate":
        reference = torch.zeros_like(reference)
    estimate.requires_grad_()
    loss = make()(estimate, reference)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(estimate.grad).all()


def test_items_are_independent(make):
    estimate, reference = _pair(3, 2, 300)
    loss = make(reduction="none")
    whole = loss(estimate, reference)
    parts = torch.stack([loss(e, r) for e, r in zip(estimate, reference, strict=True)])
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(make()(estimate, reference), whole.mean())


def test_perfect_is_best(make):
    estimate, reference = _pair(2, 2, 300)
    loss = make()
    best = loss(reference, reference)
    assert best < loss(reference + 0.01 * estimate, reference) < loss(estimate, reference)


def test_shapes_must_agree(make):
    with pytest.raises(ShapeError, match="must be equal"):
        make()(torch.zeros(2, 1, 300), torch.zeros(2, 2, 300))
    with pytest.raises(ShapeError, match="floating"):
        make()(torch.zeros(2, 300, dtype=torch.int16), torch.zeros(2, 300, dtype=torch.int16))


def test_si_sdr_is_the_negative_measure():
    estimate, reference = _pair(3, 2, 1000)
    ours = SISDR(epsilon=1e-12, reduction="none")(estimate, reference)
    torch.testing.assert_close(ours, -si_sdr(estimate, reference))


def test_si_sdr_does_not_depend_on_scale():
    estimate, reference = _pair(2, 1000)
    torch.testing.assert_close(SISDR()(7 * estimate, reference), SISDR()(estimate, reference))


def test_log_energy_counts_in_decades():
    reference = torch.zeros(1, 1, 100, dtype=torch.float64)
    loss = LogEnergy(floor_db=-200)
    for power in (-1, -3):
        estimate = torch.full_like(reference, math.sqrt(10.0**power))
        assert loss(estimate, reference).item() == pytest.approx(power)
    assert LogEnergy(floor_db=-25)(reference, reference).item() == pytest.approx(-2.5)


def test_stft_loss_against_numpy():
    n_fft, hop, epsilon = 64, 16, 1e-5
    estimate, reference = _pair(320)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window /= window.sum()

    def magnitude(x):
        padded = np.pad(x.numpy(), n_fft // 2)
        starts = range(0, len(x) + 1, hop)
        frames = np.stack([padded[s : s + n_fft] * window for s in starts])
        return np.sqrt(np.abs(np.fft.rfft(frames)) ** 2 + epsilon**2)

    ours, theirs = magnitude(estimate), magnitude(reference)
    expected = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    expected += np.abs(np.log(ours) - np.log(theirs)).mean()
    actual = STFTLoss(n_fft=n_fft, hop_length=hop, epsilon=epsilon)(estimate, reference)
    assert actual.item() == pytest.approx(expected, rel=1e-4)


def test_bad_settings_are_refused():
    with pytest.raises(ParameterError, match="epsilon is 0"):
        SISDR(epsilon=0.0)
    with pytest.raises(ParameterError, match="epsilon is -1"):
        STFTLoss(epsilon=-1)
    with pytest.raises(ParameterError, match="n_ffts is empty"):
        MultiResolutionSTFT(n_ffts=())
