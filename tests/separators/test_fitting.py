"""Weights and the model that they are for: known to fit before anything is built."""

import dataclasses
import json
import runpy
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sonograd.config import (
    DemucsConfig,
    MelBandRoFormerConfig,
    OpenUnmixConfig,
    SCNetConfig,
    TFCTDFUNetConfig,
    to_dict,
)
from sonograd.errors import CheckpointError, SonogradError
from sonograd.separators import Separator, build_separator, load_separator, save_separator
from sonograd.separators.fitting import built_separator, check_tensors, fill_separator, shown

TINY = {
    kind.__name__: make
    for kind, make in runpy.run_path(str(Path(__file__).with_name("tiny.py")))["TINY"].items()
}
WITH_WEIGHTS = [name for name, make in TINY.items() if make().config is not None]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_every_model_can_be_built_for_its_own_weights(name, tmp_path):
    model = TINY[name]().eval()
    before = torch.get_rng_state()
    built = built_separator(tmp_path, model.config, model.state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    filled = fill_separator(tmp_path, built, model.state_dict())
    assert not filled.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(filled.state_dict()[key], tensor)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (MelBandRoFormerConfig(), {"depth": 10**6}),
        (MelBandRoFormerConfig(), {"depth": 10**3, "time_depth": 10**3, "band_depth": 10**3}),
        (MelBandRoFormerConfig(), {"width": 10**6}),
        (
            MelBandRoFormerConfig(),
            {"num_fft": 1 << 27, "num_bands": 1 << 20, "sample_length": 3600.0},
        ),
        (MelBandRoFormerConfig(), {"num_bands": 1 << 10, "num_fft": 1 << 15}),
        (MelBandRoFormerConfig(), {"mask_depth": 10**6}),
        (OpenUnmixConfig(), {"recurrent_depth": 10**6}),
        (OpenUnmixConfig(), {"hidden_size": 10**12}),
        (OpenUnmixConfig(), {"targets": tuple(map(str, range(10_000)))}),
        (OpenUnmixConfig(), {"targets": tuple(map(str, range(100_000)))}),
        (SCNetConfig(), {"num_dual_path": 10**6}),
        (SCNetConfig(), {"widths": (8,) * 10_000}),
        (DemucsConfig(), {"lstm_layers": 10**6}),
        (DemucsConfig(), {"branch_depth": 10**6}),
        (DemucsConfig(), {"growth": 8.0, "depth": 8}),
        (TFCTDFUNetConfig(), {"num_hidden_channels": 10**6}),
        (TFCTDFUNetConfig(), {"sample_rate": 10**15}),
        (TFCTDFUNetConfig(), {"num_fft": 1 << 27, "sample_length": 3600.0}),
    ],
)
def test_gigantic_settings_cost_nothing(config, changes, tmp_path):
    path = tmp_path / "a.safetensors"
    config = {**to_dict(config), **changes}
    header = {"format": "sonograd-separator", "version": "1", "config": json.dumps(config)}
    save_file({f"{n}": torch.ones(2) for n in range(400)}, path, metadata=header)
    begin = time.process_time()
    with pytest.raises(CheckpointError, match=r"is that large|more than|can be built") as info:
        load_separator(path)
    assert time.process_time() - begin < 10
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 1000


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("HTDemucs", {"transformer_heads": 7, "bottom_channels": 32}),
        ("HTDemucs", {"stride": 1000, "kernel_size": 1000}),
        ("Demucs", {"norm_groups": 7, "norm_starts": 0}),
    ],
)
def test_settings_of_which_nothing_can_be_built(name, changes, tmp_path):
    model = TINY[name]()
    config = dataclasses.replace(model.config)
    for key, value in changes.items():
        object.__setattr__(config, key, value)
    with pytest.raises(SonogradError):
        built_separator(tmp_path, config, model.state_dict())


@pytest.mark.parametrize("error", [RuntimeError("shapes"), AssertionError(), MemoryError()])
def test_what_stops_a_network_from_being_built_is_named(error, tmp_path, monkeypatch):
    model = TINY["OpenUnmix"]()

    def build(config):
        raise error

    monkeypatch.setattr("sonograd.separators.fitting.build_separator", build)
    with pytest.raises(
        CheckpointError, match=f"no OpenUnmix can be built .*{type(error).__name__}"
    ) as info:
        built_separator(tmp_path, model.config, model.state_dict())
    assert info.value.__cause__ is error


def test_other_threads_may_build_meanwhile(tmp_path, monkeypatch):
    """Only what the thread itself builds is counted."""
    model = TINY["OpenUnmix"]()
    other = threading.Thread(target=lambda: [torch.nn.Linear(2000, 2000) for _ in range(5)])

    def build(config):
        other.start()
        other.join()
        return build_separator(config)

    monkeypatch.setattr("sonograd.separators.fitting.build_separator", build)
    assert built_separator(tmp_path, model.config, model.state_dict())
    torch.nn.Linear(2000, 2000)  # and nothing is, afterwards


@pytest.mark.parametrize(
    "take",
    [
        lambda n: torch.empty(n, n),
        lambda n: torch.zeros((n, n)),
        lambda n: torch.ones(size=(n, n)),
        lambda n: torch.full((n, n), 1.0),
        lambda n: torch.nn.Parameter(torch.rand(n, n)),
        lambda n: torch.nn.Linear(n, n),
        lambda n: torch.nn.LSTM(n, n),
        lambda n: torch.nn.Sequential(*[torch.nn.Linear(100, 100) for _ in range(n)]),
        lambda n: torch.nn.Sequential(*[torch.nn.Identity() for _ in range(n)]),
    ],
)
def test_nothing_is_taken_beyond_the_budget(tmp_path, monkeypatch, take):
    model = TINY["OpenUnmix"]()
    monkeypatch.setattr("sonograd.separators.fitting.build_separator", lambda _: take(30_000))
    with pytest.raises(CheckpointError, match=r"holds \d+ (numbers|tensors), but a OpenUnmix"):
        built_separator(tmp_path, model.config, model.state_dict())


def test_numbers_that_become_infinite(tmp_path):
    expected = {"a": torch.ones(1)}
    check_tensors(tmp_path, {"a": torch.full((1,), 1e30, dtype=torch.float64)}, expected)
    with pytest.raises(CheckpointError, match="not finite: a"):
        check_tensors(tmp_path, {"a": torch.full((1,), 1e300, dtype=torch.float64)}, expected)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2])
def test_types_that_weights_do_not_have(tmp_path, dtype):
    with pytest.raises(CheckpointError, match=r"type that weights do not have: a (complex|float8)"):
        check_tensors(tmp_path, {"a": torch.zeros(1).to(dtype)}, {"a": torch.ones(1)})


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.float64])
def test_files_of_ours_with_other_types(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    model = TINY["OpenUnmix"]()
    save_separator(model, path)
    header = {
        "format": "sonograd-separator", "version": "1", "config": json.dumps(to_dict(model.config)),
    }  # fmt: skip
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(tensors, path, metadata=header)
    if dtype == torch.float64:
        assert isinstance(load_separator(path), Separator)
    else:
        with pytest.raises(CheckpointError, match="type that weights do not have"):
            load_separator(path)


def test_names_are_shown_on_one_line():
    assert shown("core.weight") == "core.weight"
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 10_000)) == 120
    with pytest.raises(CheckpointError, match=r"left over: 'a\\nb'") as info:
        check_tensors("x", {"a\nb": torch.ones(1)}, {})
    assert "\n" not in str(info.value)
