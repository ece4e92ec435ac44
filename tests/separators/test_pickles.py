"""The machine behind pickles: it reads what torch.save writes, and does nothing but read."""

import argparse
import datetime
import io
import pickle
import struct
import time
import zipfile
from collections import Counter, OrderedDict, defaultdict, namedtuple
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sonograd.errors import CheckpointError
from sonograd.zoo.unpickle import read_published

TYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64,
)  # fmt: skip


def program(*parts):
    """Return a pickle of these instructions."""
    return b"\x80\x02" + b"".join(parts) + b"."


def name(text):
    module, _, last = text.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{last}\n".encode()


def text(value):
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def archive(path, data, storages=None):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", data)
        for key, numbers in (storages or {}).items():
            file.writestr(f"a/data/{key}", numbers)
    return path


def refused(path, match):
    begin = time.process_time()
    with pytest.raises(CheckpointError, match=match) as info:
        read_published(path)
    assert time.process_time() - begin < 5
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 600


@pytest.mark.parametrize("old", [False, True])
def test_tensors_are_those_that_were_saved(tmp_path, old):
    base = torch.arange(24.0).reshape(2, 3, 4)
    state = OrderedDict(
        whole=base,
        turned=base.transpose(0, 2),
        part=base[1, 1:],
        steps=base[..., ::2],
        wide=torch.ones(3, 1).expand(3, 1),
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.ones(2)),
        **{f"type {dtype}": torch.tensor([0, 1, 2]).to(dtype) for dtype in TYPES},
    )
    state["again"] = state["whole"]
    state._metadata = OrderedDict({"": {"version": 1}})
    path = tmp_path / "a.pth"
    torch.save({"state": state, "epoch": 3}, path, _use_new_zipfile_serialization=not old)
    read = read_published(path).state
    assert list(read) == list(state)
    for key, tensor in state.items():
        assert read[key].dtype == tensor.dtype
        assert torch.equal(read[key], tensor), key


def test_a_view_of_an_old_storage(tmp_path):
    """Files of torch 0.x name parts of storages."""
    storage = (
        name("torch.FloatStorage") + text("7") + text("cpu") + b"K\x06"
        + text("8") + b"K\x02K\x03\x87t"
    )  # fmt: skip
    pid = b"(" + text("storage") + storage + b"Q"
    tensor = name("torch._utils._rebuild_tensor") + pid + b"K\x01K\x02\x85K\x01\x85" + b"t"
    tensor = tensor.replace(b"_rebuild_tensor\n", b"_rebuild_tensor\n(", 1) + b"R"
    content = program(b"}", text("w"), tensor, b"s")
    path = tmp_path / "a.pth"
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    data = b"".join(pickle.dumps(item, protocol=2) for item in head) + content
    data += pickle.dumps(["7"], protocol=2)
    path.write_bytes(data + struct.pack("<q6f", 6, *range(6)))
    assert read_published(path).state["w"].tolist() == [3, 4]
    assert torch.load(path, weights_only=True)["w"].tolist() == [3, 4]  # as torch reads it


def test_dictionaries_of_python_2(tmp_path):
    """They are made from a list of lists, of a name and a value each."""
    content = stored([2], [1]).removeprefix(b"\x80\x02").removesuffix(b".")
    tensor = content.removeprefix(b"}" + text("weight")).removesuffix(b"s")
    pair = b"](" + text("weight") + tensor + b"e"
    made = name("collections.OrderedDict") + b"](" + pair + b"e\x85R"
    path = archive(tmp_path / "a.pth", program(made), {"0": struct.pack("<4f", *range(4))})
    assert read_published(path).state["weight"].tolist() == [0, 1]
    archive(path, program(name("collections.OrderedDict") + b"]K\x01a\x85R"))
    refused(path, "a dictionary of what are no pairs")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: Permission denied"),
        (MemoryError(), "cannot be read: there is not enough memory"),
        (OSError(22, "Invalid argument"), "damaged, or no file of weights"),
    ],
)
def test_what_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch, error, said):
    def fail(*_):
        raise error

    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(bytes(20))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", fail)
            refused(path, said)


Pair = namedtuple("Pair", "a b")


class Settings(dict):
    """Stands for the dictionaries of other programs."""


