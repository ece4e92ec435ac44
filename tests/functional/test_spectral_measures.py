import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import AudioError, ParameterError, ShapeError

GOLDEN = runpy.run_path(str(Path(__file__).parents[1] / "metrics" / "golden.py"))


def both(estimate, reference, **options):
    return torch.stack(F.bleedless_fullness(estimate, reference, sample_rate=44_100, **options), -1)


MEASURES = [both, F.l1_frequency, F.log_spectral_distance, F.multi_resolution_stft_distance]


def test_published_values():
    estimate, reference = GOLDEN["separation_pair"]()
    values = GOLDEN["SEPARATION"]
    np.testing.assert_allclose(
        both(estimate[0], reference[0]), values["msst_bleedless_fullness_src0"], rtol=1e-5
    )
    np.testing.assert_allclose(
        F.l1_frequency(estimate[0], reference[0]), values["msst_l1_freq_src0"], rtol=1e-6
    )


def test_log_spectral_distance_of_a_gain_is_the_gain():
    reference = torch.randn(2, 4000, dtype=torch.float64)
    value = F.log_spectral_distance(0.5 * reference, reference)
    torch.testing.assert_close(value, torch.full((2,), 20 * math.log10(2)).double())
    far = F.log_spectral_distance(0 * reference, reference, range_db=10)
    assert (far <= 10).all()


def test_multi_resolution_distance_of_a_gain():
    reference = torch.randn(1, 4000, dtype=torch.float64)
    value = F.multi_resolution_stft_distance(0.5 * reference, reference)
    torch.testing.assert_close(value, torch.tensor([0.5 + math.log(2)]).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("measure", MEASURES)
def test_items_do_not_interact_and_padding_does_not_count(measure):
    estimate, reference = torch.randn(2, 2, 2, 5000, dtype=torch.float64)
    whole = measure(estimate, reference)
    alone = [measure(e, r) for e, r in zip(estimate, reference, strict=True)]
    torch.testing.assert_close(whole, torch.stack(alone))
    padded = [x.clone() for x in (estimate, reference)]
    for x in padded:
        x[0, :, 3000:] = torch.nan
    cut = measure(*padded, lengths=[3000, 5000])
    torch.testing.assert_close(cut[1], whole[1])
    torch.testing.assert_close(cut[0], measure(estimate[0, :, :3000], reference[0, :, :3000]))
    assert measure(estimate.float(), reference.float()).dtype == torch.float32


def test_perfect_and_silent():
    sound = torch.randn(2, 3000, dtype=torch.float64)
    silence = torch.zeros_like(sound)
    assert (both(sound, sound) == 100).all()
    assert (both(silence, silence) == 100).all()
    assert F.l1_frequency(silence, silence) == 100
    for distance in (F.log_spectral_distance, F.multi_resolution_stft_distance):
        assert (distance(sound, sound) == 0).all()
        assert distance(sound, silence).isnan().all()
        assert distance(silence, sound).isfinite().all()
    assert both(silence, sound).isfinite().all()
    assert both(sound, silence).isfinite().all()


def test_bleed_and_loss_are_told_apart():
    reference = torch.randn(2, 20_000)
    reference[:, 10_000:] = 0
    bleeding = reference + 0.1 * torch.randn(2, 20_000)
    lacking = reference.clone()
    lacking[:, 5000:] = 0
    bleed, lack = (both(x, reference) for x in (bleeding, lacking))
    assert bleed[0] < lack[0]
    assert bleed[1] > lack[1]


@pytest.mark.parametrize("measure", MEASURES)
def test_errors(measure):
    sound = torch.randn(2, 3000)
    with pytest.raises(ShapeError, match="samples shorter"):
        measure(sound[:, 3:], sound)
    with pytest.raises(ShapeError, match="no samples"):
        measure(sound[:, :0], sound[:, :0])
    with pytest.raises(AudioError, match="NaN"):
        measure(sound / 0, sound)


def test_errors_of_options():
    sound = torch.randn(1, 900)
    with pytest.raises(AudioError, match="900 samples are too few"):
        F.multi_resolution_stft_distance(sound, sound)
    with pytest.raises(ParameterError, match="range_db is 0"):
        F.log_spectral_distance(sound, sound, range_db=0)
