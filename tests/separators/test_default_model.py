"""The default separator."""

import dataclasses

import numpy as np
import pytest
import torch

from sonograd.config import TFCTDFUNetConfig
from sonograd.errors import ConfigError, ShapeError
from sonograd.separators import TFCTDFUNet, default
from sonograd.separators.default import mask_grid

SMALL = TFCTDFUNetConfig(
    num_hidden_channels=4,
    num_levels=2,
    sample_rate=8000,
    num_fft=256,
    hop_length=64,
    full_resolution_hz=1000.0,
)


def _model(**changes):
    return TFCTDFUNet(dataclasses.replace(SMALL, **changes)).eval()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [0, 1, 100, 5000])
def test_stems_sum_to_the_mix(channels, samples):
    mix = torch.randn(2, channels, samples)
    stems = _model(num_channels=channels)(mix)
    assert stems.shape == (2, 4, channels, samples)
    torch.testing.assert_close(stems.sum(1), mix, atol=1e-5, rtol=1e-4)


def test_rest_is_left_out():
    model, mix = _model(targets=("vocals",), complete_targets=False), torch.randn(1, 2, 4000)
    estimate = model.estimate(mix)
    assert estimate.masks.shape[1] == 1
    assert 0 < estimate.masks.min() <= estimate.masks.max() < 1
    with pytest.raises(ConfigError, match="complete_targets: 'vocals' alone cannot be the whole"):
        _model(targets=("vocals",))


def test_volume_does_not_matter():
    model, mix = _model(), torch.randn(1, 2, 4000)
    torch.testing.assert_close(model(0.001 * mix) * 1000, model(mix), atol=1e-4, rtol=1e-3)


def test_items_do_not_matter_to_each_other():
    model, mix = _model(), torch.randn(3, 2, 4000)
    together = model(mix)
    alone = torch.cat([model(item[None]) for item in mix])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_silence_and_nearly_silence():
    model = _model()
    assert not model(torch.zeros(1, 2, 4000)).any()
    assert torch.isfinite(model(1e-20 * torch.randn(1, 2, 4000))).all()


def test_stems_of_the_estimate_are_the_masked_spectrum():
    model, mix = _model(), torch.randn(1, 2, 4000)
    estimate = model.estimate(mix)
    torch.testing.assert_close(estimate.masks.sum(1), torch.ones_like(estimate.masks[:, 0]))
    spectrum = torch.stft(
        mix[0], 256, 64, window=torch.hann_window(256), pad_mode="constant", return_complex=True
    )
    torch.testing.assert_close(estimate.mix_spectrum[0], spectrum, atol=1e-3, rtol=1e-4)


def test_folded_normalization_changes_nothing(monkeypatch):
    model, mix = _model(), torch.randn(1, 2, 4000)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 2.0)
            for values in (module.bias.data, module.running_mean):
                values.normal_()
    folded = model(mix)
    monkeypatch.setattr(default, "_normalized", lambda x, conv, norm: norm(conv(x)))
    torch.testing.assert_close(folded, model(mix), atol=1e-5, rtol=1e-4)


def test_no_seam_in_a_steady_signal():
    model = _model()
    period = torch.randn(2, 64 * 4)
    mix = period.repeat(1, 1500)  # frames see the same at every place
    stems = model.separate(mix)
    hop, middle = model.plan.hop, slice(2 * model.plan.context, -2 * model.plan.context)
    assert mix.shape[-1] > 2 * hop
    shifted = stems[..., middle][..., 256 * 4 :] - stems[..., middle][..., : -256 * 4]
    assert shifted.abs().max() < 1e-3 * stems.abs().max()


def test_chunks_are_whole_numbers_of_frames():
    model = TFCTDFUNet(TFCTDFUNetConfig())
    assert model.chunk_frames == 128
    assert 1 + model.chunk_samples // 1024 == 128
    assert (1 + model.plan.input_length // 1024) % 16 == 0
    assert model.plan.hop % (16 * 1024) == 0
    assert 1.9e6 < sum(p.numel() for p in model.parameters()) < 2.1e6


def test_grid_of_the_default():
    grid = mask_grid(4096, 44100, 4000.0)
    widths, counts = np.unique(np.diff(grid)[:-1], return_counts=True)
    assert widths.tolist() == [1, 2, 4, 16]
    assert grid[0] == 0
    assert grid[-1] == 2049
    assert counts[0] == round(4000 * 4096 / 44100)
    assert mask_grid(256, 8000, 1e6).tolist() == list(range(130))


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="hop_length: 200 is more than half of num_fft"):
        _model(hop_length=200)
    with pytest.raises(ShapeError, match="3 channels"):
        _model()(torch.zeros(1, 3, 100))
