"""Checkpoints: what is stored comes back, and nothing else is accepted."""

import dataclasses
import json
import os
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sonograd.config import (
    OpenUnmixConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
)
from sonograd.errors import CheckpointError, OutputError, ParameterError
from sonograd.separators import (
    CenterExtraction,
    SpectrogramNetLSTM,
    SpectrogramNetSimple,
    build_separator,
    load_separator,
    read_checkpoint_info,
    save_separator,
)

SMALL = {
    "targets": ("vocals", "drums"),
    "num_hidden_channels": 1,
    "num_fft": 64,
    "window_size": 64,
    "hop_length": 16,
    "sample_rate": 8000,
    "sample_length": 0.1,
}


@pytest.fixture
def net():
    return SpectrogramNetSimple(SpectrogramNetSimpleConfig(**SMALL))


@pytest.fixture
def path(net, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_separator(net, path, metadata={"si_sdr_db": "5.4"})
    return path


def rewrite(path, *, header=None, tensors=None):
    """Write the checkpoint again with some of its header or tensors changed."""
    with safe_open(path, framework="pt") as file:
        old = file.metadata()
    save_file({**load_file(path), **(tensors or {})}, path, {**old, **(header or {})})


def test_round_trip(net, path):
    loaded = load_separator(path)
    assert type(loaded) is SpectrogramNetSimple
    assert loaded.config == net.config
    assert not any(module.training for module in loaded.modules())
    mix = torch.randn(1, 1000)
    assert torch.equal(loaded.separate(mix), net.separate(mix))


def test_the_file_describes_itself(net, path):
    info = read_checkpoint_info(path)
    assert (info.config, info.metadata, info.version) == (net.config, {"si_sdr_db": "5.4"}, 1)


def test_every_architecture_comes_back(tmp_path):
    net = SpectrogramNetLSTM(SpectrogramNetLSTMConfig(**SMALL, hidden_size=8))
    save_separator(net, tmp_path / "x.safetensors")
    loaded = load_separator(tmp_path / "x.safetensors")
    assert type(loaded) is SpectrogramNetLSTM
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize("version", ["1", "3"])
def test_weights_of_other_layers_are_refused(path, version):
    rewrite(path, header={"layers_version": version})
    with pytest.raises(CheckpointError, match=r"SpectrogramNetSimple has other layers .*train it"):
        load_separator(path)


def test_files_without_a_version_of_layers_have_the_first(path):
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header.pop("layers_version") == "2"
    save_file(load_file(path), path, header)
    with pytest.raises(CheckpointError, match=r"version 1, expected 2"):
        read_checkpoint_info(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_halves_the_file_and_loads_as_float32(net, path, tmp_path, dtype):
    half = tmp_path / "half.safetensors"
    save_separator(net, half, dtype=dtype)
    assert sum(t.nbytes for t in load_file(half).values()) * 2 == sum(
        t.nbytes for t in load_file(path).values()
    )
    loaded = load_separator(half)
    for name, tensor in net.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], tensor.to(dtype).float())


