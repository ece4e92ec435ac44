"""``sonograd render`` and ``sonograd effects``: options, lines and statuses."""

import inspect
import json

import torch

from sonograd.cli.app import main
from sonograd.cli.render import render
from sonograd.data import write_audio
from sonograd.effects import effect_types, preset_names
from sonograd.jobs import render_files

CLI_ONLY = {"quiet"}
API_ONLY = {"on_progress", "on_event"}


def test_options_and_defaults_are_those_of_the_api():
    command = inspect.signature(render).parameters
    function = inspect.signature(render_files).parameters
    assert [name for name in command if name not in CLI_ONLY] == [
        name for name in function if name not in API_ONLY
    ]
    for name in set(command) - CLI_ONLY:
        assert command[name].default == function[name].default, name


def test_help_names_the_presets():
    text = " ".join((inspect.getdoc(render) or "").split())
    assert all(name in text for name in preset_names())


def test_render_prints_the_files(tmp_path, capsys):
    write_audio(tmp_path / "a.wav", 0.1 * torch.randn(2, 900), sample_rate=8000)
    arguments = ["render", "telephone", str(tmp_path / "a.wav"), "--save", str(tmp_path / "out")]
    assert main([*arguments, "--set", "low.cutoff_hz=400", "--set", "bits.bits=6"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'a-telephone.wav'}\n"
    assert "a-telephone.wav in" in err
    assert main(["render", "telephone", str(tmp_path / "none.wav"), "-q"]) == 2
    assert "none.wav" in capsys.readouterr().err


def test_effects_lists_everything_as_text_and_json(capsys):
    assert main(["effects"]) == 0
    text = capsys.readouterr().out
    assert main(["effects", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    names = {n for n, kind in effect_types().items() if kind.__module__.startswith("sonograd.")}
    assert {item["type"] for item in listed} == names
    assert all(f"  {name}: " in text for name in names)
    gain = next(item for item in listed if item["type"] == "gain")
    assert gain["params"][0]["name"] == "gain_db"
    assert gain["params"][0]["unit"] == "dB"
    assert gain["options"] == {"invert": False}


def test_one_effect_and_one_preset(capsys):
    assert main(["effects", "freeverb"]) == 0
    assert "room_size" in capsys.readouterr().out
    assert main(["effects", "freverb"]) == 2
    assert "Did you mean 'freeverb'?" in capsys.readouterr().err
    assert main(["effects", "--preset", "room"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "sonograd-preset"
    assert main(["effects", "--preset", "room", "--to", "ffmpeg"]) == 2
    assert "cannot be exported to ffmpeg" in capsys.readouterr().err
