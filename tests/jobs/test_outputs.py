"""Hidden folders: those of killed processes go, all others stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonograd.errors import OutputError
from sonograd.jobs import outputs
from sonograd.jobs.outputs import StagedFolder, remove_abandoned

pytest.importorskip("fcntl")
SCRIPT = """
import sys, time
from pathlib import Path
from sonograd.jobs.outputs import StagedFolder
with StagedFolder(Path(sys.argv[1])) as staged:
    (staged.path / "a.wav").write_bytes(b"x")
    print(staged.path, flush=True)
    time.sleep(60)
"""


def make_old(path):
    os.utime(path, (time.time() - 60,) * 2)


def test_only_folders_of_killed_processes_are_removed(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path / "song"], stdout=subprocess.PIPE, text=True
    )
    hidden = tmp_path / run.stdout.readline().strip()
    make_old(hidden)
    assert remove_abandoned([tmp_path]) == []
    assert (hidden / "a.wav").exists()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert hidden.exists()
    assert remove_abandoned([tmp_path, tmp_path, tmp_path / "none"]) == [hidden]
    assert not hidden.exists()


def test_folders_of_this_process_and_of_other_machines_stay(tmp_path):
    other = tmp_path / ".sonograd-elsewhere-0123456789ab"
    other.mkdir()
    make_old(other)
    with StagedFolder(tmp_path / "song") as staged:
        make_old(staged.path)
        assert remove_abandoned([tmp_path]) == []
        staged.publish()
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "song"]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    hidden = tmp_path / f"{outputs._prefix()}0123456789ab"
    hidden.mkdir()
    assert remove_abandoned([tmp_path]) == []  # it is too young
    make_old(hidden)
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(95, "no locks")))
        assert remove_abandoned([tmp_path]) == []
    assert remove_abandoned([tmp_path]) == [hidden]


def test_descriptors_are_closed(tmp_path):
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("descriptors are counted in /proc")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with StagedFolder(tmp_path / "song") as staged:
            staged.publish()
    with pytest.raises(OutputError), StagedFolder(tmp_path / "song"):
        raise OutputError("full")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
