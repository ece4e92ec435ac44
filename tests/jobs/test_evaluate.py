"""Scores of estimates, from files and from models."""

import csv
import json
import math
from importlib import import_module

import numpy as np
import pytest
import soundfile
import torch

from sonograd.cli.app import main
from sonograd.errors import DatasetError, OutputError, ParameterError
from sonograd.functional import si_sdr, usdr
from sonograd.jobs.evaluate import evaluate
from sonograd.jobs.scoring import TrackScores
from sonograd.jobs.summary import format_table, summarize, to_csv
from sonograd.jobs.test import test as run_test
from sonograd.metrics import USDR, BSSEvalV4

RATE = 8000
CHEAP = ("si_sdr", "usdr")


def _write(path, audio, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype="FLOAT")


def _song(rng, seconds=3.0):
    count = round(seconds * RATE)
    return {name: 0.1 * rng.normal(size=(2, count)) for name in ("smooth", "rough", "quiet")}


@pytest.fixture
def folders(tmp_path, rng):
    """Two folders of songs: references with their mix, and estimates with some noise."""
    for number in range(3):
        stems = _song(rng)
        for name, audio in stems.items():
            _write(tmp_path / "references" / f"song {number}" / f"{name}.wav", audio)
            noisy = audio + 0.01 * (1 + number) * rng.normal(size=audio.shape)
            _write(tmp_path / "estimates" / f"song {number}" / f"{name}.wav", noisy)
        mix = sum(stems.values())
        _write(tmp_path / "references" / f"song {number}" / "mixture.wav", mix)
    return tmp_path


def _evaluate(folders, **options):
    settings = {"metrics": CHEAP, "save": folders / "out"} | options
    return evaluate(folders / "estimates", folders / "references", **settings)


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _read(path):
    return torch.from_numpy(soundfile.read(path)[0].T.copy())


def test_values_are_those_of_the_functions(folders):
    report = _evaluate(folders)
    assert report.status == 0
    rows = _rows(report.csv)
    assert [row["track"] for row in rows[-2:]] == ["mean", "median"]
    assert len(rows) == 3 * 3 + 2
    for row in rows[:-2]:
        ours, theirs, mix = (
            _read(folders / kind / row["track"] / f"{stem}.wav")
            for kind, stem in (
                ("estimates", row["target"]),
                ("references", row["target"]),
                ("references", "mixture"),
            )
        )
        assert float(row["usdr"]) == pytest.approx(usdr(ours, theirs).item(), abs=1e-3)
        expected = si_sdr(ours.flatten(), theirs.flatten()).item()
        assert float(row["si_sdr"]) == pytest.approx(expected, abs=1e-3)
        base = si_sdr(mix.flatten(), theirs.flatten()).item()
        assert float(row["si_sdr_mixture"]) == pytest.approx(base, abs=1e-3)
        assert float(row["si_sdr_improvement"]) == pytest.approx(expected - base, abs=2e-3)
    column = [float(row["usdr"]) for row in rows[:-2]]
    assert float(rows[-2]["usdr"]) == pytest.approx(np.mean(column), abs=1e-4)
    assert float(rows[-1]["usdr"]) == pytest.approx(np.median(column), abs=1e-4)


def test_frames_are_written_as_museval_does(folders):
    report = _evaluate(folders, metrics=["bss_v4"], max_tracks=1)
    entry = json.loads(report.json.read_text())["tracks"]["song 0"]["targets"][0]
    assert entry["name"] == "quiet" or entry["name"] in {"smooth", "rough"}
    assert [frame["time"] for frame in entry["frames"]] == [0.0, 1.0, 2.0]
    assert set(entry["frames"][0]["metrics"]) == {"SDR", "ISR", "SIR", "SAR"}
    frames = [frame["metrics"]["SDR"] for frame in entry["frames"]]
    assert entry["values"]["bss_v4_sdr"] == pytest.approx(np.median(frames))


def test_an_interrupted_run_goes_on(folders, monkeypatch):
    _evaluate(folders, max_tracks=2)
    module = import_module("sonograd.jobs.evaluate")
    scored = []
    original = module.score_track

    def spy(track, metrics):
        scored.append(track.name)
        return original(track, metrics)

    monkeypatch.setattr(module, "score_track", spy)
    report = _evaluate(folders)
    assert scored == ["song 2"]
    assert len(report.tracks) == 3
    assert _rows(report.csv) == _rows(_evaluate(folders, save=folders / "other").csv)


