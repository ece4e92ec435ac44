"""The smooth relative volume, against the measure that it follows."""

import warnings

import pytest
import torch

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.rvm import relative_volume_mel, volume_mel_filters
from sonograd.losses import RelativeVolumeMelLoss


def _examples():
    generator = torch.Generator().manual_seed(1)
    noise, other = torch.randn(2, 1, 1, 12_000, generator=generator, dtype=torch.float64) * 0.2
    time = torch.arange(12_000, dtype=torch.float64) / 24_000
    tones = 0.5 * torch.sin(2 * torch.pi * 440 * time) + 0.3 * torch.sin(6283 * time)
    tones = tones[None, None]
    half = tones.clone()
    half[..., 6000:] = 0
    return {
        "close": (noise + 0.03 * other, noise),
        "unrelated": (other[None], noise[None]),
        "gain": (0.9 * tones, tones),
        "half silent": (1.1 * half, half),
        "silent estimate": (0 * noise, noise),
        "silent reference": (noise, 0 * noise),
        "both silent": (0 * noise, 0 * noise),
        "perfect": (noise, noise),
        "flipped": (-noise, noise),
        "far too loud": (100 * noise, noise),
        "far too quiet": (1e-4 * noise, 1e-4 * other),
    }


@pytest.mark.parametrize("name", list(_examples()))
def test_every_bin_is_near_the_measure(name):
    estimate, reference = _examples()[name]
    loss = RelativeVolumeMelLoss()
    level = reference.square().mean().clamp(min=10**-2.5).sqrt()
    exact = relative_volume_mel(
        estimate / level, reference / level, filters=volume_mel_filters().double()
    )
    smooth = loss.per_bin(estimate, reference)
    assert smooth.shape == exact.shape
    assert (smooth - exact).abs().max() < 3.1
    assert smooth.min() >= -25 - 1e-6
    assert smooth.max() <= 25 + 1e-6


@pytest.mark.parametrize("name", list(_examples()))
def test_gradients_are_finite_and_never_vanish_above(name):
    estimate, reference = (x.float() for x in _examples()[name])
    estimate.requires_grad_()
    RelativeVolumeMelLoss()(estimate, reference).backward()
    assert torch.isfinite(estimate.grad).all()
    if name not in {"both silent", "perfect", "flipped"}:
        assert estimate.grad.norm() > 0


def test_silence_learns_to_sound():
    reference = _examples()["close"][1].float()
    estimate = torch.zeros_like(reference).requires_grad_()
    loss = RelativeVolumeMelLoss()
    optimizer = torch.optim.Adam([estimate], lr=3e-3)
    first = loss(estimate, reference).item()
    for _ in range(100):
        optimizer.zero_grad()
        value = loss(estimate, reference)
        value.backward()
        optimizer.step()
    assert value.item() < first - 10
    assert torch.isfinite(estimate).all()


def test_empty_bands_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="2 of 80 mel bands are narrower"):
        loss = RelativeVolumeMelLoss(sample_rate=44_100)
    estimate, reference = (x.float() for x in _examples()["close"])
    estimate.requires_grad_()
    loss(estimate, reference).backward()
    assert torch.isfinite(estimate.grad).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RelativeVolumeMelLoss()


def test_items_are_signals_or_audio():
    loss = RelativeVolumeMelLoss(reduction="none")
    x = torch.randn(4, 2, 3000)
    assert loss(x, x).shape == (4,)
    assert loss(x[0], x[0]).shape == ()
    assert loss(x[0, 0], x[0, 0]).shape == ()
    torch.testing.assert_close(loss(2 * x, x)[1], loss(2 * x[1], x[1]))


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match="more than 256 samples"):
        RelativeVolumeMelLoss()(torch.ones(1, 256), torch.ones(1, 256))
    with pytest.raises(ParameterError, match="expected the first to be lower"):
        RelativeVolumeMelLoss(min_relative_volume=5, max_relative_volume=5)
    with pytest.raises(ParameterError, match="hop_length is 0"):
        RelativeVolumeMelLoss(hop_length=0)
