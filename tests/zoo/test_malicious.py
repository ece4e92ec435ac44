"""Files that want more than to be read are refused, with one clear line, and nothing happens."""

import json
import os
import pickle
import struct
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sonograd.config import SCNetConfig
from sonograd.errors import CheckpointError, ConfigError
from sonograd.separators import SCNet
from sonograd.zoo.convert import convert_checkpoint
from sonograd.zoo.settings import read_settings
from sonograd.zoo.unpickle import read_published


class Runs:
    """Unpickled, it makes a folder: a harmless stand-in for any program."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"mkdir {self.path}",)


def refused(match, action, *args, **kwargs):
    with pytest.raises(CheckpointError, match=match) as info:
        action(*args, **kwargs)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 600


@pytest.mark.parametrize("old", [False, True])
def test_a_program_in_a_pickle(tmp_path, old):
    path, trace = tmp_path / "a.th", tmp_path / "trace"
    content = {"state": {"weight": torch.ones(2)}, "training_args": Runs(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    refused(r"refused; it asks for (posix|nt)\.system, which could run", read_published, path)
    assert not trace.exists()


def test_a_program_in_a_plain_pickle(tmp_path):
    path, trace = tmp_path / "a.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Runs(trace)))
    refused("refused|damaged", read_published, path)
    assert not trace.exists()


def test_a_class_that_stands_for_a_program_is_never_imported(tmp_path):
    """A class named in the header of a safetensors file stays a piece of text."""
    path = tmp_path / "a.safetensors"
    header = {"klass": "subprocess.Popen", "args": '[["touch", "x"]]', "kwargs": "{}"}
    save_file({"weight": torch.ones(2)}, path, metadata=header)
    assert read_published(path).class_name == "subprocess.Popen"
    refused(r"of no family that is known.*weight", convert_checkpoint, [path])
    header["kwargs"] = json.dumps({"sources": ["a"]})
    save_file({"crosstransformer.x": torch.ones(2)}, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"do not fit|holds|missing"):
        convert_checkpoint([path], settings={"sources": ["a"]})


@pytest.mark.parametrize("entry", ["../../evil", "/etc/evil", "..\\evil", "C:\\evil"])
def test_paths_that_lead_out_of_an_archive(tmp_path, entry):
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(2)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"x")
    refused("refused; an entry leads out of the archive", read_published, path)


def test_stems_that_lead_out_of_a_folder(tmp_path):
    net = SCNet(tiny())
    path = tmp_path / "a.ckpt"
    torch.save(published(net), path)
    with pytest.raises(ConfigError, match=r"'\.\./\.\./evil' cannot name a file"):
        convert_checkpoint([path], settings={**ARGUMENTS, "sources": ["../../evil", "b"]})


def test_a_zip_bomb(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    assert path.stat().st_size < 100_000
    refused(r"refused; 'archive/data.pkl' is compressed \(\d+ to 50000000 bytes\)",
            read_published, path)  # fmt: skip


def test_a_zip_bomb_that_says_it_is_not_compressed(tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\0" * 1000)
    data = path.read_bytes()
    size = struct.pack("<I", 1000)
    directory = data.rindex(b"PK\x01\x02")
    huge = data[:directory] + data[directory:].replace(size, struct.pack("<I", 1 << 31))
    path.write_bytes(huge)
    refused("refused; it would unpack to 2147483648 bytes", read_published, path)


def test_a_tensor_that_is_larger_than_its_file(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(1).expand(10**12)}, path)
    refused(r"weight has shape \(1000000000000,\), of which the file holds 4 bytes",
            read_published, path)  # fmt: skip


ARGUMENTS = {
    "sources": ["a", "b"], "dims": [4, 8], "nfft": 128, "hop_size": 32, "win_size": 128,
    "num_dplayer": 2, "sample_rate": 8000, "chunk_size": 800,
}  # fmt: skip


def tiny():
    return SCNetConfig(
        targets=("a", "b"), widths=(8,), num_fft=128, hop_length=32, num_dual_path=2,
        sample_rate=8000, sample_length=0.1,
    )  # fmt: skip


def published(net):
    """Return the state of a small SCNet under published names."""
    layers = {"norm_in": 0, "gate": 1, "depthwise": 3, "norm_out": 4, "expand": 6}
    state = {}
    for name, tensor in net.state_dict().items():
        kind, *rest = name.removeprefix("core.").split(".")
        match kind, rest:
            case "encoder", [i, "down", b, last]:
                new = f"encoder.{i}.SDlayer.convs.{b}.{last}"
            case "encoder", [i, "blocks", b, layer, part, last]:
                new = f"encoder.{i}.conv_modules.{b}.layers.{layer}.{layers[part]}.{last}"
            case "encoder", [i, "mix", last]:
                new = f"encoder.{i}.globalconv.{last}"
            case "decoder", [i, "fuse", last]:
                new = f"decoder.{i}.0.conv.{last}"
            case "decoder", [i, "up", b, last]:
                new = f"decoder.{i}.1.convtrs.{b}.{last}"
            case "dual_path", [i, path, part, last]:
                number = ["frequency", "time"].index(path)
                new = f"separation_net.dp_modules.{i}.{part}_layers.{number}.{last}"
        state[new] = tensor
    return state


def test_shapes_of_another_model_are_named(tmp_path):
    path = tmp_path / "a.ckpt"
    net = SCNet(tiny()).eval()
    torch.save({"state_dict": published(net), "epoch": 3}, path)
    mix = torch.randn(1, 2, 900)
    with torch.no_grad():
        assert torch.equal(convert_checkpoint([path], settings=ARGUMENTS)(mix), net(mix))
    refused(
        r"a\.ckpt: weights do not fit the model; of another shape: core\.\S+ \(8, .*and \d+ more",
        convert_checkpoint,
        [path],
        settings={**ARGUMENTS, "dims": [4, 12]},
    )
    refused(
        r"holds \d+ numbers, but a SCNet with these settings has more than \d+",
        convert_checkpoint,
        [path],
        settings={**ARGUMENTS, "dims": [4, 100_000]},
    )


def test_a_checkpoint_of_another_family_is_named(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save(published(SCNet(tiny())), path)
    arguments = {"dim": 8, "depth": 1, "stereo": True, "sources": ["a"]}
    with pytest.raises(CheckpointError, match="do not fit the model; missing: band_split") as info:
        convert_checkpoint([path], family="MelBandRoFormer", settings=arguments)
    assert "\n" not in str(info.value)
    refused(
        r"do not fit the model; missing: .* and \d+ more; left over: encoder\.0\.SDlayer",
        convert_checkpoint,
        [path],
        family="Demucs",
        settings={"sources": ["a"], "channels": 4, "depth": 2},
    )
    refused(
        r"no such argument.*looks like a SCNet, which has separation_net\S+, not like a HTDemucs",
        convert_checkpoint,
        [path],
        family="HTDemucs",
        settings=ARGUMENTS,
    )


def test_numbers_of_numpy_and_fractions_are_harmless(tmp_path):
    path = tmp_path / "a.ckpt"
    content = {
        "model_state_dict": {"weight": torch.ones(2)},
        "metrics": {"sdr": np.float64(9.0), "all": np.float32(1.0)},
        "segment": Fraction(39, 5),
    }
    torch.save(content, path)
    assert read_published(path).state["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("content", [b"", b"RIFF", b"PK\x03\x04", bytes(1000), b"\x80\x02}q\x00."])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_what_is_no_checkpoint(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused("damaged|no tensors|refused", read_published, path)


def test_missing_files_and_folders(tmp_path):
    refused("no such file", read_published, tmp_path / "a.ckpt")
    refused("is a folder", read_published, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['mkdir x']",
        "a: !!python/name:os.system",
        "a: !!python/object/new:type [a]",
        "!!python/module:os",
    ],
)
def test_programs_in_yaml(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"refused; it asks for python/") as info:
        read_settings(path)
    assert "\n" not in str(info.value)


def test_tuples_in_yaml_are_lists(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("model:\n  bands: !!python/tuple [1, 2]\n  lr: 1.0e-05\n")
    assert read_settings(path) == {"model": {"bands": [1, 2], "lr": 1e-5}}
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_settings(path)
    path.write_text("- 1")
    with pytest.raises(ConfigError, match="expected settings by name"):
        read_settings(path)
