"""``sonograd render`` and ``sonograd effects``: options, lines and statuses."""

import inspect
import json

import pytest
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


def test_effects_are_told_without_markup_and_with_what_options_take(capsys):
    assert main(["effects", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    for item in listed:
        assert not set("`~") & set(item["summary"]), item["type"]
        assert ":func:" not in item["summary"], item["type"]
        assert set(item["allowed"]) == set(item["options"])
        assert all(item["allowed"].values()), item["type"]
    assert main(["effects", "low_pass", "compressor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "    option order = 2: one of 1, 2, 4, 8" in lines
    assert "    option lookahead_ms = 0.0: a number of ms from 0 to 1000" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "ffmpeg"], "--to ffmpeg is the language of a preset; name one with --preset"),
        (["--preset", "room", "peak"], "--preset room prints a preset, and peak asks"),
        (["--preset", "warm_eq", "--to", "ffmpeg", "--json"], "contradict each other"),
    ],
)
def test_options_without_effect_are_refused(capsys, arguments, message):
    assert main(["effects", *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert not out


def test_one_preset_is_an_equalizer_for_other_programs(capsys):
    assert main(["effects", "--preset", "warm_eq", "--to", "equalizer-apo"]) == 0
    assert "Filter: ON LSC Fc 160 Hz Gain 2.5 dB" in capsys.readouterr().out
    assert main(["effects", "--preset", "warm_eq", "--to", "ffmpeg"]) == 0
    assert "lowshelf=f=160:t=q:w=0.7071067812:g=2.5" in capsys.readouterr().out


def test_one_effect_and_one_preset(capsys):
    assert main(["effects", "freeverb"]) == 0
    assert "room_size" in capsys.readouterr().out
    assert main(["effects", "freverb"]) == 2
    assert "Did you mean 'freeverb'?" in capsys.readouterr().err
    assert main(["effects", "--preset", "room"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "sonograd-preset"
    assert main(["effects", "--preset", "room", "--to", "ffmpeg"]) == 2
    assert "cannot be exported to ffmpeg" in capsys.readouterr().err
