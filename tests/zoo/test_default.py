"""The model that ships: it is whole, and it separates."""

import json
import shutil
import sys

import pytest
import torch

from sonograd.data.songs import make_song
from sonograd.errors import CheckpointError
from sonograd.functional import snr
from sonograd.zoo import load, resolve
from sonograd.zoo.lookup import _REGISTRY, _WEIGHTS


def test_every_registered_model_is_there_with_its_hash():
    for name, entry in json.loads(_REGISTRY.read_text()).items():
        assert resolve(name).sha256 == entry["sha256"]
        assert (_WEIGHTS / f"{name}.safetensors").stat().st_size <= 12e6


def test_damaged_weights_are_refused_with_both_hashes(tmp_path, monkeypatch):
    copy = tmp_path / "default.safetensors"
    shutil.copy(_WEIGHTS / copy.name, copy)
    data = bytearray(copy.read_bytes())
    data[-1000] ^= 1
    copy.write_bytes(data)
    monkeypatch.setattr(sys.modules["sonograd.zoo.lookup"], "_WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match=r"SHA-256 is \w{64} instead of \w{64}"):
        load("default")


def test_the_default_model_separates_a_song_it_never_met():
    truth = make_song(7_100_001, seconds=8.0).stems
    mix = truth.sum(0)
    estimate = load("default").separate(mix)
    torch.testing.assert_close(estimate.sum(0), mix, atol=1e-5, rtol=0)
    sounding = truth.square().mean((1, 2)) > 1e-6
    assert sounding.sum() >= 3
    gain = snr(estimate.flatten(1), truth.flatten(1)) - snr(
        mix.expand_as(truth).flatten(1), truth.flatten(1)
    )
    assert gain[sounding].mean() > 5.0


@pytest.mark.slow
def test_half_the_digits_cost_no_quality():
    separator = load("default")
    changes = []
    for seed in range(7_100_002, 7_100_006):
        truth = make_song(seed, seconds=10.0).stems
        mix = truth.sum(0)
        whole = separator.separate(mix)
        with torch.autocast("cpu", torch.bfloat16):
            half = separator.separate(mix)
        assert not torch.equal(whole, half)
        sounding = truth.square().mean((1, 2)) > 1e-6
        change = snr(half.flatten(1), truth.flatten(1)) - snr(whole.flatten(1), truth.flatten(1))
        changes.append(change[sounding])
    assert torch.cat(changes).mean().abs() < 0.01
    assert torch.cat(changes).abs().max() < 0.1
