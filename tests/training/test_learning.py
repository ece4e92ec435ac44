"""Small networks learn small songs."""

import pytest
import torch

from sonograd.config import SpectrogramNetVAEConfig
from sonograd.config.dataset import AugmentationConfig
from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import ChunkDataset
from sonograd.data.stems import Example
from sonograd.separators import build_separator

pytest.importorskip("lightning")
RATE = 8000
PLAIN = AugmentationConfig(
    remix_p=0, speed_p=0, gain_db=0, drop_p=0, swap_p=0, equalizer_db=0, low_pass_p=0
)
VAE = SpectrogramNetVAEConfig(
    targets=("vocals",), num_channels=1, num_hidden_channels=2, sample_rate=RATE, sample_length=0.5,
    num_fft=256, window_size=256, hop_length=128, hidden_size=16, recurrent_depth=1, dropout_p=0.0,
)  # fmt: skip


class OneSong:
    """A melody of gliding tones over a bass and hits of noise."""

    stems = ("vocals", "rest")
    sample_rate = RATE
    channels = 1

    def __init__(self, seconds=4.0):
        torch.manual_seed(3)
        time = torch.arange(round(seconds * RATE)) / RATE
        vibrato = 4 * torch.sin(2 * torch.pi * 5 * time)
        vocals = 0.3 * torch.sin(2 * torch.pi * 900 * time + vibrato) * (time % 1 < 0.8)
        bass = 0.3 * torch.sin(2 * torch.pi * 90 * time)
        hits = 0.05 * torch.randn(time.shape) * torch.exp(-20 * (time % 0.5))
        self.audio = torch.stack([vocals, bass + hits])[:, None]
        self.samples = time.numel()

    def draw(self, index, generator):
        return 0

    def name(self, song):
        return "one song"

    def length(self, song):
        return self.samples

    def read(self, song, stem, start, samples):
        part = self.audio[stem, :, start : start + samples]
        return torch.nn.functional.pad(part, (0, samples - part.shape[-1])).numpy()


def _fit(config, model_config, folder, *, song=None, samples=4000):
    from sonograd.training.loop import fit

    song = song or OneSong()
    torch.manual_seed(0)
    model = build_separator(model_config)
    events = []
    chunks = ChunkDataset(song, samples, config=PLAIN, equalizer_bins=129)
    fit(
        model, chunks, config, folder=folder, validation=[Example("one song", song.audio)],
        on_event=events.append,
    )  # fmt: skip
    return [event.scores for event in events if event.scores]


CRITERIA = (
    "component", "kl_div", "l1", "l2", "log_energy", "mask", "rmse", "si_sdr", "stft",
)  # fmt: skip


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_lowers_the_error(tmp_path, criterion):
    config = TrainingConfig(
        criterion=criterion, alpha=0.3, beta=0.4, batch_size=4, max_samples=24, max_epochs=2,
        num_workers=0, lr=3e-3, lr_lstm=3e-3, ema=0.0,
    )  # fmt: skip
    first, last = _fit(config, VAE, tmp_path, samples=2048)
    assert last["validation_loss"] < first["validation_loss"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_song_is_learned_by_heart(tmp_path, tiny_unet):
    config = TrainingConfig(
        criterion="si_sdr", batch_size=2, max_samples=200, max_epochs=4, num_workers=0, lr=5e-3,
        schedule="cosine", ema=0.9,
    )  # fmt: skip
    model = tiny_unet(
        num_channels=1, num_hidden_channels=4, dropout_p=0.0, num_fft=512, window_size=512
    )
    scores = _fit(config, model, tmp_path)
    assert scores[-1]["si_sdr_vocals"] > 20
