"""``sonograd train``, in process."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
import soundfile

from sonograd.cli.app import main
from sonograd.cli.train import train
from sonograd.config import SpectrogramNetSimpleConfig, write_config
from sonograd.config.training import TrainingConfig, VisualsConfig

pytest.importorskip("lightning")


def test_every_setting_is_an_option():
    options = set(inspect.signature(train).parameters)
    settings = {field.name for field in dataclasses.fields(TrainingConfig)}
    visuals = {field.name for field in dataclasses.fields(VisualsConfig)}
    assert (settings - {"augmentation", "visuals", "version"}) | visuals <= options


def test_train_and_resume(tmp_path, capsys):
    folder, songs = tmp_path / "model", tmp_path / "songs"
    folder.mkdir()
    config = SpectrogramNetSimpleConfig(
        num_channels=2, num_hidden_channels=1, sample_length=0.25, sample_rate=8000,
        num_fft=128, window_size=128, hop_length=64,
    )  # fmt: skip
    write_config(config, folder / "model.json")
    for name in ("a", "b"):
        (songs / name).mkdir(parents=True)
        for stem in ("vocals", "drums"):
            noise = 0.1 * np.random.default_rng(0).normal(size=(4000, 2))
            soundfile.write(songs / name / f"{stem}.wav", noise, 8000, subtype="PCM_16")
    command = ["train", str(folder), str(songs), "--device", "cpu", "--precision", "32"]
    start = [*command, "--max-epochs", "1", "--max_samples", "2"]
    start += ["--num-workers", "0", "--batch-size", "1"]
    assert main([*start, "--criterion", "si-sdr", "--validation-songs", "1"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{folder / 'weights.safetensors'}\n"
    assert "epoch 1, step 2, loss" in shown.err
    assert "sdr_vocals" in shown.err
    assert json.loads((folder / "trainer.json").read_text())["criterion"] == "si_sdr"
    assert main(command) == 2
    assert "holds a training already" in capsys.readouterr().err
    assert main([*command, "--resume", "--max-epochs", "2"]) == 0
    assert "epoch 2, step 4" in capsys.readouterr().err


def test_mistakes_are_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path), str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "model.json: no such file" in error
    assert len(error.splitlines()) == 1
