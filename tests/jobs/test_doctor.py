"""What doctor finds, also where something is broken."""

from importlib import metadata

import pytest
import torch

from sonograd.data import FORMATS
from sonograd.errors import CheckpointError, ParameterError
from sonograd.jobs import doctor
from sonograd.zoo.lookup import model_names

CPU = torch.device("cpu")


@pytest.fixture
def few_formats(monkeypatch):
    monkeypatch.setattr(doctor, "FORMATS", {"flac": FORMATS["flac"]})


def test_versions_cover_every_dependency():
    found = doctor.diagnose(speed=False)
    requirements = [line for line in metadata.requires("sonograd") if "extra ==" not in line]
    for requirement in requirements:
        name = requirement.split(">")[0]
        assert found.versions[name] not in {"", "missing"}
    assert {"python", "libsndfile", "FFmpeg", "sonograd"} <= set(found.versions)
    assert [codec.format for codec in found.codecs] == list(FORMATS)
    assert [codec.problem for codec in found.codecs] == [""] * len(FORMATS)
    assert found.speeds == ()
    assert 1 <= found.free_cores <= found.usable_cores <= found.installed_cores
    assert found.device in {"cpu", "mps", "cuda"}
    assert found.cache.name == "sonograd"


def test_every_model_is_measured(few_formats, monkeypatch):
    measured = []

    def measure(name, device):
        measured.append((name, device))
        return doctor.ModelSpeed(name, 0.5)

    monkeypatch.setattr(doctor, "measure_speed", measure)
    seen = []
    found = doctor.diagnose(device="cpu", on_progress=lambda *pair: seen.append(pair))
    assert measured == [(name, CPU) for name in model_names()]
    assert len(found.speeds) == len(seen) == len(model_names())


def test_speed_is_that_of_the_work():
    speed = doctor.measure_speed("center", CPU, workers=1)
    assert speed.problem == ""
    assert 0 < speed.real_time_factor < 10


def test_a_broken_model_is_reported(monkeypatch):
    def fail(_):
        raise CheckpointError("default.safetensors: damaged\nin detail")

    monkeypatch.setattr(doctor, "load", fail)
    speed = doctor.measure_speed("default", CPU)
    assert speed == doctor.ModelSpeed("default", None, "default.safetensors: damaged")


def test_a_broken_codec_is_reported(monkeypatch, few_formats):
    def fail(*_, **__):
        raise OSError("no encoder")

    monkeypatch.setattr(doctor, "write_audio", fail)
    assert doctor._codecs() == (doctor.Codec("flac", "no encoder"),)


def test_extras_name_what_is_missing():
    lines = [
        "torch>=2.10",
        "pytest>=8 ; extra == 'test'",
        "matplotlib>=3.9 ; extra == 'plot'",
        "not-a-package-at-all>=1 ; extra == 'plot'",
        'another_missing.one[x]>=2 ; python_version < "4" and extra == "web"',
    ]
    assert doctor._extras(lines) == (
        doctor.Extra("plot", ("not-a-package-at-all",)),
        doctor.Extra("web", ("another_missing.one",)),
    )


def test_an_unknown_device_is_refused():
    with pytest.raises(ParameterError, match="Did you mean 'cpu'"):
        doctor.diagnose(device="cpus")
