"""Whole trainings of a tiny model."""

import dataclasses
import json
import shutil

import pytest
import torch

from sonograd.config import read_config, write_config
from sonograd.config.training import TrainingConfig
from sonograd.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    OutputError,
    ParameterError,
    TrainingError,
)
from sonograd.jobs.train import train
from sonograd.separators import build_separator, load_separator
from sonograd.training.state import read_state, write_state

pytest.importorskip("lightning")
QUICK = {
    "criterion": "log_energy",
    "batch_size": 2,
    "max_samples": 6,
    "num_workers": 0,
    "lr": 2e-3,
    "schedule": "cosine",
    "clip_grad": True,
    "max_grad_norm": 1.0,
    "validation_songs": 1,
}


@pytest.fixture
def session(tmp_path, tiny_model):
    def make(name="session", config=None):
        folder = tmp_path / name
        folder.mkdir()
        write_config(config or tiny_model(), folder / "model.json")
        return folder

    return make


def _run(folder, songs, **options):
    settings = QUICK | options.pop("settings", {})
    return train(folder, songs, settings=settings, device="cpu", **options)


def _weights(folder):
    return read_state(folder / "checkpoint.pth").model


def _assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_training_lowers_the_loss(session, songs):
    folder, events = session(), []
    options = {"max_epochs": 3, "max_samples": 24, "batch_size": 4, "lr": 0.01, "ema": 0.5}
    result = _run(folder, songs, settings=options, on_event=events.append)
    assert (result.step, result.epoch, result.done) == (18, 3, True)
    losses = [event.loss for event in events if event.scores]
    assert losses[-1] < losses[0] - 0.02
    assert {"sdr", "si_sdr", "sdr_vocals"} <= events[-1].scores.keys()
    rows = (folder / "log.csv").read_text().splitlines()
    assert len(rows) == 1 + len(events)
    model = load_separator(folder / "weights.safetensors")
    assert model.stems == ("drums", "bass", "other", "vocals")
    assert json.loads((folder / "trainer.json").read_text())["lr"] == 0.01


@pytest.mark.parametrize("kind", ["default", "unet"])
def test_resumed_equals_uninterrupted(session, songs, tiny_model, tiny_unet, kind):
    config = tiny_model() if kind == "default" else tiny_unet()
    criterion = "log_energy" if kind == "default" else "l1"
    settings = {"max_epochs": 2, "criterion": criterion}
    whole, pieces = session("whole", config), session("pieces", config)
    _run(whole, songs, settings=settings)
    first = _run(pieces, songs, settings=settings, stop_after_minutes=1e-9)
    assert (first.step, first.done) == (1, False)
    second = _run(pieces, songs, settings=settings, resume=True, stop_after_minutes=1e-9)
    assert second.step == 2
    last = _run(pieces, songs, settings=settings, resume=True)
    assert (last.step, last.done) == (6, True)
    ours, theirs = read_state(whole / "checkpoint.pth"), read_state(pieces / "checkpoint.pth")
    _assert_equal(ours.model, theirs.model)
    _assert_equal(ours.average, theirs.average)
    steps = [row.split(",")[0] for row in (pieces / "log.csv").read_text().splitlines()]
    assert steps == ["step", "1", "2", "3", "6"]


def test_resuming_a_finished_training_does_nothing(session, songs):
    folder = session()
    _run(folder, songs, settings={"max_epochs": 1})
    before = _weights(folder)
    assert _run(folder, songs, resume=True).done
    _assert_equal(before, _weights(folder))


def test_seed_decides(session, songs):
    folders = [session(name) for name in "abc"]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        _run(folder, songs, settings={"max_epochs": 1, "seed": seed})
    _assert_equal(_weights(folders[0]), _weights(folders[1]))
    name = "first.weight"
    assert not torch.equal(_weights(folders[0])[name], _weights(folders[2])[name])


def test_loss_that_is_no_number_stops_and_keeps_the_state(session, songs, monkeypatch):
    folder = session()
    _run(folder, songs, settings={"max_epochs": 2}, stop_after_minutes=1e-9)
    before = (folder / "checkpoint.pth").read_bytes()
    import sonograd.training.module

    def broken(separator, batch, config):
        return sum(p.sum() for p in separator.parameters()) * float("nan")

    monkeypatch.setattr(sonograd.training.module, "training_loss", broken)
    with pytest.raises(TrainingError, match=r"loss is nan in step 1.*song \d \(\d\.\d s\)"):
        _run(folder, songs, resume=True)
    assert (folder / "checkpoint.pth").read_bytes() == before


