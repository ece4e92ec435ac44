"""``sonograd config``, in process."""

import dataclasses
import inspect
import json
from typing import get_args

import pytest

from sonograd.cli.app import main
from sonograd.cli.config import config
from sonograd.config import SeparatorConfig, SpectrogramNetVAEConfig, TFCTDFUNetConfig


def test_the_documents_fields_and_those_of_the_default_model_are_options():
    options = set(inspect.signature(config).parameters)
    for kind in (SpectrogramNetVAEConfig, TFCTDFUNetConfig):
        fields = {field.name for field in dataclasses.fields(kind)} - {"targets"}
        assert fields <= options, kind


@pytest.mark.parametrize("kind", get_args(SeparatorConfig))
def test_every_architecture_by_its_name_and_with_any_field(kind, tmp_path, capsys):
    name = kind.__dataclass_fields__["model_type"].default
    folder = tmp_path / "m"
    assert main(["config", name, "--save", str(folder), "--set", "sample-rate=32000"]) == 0
    stored = json.loads((folder / "model.json").read_text())
    assert (stored["model_type"], stored["sample_rate"]) == (name, 32000)


def test_a_model_that_exists_gives_its_settings(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["config", "default", "--save", str(first)]) == 0
    stored = json.loads((first / "model.json").read_text())
    assert stored["model_type"] == "TFCTDFUNet"
    assert stored["complete_targets"] is True
    command = ["config", "default", "--save", str(second), "--vocals", "--num_levels", "2"]
    assert main(command) == 0
    stored = json.loads((second / "model.json").read_text())
    assert (stored["targets"], stored["num_levels"]) == (["vocals"], 2)
    assert stored["complete_targets"] is False


def test_writes_model_json(tmp_path, capsys):
    folder = tmp_path / "my model"
    status = main(
        [
            *(
                "config",
                "SpectrogramNetVAE",
                "--save",
                str(folder),
                "--vocals",
                "--num-channels",
                "2",
            ),
            *("--hidden_size", "64", "--normalize-input"),
        ]
    )
    assert status == 0
    stored = json.loads((folder / "model.json").read_text())
    assert stored["model_type"] == "SpectrogramNetVAE"
    assert stored["targets"] == ["vocals"]
    assert (stored["num_channels"], stored["hidden_size"], stored["normalize_input"]) == (
        2,
        64,
        True,
    )
    assert capsys.readouterr().out == f"{folder / 'model.json'}\n"


def test_model_type_as_an_option_several_targets_and_display(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["config", "--model-type", "TFCTDFUNet", "--bass", "--drums", "--target", "flute"]
    assert main([*command, "--display"]) == 0
    shown = capsys.readouterr().out
    assert "setting              model.json" in shown
    assert "targets              drums, bass, flute" in shown
    assert "complete_targets     False" in shown
    assert shown.endswith("my_model/model.json\n")
    assert (tmp_path / "my_model" / "model.json").exists()


def test_existing_folder_is_kept(tmp_path, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    command = ["config", "SpectrogramNetSimple", "--save", str(folder)]
    assert main(command) == 2
    assert "is not empty and is kept" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert main([*command, "--overwrite"]) == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "model.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SpectrogramNetVAX"], "Did you mean 'SpectrogramNetVAE'"),
        ([], "model type: is missing"),
        (["hpss"], "hpss works without weights"),
        (["SpectrogramNetVAE", "--set", "widths"], "expected key=value"),
        (["TFCTDFUNet", "--dropout-p", "0.5"], "dropout_p: no such key"),
        (["SpectrogramNetSimple", "--dropout-p", "1.5"], "dropout_p: "),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["config", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
