"""Session folders that are made from weights: whole, or as they were."""

import os
import time

import pytest

from sonograd.config import OpenUnmixConfig
from sonograd.errors import OutputError
from sonograd.jobs import outputs
from sonograd.jobs.configure import write_session

CONFIG = OpenUnmixConfig()
BOTH = ["model.json", "weights.safetensors"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_is_there_holds_what_is_not_ready(tmp_path, link):
    """It may be on another disk than its parent, or the parent may not be writable."""
    folder = tmp_path / "given"
    (tmp_path / "other").mkdir()
    if link:
        folder.symlink_to(tmp_path / "other")
    else:
        folder.mkdir()
    seen = []

    def write(path):
        seen.append(path.parent.parent)
        path.write_bytes(b"weights")

    assert write_session(CONFIG, folder, write) == folder / "weights.safetensors"
    assert seen == [folder]
    assert names(folder) == BOTH
    assert folder.is_symlink() == link


def test_the_folder_may_be_the_current_one(tmp_path, monkeypatch):
    folder = tmp_path / "session"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_session(CONFIG, ".", lambda path: path.write_bytes(b"first"))
    assert names(folder) == BOTH
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty and is kept"):
        write_session(CONFIG, ".", lambda path: path.write_bytes(b"second"))
    write_session(CONFIG, ".", lambda path: path.write_bytes(b"second"), overwrite=True)
    assert (folder / "weights.safetensors").read_bytes() == b"second"
    assert names(folder) == [BOTH[0], "notes.txt", BOTH[1]]
    assert names(tmp_path) == ["session"]


@pytest.mark.parametrize("exists", [False, True])
def test_what_fails_leaves_nothing(tmp_path, exists):
    folder = tmp_path / "sub" / "session"
    if exists:
        folder.mkdir(parents=True)

    def write(path):
        path.write_bytes(b"half")
        raise OSError("the disk is gone")  # without a number

    with pytest.raises(OutputError, match=r"session: cannot be written: the disk is gone\.$"):
        write_session(CONFIG, folder, write)
    assert list(tmp_path.rglob("*")) == ([tmp_path / "sub", folder] if exists else [])


@pytest.mark.parametrize("exists", [False, True])
def test_what_a_killed_process_left_is_removed(tmp_path, exists):
    pytest.importorskip("fcntl")
    folder = tmp_path / "session"
    if exists:
        folder.mkdir()
    left = (folder if exists else tmp_path) / f"{outputs._prefix()}0123456789ab"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    os.utime(left, (time.time() - 60,) * 2)
    write_session(CONFIG, folder, lambda path: path.write_bytes(b"all"))
    assert names(tmp_path) == ["session"]
    assert names(folder) == BOTH