def test_weights_that_half_precision_cannot_hold_are_refused(net, tmp_path):
    net.unet.head.bias.data[0] = 1e6
    with pytest.raises(ParameterError, match=r"unet\.head\.bias reaches 1e\+06, which .*float16"):
        save_separator(net, tmp_path / "x.safetensors", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_loading_leaves_the_random_state_alone(path):
    before = torch.get_rng_state()
    load_separator(path)
    assert torch.equal(before, torch.get_rng_state())


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(net, path, monkeypatch):
    before = path.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sonograd.separators.checkpoint.save_file", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_separator(net, path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_folder_that_does_not_exist(net, tmp_path):
    with pytest.raises(OutputError, match=r"no/x\.safetensors: cannot be written: No such file"):
        save_separator(net, tmp_path / "no" / "x.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_may_read_the_file(path):
    assert path.stat().st_mode & 0o777 == 0o644


def test_only_models_with_weights_can_be_saved(tmp_path):
    with pytest.raises(ParameterError, match="CenterExtraction has no weights"):
        save_separator(CenterExtraction(sample_rate=8000, channels=2), tmp_path / "x.safetensors")


def test_the_name_has_to_say_what_the_file_is(net, tmp_path):
    with pytest.raises(ParameterError, match=r"ends in \.safetensors"):
        save_separator(net, tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".th", ".pt", ".bin", ".PTH"])
def test_pickled_files_are_never_opened(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="can run any program"):
        load_separator(path)


def test_a_pickle_under_another_name_is_damaged(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="damaged, or not a safetensors file"):
        load_separator(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:4],
        lambda data: data[:50],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: struct.pack("<Q", 2**62) + data[8:],
        lambda data: data[:9] + b"\xff" + data[10:],
        lambda data: b"RIFF" + data,
    ],
)
def test_damage_is_one_line(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    for read in (load_separator, read_checkpoint_info):
        with pytest.raises(CheckpointError, match="damaged") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_separator(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_separator(tmp_path)


def test_a_foreign_safetensors_file(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="but not a separator"):
        load_separator(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"version": "2"}, "version '2' of the format, this sonograd reads 1"),
        ({"config": "{"}, "configuration is not valid JSON"),
        ({"config": "[" * 100_000}, "configuration is not valid JSON"),
        ({"config": '{"model_type": "Other"}'}, "model_type: got 'Other'; expected one of"),
        ({"config": '{"model_type": "SpectrogramNetSimple", "num_ff": 1}'}, "mean 'num_fft'"),
        ({"metadata": "no"}, "configuration is not valid JSON"),
    ],
)
def test_a_header_that_does_not_fit(path, header, message):
    rewrite(path, header=header)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_separator(path)
    assert "\n" not in str(caught.value)


def test_tensors_that_do_not_fit(net, path):
    tensors = load_file(path)
    del tensors["unet.head.bias"]
    for number in range(5):
        tensors[f"more.{number}"] = torch.zeros(1)
    tensors["unet.head.weight"] = torch.zeros(3, 1)
    tensors["unet.down.0.0.bias"] = torch.tensor([float("nan")])
    with safe_open(path, framework="pt") as file:
        save_file(tensors, path, file.metadata())
    expected = (
        r"missing: unet\.head\.bias; left over: more\.0, more\.1, more\.2 and 2 more; "
        r"of another shape: unet\.head\.weight \(3, 1\) instead of \(8, 2, 3, 3\); "
        r"not finite: unet\.down\.0\.0\.bias"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_separator(path)


def test_another_architecture(path):
    with pytest.raises(
        CheckpointError, match="holds a SpectrogramNetSimple, expected a SpectrogramNetLSTM"
    ):
        load_separator(path, config=SpectrogramNetLSTMConfig(**SMALL))


def test_a_configuration_that_was_changed_after_training(path):
    changed = SpectrogramNetSimpleConfig(**{**SMALL, "hop_length": 32, "sample_rate": 16000})
    with pytest.raises(
        CheckpointError,
        match="trained with sample_rate 8000 instead of 16000, hop_length 16 instead of 32",
    ):
        load_separator(path, config=changed)


def test_settings_that_no_weight_depends_on_may_change(path):
    changed = SpectrogramNetSimpleConfig(**{**SMALL, "sample_length": 0.2, "dropout_p": 0.1})
    loaded = load_separator(path, config=changed)
    assert loaded.config == changed
    assert loaded.plan.length == 1600


def test_filters_behind_the_networks_may_change(tmp_path):
    small = {"targets": ("vocals", "drums"), "num_fft": 64, "hop_length": 16, "hidden_size": 8}
    net = build_separator(OpenUnmixConfig(**small, sample_rate=8000)).eval()
    save_separator(net, tmp_path / "umx.safetensors")
    changed = dataclasses.replace(
        net.config, wiener_iterations=2, wiener_frames=20, softmask=True, residual_target="rest"
    )
    loaded = load_separator(tmp_path / "umx.safetensors", config=changed)
    mix = torch.randn(2, 1000)
    assert loaded.stems == ("vocals", "drums", "rest")
    stems = loaded.separate(mix)
    assert (stems[:2] - net.separate(mix)).abs().max() > 1e-3
    torch.testing.assert_close(stems.sum(0), mix, rtol=0, atol=1e-4)


def test_the_stored_configuration_is_plain_json(path, net):
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["config"])["targets"] == ["vocals", "drums"]
    assert build_separator(read_checkpoint_info(path).config).stems == net.stems
