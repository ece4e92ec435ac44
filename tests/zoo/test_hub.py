"""Repositories of a hub: what is in them, and which of it makes a model."""

import json
import runpy
from pathlib import Path
from urllib.parse import quote

import pytest
import torch

from sonograd.cli.app import main
from sonograd.errors import CheckpointError, ModelNotFoundError
from sonograd.separators import SCNet, save_separator
from sonograd.zoo import load
from sonograd.zoo.cache import cached_models, read_source
from sonograd.zoo.hub import hub_entry
from sonograd.zoo.install import install

MALICIOUS = runpy.run_path(str(Path(__file__).with_name("test_malicious.py")))
ARGUMENTS, published, tiny = (MALICIOUS[name] for name in ("ARGUMENTS", "published", "tiny"))
SETTINGS = json.dumps({"model": ARGUMENTS}).encode()  # JSON is YAML


@pytest.fixture(scope="module")
def nets():
    return [SCNet(tiny()).eval() for _ in range(2)]


@pytest.fixture(scope="module")
def contents(nets, tmp_path_factory):
    """Return the bytes of both networks: in our format, and as published."""
    ours, theirs, folder = [], [], tmp_path_factory.mktemp("contents")
    for net in nets:
        save_separator(net, folder / "a.safetensors")
        torch.save({"state_dict": published(net)}, folder / "a.ckpt")
        ours.append((folder / "a.safetensors").read_bytes())
        theirs.append((folder / "a.ckpt").read_bytes())
    return ours, theirs


@pytest.fixture
def publish(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)

    def publish(files, license="mit"):
        siblings = [{"rfilename": "README.md", "size": 3}]
        for name, content in files.items():
            _, sha256 = server.add(f"me/net/resolve/main/{quote(name)}", content)
            item = {"rfilename": name, "size": len(content)}
            siblings.append({**item, "lfs": {"sha256": sha256}} if len(content) > 999 else item)
        listing = {"siblings": siblings, "cardData": {"license": license}}
        server.add("api/models/me/net?blobs=true", json.dumps(listing).encode())

    return publish


def assert_is(separator, *nets, weights):
    mix = torch.randn(2, 2000)
    found = torch.stack([net.separate(mix) for net in nets])
    rows = torch.tensor(weights)[..., None, None]
    expected = (found * rows).sum(0) / rows.sum(0)
    torch.testing.assert_close(separator.separate(mix), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("weights", [[[1.0, 0.0], [0.25, 1.0]], None])
def test_a_bag_of_members(publish, nets, contents, weights):
    ours, _ = contents
    bag = {"models": ["0123abcd", "89abcdef"], "segment": 44}
    publish(
        {
            "net.yaml": json.dumps({**bag, "weights": weights} if weights else bag).encode(),
            "0123abcd.safetensors": ours[0],
            "89abcdef.safetensors": ours[1],
            "preprocessor_config.json": b'{"size": 3}',
        }
    )
    entry = hub_entry("hf://me/net")
    assert entry.overrides == {"segment": 44}
    assert [file.urls[0].rpartition("/")[2] for file in entry.files] == [
        "0123abcd.safetensors", "89abcdef.safetensors",
    ]  # fmt: skip
    assert_is(load("hf://me/net"), *nets, weights=weights or [[1.0, 1.0], [1.0, 1.0]])
    record = read_source(install("hf://me/net"))
    assert (record.family, len(record.member_weights)) == ("SCNet", 2)


def test_a_member_that_is_there_twice_is_fetched_once(publish, server, nets, contents):
    bag = {"models": ["0123abcd", "89abcdef", "0123abcd"]}
    files = {"0123abcd.safetensors": contents[0][0], "89abcdef.safetensors": contents[0][1]}
    publish({"net.yaml": json.dumps(bag).encode(), **files})
    assert_is(load("hf://me/net"), *nets, nets[0], weights=[[1.0, 1.0]] * 3)
    assert sum("safetensors" in name for name, _ in server.requests) == 2


def test_a_bag_of_one_is_no_bag(publish, nets, contents):
    publish(
        {
            "net.yaml": b"models: ['0123abcd']",
            "0123abcd.safetensors": contents[0][0],
            "0123abcd-89abcdef.th": b"the same in another format",
        }
    )
    assert_is(load("hf://me/net"), nets[0], weights=[[1.0, 1.0]])
    assert (install("hf://me/net") / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("bag", "error", "match"),
    [
        (
            {"models": ["0123abcd", "aaaaaaaa"]},
            ModelNotFoundError,
            "lists 'aaaaaaaa', which is not",
        ),
        ({"models": ["0123abcd"] * 99}, ModelNotFoundError, r"net\.yaml lists 99 members"),
        ({"weights": [[1.0]]}, ModelNotFoundError, "expected weights with a row for each member"),
        ({"weights": [["x"], [1]]}, ModelNotFoundError, "expected weights with a row for each"),
        ({"weights": [["nan", 1], [1, 1]]}, ModelNotFoundError, "weights of 0 or more"),
        ({"weights": [[1, "inf"], [1, 1]]}, ModelNotFoundError, "weights of 0 or more"),
        ({"weights": [[-1, 1], [2, 1]]}, ModelNotFoundError, "weights of 0 or more"),
        ({"weights": [[0, 1], [0, 1]]}, ModelNotFoundError, "more than 0 of each stem"),
        ({"models": ["a\nb" * 999]}, ModelNotFoundError, r"lists 'a\\nb.{1,199}', which is not"),
        ({"weights": [[1, 0, 0], [0, 1, 1]]}, CheckpointError, "weights for 3 stems, but .* a, b"),
    ],
)
def test_bags_that_make_no_sense(publish, server, contents, bag, error, match):
    ours, _ = contents
    bag = {"models": ["0123abcd", "89abcdef"], **bag}
    files = {"0123abcd.safetensors": ours[0], "89abcdef.safetensors": ours[1]}
    publish({"net.yaml": json.dumps(bag).encode(), **files})
    with pytest.raises(error, match=match) as info:
        load("hf://me/net/net.yaml")
    assert "\n" not in str(info.value)
    if error is ModelNotFoundError:
        assert not any("safetensors" in name for name, _ in server.requests)


@pytest.mark.parametrize("name", ["a\nb.ckpt", "a\x1b[2J.ckpt", f"{'a' * 999}.ckpt"])
def test_names_that_no_file_has_are_passed_over(publish, nets, contents, name):
    publish({name: contents[0][0], f"x{name}": b"", "model.safetensors": contents[0][0]})
    assert_is(load("hf://me/net"), nets[0], weights=[[1.0, 1.0]])


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".th", ".ckpt"])
def test_weights_of_all_kinds_with_their_settings(publish, nets, contents, suffix):
    publish(
        {
            f"pytorch_model{suffix}": contents[1][0],
            "training_args.bin": b"no weights",
            "checkpoint/optimizer.pt": b"no weights",
            ".github/workflows/test.yml": b"on: push",
            "settings.yaml": SETTINGS,
            "preprocessor_config.json": b'{"size": 3}',
        }
    )
    assert_is(load("hf://me/net"), nets[0], weights=[[1.0, 1.0]])


