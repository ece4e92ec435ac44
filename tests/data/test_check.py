"""What is wrong with songs, and what becomes of it."""

import json

import numpy as np
import pytest
import soundfile
import torch

from sonograd.cli.app import main
from sonograd.data.audio import read_audio
from sonograd.data.check import check_song, compare_songs
from sonograd.data.layouts import find_songs
from sonograd.data.writer import write_audio
from sonograd.errors import OutputError
from sonograd.jobs.data_check import check_dataset

RATE = 8000
STEMS = ("bass", "drums", "other", "vocals")


def _write(path, audio, rate=RATE, subtype="PCM_24"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(audio).T, rate, subtype=subtype)


def _song(folder, seed, *, samples=3 * RATE, change=None, mix=None):
    rng = np.random.default_rng(seed)
    stems = {name: np.round(rng.uniform(-0.2, 0.2, (2, samples)) * 2**15) / 2**15 for name in STEMS}
    mixture = sum(stems.values())
    stems |= change(stems) if change else {}
    for name, audio in stems.items():
        _write(folder / f"{name}.wav", audio)
    _write(folder / "mixture.wav", mixture if mix is None else mix(mixture))
    return stems


def _findings(root, split=None):
    report = check_dataset(root, split=split)
    return {song.name: [(f.kind, f.stem, f.error) for f in song.findings] for song in report.songs}


def test_good_songs_have_no_findings(tmp_path):
    for seed in range(3):
        _song(tmp_path / f"song {seed}", seed)
    done = []
    report = check_dataset(tmp_path, on_progress=lambda *now: done.append(now))
    assert [song.findings for song in report.songs] == [()] * 3
    assert report.status == 0
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert report.songs[0].seconds == 3
    assert report.songs[0].missing_db < -100


