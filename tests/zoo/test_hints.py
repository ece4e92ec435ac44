"""What a file of weights says about itself, and what others say about it."""

import json
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file

from sonograd.errors import ParameterError
from sonograd.zoo import convert as module
from sonograd.zoo import model_entries
from sonograd.zoo.convert import Hints, convert_checkpoint

SOURCES = {"sources": ["a", "b"]}
CLASSES = {
    "demucs.demucs.Demucs": "Demucs",
    "demucs.hdemucs.HDemucs": "HybridDemucs",
    "demucs.htdemucs.HTDemucs": "HTDemucs",
}


@pytest.fixture
def built(monkeypatch):
    """Return what is going to be built, and build nothing."""
    monkeypatch.setattr(module, "_built", lambda _, family, arguments, name: (family, arguments))


@pytest.fixture
def write(tmp_path):
    def write(klass=None, tensor="weight", **kwargs):
        header = {"klass": klass, "args": "[]", "kwargs": json.dumps(kwargs)} if klass else None
        path = tmp_path / "a.safetensors"
        save_file({tensor: torch.ones(2)}, path, metadata=header)
        return [path]

    return write


@pytest.mark.parametrize(("klass", "family"), CLASSES.items())
def test_the_family_that_a_file_names_comes_first(built, write, klass, family):
    files = write(klass, **SOURCES, segment=9)
    hints = Hints(family="SCNet", settings={"sources": ["c"]}, overrides={"segment": 8})
    assert convert_checkpoint(files, hints=hints) == (family, {**SOURCES, "segment": 8})


@pytest.mark.parametrize("klass", [None, "subprocess.Popen"])
def test_a_class_that_is_not_known_counts_for_nothing(built, write, klass):
    files = write(klass, "crosstransformer.x")
    hints = Hints(family="SCNet", settings={"sources": ["c"]})
    assert convert_checkpoint(files, hints=hints) == ("SCNet", {"sources": ["c"]})
    family, _ = convert_checkpoint(files, hints=Hints(settings=SOURCES))
    assert family == "HTDemucs"


def test_what_the_user_gives_comes_before_everything(built, write):
    files = write("demucs.hdemucs.HDemucs", **SOURCES)
    hints = Hints(family="SCNet", settings={"sources": ["c"]})
    found = convert_checkpoint(files, family="Demucs", settings={"sources": ["d"]}, hints=hints)
    assert found == ("Demucs", {"sources": ["d"]})


@pytest.mark.parametrize(
    ("klass", "own", "segment"),
    [
        ("demucs.demucs.Demucs", None, 44),
        ("demucs.hdemucs.HDemucs", 10, 44),
        ("demucs.htdemucs.HTDemucs", None, None),  # it is 10 there
        ("demucs.htdemucs.HTDemucs", {"_type": "fraction", "numerator": 39, "denominator": 5},
         Fraction(39, 5)),
        ("demucs.htdemucs.HTDemucs", 50, 44),
        ("demucs.htdemucs.HTDemucs", "x", 44),
    ],
)  # fmt: skip
def test_a_segment_is_changed_unless_a_transformer_has_a_shorter_one(
    built, write, klass, own, segment
):
    files = write(klass, **SOURCES, **({} if own is None else {"segment": own}))
    _, arguments = convert_checkpoint(files, hints=Hints(overrides={"segment": 44}))
    assert arguments.get("segment") == segment
    _, arguments = convert_checkpoint(files, hints=Hints(overrides={"segment": "y"}))
    assert arguments["segment"] == "y"  # refused later, with a clear line


def test_bags_change_the_segment_as_their_publisher_does():
    entries = model_entries()
    changed = {name for name, entry in entries.items() if entry.overrides == {"segment": 44}}
    assert changed == {"hdemucs_mmi", "mdx", "mdx_extra"}


def test_two_files_of_one_name_are_not_one(write, tmp_path):
    (first,) = write()
    (tmp_path / "b").mkdir()
    second = first.rename(tmp_path / "b" / first.name)
    with pytest.raises(ParameterError, match="2 files were given"):
        convert_checkpoint([*write(), second], family="SCNet", settings=SOURCES)


def test_hashes_are_whole_or_as_published():
    files = [file for entry in model_entries().values() for file in entry.files]
    whole = [file for file in files if len(file.sha256 or "") == 64]
    assert len(whole) >= 20
    assert all(file.size for file in whole)
    for file in whole:  # names of files end with the first digits of their hash
        stem = file.urls[0].rpartition("/")[2].partition(".")[0]
        if "-" in stem and len(digits := stem.rpartition("-")[2]) == 8:
            assert file.sha256.startswith(digits)
