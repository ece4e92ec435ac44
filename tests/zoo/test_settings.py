"""Files of settings of others: plain values, in bounded time."""

import json
import time

import pytest

from sonograd.errors import ConfigError
from sonograd.zoo.settings import model_arguments, read_settings


@pytest.fixture
def read(tmp_path):
    def read(text, suffix=".yaml"):
        path = tmp_path / f"a{suffix}"
        path.write_text(text)
        return read_settings(path)

    return read


def refused(read, text, match, suffix=".yaml"):
    begin = time.process_time()
    with pytest.raises(ConfigError, match=match) as info:
        read(text, suffix)
    assert time.process_time() - begin < 5
    assert "\n" not in str(info.value)


def bomb(levels, width, reference):
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} {reference([f'*a{n - 1}'] * width)}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "reference",
    [
        lambda parts: f"[{', '.join(parts)}]",
        lambda parts: "{" + ", ".join(f"k{n}: {part}" for n, part in enumerate(parts)) + "}",
        lambda parts: "{<<: [" + ", ".join(parts) + "]}",
        lambda parts: "!!python/tuple [" + ", ".join(parts) + "]",
    ],
    ids=["list", "mapping", "merge", "tuple"],
)
def test_few_references_that_stand_for_very_many_values(read, reference):
    refused(read, bomb(10, 9, reference), "references that stand for more than 100000 values")
    assert read(bomb(3, 3, reference))["a0"] == {"x": 1}


def test_a_list_within_itself(read):
    refused(read, "a: &a [*a]", "a reference to what it is part of")
    refused(read, "a: &a {b: {c: *a}}", "a reference to what it is part of")


def test_signs_in_comments_are_harmless(read):
    text = f"# {'*' * 5000} & {'&' * 5000}\nmodel: {{dim: 8}}\nname: 'R&B *live*'\n"
    assert read(text) == {"model": {"dim": 8}, "name": "R&B *live*"}


def test_references_as_people_use_them(read):
    text = "base: &base {dim: 8, depth: 1}\nmodel: {<<: *base, depth: 2}\n"
    assert read(text)["model"] == {"dim": 8, "depth": 2}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: 1" + ":10" * 100_000, "a number of 300001 digits"),
        ("a: 0x" + "f" * 10_000, "a number of 10002 digits"),
        ("a: !!int ''", "not valid YAML"),
        ("a: !!bool x", "not valid YAML"),
        ("a: !!timestamp x", "not valid YAML"),
        ("a: !!float {}", "not valid YAML"),
        ("a: !!binary ä", "not valid YAML"),
        ("? [1]\n: 2", "not valid YAML"),
        ("a: 2024-99-99", "not valid YAML"),
        ("a: [" * 5000, "not valid YAML"),
        ("\0", "not valid YAML"),
        ("a: *b", "not valid YAML"),
        ("- 1", "expected settings by name"),
        ("1: 2", "expected settings by name"),
        ("a: 1\n" * 300_000, "has more than 1048576 bytes"),
    ],
)
def test_damaged_yaml(read, text, match):
    refused(read, text, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "expected settings by name"),
        ("{", "not valid JSON"),
    ],
)
def test_damaged_json(read, text, match):
    refused(read, text, match, ".json")


def test_sections_that_are_none():
    for settings in ({"model": 3}, {"model": {}, "audio": 3}, {"model": "x", "x": []}):
        with pytest.raises(ConfigError, match="expected settings by name"):
            model_arguments(settings, source="a.yaml")


def test_json_has_its_own_values(read):
    data = {"model": {"dim": 8}, "audio": {"chunk_size": 100}}
    assert model_arguments(read(json.dumps(data), ".json"), source="a") == {
        "dim": 8, "chunk_size": 100,
    }  # fmt: skip
