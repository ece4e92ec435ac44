"""Songs in, folders of stems out."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sonograd.config import SeparationRecord, read_config
from sonograd.data import FORMATS, AudioFile, read_audio, resample_audio, write_audio
from sonograd.errors import ConfigError, OutputError
from sonograd.jobs import separate as job
from sonograd.jobs import separate_files
from sonograd.jobs.outputs import StagedFolder


@pytest.fixture
def separate(tmp_path):
    """Run the job into ``out``, one worker, and return the report."""

    def run(*audio, model="hpss", **options):
        options = {"save": tmp_path / "out", "device": "cpu", "workers": 1, **options}
        return separate_files(model, audio, **options)

    return run


def only(report):
    """Return the one song of a report, which is done."""
    assert report.failed == report.skipped == ()
    (song,) = report.done
    assert report.status == 0
    return song


def read(song):
    """Return the stems of a song by name."""
    return {file.stem: read_audio(file)[0] for file in song.files}


def leftovers(folder):
    """Return every file below a folder that is hidden or in a hidden folder."""
    files = [path.relative_to(folder) for path in folder.rglob("*")]
    return [path for path in files if any(part.startswith(".") for part in path.parts)]


def test_a_song_becomes_a_folder_of_stems(separate, make_song, use_model, filters, tmp_path):
    model = use_model(filters())
    path, audio = make_song(bits="32f")
    song = only(separate(path, model="m", residual=True))
    assert song.source == path
    assert song.folder == tmp_path / "out" / "song"
    assert [file.name for file in song.files] == [
        "smooth.wav", "rough.wav", "quiet.wav", "residual.wav",
    ]  # fmt: skip
    stems = read(song)
    expected = model.separate(audio)
    for name, stem in zip(model.stems, expected, strict=True):
        assert torch.equal(stems[name], stem)
    torch.testing.assert_close(sum(stems.values()), audio, rtol=0, atol=1e-7)
    assert song.seconds == 3000 / 8000
    assert 0 < song.elapsed_seconds < 60
    assert song.real_time_factor == song.elapsed_seconds / song.seconds


def test_the_record_says_how_it_was_made(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song()
    song = only(separate(path, model="m", stems=["quiet"], overlap=0.5, duration=0.25))
    record = read_config(song.folder / "separation.json", SeparationRecord)
    assert record.model == "filters"
    assert record.model_sha256 == "0" * 64
    assert (record.source, record.source_bytes) == ("song.wav", path.stat().st_size)
    assert record.settings.stems == ("quiet",)
    assert (record.settings.chunk, record.settings.overlap) == (600, 300)
    assert record.settings.duration == 0.25
    assert (record.source_sample_rate, record.source_channels) == (8000, 2)
    assert record.settings.bits == "32f"
    assert set(record.versions) == {"sonograd", "torch", "python", "av", "soundfile", "soxr"}


@pytest.mark.parametrize(
    ("channels", "model"), [(1, "center"), (2, "hpss"), (3, "center"), (6, "center"), (8, "center")]
)
def test_channels_rate_and_length_are_those_of_the_song(separate, make_song, channels, model):
    path, audio = make_song(channels=channels, samples=4567, sample_rate=22050, bits="32f")
    song = only(separate(path, model=model, residual=True))
    stems = read(song)
    for file in song.files:
        with AudioFile(file) as opened:
            assert (opened.channels, opened.samples, opened.sample_rate) == (channels, 4567, 22050)
    torch.testing.assert_close(sum(stems.values()), audio, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 2, 17])
@pytest.mark.parametrize("model", ["hpss", "center", "repet", "fixed"])
def test_very_short_songs_work(separate, make_song, use_model, filters, samples, model):
    if model == "fixed":
        use_model(filters(sample_rate=11025))
    path, audio = make_song(samples=samples, bits="32f")
    song = only(separate(path, model=model, residual=True))
    stems = read(song)
    for stem in stems.values():
        assert stem.shape == (2, samples)
    torch.testing.assert_close(sum(stems.values()), audio, rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_holds_what_the_whole_tensor_gives(
    separate, make_song, use_model, filters, format
):
    model = use_model(filters(sample_rate=48000))
    time = torch.arange(24000) / 48000
    tone = torch.stack([torch.sin(2764.6 * time), torch.sin(1382.3 * time)]) * 0.4
    path, audio = make_song(audio=tone, sample_rate=48000, bits="32f")
    song = only(separate(path, model="m", format=format))
    assert song.gain_db == 0
    lossy = FORMATS[format].lossy
    for stem, expected in zip(read(song).values(), model.separate(audio), strict=True):
        assert stem.shape == expected.shape
        error = (stem - expected).square().mean().sqrt()
        assert error < (0.1 * expected.square().mean().sqrt() if lossy else 2**-23)


def test_a_compressed_song_gives_what_its_decoded_tensor_gives(
    separate, make_song, use_model, filters
):
    model = use_model(filters(sample_rate=44100))
    path, _ = make_song("song.mp3", sample_rate=44100, samples=30000)
    decoded, rate = read_audio(path)
    song = only(separate(path, model="m"))
    assert rate == 44100
    for stem, expected in zip(read(song).values(), model.separate(decoded), strict=True):
        assert torch.equal(stem, expected)


def test_the_rate_of_the_model_is_met_and_left_again(separate, make_song, use_model, filters):
    model = use_model(filters(sample_rate=11025))
    path, audio = make_song(sample_rate=16000, samples=9000, bits="32f")
    song = only(separate(path, model="m", residual=True))
    stems = read(song)
    torch.testing.assert_close(sum(stems.values()), audio, rtol=0, atol=1e-6)
    at_model = resample_audio(audio, 16000, 11025)
    expected = resample_audio(model.separate(at_model)[0], 11025, 16000)[:, :9000]
    error = (stems["smooth"][:, : expected.shape[-1]] - expected)[:, :-300]
    assert error.abs().max() < 1e-4


def test_another_rate_can_be_asked_for(separate, make_song, use_model, filters):
    use_model(filters(sample_rate=8000))
    path, audio = make_song(sample_rate=8000, samples=4001, bits="32f")
    song = only(separate(path, model="m", residual=True, sample_rate=12000))
    total = sum(read(song).values())
    expected = resample_audio(audio, 8000, 12000)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-6)


def test_duration_takes_the_start(separate, make_song, use_model, filters):
    model = use_model(filters())
    path, audio = make_song()
    song = only(separate(path, model="m", duration=0.1, bits="32f"))
    for stem, expected in zip(read(song).values(), model.separate(audio[:, :800]), strict=True):
        torch.testing.assert_close(stem, expected, rtol=0, atol=1e-4)
    assert song.seconds == 0.1
    longer = only(separate(path, model="m", duration=100, overwrite=True))
    assert longer.seconds == 3000 / 8000


def test_stems_can_be_chosen_and_the_residual_is_the_rest(separate, make_song, use_model, filters):
    model = use_model(filters())
    path, audio = make_song(bits="32f")
    song = only(separate(path, model="m", stems=["quiet", "smooth"], residual=True))
    stems = read(song)
    assert list(stems) == ["quiet", "smooth", "residual"]
    _, rough, quiet = model.separate(audio)
    assert torch.equal(stems["quiet"], quiet)
    torch.testing.assert_close(stems["residual"], rough, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("format", "bits"), [("wav", "16"), ("flac", "24"), ("mp3", None)])
def test_all_stems_get_one_gain_if_one_would_clip(
    separate, make_song, use_model, filters, noise, format, bits
):
    model = use_model(filters(sample_rate=8000))
    path, audio = make_song(audio=noise(2, 30000, level=0.8), bits="32f")
    song = only(separate(path, model="m", format=format, bits=bits))
    expected = model.separate(audio)
    peak = float(expected.abs().max())
    assert peak > 1.2
    gain = (1 - 2**-15) / peak
    assert song.gain_db == pytest.approx(20 * torch.tensor(gain).log10().item(), abs=1e-4)
    assert "so that none clips" in song.message
    record = read_config(song.folder / "separation.json", SeparationRecord)
    assert record.gain_db == song.gain_db
    if format != "mp3":
        for stem, wanted in zip(read(song).values(), expected, strict=True):
            torch.testing.assert_close(stem, wanted * gain, rtol=0, atol=2**-15)


def test_floating_point_files_are_never_clamped(separate, make_song, use_model, filters, noise):
    model = use_model(filters())
    path, audio = make_song(audio=noise(2, 3000, level=20.0), bits="32f")
    song = only(separate(path, model="m", residual=True))
    stems = read(song)
    assert stems["smooth"].abs().max() > 10
    assert torch.equal(stems["smooth"], model.separate(audio)[0])
    torch.testing.assert_close(sum(stems.values()), audio, rtol=0, atol=2e-5)


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("model", ["hpss", "center", "repet"])
def test_silence_gives_silence(separate, make_song, model, format):
    path, _ = make_song(audio=torch.zeros(2, 5000))
    for stem in read(only(separate(path, model=model, format=format, residual=True))).values():
        assert stem.abs().max() == 0


def test_tags_go_along(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song("song.flac", tags={"title": "Blue", "artist": "Somebody"})
    song = only(separate(path, model="m", format="flac"))
    with AudioFile(song.files[0]) as file:
        assert file.info.tags["artist"] == "Somebody"


def test_existing_results_are_kept(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song()
    first = only(separate(path, model="m"))
    times = [file.stat().st_mtime_ns for file in first.files]
    events = []
    report = separate(path, model="m", on_event=events.append)
    (skipped,) = report.skipped
    assert report.status == 0
    assert report.done == ()
    assert skipped.files == first.files
    assert [event.kind for event in events] == ["skipped"]
    assert "--overwrite" in events[0].message
    assert "another" not in events[0].message
    assert [file.stat().st_mtime_ns for file in first.files] == times


def test_overwrite_replaces_its_files_only(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song()
    song = only(separate(path, model="m"))
    (song.folder / "notes.txt").write_text("mine")
    song.files[0].write_bytes(b"")
    again = only(separate(path, model="m", overwrite=True))
    assert again.files[0].stat().st_size > 1000
    assert (song.folder / "notes.txt").read_text() == "mine"
    assert leftovers(song.folder.parent) == []


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("before", "now", "difference"),
    [
        ({"stems": ["quiet"], "residual": True}, {"residual": True},
         "stems quiet (wanted: smooth + rough + quiet)"),
        ({"stems": ["quiet"]}, {}, "stems quiet (wanted: smooth + rough + quiet)"),
        ({}, {"residual": True}, "residual no (wanted: yes)"),
        ({"residual": True}, {"residual": True, "stems": ["quiet"]},
         "stems smooth + rough + quiet (wanted: quiet)"),
        ({"sample_rate": 4000}, {}, "sample rate 4000 (wanted: 8000)"),
        ({"duration": 0.2}, {}, "duration 0.2 (wanted: none)"),
        ({"overlap": 0.5}, {}, "overlap 300 (wanted: 150)"),
        ({"bits": "16"}, {}, "bits 16 (wanted: 32f)"),
        ({"repair": True}, {}, "repair yes (wanted: no)"),
        ({"precision": "bf16"}, {}, "precision bf16 (wanted: 32)"),
        ({"format": "flac"}, {}, "format flac (wanted: wav)"),
        ({"format": "alac", "sample_rate": 48000}, {"format": "m4a", "sample_rate": 48000},
         "format alac (wanted: m4a)"),
    ],
)  # fmt: skip
def test_results_of_other_settings_are_refused(
    separate, make_song, use_model, filters, before, now, difference
):
    use_model(filters())
    path, _ = make_song()
    song = only(separate(path, model="m", **before))
    found = contents(song.folder)
    report = separate(path, model="m", **now)
    (failed,) = report.failed
    assert report.status == 2
    assert difference in failed.message
    assert "--overwrite" in failed.message
    assert "\n" not in failed.message
    assert contents(song.folder) == found


def test_a_gain_is_never_shared_by_two_runs(separate, make_song, use_model, filters, noise):
    use_model(filters())
    path, _ = make_song(audio=noise(2, 3000, level=5.0), bits="32f")
    only(separate(path, model="m", format="flac"))
    (failed,) = separate(path, model="m", format="flac", stems=["quiet"]).failed
    assert "stems smooth + rough + quiet (wanted: quiet)" in failed.message


def test_some_of_the_results_are_as_good_as_all(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song()
    song = only(separate(path, model="m", residual=True, bits="32f"))
    (skipped,) = separate(path, model="m", stems=["quiet", "rough"]).skipped
    assert skipped.files == (song.folder / "quiet.wav", song.folder / "rough.wav")


def test_incomplete_and_unknown_results_are_refused(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song()
    song = only(separate(path, model="m"))
    song.files[1].unlink()
    (failed,) = separate(path, model="m").failed
    assert "lacks rough.wav; --overwrite" in failed.message
    (song.folder / "separation.json").write_text("{")
    (failed,) = separate(path, model="m").failed
    assert "separation.json: not valid JSON" in failed.message
    (song.folder / "separation.json").unlink()
    (failed,) = separate(path, model="m").failed
    assert "holds smooth.wav without a separation.json" in failed.message
    for file in song.folder.iterdir():
        file.unlink()
    (song.folder / "notes.txt").write_text("mine")
    only(separate(path, model="m"))
    assert (song.folder / "notes.txt").read_text() == "mine"


def test_overwriting_leaves_nothing_of_the_run_before(separate, make_song, use_model, filters):
    use_model(filters())
    path, audio = make_song(bits="32f")
    song = only(separate(path, model="m", residual=True))
    again = only(separate(path, model="m", stems=["rough"], residual=True, overwrite=True))
    assert sorted(file.name for file in song.folder.iterdir()) == [
        "residual.wav", "rough.wav", "separation.json",
    ]  # fmt: skip
    torch.testing.assert_close(sum(read(again).values()), audio, rtol=0, atol=1e-7)


def test_results_that_appear_meanwhile_are_kept(separate, make_song, use_model, filters, tmp_path):
    use_model(filters())
    path, _ = make_song()

    def appear(event):
        if event.kind == "started":
            (tmp_path / "out" / "song").mkdir(parents=True)
            (tmp_path / "out" / "song" / "rough.wav").write_bytes(b"mine")

    (failed,) = separate(path, model="m", on_event=appear).failed
    assert "holds rough.wav" in failed.message
    assert contents(tmp_path / "out" / "song") == {"rough.wav": b"mine"}


def test_what_a_killed_run_left_is_removed(separate, make_song, use_model, filters, tmp_path):
    use_model(filters())
    path, _ = make_song()
    with StagedFolder(tmp_path / "out" / "x") as staged:
        name = staged.path.name
    hidden = tmp_path / "out" / name
    hidden.mkdir(parents=True)
    os.utime(hidden, (0, 0))
    events = []
    only(separate(path, model="m", on_event=events.append))
    assert not hidden.exists()
    assert (events[0].kind, events[0].source) == ("warning", hidden)
    assert "killed" in events[0].message


def test_results_of_another_song_or_model_are_refused(
    separate, make_song, use_model, filters, tmp_path
):
    use_model(filters())
    path, _ = make_song()
    only(separate(path, model="m"))
    path.unlink()
    make_song(samples=999)
    (failed,) = separate(path, model="m").failed
    assert "source bytes" in failed.message
    path.unlink()
    make_song()
    record = tmp_path / "out" / "song" / "separation.json"
    text = record.read_text()
    record.write_text(text.replace("0" * 64, "1" * 64))
    (failed,) = separate(path, model="m").failed
    assert "model filters with other weights" in failed.message
    record.write_text(text.replace("0" * 64, "1" * 64).replace('"filters"', '"another"'))
    (failed,) = separate(path, model="m").failed
    assert "model another (wanted: filters)" in failed.message


def test_a_batch_goes_on_past_bad_songs(separate, make_song, use_model, filters, tmp_path):
    use_model(filters())
    good, _ = make_song("music/good.wav")
    nan, audio = make_song("music/nan.wav", bits="32f")
    audio[1, 1234] = float("nan")
    write_audio(nan, audio, 8000, bits="32f", overwrite=True)
    (tmp_path / "music/empty.wav").write_bytes(b"")
    (tmp_path / "music/text.mp3").write_text("these are words, not sounds\n" * 50)
    whole = good.read_bytes()
    (tmp_path / "music/cut.wav").write_bytes(whole[: len(whole) // 2])
    events = []
    report = separate(tmp_path / "music", tmp_path / "gone.wav", model="m", on_event=events.append)
    assert [song.source.name for song in report.done] == ["good.wav"]
    failed = {song.source.name: song.message for song in report.failed}
    assert set(failed) == {"nan.wav", "empty.wav", "text.mp3", "cut.wav", "gone.wav"}
    assert report.status == 1
    for name, message in failed.items():
        assert name in message
        assert "\n" not in message
    assert "sample 1234" in failed["nan.wav"]
    assert "0 bytes" in failed["empty.wav"]
    assert sum(event.kind == "failed" for event in events) == 5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good"]


def test_a_song_whose_name_is_no_text_is_left_out(
    separate, make_song, use_model, filters, tmp_path
):
    use_model(filters())
    good, _ = make_song("music/good.wav")
    name = os.fsdecode(b"bad\xff.wav")
    try:
        (tmp_path / "music" / name).write_bytes(good.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    report = separate(tmp_path / "music", model="m")
    assert [song.source for song in report.done] == [good]
    (failed,) = report.failed
    assert "its name is no valid text; rename the file" in failed.message
    assert report.status == 1


def test_a_header_that_stops_a_reader_does_not_stop_the_others(
    separate, make_song, use_model, filters, tmp_path, monkeypatch
):
    use_model(filters())
    bad, good = (make_song(f"music/{name}.wav")[0] for name in "ab")
    opened = job.AudioFile

    def open_file(path):
        if path == bad:
            raise ValueError("strange header")
        return opened(path)

    monkeypatch.setattr("sonograd.jobs.separate.AudioFile", open_file)
    report = separate(tmp_path / "music", model="m")
    assert [song.source for song in report.done] == [good]
    assert report.failed[0].message.startswith(f"{bad}: ValueError: strange header (with SONO")


def test_nothing_usable_is_status_two(separate, tmp_path):
    report = separate(tmp_path / "gone.wav")
    assert report.status == 2
    assert not (tmp_path / "out").exists()


def test_repair_replaces_by_silence(separate, make_song, use_model, filters, noise):
    model = use_model(filters())
    audio = noise(2, 3000)
    audio[0, 10:20] = float("inf")
    audio[1, 2000] = float("nan")
    path, _ = make_song(audio=audio, bits="32f")
    events = []
    song = only(separate(path, model="m", repair=True, on_event=events.append))
    repaired = audio.nan_to_num(0, 0, 0)
    assert torch.equal(read(song)["smooth"], model.separate(repaired)[0])
    warnings = [event.message for event in events if event.kind == "warning"]
    assert warnings == ["11 samples were no finite numbers and are silent now"]


def test_all_wrong_options_are_named_at_once(separate, make_song):
    path, _ = make_song()
    with pytest.raises(ConfigError) as caught:
        separate(
            path, stems=["harmonics", "percussive"], format="wave", device="gpu", overlap=1.5,
            padding=3, batch_size=0, workers=0, duration=-1, sample_rate=0, precision="16",
        )  # fmt: skip
    problems = "\n".join(caught.value.problems)
    for text in (
        "no stem 'harmonics'; this model has harmonic, percussive. Did you mean 'harmonic'?",
        "format is 'wave'", "Did you mean 'wav'?", "device is 'gpu'", "overlap is 1.5",
        "padding: replaces overlap", "batch_size: got 0", "workers: got 0", "duration: got -1",
        "sample_rate: got 0", "precision: got 16",
    ):  # fmt: skip
        assert text in problems
    assert len(caught.value.problems) == 10


def test_an_unknown_model_is_named_with_the_nearest(separate, make_song):
    path, _ = make_song()
    with pytest.raises(ConfigError, match=r"model: 'hpsss': no model has this name.*'hpss'"):
        separate(path, model="hpsss")


@pytest.mark.parametrize("name", ["../vocals", "a/b", ".hidden", "a\\b"])
def test_stems_cannot_leave_their_folder(separate, make_song, use_model, filters, name):
    model = use_model(filters())
    model.stems = (name, "rough", "quiet")
    path, _ = make_song()
    with pytest.raises(ConfigError, match="cannot be the name of a file"):
        separate(path, model="m")


def test_a_stem_called_residual_is_not_written_twice(separate, make_song, use_model, filters):
    model = use_model(filters())
    model.stems = ("smooth", "rough", "residual")
    path, _ = make_song()
    only(separate(path, model="m"))
    with pytest.raises(ConfigError, match="the model has a stem 'residual', too"):
        separate(path, model="m", residual=True)


@pytest.mark.parametrize(("channels", "said"), [(1, False), (2, False), (6, True)])
def test_it_is_said_how_many_channels_go_through_a_model(
    separate, make_song, use_model, filters, channels, said
):
    use_model(filters())
    events = []
    path, _ = make_song(channels=channels)
    separate(path, model="m", on_event=events.append)
    found = [event.message for event in events if event.kind == "warning"]
    message = "6 channels go through the model in pairs, and keep their places"
    assert found == ([message] if said else [])


def test_a_format_that_cannot_hold_a_song_fails_before_the_work(separate, make_song):
    path, _ = make_song(channels=6)
    report = separate(path, format="mp3")
    assert report.status == 2
    assert "mp3 holds 1 to 2 channels, got 6" in report.failed[0].message


def test_a_read_only_place_fails_before_the_work(separate, make_song, tmp_path):
    path, _ = make_song()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not a folder"):
        separate(path, save=tmp_path / "file" / "x")


def test_a_file_in_the_place_of_results_fails_before_the_work(separate, make_song, tmp_path):
    path, _ = make_song()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "song").write_text("mine")
    report = separate(path)
    assert report.status == 2
    assert "song is not a folder" in report.failed[0].message
    assert (tmp_path / "out" / "song").read_text() == "mine"


def test_too_little_space_is_known_before_the_work(separate, make_song, monkeypatch):
    path, _ = make_song(samples=10000)
    needed = []
    monkeypatch.setattr(job, "check_space", lambda _, bytes_: needed.append(bytes_))
    only(separate(path, residual=True))
    assert needed[0] == needed[1] == 3 * 2 * 10000 * 4
    needed.clear()
    only(separate(path, residual=True, format="flac", overwrite=True))
    assert needed[0] == 3 * 2 * 10000 * (3 + 4)


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_half_done_stays(separate, make_song, use_model, filters, tmp_path, error, format):
    model = use_model(filters())
    path, _ = make_song(samples=20000)
    original, calls = model.forward, []

    def forward(mix):
        calls.append(1)
        if len(calls) == 20:
            raise error
        return original(mix)

    model.forward = forward
    if isinstance(error, OSError):
        report = separate(path, model="m", format=format)
        assert report.failed[0].message == f"{path}: No space left on device"
        assert report.status == 1
    else:
        with pytest.raises(KeyboardInterrupt):
            separate(path, model="m", format=format)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("shapes differ\nand more"), "RuntimeError: shapes differ"),
        (MemoryError(), "MemoryError"),
        (TypeError("no float64 here"), "TypeError: no float64 here"),
    ],
)
def test_a_song_that_stops_the_model_does_not_stop_the_others(
    separate, make_song, use_model, filters, tmp_path, monkeypatch, error, words, workers
):
    """Whatever it is; the line says what, and how to find out where."""
    model = use_model(filters())
    songs = [make_song(f"{name}.wav", samples=5000)[0] for name in "abc"]
    original, current = model.forward, []

    def forward(mix):
        if current[-1] == songs[1]:
            raise error
        return original(mix)

    model.forward = forward
    options = {
        "model": "m", "workers": workers, "on_event": lambda event: current.append(event.source),
    }  # fmt: skip
    report = separate(*songs, **options)
    assert [song.source for song in report.done] == [songs[0], songs[2]]
    assert report.status == 1
    (failed,) = report.failed
    hint = "(with SONOGRAD_TRACEBACK=1 it stops here and shows where)"
    assert failed.message == f"{songs[1]}: {words} {hint}"
    assert leftovers(tmp_path / "out") == []
    monkeypatch.setenv("SONOGRAD_TRACEBACK", "1")
    with pytest.raises(type(error)):
        separate(*songs, **{**options, "overwrite": True})
    assert leftovers(tmp_path / "out") == []


def test_progress_counts_seconds_over_all_songs(separate, make_song, use_model, filters):
    use_model(filters())
    paths = [make_song(f"{number}.wav", samples=4000)[0] for number in range(3)]
    seen = []
    separate(*paths, model="m", on_progress=lambda done, total: seen.append((done, total)))
    done = [pair[0] for pair in seen]
    assert {pair[1] for pair in seen} == {1.5}
    assert done == sorted(done)
    assert done[-1] == 1.5
    assert len(done) > 20


def test_a_single_path_needs_no_list(make_song, use_model, filters, tmp_path):
    use_model(filters())
    path, _ = make_song()
    for number, audio in enumerate((path, str(path))):
        report = separate_files("m", audio, save=tmp_path / str(number), device="cpu", workers=1)
        assert only(report).source == path


def test_events_tell_each_song(separate, make_song, use_model, filters):
    use_model(filters())
    path, _ = make_song()
    events = []
    separate(path, model="m", on_event=events.append)
    assert [event.kind for event in events] == ["started", "done"]
    assert events[1].message.startswith("3 files in ")
    one = only(separate(path, model="m", stems=["quiet"], overwrite=True))
    assert one.message.startswith("1 file in ")
    assert "times real time" in events[1].message


def test_workers_do_not_change_a_bit(separate, make_song, use_model, filters, tmp_path):
    use_model(filters())
    path, _ = make_song(samples=9000)
    one = read(only(separate(path, model="m", save=tmp_path / "one", workers=1)))
    three = read(only(separate(path, model="m", save=tmp_path / "three", workers=3)))
    for name, stem in one.items():
        assert torch.equal(stem, three[name])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_gpu_gives_what_the_cpu_gives(separate, make_song, use_model, filters, batch_size):
    model = use_model(filters())
    path, audio = make_song(samples=9000, bits="32f")
    song = only(separate(path, model="m", device="cuda", batch_size=batch_size))
    expected = model.cpu().separate(audio)
    for stem, wanted in zip(read(song).values(), expected, strict=True):
        torch.testing.assert_close(stem, wanted, rtol=0, atol=1e-4)


SCRIPT = """
import sys
from pathlib import Path
from statistics import median
from sonograd.jobs import separate_files
from sonograd.jobs.outputs import StagedFolder

