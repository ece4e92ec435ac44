"""Every row of the tables in docs/migration.md names what there is."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

from sonograd import frontends, functional
from sonograd.compat import nnaudio
from sonograd.compat.nnaudio import features, utils

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()


def table(title):
    """Return the rows of the first table below a title, without its head."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


NAMES = [(row[3], name) for row in table("Names") for name in code(row[3])]
THEIRS = [
    (column, name) for row in table("Names") for column in (0, 1) for name in code(row[column])
]


def call(text):
    """Return the dotted name of an expression, and its keyword arguments."""
    node = ast.parse(text, mode="eval").body
    options = {}
    while isinstance(node, ast.Call):
        options |= {item.arg: ast.literal_eval(item.value) for item in node.keywords}
        node = node.args[0] if node.args else node.func  # Of abs(stft), stft.
    return ast.unparse(node), options


def resolve(name, *homes):
    for home in homes:
        found = home
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not None:
            return found
    raise AssertionError(f"there is no {name}")


@pytest.mark.parametrize(("cell", "text"), NAMES, ids=str)
def test_ours_exist(cell, text):
    if text == "STFT().inverse(spectrum, length)":
        layer = frontends.STFT()
        x = torch.randn(3000)
        assert torch.allclose(layer.inverse(layer(x), 3000), x, atol=1e-5)
        return
    name, options = call(text)
    home = [frontends] if "." not in name else [importlib.import_module("sonograd")]
    if name == "amplitude_to_db":  # The second of two that share their home.
        home = [functional]
    found = resolve(name, *home)
    if inspect.isclass(found):
        layer = found(**options)
        if name not in {"GriffinLim", "PCEN"}:
            layer(torch.randn(30_000))


@pytest.mark.parametrize(("column", "text"), THEIRS, ids=str)
def test_theirs_exist(column, text):
    name, options = call(text)
    if column == 0:
        found = resolve(name, features, nnaudio, utils)
        if inspect.isclass(found) and options:
            found(verbose=False, **options)
        return
    found = resolve(name, pytest.importorskip("librosa"))
    inspect.signature(found).bind_partial(**options)


@pytest.mark.parametrize("after", [row[1] for row in table("One import line")[:5]], ids=str)
def test_imports(after):
    exec(code(after)[0], {})


@pytest.mark.parametrize("row", table("Arguments"), ids=lambda row: row[0])
def test_arguments(row):
    """What our column calls an argument is one, and takes the value that it states."""
    shared = code(row[0]) if "the same" in row[1] else []
    for text in [*code(row[3]), *shared]:
        name, _, value = text.partition("=")
        if not name.isidentifier() or not name.islower():
            continue
        taken = 0
        for layer in (frontends.STFT, frontends.MelSpectrogram, frontends.ConstantQ):
            if name in inspect.signature(layer).parameters:
                taken += 1
                layer(**({name: ast.literal_eval(value)} if value else {}))
        assert taken, text


def test_defaults():
    for name, value in {"pad_mode": "constant", "freq_scale": "none", "output": "complex"}.items():
        assert inspect.signature(frontends.STFT).parameters[name].default == value
    assert inspect.signature(frontends.ConstantQ).parameters["tolerance"].default == 7.5e-5
    assert inspect.signature(frontends.MelSpectrogram).parameters["norm"].default == "slaney"
    assert frontends.STFT(n_fft=1000).hop_length == 250
    for name in ("MelSpectrogram", "MFCC", "ConstantQ", "VariableQ", "GammatoneSpectrogram"):
        parameters = inspect.signature(getattr(frontends, name)).parameters
        assert parameters["hop_length"].default == 512
