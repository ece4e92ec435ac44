"""Pictures of files: where they go, what is kept, what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sonograd.cli.app import main
from sonograd.data import write_audio
from sonograd.jobs.spectrogram import draw_spectrograms

RATE = 8000


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    write_audio(path, 0.5 * torch.sin(torch.arange(2 * RATE) * 0.3).expand(2, -1), RATE)
    return path


def run(capsys, *arguments):
    status = main(["spectrogram", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("kind", ["stft", "cqt"])
def test_one_file_becomes_one_picture(song, tmp_path, capsys, kind):
    target = tmp_path / "picture.png"
    status, out, _ = run(capsys, song, "--kind", kind, "--out", target)
    assert (status, out) == (0, f"{target}\n")
    assert target.read_bytes().startswith(b"\x89PNG")


def test_pictures_are_kept_unless_overwrite(song, tmp_path, capsys):
    target = tmp_path / "picture.svg"
    target.write_text("mine")
    status, out, err = run(capsys, song, "--out", target)
    assert (status, out) == (2, "")
    assert "exists and is kept" in err
    assert target.read_text() == "mine"
    assert run(capsys, song, "--out", target, "--overwrite")[0] == 0
    assert "<svg" in target.read_text()


def test_many_files_go_to_a_folder_and_one_bad_file_spoils_nothing(song, tmp_path, capsys):
    other = tmp_path / "deep" / "song.wav"
    other.parent.mkdir()
    write_audio(other, torch.zeros(1, 100), RATE)
    bad = tmp_path / "noise.wav"
    bad.write_bytes(b"RIFF no audio")
    status, out, err = run(capsys, song, other.parent, bad, "--out", tmp_path / "pictures", "-q")
    assert status == 1
    assert len(out.splitlines()) == len(set(out.splitlines())) == 2
    assert err.count("error:") == 1
    assert str(bad) in err
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2


def test_several_files_do_not_fit_into_one_picture(song, tmp_path, capsys):
    other = tmp_path / "other.wav"
    write_audio(other, torch.zeros(1, 100), RATE)
    status, _, err = run(capsys, song, other, "--out", tmp_path / "one.png")
    assert status == 2
    assert "is one picture, but there are 2 files" in err
    status, _, err = run(capsys, song, "--out", tmp_path / "one.txt")
    assert status == 2
    assert ".txt is no picture" in err


def test_text_goes_to_the_output_and_writes_no_file(song, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "20")
    status, out, _ = run(capsys, song, "--terminal", "--kind", "mel")
    assert status == 0
    assert "1 kHz" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 70
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.wav"]


def test_wrong_options_are_one_line(song, capsys):
    status, _, err = run(capsys, song, "--fmax", 9000, "--terminal")
    assert status == 2
    assert "fmax 9000 Hz" in err
    assert len(err.strip().splitlines()) == 1
    assert run(capsys, song, "--kind", "wavelet")[0] == 2


def test_samples_that_are_no_numbers_are_named_or_repaired(tmp_path, capsys):
    path = tmp_path / "nan.wav"
    x = torch.zeros(1, RATE)
    x[0, 100] = torch.nan
    write_audio(path, x, RATE, bits="32f")
    status, _, err = run(capsys, path, "--terminal")
    assert status == 2
    assert "sample 100" in err
    assert run(capsys, path, "--terminal", "--repair")[0] == 0


def test_an_empty_file_is_refused(tmp_path, capsys):
    path = tmp_path / "empty.wav"
    write_audio(path, torch.zeros(1, 0), RATE)
    status, _, err = run(capsys, path, "--terminal")
    assert status == 2
    assert "has no samples" in err


def test_progress_runs_over_all_files(song, tmp_path):
    other = tmp_path / "other.wav"
    write_audio(other, torch.zeros(1, RATE), RATE)
    seen = []
    report = draw_spectrograms(
        [song, other], terminal=(60, 20), duration=1.5, on_progress=lambda *now: seen.append(now)
    )
    assert report.status == 0
    assert seen[-1] == (2.5, 2.5)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_depend_on_the_length(tmp_path):
    code = (
        "import sys; from sonograd.jobs.spectrogram import draw_spectrograms;"
        "draw_spectrograms(sys.argv[1], kind='cqt', terminal=(60, 20));"
        "print(next(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line))"
    )
    peaks = []
    for minutes in (2, 20):
        path = tmp_path / f"{minutes}.wav"
        write_audio(path, torch.rand(1, minutes * 60 * 22050) - 0.5, 22050)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.15 * peaks[0]
