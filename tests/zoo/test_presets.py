"""The small spectrogram U-Nets that ship: whole, small, and of use."""

import json

import pytest
import torch

import sonograd
from sonograd.data.songs import make_song
from sonograd.functional import resample, si_sdr
from sonograd.separators import read_checkpoint_info
from sonograd.zoo import resolve
from sonograd.zoo.lookup import _REGISTRY

PRESETS = ("SpectrogramNetSimple", "SpectrogramNetLSTM", "SpectrogramNetVAE")


@pytest.fixture(scope="module")
def songs():
    """Songs that no training saw: ``(stems, 1, samples)`` at the rate of the presets, by name."""
    result = []
    for seed in range(7_100_001, 7_100_005):
        found = make_song(seed, seconds=6.0, sample_rate=44_100)
        stems = resample(found.stems.mean(1, keepdim=True), from_rate=44_100, to_rate=22_050)
        result.append(dict(zip(found.names, stems, strict=True)))
    return result


@pytest.mark.parametrize("name", PRESETS)
def test_each_is_small_and_has_a_card(name):
    path = resolve(name).path
    assert path.stat().st_size <= 4e6
    info = read_checkpoint_info(path)
    assert info.config.model_type == name
    assert json.loads(_REGISTRY.read_text())[name]["card"] == "docs/spectrogram_nets.md"


@pytest.mark.parametrize("name", PRESETS)
def test_each_gives_the_stem_that_is_asked_for(name):
    for target in ("vocals", "drums", "bass", "other"):
        model = sonograd.models.load(model=name, target=target)
        assert model.stems == (target,)
    assert set(sonograd.load(name).stems) == {"vocals", "drums", "bass", "other"}


@pytest.mark.parametrize("name", PRESETS)
def test_each_is_better_than_the_mix_by_far(name, songs):
    """On average: how much a song can be improved varies by several decibels."""
    model, gains = sonograd.load(name), []
    for song in songs:
        truth = torch.stack([song[stem] for stem in model.stems])
        mix = truth.sum(0)
        estimate = model.separate(mix)
        torch.testing.assert_close(estimate.sum(0), mix, atol=1e-4, rtol=0)
        sounding = truth.square().mean((1, 2)) > 1e-6
        before = si_sdr(mix.expand_as(truth)[:, 0], truth[:, 0])
        gains.append((si_sdr(estimate[:, 0], truth[:, 0]) - before)[sounding].mean())
    assert torch.stack(gains).mean() > 2.0
    assert min(gains) > 0.0
