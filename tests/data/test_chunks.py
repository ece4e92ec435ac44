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


def test_bad_arguments_are_refused():
    with pytest.raises(DatasetError, match="no song with any samples"):
        ChunkDataset(Source((0,)), 100)
    with pytest.raises(ParameterError, match="samples is 0"):
        ChunkDataset(Source(), 0)