def test_scores_of_another_request_are_kept(folders):
    report = _evaluate(folders)
    before = report.json.read_bytes()
    with pytest.raises(OutputError, match="scores of another duration, and is kept"):
        _evaluate(folders, duration=1.0)
    assert report.json.read_bytes() == before
    _evaluate(folders, duration=1.0, overwrite=True)
    assert report.json.read_bytes() != before
    report.json.write_text("[]")
    with pytest.raises(OutputError, match="holds no scores, and is kept"):
        _evaluate(folders)


def test_one_bad_track_does_not_stop_the_others(folders):
    (folders / "estimates" / "song 1" / "rough.wav").write_bytes(b"RIFF nothing")
    _write(folders / "estimates" / "song 2" / "rough.wav", np.zeros((2, 100)))
    told = {}
    report = _evaluate(folders, on_track=told.__setitem__)
    assert report.status == 1
    assert sorted(report.failed) == ["song 1", "song 2"]
    assert "samples: " in report.failed["song 2"]
    assert told["song 0"] == ""
    rows = _rows(report.csv)
    assert {row["track"] for row in rows if row["usdr"]} == {"song 0", "mean", "median"}
    assert "song 1" in {row["track"] for row in rows}
    assert json.loads(report.json.read_text())["tracks"]["song 2"]["error"]


def test_silence_has_no_value_but_a_reason(folders):
    _write(folders / "references" / "song 0" / "quiet.wav", np.zeros((2, 3 * RATE)))
    report = _evaluate(folders)
    scores = report.tracks[0]
    assert math.isnan(scores.values["quiet"]["si_sdr"])
    assert "silent" in scores.reasons["quiet"]
    text = report.json.read_text()
    assert "NaN" not in text
    again = _evaluate(folders)
    assert math.isnan(again.tracks[0].values["quiet"]["si_sdr"])


@pytest.mark.slow
def test_processes_give_the_same(folders):
    one = _evaluate(folders).csv.read_text()
    two = _evaluate(folders, save=folders / "two", workers=2).csv.read_text()
    assert one == two


def test_files_of_equal_names(tmp_path, rng):
    for kind, level in (("a", 0.0), ("b", 0.1)):
        for name in ("x", "deep/y"):
            audio = np.random.default_rng(1).normal(size=(1, RATE))
            _write(tmp_path / kind / f"{name}.wav", audio + level * rng.normal(size=audio.shape))
    report = evaluate(tmp_path / "b", tmp_path / "a", save=tmp_path / "s.csv", metrics=CHEAP)
    assert [row["track"] for row in _rows(report.csv)] == ["deep/y", "x", "mean", "median"]
    assert "si_sdr_mixture" not in _rows(report.csv)[0]


def test_changed_files_are_scored_again(folders):
    before = _evaluate(folders)
    _write(
        folders / "estimates" / "song 1" / "rough.wav",
        soundfile.read(folders / "references" / "song 1" / "rough.wav")[0].T,
    )
    after = _evaluate(folders)
    assert (before.kept, after.kept) == (0, 2)
    assert after.tracks[1].values["rough"]["usdr"] > before.tracks[1].values["rough"]["usdr"] + 20


def test_missing_estimates_are_named(folders):
    (folders / "estimates" / "song 1" / "rough.wav").unlink()
    for path in (folders / "estimates" / "song 2").iterdir():
        path.unlink()
    report = _evaluate(folders)
    assert report.status == 1
    assert report.failed == {
        "song 1": "no estimate of rough",
        "song 2": "no estimate of quiet, rough, smooth",
    }
    assert set(report.tracks[1].values) == {"quiet", "smooth"}


def test_samples_that_are_no_numbers_fail_the_track(folders):
    path = folders / "estimates" / "song 1" / "rough.wav"
    audio = soundfile.read(path)[0].T
    audio[1, RATE] = np.nan
    _write(path, audio)
    report = _evaluate(folders)
    assert "estimate of rough holds samples that are NaN" in report.failed["song 1"]
    assert "1.000 s" in report.failed["song 1"]


def test_improvement_is_positive_where_it_is_better(folders):
    report = _evaluate(folders, metrics=["usdr", "log_spectral_distance", "bss_v4"])
    gains = {entry.name: entry.improvement for entry in report.summaries}
    assert gains["usdr"] > 0
    assert [gain > 0 for name, gain in gains.items() if "log_spectral" in name] == [True]
    assert math.isnan(gains["bss_v4_sar"])


