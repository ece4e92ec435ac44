import collections
import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from sonograd.cli.app import main
from sonograd.errors import OutputError, ParameterError, SonogradError
from sonograd.jobs.songs import describe_songs, write_songs

NAMES = ["bass", "drums", "mixture", "other", "vocals"]


def read(folder):
    return {p.stem: soundfile.read(p, dtype="int16")[0] for p in sorted(folder.glob("*.wav"))}


def test_layout_sum_and_resumption(tmp_path):
    out = tmp_path / "songs"
    calls = []
    first = write_songs(
        out, count=3, seconds=1.0, seed=4, sample_rate=8000, on_progress=lambda *x: calls.append(x)
    )
    assert calls == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]
    assert len(first.written) == 3
    assert sorted(p.name for p in out.iterdir()) == ["songs.json", "test", "train"]
    assert len(list((out / "test").iterdir())) == 1
    before = {}
    for folder in first.written:
        tracks = before[folder] = read(folder)
        assert sorted(tracks) == NAMES
        assert soundfile.info(folder / "bass.wav").subtype == "PCM_16"
        assert all(track.shape == (8000, 2) for track in tracks.values())
        stems = sum(tracks[name].astype(int) for name in NAMES if name != "mixture")
        assert np.array_equal(stems, tracks["mixture"])
        assert json.loads((folder / "song.json").read_text())["seconds"] == 1.0
    shutil.rmtree(first.written[2])
    again = write_songs(out, count=4, seconds=1.0, seed=4, sample_rate=8000)
    assert first.written[2] in again.written
    assert len(again.written) == 2
    assert again.skipped == first.written[:2]
    for name, track in before[first.written[2]].items():
        assert np.array_equal(track, read(first.written[2])[name])
    with pytest.raises(OutputError, match=r"made with seed 4, and 5 is asked for"):
        write_songs(out, count=2, seconds=1.0, seed=5, sample_rate=8000)


def test_a_fifth_is_for_testing_whatever_the_number():
    for count in (2, 3, 7):
        songs = [song["song"] for song in describe_songs(count=count, seconds=5.0)]
        shares = collections.Counter(song.split("/")[0] for song in songs)
        assert shares["test"] == max(1, (count + 3) // 5)
        assert shares["train"] >= 1
        assert len(set(songs)) == count


def test_too_many_songs_are_refused_before_they_are_planned(tmp_path):
    with pytest.raises(OutputError, match="not enough space"):
        write_songs(tmp_path / "x", count=10**15, seconds=100.0)
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_one_line_and_leaves_no_half_song(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile, "write", refuse)
    with pytest.raises(OutputError, match=r"mixture\.wav: cannot be written, is the disk full"):
        write_songs(tmp_path, count=2, seconds=0.2, sample_rate=8000)
    assert not list(tmp_path.glob("**/*song-*"))


@pytest.mark.slow
def test_a_killed_worker_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("sonograd.jobs.songs._start_worker", os.abort)
    with pytest.raises(SonogradError, match="run this again, with fewer workers"):
        write_songs(tmp_path, count=2, seconds=0.2, sample_rate=8000, workers=2)


@pytest.mark.slow
def test_workers_make_the_same_songs(tmp_path):
    alone = write_songs(tmp_path / "a", count=2, seconds=1.0, sample_rate=8000)
    together = write_songs(tmp_path / "b", count=2, seconds=1.0, sample_rate=8000, workers=2)
    for one, other in zip(alone.written, together.written, strict=True):
        for name in NAMES:
            assert (one / f"{name}.wav").read_bytes() == (other / f"{name}.wav").read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 1}, "count is 1"),
        ({"genre": "reggea"}, "Did you mean 'reggae'"),
        ({"seconds": -2.0}, "seconds is -2"),
        ({"source": "sample"}, "Did you mean 'sampled'"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_bad_input_makes_nothing(tmp_path, settings, message):
    with pytest.raises(ParameterError, match=message):
        write_songs(tmp_path / "x", **{"count": 2, "seconds": 1.0, **settings})
    assert not (tmp_path / "x").exists()


def test_too_little_space_is_known_before(tmp_path):
    with pytest.raises(OutputError, match="not enough space"):
        write_songs(tmp_path / "x", count=50_000, seconds=3600.0)
    assert not (tmp_path / "x").exists()


def test_command(tmp_path, capsys):
    out = tmp_path / "x"
    arguments = ["songs", str(out), "--count", "2", "--seconds", "0.5", "--sample-rate", "8000"]
    assert main([*arguments, "--describe"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2
    assert not out.exists()
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    for line in lines:
        assert json.loads((out / line["song"] / "song.json").read_text()) == {
            key: value for key, value in line.items() if key != "song"
        }
    assert main([*arguments, "--genre", "rokc"]) == 2
    assert "Did you mean 'rock'" in capsys.readouterr().err
