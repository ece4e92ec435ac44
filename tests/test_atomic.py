"""Files that appear complete or not at all, with the permissions of any new file."""

import os

import pytest
import torch

from sonograd.atomic import AtomicFile
from sonograd.config import SpectrogramNetSimpleConfig, write_config
from sonograd.data import write_audio
from sonograd.data.cache import cached_stem
from sonograd.data.layouts import StemFile
from sonograd.separators import build_separator, save_separator
from sonograd.training.state import TrainingState, write_state

CONFIG = SpectrogramNetSimpleConfig(
    num_hidden_channels=1, num_fft=64, window_size=64, hop_length=32
)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize("durable", [False, True])
def test_it_replaces_what_was_there(tmp_path, durable):
    target = tmp_path / ("x" * 250)
    target.write_text("old")
    with AtomicFile(target, durable=durable) as file:
        file.path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "a"
    target.write_text("old")

    def write():
        with AtomicFile(target) as file:
            file.path.write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_move_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(OSError, match="a"), AtomicFile(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def _write_stem(path):
    loud = path.with_name("loud.wav")
    write_audio(loud, torch.ones(1, 100) / 2, 8000, bits="24")
    made = cached_stem(StemFile(loud), 8000, folder=path.parent / "cache").path
    made.rename(path)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_config(CONFIG, path),
        lambda path: write_audio(path, torch.zeros(1, 9), 8000, format="wav"),
        lambda path: write_audio(path, torch.zeros(1, 9), 8000, format="flac"),
        lambda path: write_audio(path, torch.zeros(1, 9), 8000, format="mp3"),
        lambda path: save_separator(build_separator(CONFIG), path),
        lambda path: write_state(TrainingState(0, 0.0, None, {}, {}, {}), path),
        _write_stem,
    ],
)
def test_every_file_obeys_the_umask(tmp_path, umask, write):
    path = tmp_path / "a.safetensors"
    write(path)
    assert path.stat().st_mode & 0o777 == 0o640
