"""``sonograd config``, in process."""

import dataclasses
import inspect
import json
from typing import get_args

import pytest

from sonograd.cli.app import main
from sonograd.cli.config import config
from sonograd.config import SeparatorConfig


def test_every_field_is_an_option():
    options = set(inspect.signature(config).parameters)
    for kind in get_args(SeparatorConfig):
        fields = {field.name for field in dataclasses.fields(kind)} - {"targets"}
        assert fields <= options, kind


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


def test_model_type_as_an_option_and_display(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["config", "--model-type", "TFCTDFUNet", "--bass", "--drums", "--display"]) == 0
    shown = capsys.readouterr().out
    assert "targets              drums, bass" in shown
    assert "complete_targets     False" in shown
    assert not list(tmp_path.iterdir())


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