def test_gradient_that_is_no_number_changes_nothing(session, songs, monkeypatch, tiny_model):
    folder = session()
    import sonograd.training.module

    class Infinite(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    def broken(separator, batch, config):
        return Infinite.apply(separator.first.weight.square().sum())

    monkeypatch.setattr(sonograd.training.module, "training_loss", broken)
    # The other weights have no gradient at all; one with an infinite gradient must not move.
    _run(folder, songs, settings={"max_epochs": 1, "seed": 3})
    torch.manual_seed(3)
    fresh = build_separator(tiny_model()).state_dict()
    assert torch.equal(_weights(folder)["first.weight"], fresh["first.weight"])


def test_training_is_never_overwritten(session, songs):
    folder = session()
    _run(folder, songs, settings={"max_epochs": 1})
    with pytest.raises(OutputError, match="holds a training already; go on with --resume"):
        _run(folder, songs)


def test_damaged_state_is_refused(session, songs):
    folder = session()
    (folder / "checkpoint.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        _run(folder, songs, resume=True)


def test_state_of_another_model_is_refused(session, songs, tiny_model):
    small, large = session("small"), session("large", tiny_model(num_hidden_channels=6))
    _run(small, songs, settings={"max_epochs": 1}, stop_after_minutes=1e-9)
    (large / "checkpoint.pth").write_bytes((small / "checkpoint.pth").read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another model"):
        _run(large, songs, resume=True, settings={"max_epochs": 2})


def test_state_of_other_layers_is_refused(session, songs):
    folder = session()
    _run(folder, songs, settings={"max_epochs": 1}, stop_after_minutes=1e-9)
    state = read_state(folder / "checkpoint.pth")
    state.layers += 1
    write_state(state, folder / "checkpoint.pth")
    with pytest.raises(CheckpointError, match=r"has other layers \(version 2, expected 1\)"):
        _run(folder, songs, resume=True, settings={"max_epochs": 2})


def test_bad_settings_are_refused(session, songs):
    folder = session()
    with pytest.raises(
        ConfigError, match=r"max_epoch: no such setting\. Did you mean 'max_epochs'"
    ):
        _run(folder, songs, settings={"max_epoch": 3})
    with pytest.raises(ConfigError, match=r"lr.*greater than 0.*"):
        _run(folder, songs, settings={"lr": -1.0})
    assert not (folder / "trainer.json").exists()


def test_missing_stems_are_named(session, songs, tiny_model):
    folder = session(config=tiny_model(targets=("drums", "piano")))
    with pytest.raises(DatasetError, match=r"6 of 6 songs lack stems: song 0 \(piano\)"):
        _run(folder, songs)


def test_missing_model_is_named(tmp_path, songs):
    with pytest.raises(ConfigError, match=r"model\.json: no such file"):
        train(tmp_path, songs)


def test_validation_folder_comes_first(session, tmp_path, write_songs):
    root = tmp_path / "data"
    write_songs(root / "train", 2)
    write_songs(root / "valid", 1)
    events = []
    _run(session(), root, settings={"max_epochs": 1}, on_event=events.append)
    assert "sdr" in events[-1].scores


def test_settings_survive_in_trainer_json(session, songs):
    folder = session()
    write_config(
        dataclasses.replace(TrainingConfig(), lr=0.5, stop_patience=3), folder / "trainer.json"
    )
    _run(folder, songs, settings={"max_epochs": 1, "lr": 0.25, "augmentation.gain_db": 1})
    stored = read_config(folder / "trainer.json", TrainingConfig)
    assert (stored.lr, stored.max_epochs, stored.stop_patience) == (0.25, 1, 3)
    assert stored.augmentation.gain_db == 1


@pytest.mark.slow
def test_songs_made_up_on_the_way(session):
    folder = session()
    result = _run(folder, "songs:", settings={"max_epochs": 1, "max_samples": 4})
    assert result.step == 2


def test_without_a_compiler_nothing_starts(session, songs, monkeypatch):
    folder = session()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ParameterError, match=r"no C\+\+ compiler here \(no-such-compiler\); .*CXX"):
        _run(folder, songs, settings={"compile": True})
    assert [path.name for path in folder.iterdir()] == ["model.json"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_training_is_the_same(session, songs, tiny_unet):
    states = []
    for compiled in (False, True):
        folder = session(f"{compiled}", tiny_unet(dropout_p=0.0))
        _run(folder, songs, settings={"compile": compiled, "max_epochs": 1, "max_samples": 4})
        states.append(read_state(folder / "checkpoint.pth"))
    plain, compiled = states
    assert plain.step == compiled.step
    assert plain.model.keys() == compiled.model.keys()
    for name, value in plain.model.items():
        torch.testing.assert_close(compiled.model[name], value, atol=2e-3, rtol=0)
    load_separator(folder / "weights.safetensors")
