"""The commands of docs/train.md, typed as they stand there, with small numbers where that is quick.

Placeholders in angle brackets are filled in; everything else is taken from the page.
"""

import csv
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import sonograd
from sonograd.cli.app import app, main
from sonograd.config import SpectrogramNetVAEConfig, TrainingConfig
from sonograd.config.training import VisualsConfig

pytest.importorskip("lightning")
pytest.importorskip("tensorboardX")

PAGE = Path(__file__).parents[2] / "docs" / "train.md"
#: A model and a training that take no time.
SMALL_MODEL = {
    "--num-hidden-channels": "1",
    "--hidden-size": "4",
    "--recurrent-depth": "1",
    "--sample-length": "0.5",
    "--sample-rate": "8000",
    "--num-fft": "256",
    "--window-size": "256",
    "--hop-length": "128",
}
SMALL_TRAINING = {
    "--max-samples": "2",
    "--batch-size": "2",
    "--num-workers": "0",
    "--max-epochs": "5",
    "--device": "cpu",
}


def section(title: str) -> str:
    text = "\n" + PAGE.read_text(encoding="utf-8")
    return re.split(r"^## ", text.split(f"\n{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def code(title: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)
    return [text for kind, text in blocks if kind == language]


def commands(title: str) -> list[list[str]]:
    """Return the commands of a section, each as a list of words after ``sonograd``."""
    lines = "\n".join(code(title, "")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if re.match(r"(python3 -m )?sonograd ", line)]
    return [line[line.index("sonograd") + 1 :] for line in words]


def command(name: str) -> list[str]:
    (found,) = [line for line in commands("## Flag by flag") if line[0] == name]
    return found


def filled(words: list[str], **values: str) -> list[str]:
    """Replace ``<placeholders>``, the last part of whose name is the keyword."""
    keys = [word.strip("<>").rsplit("/", 1)[-1] if word.startswith("<") else "" for word in words]
    return [values[key] if key else word for key, word in zip(keys, words, strict=True)]


def small(words: list[str], values: dict[str, str]) -> list[str]:
    """Replace the values of options, and add those that are not there."""
    words = list(words)
    for option, value in values.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    return words


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "my songs"
    assert main(["songs", str(folder), "--count", "4", "--seconds", "2", "--quiet"]) == 0
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_walkthrough(here, capsys):
    lines = commands("# Train your own")
    assert [line[0] for line in lines] == [
        *("songs", "data", "config", "train", "train", "plot-history", "test", "separate")
    ]
    sizes = {
        "songs": {"--count": "3", "--seconds": "2"},
        "config": SMALL_MODEL,
        "train": SMALL_TRAINING | {"--max-epochs": "1"},
    }
    for number, line in enumerate(lines):
        if "--resume" in line:
            sizes["train"] = sizes["train"] | {"--max-epochs": "2"}
        if line[0] == "separate":
            mix = next((here / "my_songs" / "test").glob("*/mixture.wav"))
            os.link(mix, here / "some_song.wav")
        status = main(small(line, sizes.get(line[0], {})))
        # Short songs have silent stems, which a check of data finds.
        assert status in ({0, 1} if line[0] == "data" else {0}), (number, capsys.readouterr().err)
    rows = list(csv.DictReader((here / "my_model" / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert (here / "my_model" / "history.png").stat().st_size > 1000
    assert (here / "my_model" / "eval.csv").exists()
    assert (here / "stems" / "some_song" / "vocals.wav").exists()
    assert (here / "stems" / "some_song" / "residual.wav").exists()


@pytest.mark.parametrize(
    "kind", ["SpectrogramNetSimple", "SpectrogramNetLSTM", "SpectrogramNetVAE"]
)
def test_config_as_written(kind, here, capsys):
    assert main(filled(command("config"), model_type=kind)) == 0
    stored = json.loads((here / "my_model" / "model.json").read_text())
    expected = {
        "model_type": kind,
        "targets": ["vocals"],
        "num_channels": 1,
        "num_hidden_channels": 16,
        "sample_length": 3,
        "sample_rate": 44100,
        "dropout_p": 0.4,
        "leak_factor": 0,
        "normalize_input": True,
        "normalize_output": True,
        "mask_act_fn": "sigmoid",
        "num_fft": 2048,
        "window_size": 2048,
        "hop_length": 1024,
    }
    if kind != "SpectrogramNetSimple":
        expected |= {"recurrent_depth": 3, "hidden_size": 1024, "input_axis": 1}
    assert stored == expected
    shown = capsys.readouterr().out
    assert re.search(r"num_fft +2048\n", shown)
    assert shown.endswith("my_model/model.json\n")


def test_train_test_and_separate_as_written(songs, here, capsys):
    config = small(filled(command("config"), model_type="SpectrogramNetVAE"), SMALL_MODEL)
    assert main(config) == 0
    train = filled(command("train"), folder_name="my_model", dataset_path=str(songs))
    assert main(small(train, SMALL_TRAINING)) == 0
    shown = capsys.readouterr()
    assert re.search(r"criterion +si_sdr\n", shown.out)
    assert "epoch 5, step 5" in shown.err
    folder = here / "my_model"
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *("model.json", "trainer.json", "checkpoint.pth", "weights.safetensors"),
        *("runs", "spectrogram", "waveform"),
    }
    assert [p.name for p in (folder / "spectrogram").iterdir()] == ["vocals_5_spectrogram.png"]
    assert [p.name for p in (folder / "waveform").iterdir()] == ["vocals_5_waveform.png"]
    log = b"".join(path.read_bytes() for path in (folder / "runs").iterdir())
    for tag in (
        *("loss/iter", "loss/epoch", "norm/weights/unet", "norm/gradients/unet"),
        *("vocals/estimate", "vocals/residual_estimate", "spectrogram/vocals", "waveform/vocals"),
    ):
        assert tag.encode() in log, tag
    stored = json.loads((folder / "trainer.json").read_text())
    expected = {
        **{"max_tracks": 80, "max_samples": 2, "batch_size": 2, "num_workers": 0, "pre_fetch": 4},
        **{"persistent_workers": True, "pin_memory": True, "max_epochs": 5, "lr": 0.01},
        **{"criterion": "si_sdr", "use_amp": True, "clip_grad": True, "max_grad_norm": 1000},
        **{"scale_grad": True, "stop_patience": 5},
    }
    assert {key: stored[key] for key in expected} == expected
    assert all(stored["visuals"][name] is True for name in stored["visuals"] if "_f" not in name)

    assert main(small(train, SMALL_TRAINING)) == 0
    assert "this training is finished, after 5 epochs" in capsys.readouterr().err

    words = {"folder_name": "my_model", "dataset_path": str(songs), "metrics": "scores"}
    assert main(filled(command("test"), **words)) == 0
    assert main(filled(command("test")[:3], **words)) == 0
    for table in (here / "scores" / "eval.csv", folder / "eval.csv"):
        assert len(table.read_text().splitlines()) >= 2

    mix = next(songs.glob("test/*/mixture.wav"))
    audio = here / "AI James - Schoolboy Fascination.wav"
    os.link(mix, audio)
    separate = filled(command("separate"), folder_name="my_model", audio_filepath=str(audio))
    assert main(small(separate, {"--duration": "1"})) == 0
    found = here / "path" / "to" / "save" / audio.stem
    assert {path.name for path in found.glob("*.wav")} == {"vocals.wav", "residual.wav"}
    info = soundfile.info(found / "vocals.wav")
    assert (info.frames, info.samplerate) == (44100, 44100)
    assert main([*small(separate, {"--save": "whole"}), "--sr", "22050", "--padding", "200"]) == 0
    info = soundfile.info(here / "whole" / audio.stem / "residual.wav")
    assert (info.frames, info.samplerate) == (44100, 22050)


@pytest.mark.parametrize(
    "criterion", ["component", "kl_div", "kl-div", "l1", "l2", "mask", "rmse", "si_sdr"]
)
def test_every_criterion_with_the_additional_flags(criterion, songs, here, capsys):
    config = small(filled(command("config"), model_type="SpectrogramNetVAE"), SMALL_MODEL)
    assert main(config) == 0
    words = ["train", "my_model", str(songs), "--criterion", criterion, "--construction_loss", "l1"]
    words += [
        "--lr-lstm",
        "0.001",
        "--init-scale",
        "4",
        "--max-plateaus",
        "2",
        "--min_delta",
        "0.5",
    ]
    words += ["--reduction", "sum", "--alpha", "0.3", "--beta", "0.6", "--image_freq", "3"]
    words += ["--silent", "--best-perm"]
    assert main(small(words, SMALL_TRAINING | {"--max-epochs": "1"})) == 0
    assert "saved" not in capsys.readouterr().err
    stored = json.loads((here / "my_model" / "trainer.json").read_text())
    expected = {
        "criterion": criterion.replace("-", "_"),
        **{"construction_loss": "l1", "lr_lstm": 0.001, "init_scale": 4, "max_plateaus": 2},
        **{"min_delta": 0.5, "reduction": "sum", "alpha": 0.3, "beta": 0.6, "best_perm": True},
    }
    assert {key: stored[key] for key in expected} == expected
    assert stored["visuals"]["image_freq"] == 3


def test_download_and_load_as_written(here, capsys):
    for kind in ("SpectrogramNetSimple", "SpectrogramNetLSTM", "SpectrogramNetVAE"):
        assert main(filled(command("download"), model_type=kind, weights=kind)) == 0
        assert capsys.readouterr().out == f"{kind}/weights.safetensors\n"
        assert sonograd.load(here / kind).stems == sonograd.load(kind).stems
    (block,) = code("## Flag by flag", "python")
    names = {}
    exec(block, names)
    assert names["model"].stems == ("vocals",)


def test_python3_m_sonograd():
    done = subprocess.run(
        [sys.executable, "-m", "sonograd", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sonograd {sonograd.__version__}\n"


def test_training_starts_from_downloaded_weights(songs, here, capsys):
    assert main(["download", "SpectrogramNetSimple", "--save", "mine"]) == 0
    words = ["train", "mine", str(songs), "--lr", "1e-12", "--set", "weight_decay=0.0"]
    words += ["--set", "validation_songs=0"]
    assert main(small(words, SMALL_TRAINING | {"--max-epochs": "1"})) == 0
    assert "starting from the weights in mine/weights.safetensors" in capsys.readouterr().err
    before = sonograd.load("SpectrogramNetSimple").state_dict()
    after = sonograd.load(here / "mine").state_dict()
    assert all((before[name] - after[name]).abs().max() < 1e-6 for name in before)


def rows() -> list[tuple[str, str, str]]:
    """Return command, flag and default of every row of the table of flags."""
    found, current = [], ""
    for line in section("## Flag by flag").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) < 4 or not cells[1].startswith("`--"):
            continue
        current = cells[0].strip("`") or current
        found += [(current, flag.strip(" `"), cells[2].strip("`")) for flag in cells[1].split(",")]
    return found


#: What is typed behind a flag, if it is not a number.
VALUES = {
    "--save": "there",
    "--mask_act_fn": "tanh",
    "--criterion": "kl_div",
    "--construction_loss": "l1",
    "--reduction": "sum",
}
#: Flags whose field has another name.
FIELDS = {"view_wav": "view_wave", "sr": "sample_rate"}


@pytest.mark.parametrize(("command", "flag", "default"), rows())
def test_every_flag_is_accepted_in_both_spellings(command, flag, default):
    """Its value arrives, and the default is that of the page."""
    places = {"config": ["SpectrogramNetVAE"], "separate": ["a", "b.wav"]}
    name = flag[2:].replace("-", "_")
    field = FIELDS.get(name, name)
    switch = default == "off" or name in {"vocals", "drums", "bass", "other"}
    value = [] if switch else [VALUES.get(flag, "0" if name == "input_axis" else "7")]
    for typed in {f"--{name}", f"--{name.replace('_', '-')}"}:
        words = [command, *places.get(command, ["a", "b"]), typed, *value]
        bound = app.parse_args(words, exit_on_error=False, print_error=False)[1]
        arrived = str(bound.arguments[field]).removesuffix(".0")
        assert arrived == (value[0] if value else "True")
    kind = {"config": SpectrogramNetVAEConfig, "train": TrainingConfig}.get(command)
    defaults = {f.name: f.default for f in dataclasses.fields(kind)} if kind else {}
    if command == "train":
        defaults |= {f.name: f.default for f in dataclasses.fields(VisualsConfig)}
    if field in defaults:
        expected = defaults[field]
        if isinstance(expected, bool):
            assert (default == "off") is not expected
        elif isinstance(expected, str):
            assert default == expected
        else:
            assert float(default) == expected


def test_the_table_has_every_flag_of_the_document():
    names = {(command, flag[2:].replace("-", "_")) for command, flag, _ in rows()}
    config = [field.name for field in dataclasses.fields(SpectrogramNetVAEConfig)]
    expected = {("config", name) for name in config if name not in {"model_type", "targets"}}
    document = """resume display max_tracks max_samples batch_size num_workers persistent_workers
        pin_memory pre_fetch max_epochs lr criterion use_amp clip_grad max_grad_norm scale_grad
        stop_patience tensorboard view_iter view_epoch view_weights view_grad view_norm
        play_estimate play_residual view_spec view_wav construction_loss lr_lstm init_scale
        max_plateaus min_delta reduction best_perm alpha beta image_freq silent"""
    expected |= {("train", name) for name in document.split()}
    expected |= {("separate", name) for name in ("residual", "duration", "sr", "padding")}
    expected |= {("config", name) for name in ("save", "display", "bass", "drums", "other")}
    assert expected <= names
    assert ("test", "save") in names
