"""What training survives: bad data, full disks, kills, and mistakes."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sonograd.config import SpectrogramNetLSTMConfig
from sonograd.errors import (
    ConfigError,
    DatasetError,
    OutputError,
    ParameterError,
    TrainingError,
)
from sonograd.separators import build_separator
from sonograd.training.schedule import Clock, Plateaus, learning_rate
from sonograd.training.state import read_state

pytest.importorskip("lightning")


def _state(folder):
    return read_state(folder / "checkpoint.pth")


def _assert_equal(ours, theirs):
    assert ours.step == theirs.step
    assert ours.plateaus == theirs.plateaus
    for name in ours.model:
        assert torch.equal(ours.model[name], theirs.model[name]), name
        assert torch.equal(ours.average[name], theirs.average[name]), name
    for key, state in ours.optimizer["state"].items():
        for name, value in state.items():
            assert torch.equal(value, theirs.optimizer["state"][key][name])


def test_ten_epochs_are_five_and_five(session, run, songs):
    whole, halves = session("whole"), session("halves")
    settings = {"max_samples": 2, "stop_patience": 2, "max_plateaus": 9, "min_delta": 1e3}
    run(whole, songs, settings=settings | {"max_epochs": 10})
    assert run(halves, songs, settings=settings | {"max_epochs": 5}).epoch == 5
    second = run(halves, songs, settings=settings | {"max_epochs": 10}, resume=True)
    assert (second.step, second.epoch, second.done) == (10, 10, True)
    _assert_equal(_state(whole), _state(halves))
    assert _state(whole).plateaus[2] == 4  # of 10 epochs 1 is better, and pairs of the rest not


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_and_resumed_equals_uninterrupted(session, run, songs):
    settings = {"max_epochs": 6, "max_samples": 8}
    whole, killed = session("whole"), session("killed")
    run(whole, songs, settings=settings)
    code = (
        "import sys; from sonograd.jobs.train import train\n"
        "train(sys.argv[1], sys.argv[2], device='cpu', resume=True, settings=eval(sys.argv[3]))"
    )
    everything = repr(run.settings | settings)
    command = [sys.executable, "-c", code, str(killed), str(songs), everything]
    for _ in range(2):
        process = subprocess.Popen(command)
        began, state = time.time(), killed / "checkpoint.pth"
        stamp = state.stat().st_mtime_ns if state.exists() else 0
        while time.time() < began + 400 and process.poll() is None:
            if state.exists() and state.stat().st_mtime_ns > stamp:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert _state(killed).step > 0
    run(killed, songs, settings=settings, resume=True)
    _assert_equal(_state(whole), _state(killed))


def test_accumulated_gradients_are_those_of_the_batch(session, run, songs, tiny_unet):
    folders = [session(name, tiny_unet(dropout_p=0.0)) for name in "ab"]
    plain = {"optimizer": "sgd", "lr": 0.05}
    for folder, batch, accumulate in zip(folders, (4, 2), (1, 2), strict=True):
        settings = {"batch_size": batch, "accumulate": accumulate, "max_samples": 8, "ema": 0.0}
        run(folder, songs, settings=plain | settings)
    ours, theirs = map(_state, folders)
    assert ours.step == theirs.step == 2
    for name, value in ours.model.items():
        torch.testing.assert_close(value, theirs.model[name], atol=1e-5, rtol=1e-3)


def test_plateaus_lower_the_rate_and_end_the_training(session, run, songs):
    folder, events = session(), []
    settings = {
        "max_epochs": 50, "max_samples": 2, "lr": 1e-3, "stop_patience": 2, "max_plateaus": 2,
        "min_delta": 1e6,
    }  # fmt: skip
    result = run(folder, songs, settings=settings, on_event=events.append)
    # Nothing is a million better than the first epoch: 1 + 2 plateaus of 2 epochs.
    assert (result.epoch, result.done) == (5, True)
    assert [event.lr for event in events] == pytest.approx([1e-3] * 3 + [1e-4] * 2)
    again = run(folder, songs, settings=settings, resume=True)
    assert (again.done, again.ran) == (True, False)


def test_plateaus_also_count_negative_losses():
    plateaus = Plateaus(patience=2, limit=3, min_delta=0.01)
    better = [-5.0, -5.02, -5.02, -5.025, -5.5]
    assert [plateaus.update(loss) for loss in better] == [False, False, False, True, False]
    assert plateaus.best == -5.5
    assert (plateaus.waited, plateaus.count) == (0, 1)
    clock = Clock(steps_per_epoch=1, plateaus=plateaus)
    assert learning_rate(clock, 1.0, 0, "plateau") == pytest.approx(0.1)
    assert learning_rate(clock, 1.0, 0, "constant") == 1.0
    assert not Plateaus().update(float("inf"))


def test_unreadable_song_is_left_out_and_named(session, run, tmp_path, write_songs):
    root = write_songs(tmp_path / "data", 4)
    broken = root / "song 1" / "bass.wav"
    broken.write_bytes(broken.read_bytes()[:100])
    said = []
    result = run(session(), root, on_message=said.append)
    assert list(result.skipped) == ["song 1"]
    assert "bass.wav" in result.skipped["song 1"]
    assert any(text.startswith("left out: song 1: ") for text in said)


def test_song_that_breaks_on_the_way_is_left_out(session, run, tmp_path, write_songs):
    root = write_songs(tmp_path / "data", 4)
    said, folder = [], session()
    from sonograd.data.cache import PcmFile

    read = PcmFile.read

    def fail(self, start, samples):
        if self.path.parent.name == "song 1":
            raise DatasetError(f"{self.path}: ended early")
        return read(self, start, samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PcmFile, "read", fail)
        settings = {"max_samples": 16, "validation_songs": 0}
        result = run(folder, root, settings=settings, on_message=said.append)
    assert result.done
    assert list(result.skipped) == ["song 1"]
    assert sum(text.startswith("left out: song 1: ") for text in said) == 1


def test_mixed_rates_are_resampled(session, run, tmp_path, write_songs, monkeypatch):
    monkeypatch.setenv("SONOGRAD_CACHE", str(tmp_path / "cache"))
    root = write_songs(tmp_path / "data", 3)
    for path in (root / "song 0").iterdir():
        audio, rate = soundfile.read(path)
        soundfile.write(path, np.repeat(audio, 2, axis=0), 2 * rate)
    assert run(session(), root).done
    assert len(list((tmp_path / "cache").rglob("*.wav"))) == 4
    assert run(session("direct"), root, settings={"cache_gb": 0}).done


def test_empty_split_is_named(session, run, tmp_path, write_songs):
    write_songs(tmp_path / "data" / "train", 2)
    (tmp_path / "data" / "val").mkdir()
    with pytest.raises(DatasetError, match=r"val: no songs; expected SONG/drums\.wav"):
        run(session(), tmp_path / "data")
    assert run(session("without"), tmp_path / "data", settings={"validation_songs": 0}).done


def test_single_song_cannot_be_held_out(session, run, tmp_path, write_songs):
    write_songs(tmp_path / "data", 1)
    assert run(session(), tmp_path / "data").done


def test_full_disk_ends_in_one_line_and_keeps_the_state(session, run, songs, monkeypatch):
    folder = session()
    run(folder, songs)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def full(content, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        OutputError, match=r"checkpoint\.pth: cannot be written.*No space"
    ) as caught:
        run(folder, songs, settings={"max_epochs": 2}, resume=True)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert (folder / "checkpoint.pth").read_bytes() == before["checkpoint.pth"]
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    assert run(folder, songs, settings={"max_epochs": 2}, resume=True).epoch == 2


def test_criterion_that_does_not_fit_is_refused_before_anything_is_read(session, run, tmp_path):
    with pytest.raises(ConfigError, match="kl_div needs a variational network"):
        run(session(), tmp_path / "nothing", settings={"criterion": "kl_div"})


def test_more_processes_than_gpus_are_refused(session, songs, monkeypatch):
    from sonograd.jobs import resources
    from sonograd.jobs.train import train

    monkeypatch.setattr(resources, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ParameterError, match="devices is 2, but there are 1 GPUs; choose fewer"):
        train(session(), songs, devices=2, device="cuda")


def test_batches_that_cannot_be_shared_are_refused(session, run, songs):
    with pytest.raises(ParameterError, match="expected a multiple of the number of processes"):
        run(session(), songs, settings={"batch_size": 3}, devices=2)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_loss_that_is_no_number_names_track_and_offset(session, run, songs, bad):
    from sonograd.data.cache import PcmFile

    read = PcmFile.read_audio

    def poison(self, start, samples):
        data = read(self, start, samples)
        data[:] = float(bad)
        return data

    folder = session()
    run(folder, songs)
    before = (folder / "checkpoint.pth").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PcmFile, "read_audio", poison)
        with pytest.raises(TrainingError, match=r"step 2; the last .* song \d \(\d\.\d s\)"):
            run(folder, songs, settings={"max_epochs": 2}, resume=True)
    assert (folder / "checkpoint.pth").read_bytes() == before


def test_table_has_one_row_per_epoch(session, run, songs):
    folder = session()
    run(folder, songs, settings={"max_epochs": 3})
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["validation_loss"]) > 0 for row in rows)


def test_history_is_drawn(session, run, songs):
    pytest.importorskip("matplotlib")
    from sonograd.jobs.history import plot_history

    folder = session()
    run(folder, songs, settings={"max_epochs": 2})
    picture = plot_history(folder)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OutputError, match="exists and is kept"):
        plot_history(folder)
    with pytest.raises(ParameterError, match="no such file; expected a session folder"):
        plot_history(folder / "nothing")


def test_recurrent_layers_have_their_rate(session, run, songs):
    from sonograd.training.module import recurrent_parameters

    config = SpectrogramNetLSTMConfig(
        num_channels=2, num_hidden_channels=2, sample_length=0.5, sample_rate=8000, num_fft=256,
        window_size=256, hop_length=128, targets=("vocals",), hidden_size=8, recurrent_depth=1,
        dropout_p=0.0,
    )  # fmt: skip
    folder = session(config=config)
    settings = {"lr": 1e-3, "lr_lstm": 1e-30, "ema": 0.0, "weight_decay": 0.0, "max_samples": 2}
    run(folder, songs, settings=settings)
    torch.manual_seed(0)
    fresh, after = build_separator(config), _state(folder).model
    slow = {id(parameter) for parameter in recurrent_parameters(fresh)}
    assert slow
    for name, parameter in fresh.named_parameters():
        moved = (parameter - after[name]).abs().max() > 1e-12
        assert moved == (id(parameter) not in slow), name


@pytest.mark.parametrize("changes", [{"channels_last": True}, {"precision": "bf16"}])
def test_ways_to_compute_agree(session, run, songs, changes):
    settings = {"ema": 0.0, "max_samples": 2}
    plain, other = session("plain"), session("other")
    run(plain, songs, settings=settings)
    run(other, songs, settings=settings | changes)
    ours, theirs = _state(plain).model, _state(other).model
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=5e-3, rtol=0)


def test_folders_of_other_things_are_refused(tmp_path, songs, run):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ConfigError):
        run(tmp_path, songs)
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_refused_training_leaves_no_settings(session, run, songs, tmp_path):
    folder = session()
    for settings, place, error in (
        ({"criterion": "kl_div"}, songs, ConfigError),
        ({}, tmp_path / "nothing", DatasetError),
        ({"batch_size": 3}, songs, ParameterError),
    ):
        with pytest.raises(error):
            run(folder, place, settings=settings, devices=2 if "batch_size" in settings else 1)
    assert [path.name for path in folder.iterdir()] == ["model.json"]


def test_folder_that_is_no_session_is_told_how_to_become_one(tmp_path, run, songs):
    with pytest.raises(ConfigError, match=r"no such file; make a session folder: sonograd config"):
        run(tmp_path / "nothing", songs)


def test_strategies_that_do_not_exist_are_one_line(session, run, songs):
    with pytest.raises(ParameterError, match=r"strategy nonsense cannot work.*Try --strategy auto"):
        run(session(), songs, strategy="nonsense")


def test_other_batches_keep_the_epochs_that_are_done(session, run, songs):
    folder = session()
    run(folder, songs, settings={"max_samples": 6})
    assert _state(folder).epochs == (0, 0, 3)
    settings = {"max_samples": 2, "max_epochs": 3}
    result = run(folder, songs, settings=settings, resume=True)
    assert (result.step, result.epoch, result.done) == (5, 3, True)
    assert _state(folder).epochs == (3, 1, 1)


def test_stopping_within_an_epoch_does_not_count_for_plateaus(session, run, songs):
    folder = session()
    settings = {"max_samples": 4, "min_delta": 1e6, "stop_patience": 9}
    run(folder, songs, settings=settings, stop_after_minutes=1e-9)
    assert _state(folder).plateaus == (float("inf"), 0, 0)
    run(folder, songs, settings=settings, resume=True)
    assert _state(folder).plateaus[0] < float("inf")


def test_ctrl_c_saves_the_step(session, run, songs):
    folder, whole, said = session(), session("whole"), []
    settings = {"max_samples": 6}

    def stop(event):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonograd.training.callbacks._PROGRESS_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            run(folder, songs, settings=settings, on_progress=stop, on_message=said.append)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert _state(folder).step == 1
    assert said[-1] == "saved step 1; go on with --resume"
    run(folder, songs, settings=settings, resume=True)
    run(whole, songs, settings=settings)
    _assert_equal(_state(whole), _state(folder))


def test_progress_is_told_between_events(session, run, songs, monkeypatch):
    monkeypatch.setattr("sonograd.training.callbacks._PROGRESS_SECONDS", -1.0)
    events, progress = [], []
    run(
        session(), songs, settings={"max_samples": 8, "accumulate": 2, "validation_songs": 0},
        on_event=events.append, on_progress=progress.append,
    )  # fmt: skip
    assert [event.chunks for event in progress] == [4, 8]
    (last,) = events
    assert (last.chunks, last.ends_epoch, dict(last.scores)) == (8, True, {})


@pytest.mark.parametrize(
    ("variables", "first"),
    [({}, True), ({"LOCAL_RANK": "1"}, False), ({"RANK": "0", "LOCAL_RANK": "0"}, True),
     ({"RANK": "1", "LOCAL_RANK": "0"}, False)],
)  # fmt: skip
def test_one_process_of_all_writes(variables, first, monkeypatch):
    from sonograd.jobs.train import is_first_process

    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first


def test_processes_of_torchrun_keep_a_training_that_is_there(session, run, songs, monkeypatch):
    folder = session()
    run(folder, songs)
    before = (folder / "checkpoint.pth").read_bytes()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(OutputError, match="holds a training already"):
        run(folder, songs)
    assert (folder / "checkpoint.pth").read_bytes() == before


def test_silence_does_not_decide_about_plateaus(tmp_path, tiny_unet):
    from sonograd.config.training import TrainingConfig
    from sonograd.data.stems import Example
    from sonograd.training.callbacks import Conductor
    from sonograd.training.module import TrainingModule

    torch.manual_seed(0)
    model = build_separator(tiny_unet(dropout_p=0.0))
    module = TrainingModule(model, TrainingConfig(), Clock(steps_per_epoch=1), chunk_samples=2000)
    conductor = Conductor(module, tmp_path, (), on_event=None)
    stems = 0.1 * torch.randn(2, 2, 2000)
    silent = torch.stack([torch.zeros(2, 2000), stems[1]])
    alone = conductor._song_loss(Example("a", stems))
    assert abs(alone) < 60
    both = conductor._song_loss(Example("b", torch.cat([silent, stems, silent], dim=-1)))
    assert both == pytest.approx(alone, abs=1e-4)
    assert np.isnan(conductor._song_loss(Example("c", silent)))


def test_validation_song_that_breaks_on_the_way_is_left_out(session, run, songs):
    from sonograd.data.stems import StemFolder

    said, whole = [], StemFolder.__getitem__

    def fail(self, song):
        if song == 1 and said:
            raise DatasetError("ended early")
        return whole(self, song)

    settings = {"max_epochs": 2, "validation_songs": 2, "max_samples": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StemFolder, "__getitem__", fail)
        patch.setattr(
            "sonograd.data.splits.choose_held_out", lambda names, *_, **__: {"song 0", "song 1"}
        )
        result = run(session(), songs, settings=settings, on_message=said.append)
    assert (result.epoch, dict(result.skipped)) == (2, {"song 1": "ended early"})
    assert "left out: song 1: ended early" in said