CASES = {
    "shorter": (lambda s: {"bass": s["bass"][:, :-100]}, ("length", "bass", True)),
    "longer": (lambda s: {"bass": np.pad(s["bass"], ((0, 0), (0, 9)))}, ("length", "bass", True)),
    "silent": (lambda s: {"bass": 0 * s["bass"]}, ("silence", "bass", False)),
    "mono": (lambda s: {"bass": s["bass"][:1]}, ("channels", "bass", False)),
    "same": (lambda s: {"bass": s["drums"]}, ("duplicate", "drums", True)),
    "clipped": (lambda s: {"bass": (20 * s["bass"]).clip(-1, 1)}, ("clipping", "bass", False)),
    "other": (lambda s: {"bass": s["bass"][:, ::-1]}, ("sum", "mixture", True)),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_found(tmp_path, case):
    change, expected = CASES[case]
    _song(tmp_path / "a", 1, change=change)
    assert expected in _findings(tmp_path)["a"]


def test_clipped_places_are_counted_across_blocks(tmp_path):
    audio = np.zeros((1, 3 * 65536))
    for begin, count in ((100, 2), (500, 3), (65534, 4), (2 * 65536 - 1, 2), (3 * 65536 - 4, 4)):
        audio[0, begin : begin + count] = 1.0
    audio[0, 65536 + 1000] = 1.0
    _write(tmp_path / "a" / "mixture.wav", audio, subtype="FLOAT")
    (song,) = find_songs(tmp_path)
    (found,) = check_song(song).findings
    assert found.message == "touches full scale 3 times for 3 samples or more"


def test_damage_is_found(tmp_path):
    stems = _song(tmp_path / "a", 1)
    _song(tmp_path / "b", 2)
    broken = stems["bass"].copy()
    broken[1, 777] = np.nan
    _write(tmp_path / "a" / "bass.wav", broken, subtype="FLOAT")
    cut = tmp_path / "b" / "vocals.wav"
    cut.write_bytes(cut.read_bytes()[:1000])
    report = check_dataset(tmp_path)
    first, second = report.songs
    assert ("not a number", "bass") in [(f.kind, f.stem) for f in first.findings]
    assert "the first at 0.097 s" in first.findings[0].message
    assert ("unreadable", "vocals") in [(f.kind, f.stem) for f in second.findings]
    assert report.status == 1


def test_mix_of_another_level_is_told(tmp_path):
    _song(tmp_path / "a", 1, mix=lambda mix: 0.5 * mix)
    (check,) = check_dataset(tmp_path).songs
    assert check.findings[0].message.endswith("it is 6.0 dB quieter")


def test_songs_that_are_twice_there(tmp_path):
    _song(tmp_path / "train" / "a", 1)
    _song(tmp_path / "train" / "b", 2)
    _song(tmp_path / "test" / "c", 1)
    found = _findings(tmp_path)
    assert found["b"] == found["c"] == []
    assert found["a"][0] == ("duplicate", "bass", True)
    report = check_dataset(tmp_path)
    assert "test/c: it is in two splits" in report.songs[0].findings[0].message
    assert _findings(tmp_path, "train") == {"a": [], "b": []}


def test_songs_are_compared_with_the_others(tmp_path):
    for seed in range(3):
        _song(tmp_path / f"{seed}", seed)
    (tmp_path / "1" / "bass.wav").unlink()
    for path in (tmp_path / "2").iterdir():
        audio, _ = soundfile.read(path)
        soundfile.write(path, audio, 11025, subtype="PCM_24")
    found = _findings(tmp_path)
    assert ("missing", "", True) in found["1"]
    assert found["2"] == [("rate", "", False)]
    assert compare_songs([]) == []


def test_lossy_stems_need_not_sum_exactly(tmp_path):
    rng = np.random.default_rng(0)
    stems = torch.from_numpy(rng.uniform(-0.2, 0.2, (2, 2, 44100)).astype(np.float32)).cumsum(-1)
    stems = 0.1 * torch.sin(stems)
    (tmp_path / "a").mkdir()
    for name, audio in zip(("bass", "drums", "mixture"), (*stems, stems.sum(0)), strict=True):
        write_audio(tmp_path / "a" / f"{name}.mp3", audio, 44100, bitrate_kbps=128)
    (check,) = check_dataset(tmp_path).songs
    assert -50 < check.missing_db < -15
    assert check.findings == ()


def test_plain_files_are_checked(tmp_path):
    _write(tmp_path / "a.wav", np.zeros((2, 800)))
    assert _findings(tmp_path) == {"a": [("silence", "mixture", True)]}


def test_copies_are_repaired_and_originals_stay(tmp_path):
    root, out = tmp_path / "data", tmp_path / "fixed"
    _song(root / "good", 1)
    short = _song(root / "short", 2, change=lambda s: {"bass": s["bass"][:, :-100]})
    _song(root / "quiet mix", 3, mix=lambda mix: 0.8 * mix)
    broken = _song(root / "broken", 4)
    broken["drums"][0, 50] = np.inf
    _write(root / "broken" / "drums.wav", broken["drums"], subtype="FLOAT")
    slow = _song(root / "slow", 5)
    _write(root / "slow" / "drums.wav", slow["drums"][:, ::2], rate=RATE // 2)
    _song(root / "unfit", 6, mix=lambda mix: mix[:, ::-1])
    before = {path: path.read_bytes() for path in root.rglob("*.wav")}
    report = check_dataset(root, fix=out)
    assert report.status == 1
    assert set(report.repaired) == {"short", "quiet mix", "broken", "slow"}
    assert report.repaired["quiet mix"] == ("mixture: rebuilt as the sum of the stems",)
    assert list(report.left_out) == ["unfit"]
    assert before == {path: path.read_bytes() for path in root.rglob("*.wav")}
    assert not (out / "good").exists()
    again = check_dataset(out / "songs.csv")
    assert [song.name for song in again.songs] == ["broken", "good", "quiet mix", "short", "slow"]
    assert [song.errors for song in again.songs] == [()] * 5
    bass, rate = read_audio(out / "short" / "bass.wav")
    assert rate == RATE
    np.testing.assert_allclose(bass[:, :-100], short["bass"], atol=1e-6)
    assert bass.shape[-1] == 3 * RATE
    assert not bass[:, -100:].any()
    drums, _ = read_audio(out / "broken" / "drums.wav")
    assert drums[0, 50] == 0
    with pytest.raises(OutputError, match=r"songs\.csv: exists and is kept"):
        check_dataset(root, fix=out)


def test_repaired_streams_are_listed(tmp_path):
    from sonograd.data.layouts import SongFiles, StemFile
    from sonograd.data.repair import write_list

    path = tmp_path / "in" / "x.stem.mp4"
    files = {
        "bass": StemFile(path, 2),
        "drums": StemFile(tmp_path / "d.wav", 0, (path.parent / "e.wav",)),
    }
    (tmp_path / "out").mkdir()
    write_list(tmp_path / "out" / "songs.csv", [("x", "train", files)])
    (song,) = find_songs(tmp_path / "out" / "songs.csv", "train")
    found = {name: (f.path.resolve(), f.stream, len(f.added)) for name, f in song.stems.items()}
    assert found == {"bass": (path, 2, 0), "drums": (tmp_path / "d.wav", 0, 1)}
    assert isinstance(song, SongFiles)


def test_command(tmp_path, capsys):
    _song(tmp_path / "data" / "[red]a", 1, change=lambda s: {"bass": s["bass"][:, :-100]})
    assert main(["data", "check", str(tmp_path / "data")]) == 1
    shown = capsys.readouterr().out
    assert "[red]a" in shown
    assert "length: is 100 samples" in shown
    assert "1 songs, 0:03: 1 with errors" in shown
    assert main(["data", "check", str(tmp_path / "data"), "--json", "--quiet"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["songs"][0]["findings"][0]["remedy"] == "padded or cut to the length of the mix"
    command = ["data", "check", str(tmp_path / "data"), "--fix", str(tmp_path / "out")]
    assert main(command) == 0
    assert "1 songs repaired" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "out" / "songs.csv")]) == 0
    assert "none with errors" in capsys.readouterr().out
    assert main(["data", "check", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
