"""Songs and models for the programs."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch.nn import functional as nnf

from sonograd.data import write_audio
from sonograd.separators import ChunkPlan, SelectStems, Separator


class Filters(Separator):
    """A fixed filter and its complement: what a chunk gives must equal what the whole gives."""

    stems = ("smooth", "rough", "quiet")

    def __init__(self, *, sample_rate=8000, channels=2):
        super().__init__()
        self.sample_rate = sample_rate
        self.channels = channels
        self.plan = ChunkPlan(length=600, hop=450, context=40, offset=100)

    def forward(self, mix):
        kernel = torch.hann_window(41, periodic=False).expand(self.channels, 1, -1) / 20
        smooth = nnf.conv1d(mix, kernel, padding=20, groups=self.channels)
        return torch.stack((smooth, 0.75 * (mix - smooth), 0.25 * (mix - smooth)), dim=1)


@dataclass
class FakeModel:
    """Stands where a resolved model would."""

    separator: Separator
    name: str = "filters"
    path: Path | None = Path("filters.safetensors")
    sha256: str | None = "0" * 64
    note: str = ""
    config_path: Path | None = None

    def load(self, target=None, *, sample_rate=None, channels=None):
        return self.separator if target is None else SelectStems(self.separator, [target])


@pytest.fixture
def use_model(monkeypatch):
    """Let every MODEL be this separator."""

    def use(separator):
        model = FakeModel(separator)
        monkeypatch.setattr("sonograd.zoo.resolve", lambda _: model)
        monkeypatch.setattr("sonograd.jobs.combine.resolve", lambda _: model)
        monkeypatch.setattr(import_module("sonograd.jobs.test"), "resolve", lambda _: model)
        return separator

    return use


@pytest.fixture
def noise():
    """Return noise that fades in and out, ``(channels, samples)``."""

    def make(channels, samples, *, level=0.1):
        generator = torch.Generator().manual_seed(channels * 1000 + samples)
        return level * torch.randn(channels, samples, generator=generator)

    return make


@pytest.fixture
def make_song(tmp_path, noise):
    """Write a song and return its path and samples."""

    def make(name="song.wav", *, channels=2, samples=3000, sample_rate=8000, audio=None, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if audio is None:
            audio = noise(channels, samples)
        write_audio(path, audio, sample_rate, **options)
        return path, audio

    return make


@pytest.fixture(scope="session")
def filters():
    """Return the class of the model."""
    return Filters
