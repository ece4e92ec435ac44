"""``sonograd separate``: the same options as the API, lines and statuses."""

import inspect

import pytest
import torch

from sonograd.cli.app import app, main
from sonograd.cli.separate import separate
from sonograd.data import read_audio, write_audio
from sonograd.jobs import separate_files
from sonograd.zoo import model_entries

CLI_ONLY = {"quiet"}
API_ONLY = {"on_progress", "on_event"}


def test_options_and_defaults_are_those_of_the_api():
    command = inspect.signature(separate).parameters
    function = inspect.signature(separate_files).parameters
    assert [name for name in command if name not in CLI_ONLY] == [
        name for name in function if name not in API_ONLY
    ]
    for name in set(command) - CLI_ONLY:
        assert command[name].default == function[name].default, name
        only_by_name = inspect.Parameter.KEYWORD_ONLY
        assert (command[name].kind == only_by_name) == (function[name].kind == only_by_name), name


def test_help_names_the_models():
    model = (inspect.getdoc(separate) or "").split("Args:")[1].split("audio: ")[0]
    assert "sonograd models lists them" in model
    assert all(name in model_entries() for name in ("default", "hpss", "htdemucs"))


def test_every_option_reaches_the_api(monkeypatch, tmp_path):
    got = {}

    def fake(model, audio, **options):
        got.update(options, model=model, audio=audio)
        raise KeyboardInterrupt

    monkeypatch.setattr("sonograd.jobs.separate.separate_files", fake)
    status = main(
        ["separate", "m", "--batch_size", "3", "--sr", "22050", "a.wav", "--residual", "b c.wav",
         "--duration", "1.5", "--overlap", "0.25", "--padding", "7", "--stems", "vocals, drums",
         "--format", "flac", "--bits", "24", "--device", "cpu", "--overwrite", "--repair",
         "--workers", "2", "--precision", "bf16", "--save", str(tmp_path), "--two-stems", "x",
         "--ensemble", "n, o", "--weights", "1,2.5,0", "--shifts", "2", "--swap-channels",
         "--invert", "--offline"]
    )  # fmt: skip
    assert status == 130
    for name in API_ONLY:
        assert callable(got.pop(name))
    assert [str(path) for path in got.pop("audio")] == ["a.wav", "b c.wav"]
    assert got == {
        "model": "m", "batch_size": 3, "sample_rate": 22050, "residual": True, "duration": 1.5,
        "overlap": 0.25, "padding": 7, "stems": ["vocals", "drums"], "format": "flac",
        "bits": "24", "device": "cpu", "overwrite": True, "repair": True, "workers": 2,
        "precision": "bf16", "save": tmp_path, "two_stems": "x", "ensemble": ["n", "o"],
        "weights": [1, 2.5, 0], "shifts": 2, "swap_channels": True, "invert": True,
        "offline": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [("--sample-rate=8", "sample_rate", 8), ("--sample_rate=8", "sample_rate", 8),
     ("--no-residual", "residual", False), ("--no_overwrite", "overwrite", False)],
)  # fmt: skip
def test_options_have_their_other_spellings(option, name, value):
    _, bound, _ = app.parse_args(["separate", "m", "a.wav", option])
    assert bound.arguments[name] == value


@pytest.fixture
def song(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "song.wav", torch.randn(2, 4000) * 0.1, 8000)
    return tmp_path


def run(*arguments):
    return main(["separate", *arguments, "--workers", "1", "--device", "cpu"])


def test_results_on_stdout_and_messages_on_stderr(song, capsys):
    assert run("center", "song.wav") == 0
    captured = capsys.readouterr()
    assert captured.out == "song\n"
    assert "song.wav: 2 files in" in captured.err
    assert read_audio(song / "song" / "center.wav")[0].shape == (2, 4000)
    assert run("center", "song.wav") == 0
    captured = capsys.readouterr()
    assert captured.out == "song\n"
    assert "song.wav: skipped, its stems are in song; --overwrite replaces them" in captured.err


def test_quiet_is_quiet(song, capsys):
    assert run("center", "song.wav", "--quiet") == 0
    assert capsys.readouterr() == ("song\n", "")


def test_failures_are_listed(song, capsys):
    (song / "words.mp3").write_text("words")
    assert run("center", "words.mp3", "song.wav", "gone.flac", "--quiet") == 1
    captured = capsys.readouterr()
    assert captured.out == "song\n"
    lines = captured.err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: ") for line in lines)
    assert lines[-3:] == ["error: 2 failed:", "error:   gone.flac", "error:   words.mp3"]


def test_a_single_failure_is_one_line(song, capsys):
    assert run("center", "gone.flac") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "gone.flac: no such file" in captured.err


def test_wrong_options_are_one_line_each(song, capsys):
    assert run("hpss", "song.wav", "--stems", "drum,percussive", "--format", "mp4") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "format is 'mp4'" in lines[0]
    assert "no stem 'drum'; this model has harmonic, percussive" in lines[1]
