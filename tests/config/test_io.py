"""Reading, writing and validating configurations: strict, complete, and in one go."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge

from sonograd.config import parse_config, read_config, suggest, to_dict, validate, write_config
from sonograd.errors import ConfigError, OutputError

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, kw_only=True)
class Inner:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    depth: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        if self.depth == 13:
            raise ConfigError("Inner", ["depth: 13 is refused.", "depth: really."])


@dataclass(frozen=True, kw_only=True)
class Square:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    ignored_keys: ClassVar[frozenset[str]] = frozenset({"legacy"})
    kind_type: Literal["square"] = "square"
    size: float = 1.0
    name: str = "x"
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"
    parts: tuple[Inner, ...] = ()
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True, kw_only=True)
class Circle:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    kind_type: Literal["circle"] = "circle"
    radius: int = 1


Shape: Any = Square | Circle


def problems(data, kind=Square):
    with pytest.raises(ConfigError) as caught:
        parse_config(data, kind)
    return list(caught.value.problems)


def test_defaults_fill_what_is_missing():
    assert parse_config({}, Square) == Square()


def test_every_error_at_once_with_path_and_remedy():
    data = {
        "siz": 2,
        "flag": "False",
        "name": 3,
        "mode": "fats",
        "inner": {"depth": 0, "dept": 1},
        "parts": [{}, {"depth": True}],
    }
    assert sorted(problems(data)) == [
        "flag: input should be a valid boolean (got 'False').",
        "inner.dept: no such key. Did you mean 'depth'?",
        "inner.depth: input should be greater than or equal to 1 (got 0).",
        "mode: got 'fats'; expected one of fast, slow. Did you mean 'fast'?",
        "name: input should be a valid string (got 3).",
        "parts.1.depth: input should be a valid integer (got True).",
        "siz: no such key. Did you mean 'size'?",
    ]


def test_all_problems_are_in_the_message():
    with pytest.raises(
        ConfigError, match=r"^model\.json: flag: input.*; siz: no such key"
    ) as caught:
        parse_config({"siz": 1, "flag": 1}, Square, source="model.json")
    assert "\n" not in str(caught.value)
    assert caught.value.source == "model.json"


@pytest.mark.parametrize(
    "value", [{"flag": 1}, {"flag": "true"}, {"size": "3"}, {"size": True}, {"size": None}]
)
def test_types_are_strict(value):
    assert len(problems(value)) == 1


def test_integers_are_floats_but_floats_are_no_integers():
    size = parse_config({"size": 3}, Square).size
    assert (size, type(size)) == (3.0, float)
    assert problems({"radius": 3.5}, Circle)
    assert problems({"radius": True}, Circle)


def test_unions_are_told_apart_by_their_tag():
    assert parse_config({"kind_type": "circle", "radius": 2}, Shape) == Circle(radius=2)
    assert problems({"kind_type": "circel"}, Shape) == [
        "kind_type: got 'circel'; expected one of square, circle. Did you mean 'circle'?"
    ]
    assert problems({"radius": 2}, Shape) == ["kind_type: this key is missing."]
    assert problems({"kind_type": "circle", "radius": "2", "inner": 1}, Shape)[0].startswith(
        "radius:"
    )


def test_errors_of_post_init_keep_their_path():
    assert problems({"inner": {"depth": 13}}) == [
        "inner.depth: 13 is refused.",
        "inner.depth: really.",
    ]
    assert problems({"parts": [{}, {"depth": 13}]})[0] == "parts.1.depth: 13 is refused."


def test_ignored_keys_are_dropped_where_they_belong():
    assert parse_config({"legacy": 1}, Square) == Square()
    assert parse_config({"kind_type": "square", "legacy": 1}, Shape) == Square()
    assert problems({"kind_type": "circle", "legacy": 1}, Shape) == ["legacy: no such key."]


@pytest.mark.parametrize("data", [None, 3, "text", [], [{}]])
def test_what_is_no_object_is_refused(data):
    assert problems(data, Square)
    assert problems(data, Shape)


def test_what_is_no_json_is_refused():
    assert problems({"name": Path("x")})[0].startswith("not plain JSON data")


@pytest.mark.parametrize("value", [{}, [], None, 1, {"kind_type": "x"}])
def test_a_choice_that_is_no_string(value):
    assert problems({"mode": value}) == [f"mode: got {value!r}; expected one of fast, slow."]
    assert problems({"kind_type": value}, Shape)


def test_long_values_are_shortened():
    assert len(problems({"size": "x" * 10_000})[0]) < 200


def test_round_trip(tmp_path):
    config = Square(size=0.1, name="ä\n", parts=(Inner(depth=2), Inner()), mode="slow")
    path = tmp_path / "config.json"
    write_config(config, path)
    assert read_config(path, Square) == config
    assert read_config(path, Shape) == config
    assert json.loads(path.read_text(encoding="utf-8")) == to_dict(config)
    assert to_dict(config)["parts"] == [{"depth": 2}, {"depth": 1}]


def test_validate_looks_at_what_python_does_not():
    assert validate(Square()) == Square()
    with pytest.raises(ConfigError, match="size: input should be a valid number"):
        validate(Square(size="1"))
    with pytest.raises(ConfigError, match="parts: input should be a valid array"):
        validate(Square(parts="ab"))
    with pytest.raises(ConfigError, match=r"inner\.depth"):
        validate(Square(inner=Inner(depth=-1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON at line 1, column 1"),
        ('{"size": 1,\n}', "not valid JSON at line 2, column 1"),
        ('{"size": 1, "size": 2}', "size: this key is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"size": ' + "9" * 5000 + "}", "not valid JSON: Exceeds the limit"),
        ("[]", "(file)"),
    ],
)
def test_files_that_do_not_parse(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path, Square)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "none.json", Square)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path, Square)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "binary.json", Square)


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"size": 2}', encoding="utf-8-sig")
    assert read_config(path, Square).size == 2


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    write_config(Square(), path)
    before = path.read_text()

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_config(Square(size=9), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]
    assert path.read_text() == before


def test_writing_into_a_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_config(Square(), tmp_path / "no" / "config.json")


def test_what_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json: size: input should be a valid number"):
        write_config(Square(size="1"), tmp_path / "config.json")
    assert not list(tmp_path.iterdir())


def test_suggestions():
    assert suggest("num_ftt", ["num_fft", "hop_length"]) == " Did you mean 'num_fft'?"
    assert not suggest("zzz", ["num_fft"])


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Square().size = math.pi


def test_what_cannot_be_json_is_an_error_of_the_settings():
    circle = {"name": []}
    circle["name"].append(circle)
    for data in (circle, {"size": 10**5000}, {"size": {1, 2}}):
        with pytest.raises(ConfigError, match="not plain JSON data"):
            parse_config(data, Square)


def test_a_thousand_problems_are_not_all_told():
    found = problems({f"unknown {n}": 1 for n in range(1000)})
    assert len(found) == 101
    assert found[-1] == "and 900 more."