def measure(done, total):
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x)
    resident.append((done / total, int(line.split()[1])))

resident = []
report = separate_files(
    "center", sys.argv[1], save=sys.argv[2], workers=2, device="cpu", on_progress=measure
)
assert report.status == 0, report
print(median(size for part, size in resident if 0.15 < part < 0.35))
print(median(size for part, size in resident if part > 0.8))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_along_a_song(tmp_path):
    path = tmp_path / "song.wav"
    write_audio(path, torch.randn(2, 8 * 60 * 44100) * 0.1, 44100, bits="16")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, tmp_path / "out"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    early, late = map(float, run.stdout.split())
    # A single signal that is kept would add 100 MB between these two.
    assert late < 1.1 * early


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "status"), [("INT", 130), ("TERM", 143)])
def test_a_signal_leaves_no_half_files(tmp_path, signal, status):
    path = tmp_path / "song.wav"
    write_audio(path, torch.randn(2, 600 * 44100) * 0.1, 44100, bits="16")
    run = subprocess.Popen(
        [sys.executable, "-c", "import sys; from sonograd.cli.app import main; sys.exit(main())",
         "separate", "repet", path, "--save", tmp_path / "out", "--format", "flac"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.sonograd-*/.*.raw")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(run.pid, getattr(__import__("signal"), f"SIG{signal}"))
    _, errors = run.communicate(timeout=60)
    assert run.returncode == status
    assert "unfinished results were removed" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
