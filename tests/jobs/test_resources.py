"""Devices, cores, and places to write to."""

import os
from collections import namedtuple

import pytest
import torch

from sonograd.errors import OutputError, ParameterError
from sonograd.jobs import resources
from sonograd.jobs.resources import (
    check_space,
    check_writable,
    choose_device,
    format_bytes,
    free_cores,
    peak_memory_bytes,
    usable_cores,
)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_the_best_device(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(expected)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cud", "Did you mean 'cuda'"),
        ("cuda:x", "expected auto, cpu, cuda, cuda:N or mps"),
        ("mps", "'mps' is not available; here are: cuda, cpu"),
        ("cuda:2", "numbered 0 to 1"),
        ("", "device is ''"),
    ],
)
def test_wrong_devices_are_refused(name, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ParameterError, match=message):
        choose_device(name)


def test_cores():
    assert 1 <= free_cores(interval=0.01) <= usable_cores() <= (os.cpu_count() or 1)


def test_busy_cores_are_not_free(monkeypatch):
    monkeypatch.setattr(resources, "_affinity", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(resources, "_quota", lambda: None)
    ticks = iter([(1000, 5000), (1050, 5200)])  # a quarter of four cores is idle
    monkeypatch.setattr(resources, "_core_times", lambda _: next(ticks))
    assert free_cores(interval=0) == 1
    ticks = iter([(1000, 5000), (1190, 5200)])
    assert free_cores(interval=0) == 4


def test_a_quota_limits_the_cores(monkeypatch):
    monkeypatch.setattr(resources, "_affinity", lambda: set(range(16)))
    monkeypatch.setattr(resources, "_quota", lambda: 2.5)
    assert usable_cores() == 3


def test_without_statistics_the_load_counts(monkeypatch):
    monkeypatch.setattr(resources, "_affinity", lambda: set(range(8)))
    monkeypatch.setattr(resources, "_quota", lambda: None)
    monkeypatch.setattr(resources, "_core_times", lambda _: None)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.2, 0, 0))
    assert free_cores() == 5


def test_a_place_that_can_be_made_is_fine(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_place(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="a is not a folder"):
        check_writable(tmp_path / "a" / "b")


def test_a_read_only_folder_is_no_place(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(resources.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="cannot be written to: Read-only file system"):
        check_writable(tmp_path)


def test_space(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage(10, 0, 3_000_000))
    check_space(tmp_path / "new", 3_000_000)
    match = r"about 3.2 MB are needed and 3 MB are free; choose another place or write less$"
    with pytest.raises(OutputError, match=match):
        check_space(tmp_path / "new", 3_200_000)


def test_sizes_are_readable():
    assert [format_bytes(x) for x in (0, 999, 1000, 2.5e9, 3e15)] == [
        "0 bytes", "999 bytes", "1 kB", "2.5 GB", "3e+03 TB",
    ]  # fmt: skip


def test_peak_memory_is_that_of_this_process():
    assert 30e6 < peak_memory_bytes() < 100e9