@pytest.mark.parametrize(
    "extra",
    [
        argparse.Namespace(lr=1e-3, path=Path("/x")),
        defaultdict(list, {"a": [1]}),
        Counter("abc"),
        datetime.datetime(2024, 1, 1),
        {(1, (2, 3)): 4, "set": {1, 2}, "bytes": b"abc", "complex": 1j},
        Settings(a=1),
        torch.device("cpu"),
        torch.Size([1, 2]),
        np.float64(9.0),
        np.arange(3),
        np.dtype("float32"),
        [Fraction(39, 5), Fraction(-1, 3), Fraction(2)],
    ],
    ids=lambda extra: type(extra).__name__,
)
@pytest.mark.parametrize("key", ["args", "kwargs", "config"])
def test_what_a_training_keeps_beside_its_weights_is_read_past(tmp_path, extra, key):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, key: extra}, path)
    read = read_published(path)
    assert read.state["weight"].tolist() == [1, 1]
    assert read.arguments == {}


def test_optimizers_and_schedules_are_read_past(tmp_path):
    path = tmp_path / "last.ckpt"
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=1)
    content = {
        "model_state_dict": {"weight": torch.ones(2)},
        "optimizer": optimizer.state_dict(),
        "best": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
    }
    torch.save(content, path)
    assert read_published(path).state["weight"].tolist() == [1, 1]


def test_a_whole_network_is_no_state(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, r"holds a torch\.nn\.modules\.linear\.Linear, expected tensors by name")


@pytest.mark.parametrize(
    ("called", "arguments"),
    [
        ("posix.system", text("x") + b"\x85"),
        ("os.system", text("x") + b"\x85"),
        ("builtins.eval", text("x") + b"\x85"),
        ("__builtin__.eval", text("x") + b"\x85"),
        ("builtins.getattr", text("x") + b"\x85"),
        ("commands.getoutput", text("x") + b"\x85"),
        ("torch.hub.load", text("x") + b"\x85"),
        ("torch.load", text("x") + b"\x85"),
        ("my_training.start", b")"),
        ("numpy.load", text("x") + b"\x85"),
    ],
)
def test_functions_are_not_called(tmp_path, called, arguments):
    path = archive(tmp_path / "a.pth", program(name(called), arguments, b"R"))
    refused(path, r"asks for \S+\.\w+, which could run a program")


@pytest.mark.parametrize(
    "called",
    [
        # Each would take memory or time that a small file must not cost.
        name("builtins.bytearray") + b"\x8a\x08" + struct.pack("<q", 10**12) + b"\x85R",
        name("torch.Tensor") + b"\x8a\x08" + struct.pack("<q", 10**10) + b"\x85R",
        name("torch.Tensor") + b"\x8a\x08" + struct.pack("<q", 10**10) + b"\x85\x81",
        name("torch.storage.UntypedStorage") + b"J\xff\xff\xff\x7f\x85\x81",
        name("torch._utils._rebuild_meta_tensor_no_storage") + b"(NJ\xff\xff\xff\x7f\x85NNtR",
        name("torch._utils._rebuild_qtensor") + b")R",
        b"".join(
            [b"(", name("_codecs.encode"), text("x" * 100), text("hex"), b"\x86R"]
            + [b"q\x01", name("_codecs.encode"), b"h\x01", text("hex"), b"\x86R"] * 60
            + [b"t"]
        ),
    ],
    ids=range(7),
)
def test_what_a_function_would_make_is_not_made(tmp_path, called):
    path = archive(tmp_path / "a.pth", program(b"}", text("weight"), called, b"s"))
    refused(path, "holds no tensors|is no plain tensor|do not have|asks for")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("number", ["1e999999999", "0." + "1" * 10_000, "9" * 5000, "1/0", "a", ""])
def test_fractions_are_two_numbers(tmp_path, number, old):
    content = program(b"}", text("a"), name("fractions.Fraction"), text(number), b"\x85Rs")
    path = tmp_path / "a.pth"
    archive(path, content)
    refused(path, "fraction")


