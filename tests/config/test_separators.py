"""Configurations of separators: their files, their limits, and what contradicts what."""

import dataclasses
import json
from typing import get_args

import pytest

from sonograd.config import (
    SeparatorConfig,
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
    parse_config,
    read_config,
    to_dict,
    validate,
    write_config,
)
from sonograd.errors import ConfigError

#: What auralflow writes, for every model type with the same keys.
AURALFLOW = {
    "targets": ["vocals"],
    "num_channels": 1,
    "num_hidden_channels": 16,
    "sample_length": 3,
    "sample_rate": 44100,
    "dropout_p": 0.4,
    "leak_factor": 0,
    "normalize_input": True,
    "normalize_output": False,
    "recurrent_depth": 3,
    "hidden_size": 1024,
    "input_axis": 1,
    "mask_act_fn": "sigmoid",
    "num_fft": 1024,
    "window_size": 1024,
    "hop_length": 512,
}


def problems(**changes):
    with pytest.raises(ConfigError) as caught:
        parse_config({"model_type": "SpectrogramNetLSTM", **changes}, SeparatorConfig)
    return list(caught.value.problems)


@pytest.mark.parametrize("kind", get_args(SeparatorConfig), ids=lambda kind: kind.__name__)
def test_round_trip_of_every_architecture(kind, tmp_path):
    config = kind()
    assert config.model_type == kind.__name__.removesuffix("Config")
    assert validate(config) == config
    write_config(config, tmp_path / "model.json")
    assert read_config(tmp_path / "model.json", SeparatorConfig) == config


@pytest.mark.parametrize("kind", get_args(SeparatorConfig), ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind):
    text = "".join(base.__doc__ or "" for base in kind.__mro__)
    for field in dataclasses.fields(kind):
        assert field.name == "model_type" or f"        {field.name}: " in text


@pytest.mark.parametrize(
    "kind", [SpectrogramNetSimpleConfig, SpectrogramNetLSTMConfig, SpectrogramNetVAEConfig]
)
def test_files_of_auralflow_load(kind, tmp_path):
    name = kind.__name__.removesuffix("Config")
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"model_type": name, **AURALFLOW}))
    config = read_config(path, SeparatorConfig)
    assert type(config) is kind
    known = to_dict(config)
    assert known["model_type"] == name
    assert all(known[key] == value for key, value in AURALFLOW.items() if key in known)
    assert set(AURALFLOW) - set(known) == (
        {"recurrent_depth", "hidden_size", "input_axis"}
        if kind is SpectrogramNetSimpleConfig
        else set()
    )


def test_documented_defaults():
    config = to_dict(SpectrogramNetLSTMConfig())
    assert config == {
        **AURALFLOW,
        "model_type": "SpectrogramNetLSTM",
        "normalize_input": False,
    }


def test_the_string_false_is_not_true():
    assert problems(normalize_input="False", dropout_p=1) == [
        "dropout_p: input should be less than 1 (got 1).",
        "normalize_input: input should be a valid boolean (got 'False').",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("targets", []),
        ("num_channels", 0),
        ("num_hidden_channels", 0),
        ("sample_length", 0),
        ("sample_length", 1e9),
        ("sample_length", float("nan")),
        ("sample_length", float("inf")),
        ("sample_rate", 999),
        ("dropout_p", -0.1),
        ("leak_factor", -1),
        ("leak_factor", float("inf")),
        ("recurrent_depth", 0),
        ("hidden_size", 7),
        ("input_axis", 2),
        ("mask_act_fn", "softmaks"),
        ("num_fft", 63),
        ("window_size", 8),
        ("hop_length", 0),
        ("hop_length", 1.5),
    ],
)
def test_limits(key, value):
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_length": 0.0232}, "sample_length: 0.0232 s is shorter than num_fft (1024"),
        ({"window_size": 2048}, "window_size: 2048 is longer than num_fft"),
        ({"hop_length": 513}, "hop_length: 513 is more than half of window_size"),
        ({"mask_act_fn": "softmax"}, "'softmax' over one target is always 1"),
        ({"targets": ["a", "b", "a"]}, "'a' is listed twice"),
        ({"targets": ["residual"]}, "is the name of another file"),
        ({"targets": ["Mixture"]}, "is the name of another file"),
        ({"targets": ["../up"]}, "targets.0: '../up' cannot name a file"),
        ({"targets": ["a/b"]}, "cannot name a file"),
        ({"targets": [""]}, "cannot name a file"),
        ({"targets": ["a."]}, "cannot name a file"),
        ({"targets": [" a"]}, "cannot name a file"),
        ({"targets": ["a\n"]}, "cannot name a file"),
        ({"targets": ["a" * 101]}, "cannot name a file"),
    ],
)
def test_contradictions(changes, message):
    (problem,) = problems(**changes)
    assert message in problem
    with pytest.raises(ConfigError) as caught:
        SpectrogramNetSimpleConfig(
            **{key: tuple(v) if isinstance(v, list) else v for key, v in changes.items()}
        )
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", get_args(SeparatorConfig), ids=lambda kind: kind.__name__)
def test_no_architecture_writes_outside_its_folder(kind):
    with pytest.raises(ConfigError, match=r"targets\.0: '\.\./up' cannot name a file"):
        kind(targets=("../up",))


def test_contradictions_come_with_bad_fields():
    found = problems(dropout_p=2, num_fft=5, extra=1, targets=["v/ocals", "residual"])
    assert sorted(found) == [
        "dropout_p: input should be less than 1 (got 2).",
        "extra: no such key.",
        "num_fft: input should be greater than or equal to 64 (got 5).",
        "targets.0: 'v/ocals' cannot name a file; "
        "expected letters, digits, spaces and the signs . + - _",
        "targets.1: 'residual' is the name of another file beside the stems; "
        "expected another name.",
    ]
    # What a bad field contradicts is not known; the others may still contradict each other.
    assert len(problems(num_fft="1024", window_size=2048)) == 1
    assert len(problems(num_fft="1024", window_size=256)) == 2
    assert len(problems(targets="vocals", mask_act_fn="softmax")) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_length": 99999}, "hop_length: 99999 is more than half of num_fft (4096)"),
        ({"sample_length": 1e-4}, "sample_length: 0.0001 s is shorter than num_fft (4096"),
        ({"sample_length": 1e9}, "sample_length: "),
        ({"sample_length": float("nan")}, "sample_length: "),
        ({"full_resolution_hz": float("inf")}, "full_resolution_hz: "),
        ({"targets": ["vocals"]}, "complete_targets: 'vocals' alone cannot be the whole mix"),
    ],
)
def test_limits_of_the_default(changes, message):
    (problem,) = problems(model_type="TFCTDFUNet", **changes)
    assert problem.startswith(message)


def test_contradictions_come_together():
    assert len(problems(window_size=2048, hop_length=2000, mask_act_fn="softmax")) == 3


@pytest.mark.parametrize("target", ["vocals", "lead guitar", "Gesang_2", "808", "ß-x", "a.b+c"])
def test_names_of_targets(target):
    assert SpectrogramNetSimpleConfig(targets=(target,)).targets == (target,)
