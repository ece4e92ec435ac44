"""What is minimized."""

import dataclasses

import pytest
import torch
from torch import nn

from sonograd.config import SpectrogramNetVAEConfig, TFCTDFUNetConfig, TrainingConfig
from sonograd.data.chunks import Chunk
from sonograd.errors import ConfigError
from sonograd.separators import SpectrogramNetVAE, TFCTDFUNet
from sonograd.training.criteria import (
    apply_equalizer,
    check_criterion,
    make_criterion,
    mask_log_energy,
    mix_and_reference,
    training_loss,
)


def _model(**changes):
    settings = {
        "num_hidden_channels": 4,
        "num_levels": 2,
        "sample_rate": 8000,
        "num_fft": 256,
        "hop_length": 64,
        "full_resolution_hz": 1000.0,
    }
    torch.manual_seed(0)
    return TFCTDFUNet(TFCTDFUNetConfig(**(settings | changes)))


def _batch(model, stems=4, samples=4000):
    audio = torch.randn(2, stems, model.channels, samples)
    return Chunk(audio, torch.ones(2, stems, 129), ("a", "b"))


def _exact(model, batch):
    """The same loss by way of the whole spectra."""
    mix = batch.stems.sum(1)
    masks = model.estimate(mix).masks
    window = model.window / model.window.square().sum().sqrt()

    def spectrum(x):
        flat = x.flatten(0, -2)
        result = torch.stft(flat, 256, 64, window=window, pad_mode="constant", return_complex=True)
        return result.unflatten(0, x.shape[:-1])

    error = masks * spectrum(mix)[:, None] - spectrum(batch.stems)[:, : masks.shape[1]]
    energy = (
        error.abs().square().sum((2, 3, 4)) / spectrum(mix).abs().square().sum((1, 2, 3))[:, None]
    )
    return torch.log10(energy + 10**-2.5).mean()


@pytest.mark.parametrize("channels", [1, 2])
def test_shortcut_equals_the_loss_of_the_estimate(channels):
    # With the level of the waveform and that of the spectrum equal but for the edges, values agree.
    model = _model(num_channels=channels).eval()
    batch = _batch(model, samples=16000)
    batch.stems[:, 0] *= 5
    ours, theirs = mask_log_energy(model, batch), _exact(model, batch)
    assert abs(ours - theirs) < 2e-3
    assert ours < -0.1


def test_gradient_equals_that_of_the_exact_loss():
    model = _model().eval()
    batch = _batch(model, samples=16000)
    gradients = []
    for loss in (mask_log_energy, _exact):
        model.zero_grad()
        loss(model, batch).backward()
        gradients.append(model.last.weight.grad.clone())
    scale = gradients[1].abs().max()
    assert (gradients[0] - gradients[1]).abs().max() < 0.02 * scale


def test_rest_is_a_mask_of_its_own():
    model = _model(targets=("vocals",), complete_targets=False)
    loss = mask_log_energy(model, _batch(model, stems=2))
    loss.backward()
    assert torch.isfinite(loss)
    assert model.last.weight.shape[0] == 4
    assert model.last.weight.grad.abs().amax(dim=(1, 2, 3)).min() > 0


ON_STEMS = ["log_energy", "si_sdr", "rmse", "stft"]
ON_MASKS = ["l1", "l2", "mask", "component"]


@pytest.mark.parametrize("criterion", ON_STEMS + ON_MASKS)
def test_silence_gives_finite_gradients(criterion):
    model = _model()
    batch = _batch(model)
    batch.stems[0] = 0
    batch.stems[1, :2] = 0
    loss = training_loss(model, batch, TrainingConfig(criterion=criterion))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


class _Perfect(nn.Module):
    stems = ("a", "b")

    def forward(self, mix):
        return self.answer


@pytest.mark.parametrize("criterion", ON_STEMS)
def test_perfect_stems_are_the_minimum(criterion):
    model, stems = _Perfect(), torch.randn(2, 3, 1, 4000)
    batch = Chunk(stems, torch.ones(2, 3, 9), ("", ""))
    model.answer = apply_equalizer(stems, batch.equalizer)[:, :2]
    best = training_loss(model, batch, TrainingConfig(criterion=criterion))
    model.answer = model.answer + 0.1 * torch.randn_like(model.answer)
    assert training_loss(model, batch, TrainingConfig(criterion=criterion)) > best + 1e-4


