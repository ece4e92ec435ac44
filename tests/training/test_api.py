"""Training from Python, as docs/train.md has it."""

import re
from pathlib import Path

import pytest
import torch

from sonograd.config import SpectrogramNetSimpleConfig, TrainingConfig
from sonograd.data.chunks import ChunkDataset
from sonograd.data.stems import StemFolder
from sonograd.losses import L1
from sonograd.separators import build_separator, load_separator
from sonograd.training.state import read_state

pytest.importorskip("lightning")
PAGE = Path(__file__).parents[2] / "docs" / "train.md"
RATE = 8000


def _example():
    section = PAGE.read_text(encoding="utf-8").split("## From Python\n", 1)[1]
    return re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[1]


def test_the_example_runs(songs, tmp_path, monkeypatch, capsys):
    code = _example()
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10
    (tmp_path / "my_songs").symlink_to(songs)
    monkeypatch.chdir(tmp_path)
    small = (
        f"sample_rate={RATE}, sample_length=0.5, num_fft=256, window_size=256, hop_length=128, "
        "num_hidden_channels=2, "
    )
    code = code.replace("channels=1)", f"channels=1, sample_rate={RATE})")
    code = code.replace("Config(targets", f"Config({small}targets")
    code = code.replace("batch_size=4", "batch_size=2, max_samples=4, num_workers=0")
    code = code.replace("3 * 44100", "4000, equalizer_bins=129").replace(
        "max_epochs=3", "max_epochs=2"
    )
    exec(compile(code, str(PAGE), "exec"), {})
    assert len(capsys.readouterr().out.split()) == 2
    assert load_separator(tmp_path / "my_run" / "weights.safetensors").stems == ("vocals",)
    assert read_state(tmp_path / "my_run" / "checkpoint.pth").step == 4


def test_callbacks_see_every_step_and_can_stop(songs, tmp_path):
    from lightning.pytorch import Callback

    from sonograd.training.loop import fit

    class Mine(Callback):
        seen = 0

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            self.seen += 1
            assert torch.isfinite(torch.tensor(module.last_loss))
            assert len(batch.names) == 2
            trainer.should_stop = self.seen == 3

    source = StemFolder(songs, ["vocals"], split="train", channels=1, sample_rate=RATE)
    model = build_separator(
        SpectrogramNetSimpleConfig(
            sample_rate=RATE, sample_length=0.5, num_fft=256, window_size=256, hop_length=128,
            num_hidden_channels=2,
        )
    )  # fmt: skip
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = TrainingConfig(batch_size=2, max_samples=8, max_epochs=5, num_workers=0)
    mine = Mine()
    chunks = ChunkDataset(source, 4000, equalizer_bins=129)
    module = fit(model, chunks, config, folder=tmp_path, loss=L1(), callbacks=[mine])
    assert mine.seen == module.clock.step == 3
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())
