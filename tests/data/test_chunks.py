"""Random chunks of songs."""

import numpy as np
import pytest
import torch

from sonograd.config.dataset import AugmentationConfig
from sonograd.data.chunks import ChunkDataset, collate_chunks
from sonograd.errors import DatasetError, ParameterError

PLAIN = AugmentationConfig(
    remix_p=0, speed_p=0, gain_db=0, drop_p=0, swap_p=0, equalizer_db=0, low_pass_p=0
)


class Source:
    """Every sample tells its song, stem and position."""

    stems = ("drums", "bass")
    sample_rate = 100
    channels = 2

    def __init__(self, lengths=(1000, 3000)):
        self.lengths = lengths
        self.samples = sum(lengths)

    def draw(self, index, generator):
        return int(generator.integers(len(self.lengths)))

    def name(self, song):
        return f"song {song}"

    def length(self, song):
        return self.lengths[song]

    def read(self, song, stem, start, samples):
        position = np.arange(start, start + samples, dtype=np.float32)
        value = 100000 * song + 10000 * stem + position
        value[position >= self.lengths[song]] = 0
        return np.stack([value, -value])


def test_plain_chunks_are_pieces_of_one_song():
    data = ChunkDataset(Source(), 200, config=PLAIN, equalizer_bins=9)
    seen = set()
    for index in range(50):
        chunk = data[index]
        song, position = divmod(int(chunk.stems[0, 0, 0]), 100000)
        seen.add(song)
        expected = [Source().read(song, stem, position, 200) for stem in range(2)]
        np.testing.assert_array_equal(chunk.stems, np.stack(expected))
        assert chunk.names == (f"song {song} ({position / 100:.1f} s)",)
        assert (chunk.equalizer == 1).all()
    assert seen == {0, 1}


