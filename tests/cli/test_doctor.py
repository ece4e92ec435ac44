"""``sonograd doctor``."""

import json
from pathlib import Path

import pytest

from sonograd.cli.app import main
from sonograd.jobs import doctor as job


@pytest.fixture
def diagnosis(monkeypatch):
    def put(**changes):
        values = {
            "versions": {"sonograd": "1.2.3", "av": "missing"},
            "device": "cuda",
            "devices": ("cuda (One, Two)", "cpu (x86_64)"),
            "installed_cores": 8, "usable_cores": 4, "free_cores": 3,
            "speeds": (job.ModelSpeed("hpss", 0.05),),
            "codecs": (job.Codec("wav"), job.Codec("mp3")),
            "cache": Path("/cache/sonograd"), "cache_bytes": 1_500_000,
            "extras": (job.Extra("plot", ()), job.Extra("web", ("starlette", "uvicorn"))),
            "fast_kernels": True,
        }  # fmt: skip
        found = job.Diagnosis(**{**values, **changes})
        monkeypatch.setattr(job, "diagnose", lambda **_: found)

    return put


def test_everything_is_told(diagnosis, capsys):
    diagnosis()
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for line in (
        "  sonograd     1.2.3", "  av           missing",
        "  auto is      cuda; here: cuda (One, Two), cpu (x86_64)",
        "  cores        8 installed, 4 usable, 3 free now",
        "  hpss         0.0500  (20.0 times real time)", "  mp3          ok",
        "  /cache/sonograd, 1.5 MB", "  plot         ok",
        "  web          missing starlette, uvicorn; pip install 'sonograd[web]'",
    ):  # fmt: skip
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("used", "missing", "line"),
    [(True, (), "compiled with numba on the CPU, torch elsewhere"),
     (False, (), "torch alone: the same numbers, more slowly"),
     (False, ("numba",), "torch alone: the same numbers, more slowly; faster with: "
      "pip install 'sonograd[fast]'")],
)  # fmt: skip
def test_which_kernels_run_is_told(diagnosis, capsys, used, missing, line):
    diagnosis(extras=(job.Extra("fast", missing),), fast_kernels=used)
    assert main(["doctor"]) == 0
    assert f"  kernels      {line}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("used", "line"),
    [(True, "  fast         ok"),
     (False, "  fast         installed, but compiled kernels are not in use")],
)  # fmt: skip
def test_kernels_that_are_not_used_are_told(diagnosis, capsys, used, line):
    diagnosis(extras=(job.Extra("fast", ()),), fast_kernels=used)
    assert main(["doctor"]) == 0
    assert line in capsys.readouterr().out.splitlines()


def test_what_is_broken_is_status_one(diagnosis, capsys):
    diagnosis(speeds=(job.ModelSpeed("default", None, "file is damaged"),))
    assert main(["doctor"]) == 1
    assert "  default      does not work: file is damaged" in capsys.readouterr().out
    diagnosis(codecs=(job.Codec("mp3", "no encoder"),))
    assert main(["doctor"]) == 1
    assert "  mp3          no encoder" in capsys.readouterr().out


def test_json_holds_the_same(diagnosis, capsys):
    diagnosis()
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["sonograd"] == "1.2.3"
    assert found["speeds"] == [{"model": "hpss", "real_time_factor": 0.05, "problem": ""}]
    assert found["extras"][1] == {"name": "web", "missing": ["starlette", "uvicorn"]}
