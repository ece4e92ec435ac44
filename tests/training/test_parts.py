"""The clock, the moving average, the state file, the table, and scores."""

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from sonograd.config import TrainingConfig
from sonograd.data.stems import Example
from sonograd.errors import CheckpointError, OutputError
from sonograd.training.averaging import WeightAverage
from sonograd.training.logging import LogTable, TrainingEvent
from sonograd.training.loop import chosen_precision
from sonograd.training.schedule import Clock, learning_rate, steps_per_epoch
from sonograd.training.state import TrainingState, read_state, write_state
from sonograd.training.validation import median_scores, score_song


def test_average_follows_its_law():
    model = nn.BatchNorm1d(3)
    average = WeightAverage(model, 0.9)
    expected = torch.ones(3)
    for step in range(40):
        with torch.no_grad():
            model.weight.copy_(torch.randn(3))
            model.num_batches_tracked += 1
        decay = min(0.9, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        average.update(model, step)
    torch.testing.assert_close(average.model.weight.detach(), expected)
    assert average.model.num_batches_tracked == 40
    assert not average.model.training
    assert model.training


def test_average_without_decay_is_the_model():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.0)
    nn.init.normal_(model.weight)
    average.update(model, 0)
    assert torch.equal(average.model.weight, model.weight)


def test_clock_ends_with_whichever_limit_comes_first():
    clock = Clock(steps_per_epoch=10, max_steps=100, max_seconds=50.0)
    clock.step, clock.seconds = 20, 10.0
    assert (clock.epoch, clock.fraction, clock.done) == (2, 0.2, False)
    clock.seconds = 25.0
    assert clock.fraction == 0.5
    clock.step = 100
    assert clock.done


def test_clock_goes_on_with_epochs_of_another_length():
    clock = Clock(steps_per_epoch=2, max_steps=10)
    clock.go_on(20, 3.0, (0, 0, 10))  # two epochs of ten steps are done, of five
    assert (clock.epoch, clock.epoch_end, clock.max_steps) == (2, 22, 26)
    clock.step = 25
    assert (clock.epoch, clock.epoch_end, clock.done) == (4, 26, False)
    clock.step = 26
    assert clock.done
    again = Clock(steps_per_epoch=2, max_steps=10)
    again.go_on(25, 3.0, (20, 2, 2))
    assert (again.epoch, again.epoch_end, again.epochs) == (4, 26, (20, 2, 2))
    assert again.max_steps == 26
    finished = Clock(steps_per_epoch=100, max_steps=300)
    finished.go_on(50, 1.0, (0, 0, 10))
    assert (finished.epoch, finished.done) == (5, True)
    plain = Clock(steps_per_epoch=5, max_steps=10)
    plain.go_on(7, 1.0, None)
    assert (plain.epoch, plain.epoch_end) == (1, 10)


def test_learning_rate_rises_and_falls():
    clock = Clock(steps_per_epoch=10, max_steps=1000)
    rates = []
    for clock.step in range(1001):
        rates.append(learning_rate(clock, 1.0, 50, "cosine"))
    assert rates[0] == pytest.approx(1.003 / 51)
    assert max(rates) == max(rates[40:80])
    assert rates[500] == pytest.approx(0.503)
    assert rates[-1] == pytest.approx(0.003)
    assert all(b < a for a, b in pairwise(rates[60:]))


def test_an_epoch_is_as_long_as_the_songs():
    assert steps_per_epoch(1000, 30, 4) == 9
    assert steps_per_epoch(10, 30, 4) == 1


def _state():
    weights = {"weight": torch.randn(3)}
    return TrainingState(7, 1.5, None, weights, weights, {"state": {}, "param_groups": []})


def test_state_survives_a_round_trip(tmp_path):
    state, path = _state(), tmp_path / "checkpoint.pth"
    write_state(state, path)
    found = read_state(path)
    assert (found.step, found.seconds, found.best) == (7, 1.5, None)
    assert torch.equal(found.model["weight"], state.model["weight"])
    assert [item.name for item in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_interrupted_writing_keeps_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pth"
    write_state(_state(), path)
    before = path.read_bytes()

    def full(content, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        write_state(_state(), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_words_of_users(tmp_path, monkeypatch):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: save(content, "/dev/full"))
    with pytest.raises(OutputError, match="No space left on device; make room"):
        write_state(_state(), tmp_path / "checkpoint.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "text", "other", "newer"])
def test_bad_state_files_are_one_line(tmp_path, damage):
    path = tmp_path / "checkpoint.pth"
    write_state(_state(), path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "other":
        torch.save({"weights": 1}, path)
    else:
        torch.save({"format": "sonograd-training", "version": 99}, path)
    with pytest.raises(CheckpointError) as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 120
    assert "weights_only" not in str(caught.value)


def _event(step, **scores):
    return TrainingEvent(step, 0, 2 * step, 0.5, 1.0, -1.0, 1e-3, 9.5, scores)


def test_table_drops_what_comes_after_the_resumed_step(tmp_path):
    path = tmp_path / "log.csv"
    table = LogTable(path, ("vocals",), step=0)
    for step in (50, 100, 150):
        table.add(_event(step, sdr=1.25))
    again = LogTable(path, ("vocals",), step=100)
    again.add(_event(120))
    lines = path.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "50", "100", "120"]
    assert lines[1].split(",")[7] == "1.2500"
    LogTable(path, ("vocals",), step=0)
    assert len(path.read_text().splitlines()) == 1


class _Half(nn.Module):
    stems = ("a", "b")

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def separate(self, mix):
        return torch.stack([mix / 2, mix / 2]).detach()


def test_scores_of_a_song():
    tone = torch.randn(1, 1000)
    song = Example("x", torch.stack([tone, torch.zeros_like(tone)]))
    scores = score_song(_Half(), song)
    assert set(scores) == {"sdr_a", "si_sdr_a"}
    assert scores["sdr_a"] == pytest.approx(20 * math.log10(2), abs=1e-4)


def test_median_of_songs():
    songs = [{"sdr_a": 1.0, "sdr_b": 4.0}, {"sdr_a": 3.0}, {"sdr_a": 8.0, "si_sdr_a": math.inf}]
    assert median_scores(songs) == {"sdr_a": 3.0, "sdr_b": 4.0, "sdr": 3.5}
    assert median_scores([]) == {}


def test_parts_import_without_lightning():
    code = (
        "import sys; sys.modules['lightning'] = sys.modules['lightning.pytorch'] = None\n"
        "import sonograd.training.criteria, sonograd.training.state\n"
        "try:\n    import sonograd.training.loop\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'sonograd[train]'" in done.stdout


@pytest.mark.parametrize(
    ("faster", "use_amp", "wanted"),
    [(True, True, "bf16-mixed"), (False, True, "32-true"), (True, False, "32-true")],
)
def test_automatic_precision_is_what_the_device_has_units_for(monkeypatch, faster, use_amp, wanted):
    monkeypatch.setattr("sonograd.training.loop.has_bf16_units", lambda _: faster)
    config = TrainingConfig(max_epochs=1, use_amp=use_amp)
    assert chosen_precision(config, torch.device("cpu")) == wanted
