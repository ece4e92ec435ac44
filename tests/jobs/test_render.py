"""Rendering files: streamed, aligned, as long as the input, one line per failure."""

import json

import pytest
import torch

from sonograd.data import read_audio, write_audio
from sonograd.effects import Chain, Delay, Distortion, Gain, Width, preset, write_preset
from sonograd.errors import ConfigError
from sonograd.jobs import render_files

RATE = 8000


@pytest.fixture
def song(tmp_path):
    audio = 0.2 * torch.randn(2, 5000)
    write_audio(tmp_path / "song.wav", audio, sample_rate=RATE, bits="32f")
    return tmp_path / "song.wav", audio


@pytest.fixture
def chain(tmp_path):
    made = Chain(Distortion(RATE, oversampling=2), Delay(RATE))
    values = {"distortion": {"drive_db": 6.0}, "delay": {"delay_ms": 20.0}}
    write_preset(preset(made, values), tmp_path / "mine.json")
    return tmp_path / "mine.json", made, values


def test_a_file_is_streamed_and_equals_the_whole(song, chain, tmp_path, monkeypatch):
    monkeypatch.setattr("sonograd.jobs.render._BLOCK", 777)
    report = render_files(chain[0], song[0], save=tmp_path / "out", bits="32f")
    assert report.status == 0
    (file,) = report.done[0].files
    assert file == tmp_path / "out" / "song-mine.wav"
    written, rate = read_audio(file)
    assert rate == RATE
    expected = chain[1](song[1], **chain[2])
    assert written.shape == expected.shape
    assert torch.allclose(written, expected, atol=1e-6)


def test_the_tail_goes_on(song, chain, tmp_path):
    report = render_files(chain[0], song[0], save=tmp_path / "out", tail=0.1, bits="32f")
    written, _ = read_audio(report.done[0].files[0])
    assert written.shape == (2, 5800)
    expected = chain[1](torch.nn.functional.pad(song[1], (0, 800)), **chain[2])
    assert torch.allclose(written, expected, atol=1e-6)
    assert float(written[:, 5000:].abs().max()) > 0.01


def test_values_can_be_replaced(song, tmp_path):
    write_preset(preset(Chain(Gain(RATE))), tmp_path / "g.json")
    report = render_files(
        tmp_path / "g.json", song[0], save=tmp_path, set=["gain.gain_db=-20"], bits="32f"
    )
    written, _ = read_audio(report.done[0].files[0])
    assert torch.allclose(written, song[1] / 10, atol=1e-7)


def test_results_are_kept_unless_told_otherwise(song, chain, tmp_path):
    first = render_files(chain[0], song[0], save=tmp_path)
    again = render_files(chain[0], song[0], save=tmp_path)
    assert len(first.done) == 1
    assert not again.done
    assert "--overwrite replaces it" in again.skipped[0].message
    assert again.status == 0
    assert len(render_files(chain[0], song[0], save=tmp_path, overwrite=True).done) == 1


def test_some_files_may_fail(song, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFFxxxx")
    mono = tmp_path / "mono.wav"
    write_audio(mono, torch.zeros(1, 100), sample_rate=RATE)
    nan = tmp_path / "nan.wav"
    audio = torch.zeros(2, 100)
    audio[1, 40] = torch.nan
    write_audio(nan, audio, sample_rate=RATE, bits="32f")
    write_preset(preset(Chain(Width(RATE))), tmp_path / "w.json")
    events = []
    report = render_files(
        tmp_path / "w.json",
        [song[0], tmp_path / "broken.wav", mono, nan, tmp_path / "none.wav"],
        save=tmp_path / "out",
        on_event=events.append,
    )
    assert report.status == 1
    assert [item.source.name for item in report.done] == ["song.wav"]
    messages = {item.source.name: item.message for item in report.failed}
    assert set(messages) == {"broken.wav", "mono.wav", "nan.wav", "none.wav"}
    assert "width works on 2 channels; x has 1" in messages["mono.wav"]
    assert "sample 40" in messages["nan.wav"]
    assert all("\n" not in message for message in messages.values())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["song-w.wav"]
    repaired = render_files(tmp_path / "w.json", nan, save=tmp_path / "out", repair=True)
    assert repaired.status == 0


def test_empty_files_and_progress(chain, tmp_path):
    write_audio(tmp_path / "empty.wav", torch.zeros(2, 0), sample_rate=RATE)
    seen = []
    report = render_files(
        chain[0],
        tmp_path / "empty.wav",
        save=tmp_path / "o",
        on_progress=lambda *done: seen.append(done),
    )
    assert report.status == 0
    assert read_audio(report.done[0].files[0])[0].shape == (2, 0)


def test_clipping_is_told(song, tmp_path):
    write_preset(preset(Chain(Gain(RATE)), {"gain": {"gain_db": 24.0}}), tmp_path / "loud.json")
    events = []
    render_files(tmp_path / "loud.json", song[0], save=tmp_path, bits="16", on_event=events.append)
    assert any("samples clipped" in event.message for event in events if event.kind == "warning")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "tellephone"}, "Did you mean 'telephone'"),
        ({"preset": "telephone", "tail": -1}, "tail: got -1; expected 0 to 600 seconds"),
        ({"preset": "telephone", "format": "wave"}, "format"),
        ({"preset": "telephone", "set": ["low.cutoff_hz"]}, "expected stage.parameter=number"),
        ({"preset": "telephone", "set": ["low.cutof=3"]}, "Did you mean 'low.cutoff_hz'"),
        ({"preset": "telephone", "set": ["low.cutoff_hz=3"]}, "expected 20 to 20000"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(song, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        render_files(options.pop("preset"), song[0], save=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_presets_of_other_versions_are_refused(song, tmp_path):
    data = preset(Chain(Gain(RATE)))
    (tmp_path / "new.json").write_text(json.dumps({**data, "version": 7}))
    with pytest.raises(ConfigError, match="7 was written by a newer sonograd"):
        render_files(tmp_path / "new.json", song[0], save=tmp_path)