def test_fractions_in_both_spellings(tmp_path):
    for arguments in (text("39/5") + b"\x85R", b"K\x27K\x05\x86R"):
        path = tmp_path / "a.th"
        weight = torch.ones(2)
        buffer = io.BytesIO()
        torch.save({"klass": 0, "kwargs": 0, "state": {"w": weight}}, buffer)
        with zipfile.ZipFile(buffer) as file:
            data = file.read("archive/data.pkl")
            numbers = file.read("archive/data/0")
        klass = name("demucs.htdemucs.HTDemucs")
        kwargs = b"}" + text("segment") + name("fractions.Fraction") + arguments + b"s"
        found = list(data.split(b"K\x00"))
        data = found[0] + klass + found[1] + kwargs + b"K\x00".join(found[2:])
        archive(path, data, {"0": numbers})
        read = read_published(path)
        assert read.class_name == "demucs.htdemucs.HTDemucs"
        assert read.arguments == {"segment": Fraction(39, 5)}


def stored(shape, stride, offset=0, count=4):
    """Return a pickle of a tensor of ``count`` numbers."""

    def number(value):
        return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)

    storage = name("torch.FloatStorage") + text("0") + text("cpu") + number(count)
    pid = b"(" + text("storage") + storage + b"tQ"
    sizes, strides = ([b"(", *map(number, values), b"t"] for values in (shape, stride))
    call = [b"(", pid, number(offset), *sizes, *strides, b"\x89", b"}", b"tR"]
    return program(b"}", text("weight"), name("torch._utils._rebuild_tensor_v2"), *call, b"s")


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "count", "match"),
    [
        ([5], [1], 0, 4, r"has shape \(5,\), of which the file holds 16 bytes"),
        ([2], [10**12], 0, 4, "of which the file holds 16 bytes"),
        ([10**12], [0], 0, 4, "of which the file holds 16 bytes"),
        ([4], [1], 1, 4, "of which the file holds 16 bytes"),
        ([-4], [1], 0, 4, "no valid shape"),
        ([4], [-1], 3, 4, "no valid shape"),
        ([4], [1], -1, 4, "no valid shape"),
        ([4], [1, 1], 0, 4, "no valid shape"),
        ([1] * 100, [1] * 100, 0, 4, "no valid shape"),
        ([1 << 60], [1], 0, 4, "no valid shape"),
        ([2**40, 2**40], [1, 1], 0, 4, "of which the file holds 16 bytes"),
        ([10**9], [1], 0, 10**9, "storage 0 has 16 bytes instead of 4000000000"),
        ([1], [1], 0, -1, "a storage without a size"),
    ],
)  # fmt: skip
def test_tensors_lie_within_the_file(tmp_path, shape, stride, offset, count, match):
    path = archive(tmp_path / "a.pth", stored(shape, stride, offset, count), {"0": bytes(16)})
    refused(path, match)


def test_one_storage_is_not_a_thousand_weights(tmp_path):
    path = tmp_path / "a.pth"
    weight = torch.ones(100_000)
    torch.save({f"{n}": weight for n in range(100)}, path)
    refused(path, "refused; its tensors have 40000000 bytes, the file 4")


def test_programs_end(tmp_path, monkeypatch):
    doubled = b"K\x01" + b"q\x00h\x00\x86" * 40  # a tuple of tuples: 2**40 numbers
    path = archive(tmp_path / "a.pth", program(b"}", doubled, b"K\x01s"))
    refused(path, "holds no tensors")
    monkeypatch.setattr("sonograd.separators.pickles._MAX_INSTRUCTIONS", 10_000)
    path = archive(tmp_path / "c.pth", program(*[b"]"] * 10_100))
    refused(path, r"refused; it takes more than 10000 instructions to read")
    pairs = b"](" + b"K\x01K\x02\x86" * 900 + b"eq\x00"
    many = name("collections.OrderedDict") + b"q\x01" + b"h\x01h\x00\x85R" * 9
    path = archive(tmp_path / "b.pth", program(pairs, many))
    refused(path, "more than 10000 instructions")
    path = archive(tmp_path / "d.pth", program(*[b"("] * 9_000))
    refused(path, "damaged")
    path = archive(tmp_path / "e.pth", program(b"X\xff\xff\xff\xff"))
    refused(path, "ends early")
    path = archive(tmp_path / "f.pth", program(b"cos\n" + b"x" * 1000 + b"\n"))
    refused(path, "a name that is too long")


