import errno
import threading

import pytest
import torch

from sonograd.config import HTDemucsConfig, OpenUnmixConfig
from sonograd.errors import OutputError, ParameterError
from sonograd.jobs import spool
from sonograd.jobs.pipeline import separate_blocks
from sonograd.jobs.spool import SpooledBlocks
from sonograd.jobs.workers import ChunkRunner
from sonograd.separators import Ensemble, HTDemucs, OpenUnmix, SelectStems


@pytest.mark.parametrize("in_memory", [1 << 20, 64])
def test_blocks_come_back_as_they_were(monkeypatch, in_memory):
    monkeypatch.setattr(spool, "_IN_MEMORY", in_memory)
    blocks, plain = SpooledBlocks(), {}
    for number, size in enumerate([3, 0, 50, 7, 50]):
        for dtype in (torch.float32, torch.float64):
            key = (number % 3, str(dtype))
            plain[key] = torch.randn(size, 2, dtype=dtype)
            blocks[key] = plain[key]
    assert set(blocks) == set(plain)
    assert len(blocks) == len(plain)
    for key, value in plain.items():
        assert torch.equal(blocks[key], value)
        assert blocks[key].dtype == value.dtype
    del blocks[0, "torch.float32"]
    with pytest.raises(KeyError):
        blocks[0, "torch.float32"]
    blocks.close()
    assert not blocks


def test_what_has_the_same_size_takes_the_same_place():
    blocks = SpooledBlocks()
    for number in range(10):
        blocks["a",] = torch.full((100,), float(number))
    assert blocks._end == 400
    blocks["a",] = torch.zeros(200)
    assert blocks._end == 400 + 800
    assert torch.equal(blocks["a",], torch.zeros(200))


def test_threads_share_it():
    blocks = SpooledBlocks()

    def work(name):
        for number in range(100):
            blocks[name, number] = torch.full((50,), float(name * 1000 + number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((blocks[key] == key[0] * 1000 + key[1]).all() for key in blocks)


def test_a_full_disk_is_named(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", full)
    with pytest.raises(OutputError, match=r"cannot be written: No space left.*; TMPDIR=FOLDER"):
        SpooledBlocks()["a", 0] = torch.zeros(3)


def open_unmix():
    config = OpenUnmixConfig(
        targets=("vocals", "drums"), sample_rate=8000, num_fft=64, hop_length=16,
        hidden_size=8, recurrent_depth=2, wiener_frames=10, num_channels=2,
    )  # fmt: skip
    return OpenUnmix(config).eval()


def htdemucs():
    config = HTDemucsConfig(
        targets=("vocals", "drums"), sample_rate=8000, sample_length=0.1, num_fft=256,
        num_hidden_channels=4, depth=2, bottom_channels=8, transformer_layers=2,
        transformer_heads=2, branch_compression=2,
    )  # fmt: skip
    return HTDemucs(config).eval()


def run(separator, blocks, *, channels, workers=2, batch_size=1):
    torch.manual_seed(0)
    with ChunkRunner(torch.device("cpu"), workers=workers, batch_size=batch_size) as runner:
        parts = list(
            separate_blocks(
                runner, separator, blocks, plan=separator.plan, channels=channels,
                sample_rate=8000, output_rate=8000,
            )
        )  # fmt: skip
    return torch.cat([mix for mix, _ in parts], -1), torch.cat([stems for _, stems in parts], -1)


@pytest.mark.parametrize("make", [open_unmix, htdemucs])
def test_models_that_hear_a_song_first_give_the_whole_to_the_bit(make):
    separator = make()
    mix = torch.randn(2, 5001)
    whole = separator.separate(mix)
    for workers, size in ((1, 100), (3, 1777)):
        blocks = mix.split(size, dim=-1)
        for begin in (lambda blocks=blocks: iter(blocks), list(blocks)):
            heard, stems = run(separator, begin, channels=2, workers=workers)
            assert torch.equal(heard, mix)
            assert torch.equal(stems, whole)
    _, stems = run(separator, list(mix.split(999, dim=-1)), channels=2, batch_size=3)
    torch.testing.assert_close(stems, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("others", [("filters",), ("htdemucs",), ("filters", "htdemucs")])
def test_models_that_hear_a_song_first_join_others(filters, order, others):
    known = {"filters": lambda: filters(sample_rate=8000), "htdemucs": htdemucs}
    members = [open_unmix(), *(known[name]() for name in others)][::order]
    members = [SelectStems(member, member.stems[:1]) for member in members]
    for member in members:
        member.stems = ("one",)
    separator = Ensemble(members)
    mix = torch.randn(2, 3001)
    _, stems = run(separator, list(mix.split(700, dim=-1)), channels=2)
    torch.testing.assert_close(stems, separator.separate(mix), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [open_unmix, htdemucs])
def test_groups_of_channels_are_heard_apart(make):
    separator = make()
    mix = torch.randn(3, 3000) * torch.tensor([1.0, 1.0, 9.0])[:, None]
    _, stems = run(separator, list(mix.split(500, dim=-1)), channels=3)
    assert torch.equal(stems[:, :2], separator.separate(mix[:2]))
    center = separator.separate(mix[2:].expand(2, -1)).mean(1)
    torch.testing.assert_close(stems[:, 2], center, rtol=0, atol=1e-6)


def test_blocks_that_can_be_read_once_are_refused():
    with pytest.raises(ParameterError, match="hears a song twice"):
        run(htdemucs(), iter([torch.randn(2, 100)]), channels=2)