def test_remix_takes_stems_from_different_places():
    config = AugmentationConfig(
        remix_p=1, speed_p=0, gain_db=0, drop_p=0, swap_p=0, equalizer_db=0, low_pass_p=0
    )
    data = ChunkDataset(Source(), 200, config=config)
    songs = [[int(x) // 100000 for x in data[k].stems[:, 0, 0]] for k in range(50)]
    assert any(a != b for a, b in songs)
    assert len(data[0].names) == 2


def test_seed_and_index_decide():
    ours, theirs = (ChunkDataset(Source(), 100, seed=5) for _ in range(2))
    _ = [ours[k] for k in range(7)]
    for index in (3, 0):
        assert torch.equal(ours[index].stems, theirs[index].stems)
        assert torch.equal(ours[index].equalizer, theirs[index].equalizer)
    assert not torch.equal(ours[0].stems, ours[1].stems)
    assert not torch.equal(ours[0].stems, ChunkDataset(Source(), 100, seed=6)[0].stems)


def test_short_songs_are_followed_by_silence():
    chunk = ChunkDataset(Source((50,)), 200, config=PLAIN)[0]
    assert chunk.stems[1, 0, :50].min() >= 10000
    assert not chunk.stems[..., 50:].any()


def test_speed_changes_the_step():
    config = AugmentationConfig(
        remix_p=0, speed_p=1, speed_octaves=1, gain_db=0, drop_p=0, swap_p=0, equalizer_db=0
    )
    data = ChunkDataset(Source(), 200, config=config)
    steps = np.array([np.diff(data[k].stems[0, 0].numpy())[0] for k in range(30)])
    assert np.ptp(np.log2(steps)) > 1
    assert (np.abs(np.log2(steps)) <= 1.01).all()


def test_batches():
    data = ChunkDataset(Source(), 100, equalizer_bins=9)
    batch = collate_chunks([data[0], data[1], data[2]])
    assert batch.stems.shape == (3, 2, 2, 100)
    assert batch.equalizer.shape == (3, 2, 9)
    assert len(batch.names) == 3


def test_workers_send_the_same_batches_in_memory_that_is_shared():
    data = ChunkDataset(Source(), 100, equalizer_bins=9)
    loader = torch.utils.data.DataLoader(
        data, batch_sampler=[[0, 1], [2, 3, 4]], num_workers=2, collate_fn=collate_chunks
    )
    for batch, places in zip(loader, ([0, 1], [2, 3, 4]), strict=True):
        expected = collate_chunks([data[place] for place in places])
        assert torch.equal(batch.stems, expected.stems)
        assert torch.equal(batch.equalizer, expected.equalizer)
        assert batch.names == expected.names
        assert batch.stems.is_shared()
        assert not expected.stems.is_shared()


def test_bad_arguments_are_refused():
    with pytest.raises(DatasetError, match="no song with any samples"):
        ChunkDataset(Source((0,)), 100)
    with pytest.raises(ParameterError, match="samples is 0"):
        ChunkDataset(Source(), 0)


OFF = {
    "remix_p": 0,
    "speed_p": 0,
    "gain_db": 0,
    "drop_p": 0,
    "swap_p": 0,
    "equalizer_db": 0,
    "low_pass_p": 0,
}


class Noise(Source):
    """Two songs of noise at 8 kHz."""

    sample_rate = 8000

    def __init__(self):
        super().__init__((16_000, 24_000))

    def read(self, song, stem, start, samples):
        data = np.random.default_rng((song, stem)).standard_normal((2, self.lengths[song]))
        part = 0.1 * data[:, start : start + samples].astype(np.float32)
        return np.pad(part, ((0, 0), (0, samples - part.shape[-1])))


PROBABILITIES = (
    "invert_p", "compress_p", "reverb_p", "codec_p", "noise_p", "drive_p", "narrow_p", "stretch_p",
    "swap_p", "drop_p",
)  # fmt: skip


@pytest.mark.parametrize("name", PROBABILITIES)
def test_every_change_is_declared_in_the_configuration(name):
    plain = ChunkDataset(Noise(), 4000, config=AugmentationConfig(**OFF))
    config = AugmentationConfig(**(OFF | {name: 1.0}))
    ours, theirs = (ChunkDataset(Noise(), 4000, config=config) for _ in range(2))
    assert not torch.equal(ours[3].stems, plain[3].stems)
    assert torch.equal(ours[3].stems, theirs[3].stems)
    assert ours[3].stems.shape == (2, 2, 4000)
    assert torch.isfinite(ours[3].stems).all()


class Beats(Source):
    """Clicks: song k has its tempo, and stem j only every (j + 1)th beat."""

    sample_rate = 8000
    stems = ("drums", "bass", "other")
    tempi = (100.0, 110.0, 95.0, 180.0)

    def __init__(self):
        super().__init__((160_000,) * 4)

    def read(self, song, stem, start, samples):
        time = np.arange(start, start + samples) / self.sample_rate
        beat = 60 / self.tempi[song]
        sound = np.exp(-60 * (time % beat)) * np.sin(2 * np.pi * (200 + 300 * stem) * time)
        return np.stack([sound, sound]).astype(np.float32)


def test_remix_in_tempo_is_on_the_beat():
    config = AugmentationConfig(**(OFF | {"remix_p": 1, "remix_tempo": True}))
    data = ChunkDataset(Beats(), 24_000, config=config)
    off = ChunkDataset(Beats(), 24_000, config=AugmentationConfig(**(OFF | {"remix_p": 1})))
    assert [data.tempo(k) for k in range(3)] == pytest.approx(Beats.tempi[:3], rel=0.02)

    def together(chunk):
        parts = [x.numpy() for x in chunk.stems]
        ours, *others = (np.abs(x[0]).reshape(-1, 80).max(1) for x in parts)
        return np.mean([np.corrcoef(ours, other)[0, 1] for other in others])

    songs = {name.partition(" (")[0] for k in range(8) for name in data[k].names}
    assert len(songs) >= 3
    assert np.mean([together(data[k]) for k in range(8)]) > 0.7
    assert np.mean([together(off[k]) for k in range(8)]) < 0.4
    assert torch.equal(data[5].stems, ChunkDataset(Beats(), 24_000, config=config)[5].stems)


class Broken(Source):
    """Reading song 1 fails."""

    def read(self, song, stem, start, samples):
        if song == 1:
            raise DatasetError("song 1: ended early")
        return super().read(song, stem, start, samples)


def test_songs_that_cannot_be_read_are_named_and_replaced():
    data = ChunkDataset(Broken(), 200, config=AugmentationConfig(**OFF))
    chunks = [data[k] for k in range(20)]
    assert all(chunk.names[0].startswith("song 0") for chunk in chunks)
    batch = collate_chunks(chunks)
    assert batch.problems == (("song 1", "song 1: ended early"),)
    assert batch.to(torch.device("cpu")).problems == batch.problems
    broken = Broken((0, 100))
    broken.draw = lambda index, generator: 1
    with pytest.raises(DatasetError, match="hardly any song can be read: song 1: ended early"):
        ChunkDataset(broken, 200)[0]
