import inspect

import pytest
import torch

from sonograd import jobs
from sonograd.cli.app import main
from sonograd.cli.demo import demo as command
from sonograd.data import read_audio, write_audio
from sonograd.errors import AudioError, ModelNotFoundError, OutputError, ParameterError
from sonograd.functional import si_sdr


def test_a_song_is_made_separated_drawn_and_scored(tmp_path):
    report = jobs.demo(model="hpss", save=tmp_path, seconds=4.0)
    assert report.picture is not None
    assert report.picture.stat().st_size > 1000
    assert {score.stem for score in report.scores} == {"harmonic", "percussive"}
    mix, rate = read_audio(report.song)
    stems = {path.stem: read_audio(path)[0] for path in report.stems}
    torch.testing.assert_close(sum(stems.values()), mix, atol=1e-5, rtol=0)
    assert report.seconds == pytest.approx(mix.shape[-1] / rate)
    assert report.peak_memory > 1e7
    for score in report.scores:
        assert score.improvement == pytest.approx(score.si_sdr - score.mix_si_sdr)


def test_scores_are_those_of_the_written_stems(tmp_path):
    from sonograd.data.songs import make_song

    report = jobs.demo(model="hpss", save=tmp_path, seconds=3.0, seed=7)
    drums = make_song(7, seconds=3.0).stems[0].flatten().double()
    estimate = read_audio(tmp_path / "song" / "percussive.wav")[0].flatten().double()
    found = {score.stem: score.si_sdr for score in report.scores}
    assert found["percussive"] == pytest.approx(float(si_sdr(estimate, drums)), abs=1e-3)


def test_a_song_from_a_file_has_no_scores_and_no_length_is_too_short(tmp_path):
    path = tmp_path / "tiny.wav"
    write_audio(path, torch.zeros(1, 1), 44100)
    report = jobs.demo(path, model="center", save=tmp_path / "out")
    assert report.scores == ()
    assert len(report.stems) == 2


def test_earlier_results_are_kept(tmp_path):
    jobs.demo(model="hpss", save=tmp_path, seconds=1.0)
    before = (tmp_path / "song.wav").read_bytes()
    with pytest.raises(OutputError, match="overwrite"):
        jobs.demo(model="hpss", save=tmp_path, seconds=2.0)
    assert (tmp_path / "song.wav").read_bytes() == before
    jobs.demo(model="hpss", save=tmp_path, seconds=1.0, overwrite=True)


def test_bad_input_is_one_line(tmp_path, capsys):
    with pytest.raises(ParameterError, match="seconds is -1"):
        jobs.demo(save=tmp_path, seconds=-1.0)
    with pytest.raises(AudioError, match="no such file"):
        jobs.demo(tmp_path / "none.wav", model="hpss", save=tmp_path)
    with pytest.raises(ModelNotFoundError, match="nosuch"):
        jobs.demo(model="nosuch", save=tmp_path, seconds=1.0)
    assert not list(tmp_path.iterdir())
    assert main(["demo", str(tmp_path / "none.wav"), "--save", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_has_the_options_of_the_job():
    job = dict(inspect.signature(jobs.demo).parameters)
    del job["on_progress"]
    found = inspect.signature(command).parameters
    assert {name: p.default for name, p in found.items()} == {
        name: p.default for name, p in job.items()
    }