def test_equalizer_filters_each_stem():
    time = torch.arange(8000) / 8000
    tone = torch.sin(2 * torch.pi * 1000 * time).expand(1, 2, 1, -1)
    curve = torch.linspace(0, 1, 5).expand(1, 2, 5).clone()
    curve[:, 1] = 0.5
    out = apply_equalizer(tone, curve)
    torch.testing.assert_close(out[0, 0], 0.25 * tone[0, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(out[0, 1], 0.5 * tone[0, 1], atol=1e-3, rtol=0)


def _vae():
    torch.manual_seed(0)
    return SpectrogramNetVAE(
        SpectrogramNetVAEConfig(
            targets=("vocals", "drums"),
            num_hidden_channels=2,
            sample_rate=8000,
            sample_length=0.5,
            num_fft=256,
            window_size=256,
            hop_length=128,
            hidden_size=8,
            recurrent_depth=1,
        )
    )


@pytest.mark.parametrize("criterion", [*ON_STEMS, *ON_MASKS, "kl_div"])
def test_every_criterion_trains_every_network(criterion):
    model = _vae()
    batch = _batch(model, stems=2)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(1)
        loss = training_loss(model, batch, TrainingConfig(criterion=criterion))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[6:]) < losses[0]


def test_masks_that_are_ideal_are_the_minimum_on_magnitudes():
    model = _vae().eval()
    batch = _batch(model, stems=2)
    mix, reference = mix_and_reference(batch, 2)
    estimate = dataclasses.replace(model.estimate(mix), latent=None)
    spectra = model.transform(reference)
    ratio = spectra.abs() / estimate.mix_spectrum.abs()[:, None]
    for criterion in ("l1", "l2"):
        loss = make_criterion(TrainingConfig(criterion=criterion))
        ideal = dataclasses.replace(estimate, masks=ratio)
        assert loss(ideal, spectra) < 1e-5 < loss(estimate, spectra)


def test_sum_is_the_mean_times_the_items():
    model = _vae().eval()
    batch = _batch(model, stems=2)
    for criterion in ("si_sdr", "l1"):
        mean = training_loss(model, batch, TrainingConfig(criterion=criterion))
        total = training_loss(model, batch, TrainingConfig(criterion=criterion, reduction="sum"))
        items = {"si_sdr": 4 * model.channels, "l1": 2}[criterion]
        torch.testing.assert_close(total, items * mean)


def test_best_permutation_ignores_the_order_of_stems():
    model = _vae().eval()
    batch = _batch(model, stems=2)
    config = TrainingConfig(best_perm=True)
    swapped = Chunk(batch.stems.flip(1), batch.equalizer, batch.names)
    torch.testing.assert_close(
        training_loss(model, batch, config), training_loss(model, swapped, config)
    )


def test_weights_of_the_components_are_the_documented_ones():
    loss = make_criterion(TrainingConfig(criterion="component", alpha=0.3, beta=0.6))
    assert (loss.alpha, loss.beta) == (0.6, pytest.approx(0.1))
    with pytest.raises(ConfigError, match="a sum of at most 1"):
        TrainingConfig(criterion="component", alpha=0.5, beta=0.8)


def test_criteria_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="kl_div needs a variational network, not TFCTDFUNet"):
        check_criterion(_model(), TrainingConfig(criterion="kl_div"))
    with pytest.raises(ConfigError, match="l1 needs masks, which Linear does not have"):
        check_criterion(nn.Linear(1, 1), TrainingConfig(criterion="l1"))
    check_criterion(_vae(), TrainingConfig(criterion="kl_div"))


@pytest.mark.parametrize("best_perm", [False, True])
def test_silent_stems_do_not_count_in_si_sdr(best_perm):
    torch.manual_seed(0)
    loss = make_criterion(TrainingConfig(criterion="si_sdr", best_perm=best_perm))
    reference = torch.randn(3, 2, 1, 800)
    estimate = reference + 0.1 * torch.randn_like(reference)
    sounding = loss(estimate[1:], reference[1:]).item()
    assert sounding == pytest.approx(-20, abs=1)
    reference[0] = 1e-5 * torch.randn_like(reference[0])  # what a codec makes of silence
    estimate.requires_grad_()
    value = loss(estimate, reference)
    assert value.item() == pytest.approx(sounding * 2 / 3, abs=1e-4)
    value.backward()
    assert not estimate.grad[0].any()
    assert estimate.grad[1:].any()
    assert loss(estimate, torch.zeros_like(reference)).item() == 0