def test_keys_of_old_storages_are_text(tmp_path):
    head = [0x1950A86A20F9469CFC6C, 1001, {}]
    data = b"".join(pickle.dumps(item, protocol=2) for item in head) + program(b"}")
    keys = b"]" + b"K\x01" + b"q\x00h\x00\x86" * 40 + b"a"  # one, a tuple of tuples of tuples
    path = tmp_path / "a.pth"
    path.write_bytes(data + program(keys) + bytes(8))
    refused(path, "a storage of 0 numbers that was not announced")


def test_numbers_of_rare_types_may_lie_beside_the_weights(tmp_path):
    path = tmp_path / "a.pth"
    rare = torch.zeros(2).to(torch.float8_e4m3fn)
    torch.save({"state": {"weight": torch.ones(2)}, "rare": rare}, path)
    assert read_published(path).state["weight"].tolist() == [1, 1]
    torch.save({"state": {"weight": rare}}, path)
    refused(path, "weight is no plain tensor|holds no tensors")


def mutated(data, random):
    """Return bytes with a few changes."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(data))
        match random.randrange(5):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + 4] = random.choice((bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f"))
            case 2:
                data[at : at + 1] = random.choice(b"().RtbQsuae}]N\x81\x85\x86\x87").to_bytes()
            case 3:
                del data[at : at + random.randrange(1, 9)]
            case _:
                data[at:at] = data[at // 2 : at // 2 + random.randrange(30)]
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize("kind", ["program", "archive", "old", "safetensors"])
def test_damaged_bytes_are_damage(tmp_path, kind):
    """Whatever comes: tensors, or one line."""
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    state = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(3), "b": torch.ones(())}
    content = {"state": state, "epoch": 3, "kwargs": {"segment": Fraction(39, 5), "x": [1.5, None]}}
    if kind == "safetensors":
        save_file(state, path, metadata={"klass": "x", "kwargs": '{"a": 1}'})
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind != "old")
    whole, random, outcomes = path.read_bytes(), Random(kind), set()
    parts = {}
    if kind == "program":
        with zipfile.ZipFile(path) as file:
            parts = {entry.filename: file.read(entry) for entry in file.infolist()}
    for _ in range(250):
        if parts:
            with zipfile.ZipFile(path, "w") as file:
                for part, data in parts.items():
                    file.writestr(part, mutated(data, random) if ".pkl" in part else data)
        else:
            path.write_bytes(mutated(whole, random))
        try:
            outcomes.add(type(read_published(path)).__name__)
        except CheckpointError as error:
            outcomes.add("damage" if "\n" not in str(error) else "more than one line")
    assert outcomes == {"PublishedCheckpoint", "damage"}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_protocols(tmp_path, protocol):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.ones(2)}, path, pickle_protocol=protocol)
    if protocol == 3:
        assert read_published(path).state["weight"].tolist() == [1, 1]
    else:
        refused(path, f"protocol {protocol}, where torch.save has 2")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><title>404</title>", r"no file of weights \(it begins with b'<!DOCTYP'"),
        (b"no", r"it begins with b'no'"),
        (b"", r"it begins with b''"),
        (b"\x80\x02n", "no valid pickle: instruction b'n'"),
        (b"\x80\x02(i", r"refused; .*instruction b'i', which files of torch.save do not have"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path, content, match):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    refused(path, match)


def test_names_of_tensors_stay_on_one_line(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a\nb\x1b[2J": torch.ones(1).to_sparse()}, path)
    refused(path, r"'a\\nb\\x1b\[2J' is no plain tensor")


def test_the_order_of_bytes(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(archive(path, stored([4], [1]), {"0": bytes(16)}), "a") as file:
        file.writestr("a/byteorder", "big")
    refused(path, "highest byte first")


def test_a_torchscript_program_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    archive(path, stored([4], [1]), {"0": bytes(16)})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("a/constants.pkl", b"")
    refused(path, "TorchScript")


@pytest.mark.parametrize("stem", ["run 12:30", "a", "ü ñ", "C: and D:", "data"])
def test_files_may_be_called_anything(tmp_path, stem):
    path = tmp_path / f"{stem}.ckpt"
    torch.save({"weight": torch.ones(2)}, path)
    assert read_published(path).state["weight"].tolist() == [1, 1]
