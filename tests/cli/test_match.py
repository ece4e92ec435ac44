"""``sonograd match``: options, lines and statuses."""

import importlib
import inspect
import json
from pathlib import Path

import pytest
import torch

from sonograd.cli.app import main
from sonograd.cli.match import match
from sonograd.data import read_audio, write_audio
from sonograd.jobs import MatchOutcome, MatchReport, match_files
from sonograd.jobs.pairs import Pair

CLI_ONLY = {"quiet", "terminal"}
API_ONLY = {"on_progress", "on_event"}
JOB = importlib.import_module("sonograd.jobs.match")


def test_options_and_defaults_are_those_of_the_api():
    command = inspect.signature(match).parameters
    function = inspect.signature(match_files).parameters
    assert set(command) - CLI_ONLY == set(function) - API_ONLY
    for name in set(command) - CLI_ONLY:
        assert command[name].default == function[name].default, name


def test_a_gain_is_found_and_everything_is_written(tmp_path, capsys):
    dry = 0.2 * torch.randn(1, 12_000)
    write_audio(tmp_path / "dry.wav", dry, sample_rate=8000, bits="32f")
    write_audio(tmp_path / "wet.wav", -0.5 * dry, sample_rate=8000, bits="32f")
    out = tmp_path / "out"
    arguments = ["match", str(tmp_path / "dry.wav"), str(tmp_path / "wet.wav")]
    arguments += ["--chain", "gain", "--save", str(out), "--terminal"]
    assert main(arguments) == 0
    text, drawn = capsys.readouterr()
    assert "gain.gain_db  -6.0206" in text
    assert f"{out / 'report.html'}\n" in text
    assert "frequency response" in drawn
    matched, _ = read_audio(out / "matched.wav")
    assert torch.allclose(matched, -0.5 * dry, atol=1e-5)
    residual, _ = read_audio(out / "residual.wav")
    assert float(residual.abs().max()) < 1e-5
    assert json.loads((out / "match.json").read_text())["polarity"] == -1
    before = (out / "report.html").stat().st_mtime_ns
    assert main([*arguments, "-q"]) == 0
    assert (out / "report.html").stat().st_mtime_ns == before


def report_of(*names):
    summary = {"chain": ["gain"], "null_db": 50.0, "explained": 0.99}
    done = tuple(
        MatchOutcome(Pair(n, Path(n), Path(n)), Path("out", n), (Path("f"),), summary)
        for n in names
    )
    failed = (MatchOutcome(Pair("z", Path("z"), Path("z")), Path("out"), message="z: no"),)
    return MatchReport(done, (), failed, Path("out/matches.csv"))


def test_several_pairs_are_a_line_each_and_some_may_fail(monkeypatch, capsys):
    seen = {}

    def job(dry, wet, **options):
        seen.update(options)
        return report_of("b", "a")

    monkeypatch.setattr(JOB, "match_files", job)
    arguments = ["match", "d", "w", "--fix", "attack_ms=5", "--fix", "ratio=2", "--no-sounds"]
    assert main([*arguments, "--reference", "r1.wav", "r2.wav"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a: gain, null depth 50.0 dB, explains 99.00 % of the change",
        "b: gain, null depth 50.0 dB, explains 99.00 % of the change",
        "out/matches.csv",
    ]
    assert seen["fix"] == ("attack_ms=5", "ratio=2")
    assert seen["reference"] == (Path("r1.wav"), Path("r2.wav"))
    assert not seen["sounds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.wav", "wet.wav"], "none.wav: no such file"),
        (["dry.wav"], "is not a folder of pairs"),
        (["dry.wav", "wet.wav", "--fix", "attack"], "expected name=number"),
        (["dry.wav", "wet.wav", "--workers", "0"], "workers: got 0"),
        (["dry.wav", "wet.wav", "--method", "magic"], "magic"),
        (["dry.wav", "wet.wav", "--chain", "eqq"], "Did you mean 'eq'"),
        (["dry.wav", "wet.wav", "--reference", "wet.wav"], "leave out wet"),
        (["dry.wav", "folder"], "one is a folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("dry.wav", "wet.wav"):
        write_audio(tmp_path / name, 0.1 * torch.randn(1, 9000), sample_rate=8000)
    assert main(["match", *arguments, "-q"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dry.wav", "folder", "wet.wav"]
