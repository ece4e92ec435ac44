"""A tiny data set and a tiny model."""

import numpy as np
import pytest
import soundfile

from sonograd.config import SpectrogramNetSimpleConfig, TFCTDFUNetConfig, write_config


def _tiny_model(**changes):
    settings = {
        "num_hidden_channels": 4,
        "num_levels": 2,
        "sample_length": 0.5,
        "sample_rate": 8000,
        "num_fft": 256,
        "hop_length": 64,
        "full_resolution_hz": 1000.0,
    }
    return TFCTDFUNetConfig(**(settings | changes))


def _tiny_unet(**changes):
    settings = {
        "num_channels": 2,
        "num_hidden_channels": 2,
        "sample_length": 0.5,
        "sample_rate": 8000,
        "num_fft": 256,
        "window_size": 256,
        "hop_length": 128,
        "targets": ("vocals",),
    }
    return SpectrogramNetSimpleConfig(**(settings | changes))


def _make_stems(rng, seconds=2.0, rate=8000):
    time = np.arange(round(seconds * rate)) / rate
    tones = {"bass": rng.uniform(60, 120), "other": rng.uniform(300, 600)}
    stems = {name: 0.2 * np.sin(2 * np.pi * hz * time) for name, hz in tones.items()}
    stems["drums"] = 0.3 * np.exp(-20 * (time * 2 % 1)) * rng.normal(size=time.size)
    vibrato = 3 * np.sin(2 * np.pi * 6 * time)
    stems["vocals"] = 0.2 * np.sin(2 * np.pi * rng.uniform(800, 1500) * time + vibrato)
    return {name: np.stack((x, 0.7 * x), 1) for name, x in stems.items()}


def _write_songs(root, count, *, rate=8000, subtype="PCM_16"):
    rng = np.random.default_rng(1)
    for number in range(count):
        folder = root / f"song {number}"
        folder.mkdir(parents=True)
        stems = _make_stems(rng, rate=rate)
        stems["mixture"] = sum(stems.values())
        for name, audio in stems.items():
            soundfile.write(folder / f"{name}.wav", audio, rate, subtype=subtype)
    return root


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    root = tmp_path_factory.mktemp("songs")
    _write_songs(root / "train", 6)
    return root


@pytest.fixture
def tiny_model():
    return _tiny_model


@pytest.fixture
def tiny_unet():
    return _tiny_unet


@pytest.fixture
def write_songs():
    return _write_songs


QUICK = {
    "criterion": "l1",
    "batch_size": 2,
    "max_samples": 4,
    "max_epochs": 1,
    "num_workers": 0,
    "lr": 2e-3,
    "validation_songs": 1,
}


@pytest.fixture
def session(tmp_path):
    """Make a session folder of a small U-Net."""

    def make(name="session", config=None):
        folder = tmp_path / name
        folder.mkdir()
        write_config(config or _tiny_unet(), folder / "model.json")
        return folder

    return make


@pytest.fixture
def run():
    """Train quickly on the CPU."""

    def train_quickly(folder, songs, *, settings=None, **options):
        from sonograd.jobs.train import train

        return train(folder, songs, settings=QUICK | (settings or {}), device="cpu", **options)

    train_quickly.settings = QUICK
    return train_quickly