def test_settings_count_only_where_a_file_has_none(publish, nets, contents):
    publish({"model.safetensors": contents[0][0], "other.yaml": b"train: [", "a.json": b"{}"})
    assert_is(load("hf://me/net"), nets[0], weights=[[1.0, 1.0]])


def test_the_safest_format_is_taken(publish, server, nets, contents):
    files = {"pytorch_model.bin": contents[1][0], "model.safetensors": contents[0][0]}
    publish({**files, "net.ckpt": contents[1][0]})
    assert_is(load("hf://me/net"), nets[0], weights=[[1.0, 1.0]])
    assert [name for name, _ in server.requests if "resolve" in name] == [
        "/me/net/resolve/main/model.safetensors"
    ]


def test_one_of_several_is_named(publish, nets, contents, capsys):
    _, theirs = contents
    publish(
        {
            "a.ckpt": theirs[0], "old/b #1?.ckpt": theirs[1], "config_a.yaml": SETTINGS,
            "old/b #1?.yaml": SETTINGS, "more.yaml": b"x: 1", "c.ckpt": theirs[0],
        }
    )  # fmt: skip
    with pytest.raises(ModelNotFoundError, match=r"3 files of weights; .*such as hf://me/net/a"):
        load("hf://me/net")
    with pytest.raises(ModelNotFoundError, match=r"has no model 'd\.ckpt'; it has a\.ckpt"):
        load("hf://me/net/d.ckpt")
    with pytest.raises(ModelNotFoundError, match=r"has no model 'more\.yaml'"):
        load("hf://me/net/more.yaml")
    with pytest.raises(ModelNotFoundError, match="3 files of settings, none of them called like c"):
        load("hf://me/net/c.ckpt")
    assert_is(load("hf://me/net/a.ckpt"), nets[0], weights=[[1.0, 1.0]])
    assert_is(load("hf://me/net/old/b #1?.ckpt"), nets[1], weights=[[1.0, 1.0]])
    assert len(cached_models()) == 2
    assert cached_models()[0] == "hf--me--net--a.ckpt"
    assert main(["models", "remove", "hf://me/net/a.ckpt"]) == 0
    assert "removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("terms", "commercial"),
    [
        ("mit", True), ("cc-by-nc-4.0", False), ("cc-by-nc-sa-4.0", False), ("other", None),
        ("openrail", None), ("cc-by-4.0", True), ("unknown", None), (None, None),
    ],
)  # fmt: skip
def test_licenses_of_model_cards(publish, terms, commercial):
    publish({"model.safetensors": b"any"}, license=terms)
    assert hub_entry("hf://me/net").commercial is commercial


def test_a_license_without_commercial_use_is_a_warning(publish, contents):
    publish({"model.safetensors": contents[0][0]}, license="cc-by-nc-4.0")
    with pytest.warns(UserWarning, match=r"license cc-by-nc-4\.0: no commercial use"):
        load("hf://me/net")


@pytest.mark.parametrize(
    "listing", [{}, {"siblings": None}, {"siblings": 3}, {"siblings": [{"rfilename": "a.md"}, 1]}]
)
def test_lists_without_a_model(server, monkeypatch, listing):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.add("api/models/me/net?blobs=true", json.dumps(listing).encode())
    with pytest.raises(ModelNotFoundError, match="has no file of weights; expected one"):
        load("hf://me/net")