def test_damaged_scores_are_one_line(folders):
    report = _evaluate(folders)
    data = json.loads(report.json.read_text())
    data["tracks"] = {"a": {}}
    report.json.write_text(json.dumps(data))
    with pytest.raises(OutputError, match="is damaged, and is kept"):
        _evaluate(folders)


def test_refused_numbers_leave_nothing_behind(folders):
    for options in ({"max_tracks": 0}, {"workers": 0}):
        with pytest.raises(ParameterError, match="expected at least 1"):
            _evaluate(folders, **options)
    assert not (folders / "out").exists()


def test_nothing_in_common_is_one_line(tmp_path, folders):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no track is in both"):
        evaluate(tmp_path / "empty", folders / "references", save=tmp_path / "o")
    with pytest.raises(DatasetError, match="no such folder"):
        evaluate(tmp_path / "missing", folders / "references", save=tmp_path / "o")
    with pytest.raises(ParameterError, match="there is no metric 'sisdr'"):
        _evaluate(folders, metrics=["sisdr"])
    with pytest.raises(ParameterError, match="duration is 0"):
        _evaluate(folders, duration=0)


def test_model_is_scored_like_its_files(folders, use_model, tmp_path, filters):
    use_model(filters(sample_rate=RATE))
    report = run_test("filters", folders / "references", save=tmp_path / "t", metrics=CHEAP)
    assert report.status == 0
    assert len(report.tracks) == 3
    model = filters(sample_rate=RATE)
    mix = _read(folders / "references" / "song 1" / "mixture.wav").float()
    estimate = model.separate(mix)[1].double()
    expected = usdr(estimate, _read(folders / "references" / "song 1" / "rough.wav"))
    found = report.tracks[1].values["rough"]["usdr"]
    assert found == pytest.approx(expected.item(), abs=1e-3)
    assert list(report.tracks[1].values) == ["smooth", "rough", "quiet"]


def test_half_a_minute_of_a_model(folders, use_model, tmp_path, filters):
    use_model(filters(sample_rate=RATE))
    whole = run_test("filters", folders / "references", save=tmp_path / "a", metrics=CHEAP)
    part = run_test(
        "filters", folders / "references", save=tmp_path / "b", metrics=CHEAP, duration=1.0
    )
    assert whole.tracks[0].values != part.tracks[0].values


def test_summary_has_an_interval_and_the_gain():
    tracks = [
        TrackScores(
            str(k),
            8000,
            values={"vocals": {"usdr": float(k)}},
            mixture={"vocals": {"usdr": -1.0}},
        )
        for k in range(10)
    ]
    tracks.append(TrackScores("bad", error="broken"))
    kinds = {"usdr": USDR}
    (entry,) = summarize(tracks, kinds)
    assert (entry.median, entry.mean, entry.improvement) == (4.5, 4.5, 5.5)
    assert 2.4 < entry.low < 3.2
    assert 5.8 < entry.high < 6.6
    assert entry.tracks == 10
    assert to_csv(tracks, kinds).splitlines()[-1] == "median,,4.5,-1,5.5"


def test_commands_print_a_table(folders, capsys, use_model, filters):
    use_model(filters(sample_rate=RATE))
    command = ["evaluate", str(folders / "estimates"), str(folders / "references"), "--plot"]
    assert main([*command, "--save", str(folders / "e"), "--metrics", "si-sdr,usdr"]) == 0
    shown = capsys.readouterr().out
    assert "si_sdr (v1)" in shown
    assert str(folders / "e" / "eval.csv") in shown
    assert (folders / "e" / "eval.png").stat().st_size > 1000
    command = ["test", "filters", str(folders / "references"), "--save", str(folders / "t.csv")]
    assert main([*command, "--max-tracks", "1", "--metrics", "usdr"]) == 0
    assert (folders / "t.csv").exists()
    assert (folders / "t.json").exists()
    assert main(["evaluate", "nowhere", "nothing"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_value_that_no_track_has_is_left_out_with_the_reason():
    values = {"vocals": {"bss_v4_sdr": 3.0, "bss_v4_sir": math.nan}}
    reasons = {"vocals": "bss_v4_sir not defined: it tells targets apart, and there is one alone"}
    tracks = [TrackScores(name, values=values, reasons=reasons) for name in "ab"]
    summaries = summarize(tracks, dict.fromkeys(values["vocals"], BSSEvalV4))
    head, sdr, why = format_table(summaries, {}).splitlines()
    assert head.startswith("target")
    assert sdr.startswith("vocals  bss_v4_sdr")
    assert why == f"vocals: {reasons['vocals']}"
