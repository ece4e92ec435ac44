"""What is minimized."""

import pytest
import torch
from torch import nn

from sonograd.config import TFCTDFUNetConfig
from sonograd.data.chunks import Chunk
from sonograd.separators import TFCTDFUNet
from sonograd.training.criteria import apply_equalizer, mask_log_energy, training_loss


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


@pytest.mark.parametrize("criterion", ["log_energy", "si_sdr", "l1", "l2", "stft"])
def test_silence_gives_finite_gradients(criterion):
    model = _model()
    batch = _batch(model)
    batch.stems[0] = 0
    batch.stems[1, :2] = 0
    loss = training_loss(model, batch, criterion)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


class _Perfect(nn.Module):
    stems = ("a", "b")

    def forward(self, mix):
        return self.answer


@pytest.mark.parametrize("criterion", ["log_energy", "si_sdr", "l1", "l2", "stft"])
def test_perfect_stems_are_the_minimum(criterion):
    model, stems = _Perfect(), torch.randn(2, 3, 1, 4000)
    batch = Chunk(stems, torch.ones(2, 3, 9), ("", ""))
    model.answer = apply_equalizer(stems, batch.equalizer)[:, :2]
    best = training_loss(model, batch, criterion)
    model.answer = model.answer + 0.1 * torch.randn_like(model.answer)
    assert training_loss(model, batch, criterion) > best + 1e-4


def test_equalizer_filters_each_stem():
    time = torch.arange(8000) / 8000
    tone = torch.sin(2 * torch.pi * 1000 * time).expand(1, 2, 1, -1)
    curve = torch.linspace(0, 1, 5).expand(1, 2, 5).clone()
    curve[:, 1] = 0.5
    out = apply_equalizer(tone, curve)
    torch.testing.assert_close(out[0, 0], 0.25 * tone[0, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(out[0, 1], 0.5 * tone[0, 1], atol=1e-3, rtol=0)
