"""What this machine has to give: devices, free cores, places to write to."""

import ctypes
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import cast

import torch

from sonograd.config.io import suggest
from sonograd.errors import OutputError, ParameterError

__all__ = [
    "available_devices",
    "check_space",
    "check_writable",
    "choose_device",
    "format_bytes",
    "free_cores",
    "give_memory_back",
    "peak_memory_bytes",
    "resident_bytes",
    "usable_cores",
]


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA, then MPS, then CPU.

    Raises:
        ParameterError: If there is no such device here.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[-1] if len(available) > 1 else "cpu")
    kind, _, number = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (number and not number.isdigit()):
        raise ParameterError(
            f"device is {name!r}; expected auto, cpu, cuda, cuda:N or mps."
            + suggest(name, ["auto", "cpu", "cuda", "mps"])
        )
    if kind not in available:
        raise ParameterError(
            f"device {name!r} is not available; here are: {', '.join(reversed(available))}"
        )
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise ParameterError(
            f"device {name!r} does not exist; CUDA devices are numbered "
            f"0 to {torch.cuda.device_count() - 1}"
        )
    return torch.device(name)


def available_devices() -> list[str]:
    """Return the kinds of devices that are here, the best one last."""
    found = ["cpu"]
    if torch.backends.mps.is_available():
        found.append("mps")
    if torch.cuda.is_available():
        found.append("cuda")
    return found


def usable_cores() -> int:
    """Return the number of cores that this process may use: affinity and cgroup quota."""
    cores = len(_affinity())
    quota = _quota()
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def free_cores(*, interval: float = 0.1) -> int:
    """Return the number of usable cores that others leave idle, at least 1.

    Measured over ``interval`` seconds where the system tells (Linux), otherwise taken from the
    load average.
    """
    usable = usable_cores()
    cores = _affinity()
    before = _core_times(cores)
    if before is None:
        try:
            busy = os.getloadavg()[0]
        except (AttributeError, OSError):
            return usable
        return max(1, min(usable, round(len(cores) - busy)))
    time.sleep(interval)
    after = _core_times(cores)
    if after is None or after[1] <= before[1]:
        return usable
    idle = (after[0] - before[0]) / (after[1] - before[1])
    return max(1, min(usable, round(idle * len(cores))))


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    """Return the cores that the control group grants, or None if it sets no limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    folder = Path("/sys/fs/cgroup/cpu")
    try:
        microseconds = int((folder / "cpu.cfs_quota_us").read_text())
        period = (folder / "cpu.cfs_period_us").read_text()
        return microseconds / int(period) if microseconds > 0 else None
    except (OSError, ValueError):
        return None


def _core_times(cores: Iterable[int]) -> tuple[int, int] | None:
    """Return (idle, total) ticks summed over ``cores``, or None where the system does not tell."""
    names = {f"cpu{core}" for core in cores}
    try:
        rows = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return None
    ticks = [[int(tick) for tick in row[1:9]] for row in rows if row and row[0] in names]
    if not ticks:
        return None
    return sum(row[3] + row[4] for row in ticks), sum(sum(row) for row in ticks)


def resident_bytes() -> int:
    """Return the memory that this process has now; 0 where the system (not Linux) does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_memory_back() -> None:
    """Give what was freed back to the system, where the allocator (glibc's) keeps it.

    Between blocks that are still used, free ones are too small for what comes next, and would pile
    up.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], object] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return cast("Callable[[int], object]", ctypes.CDLL(None).malloc_trim)
    except (OSError, AttributeError):  # another library of C
        return None


def peak_memory_bytes() -> int:
    """Return the highest resident memory of this process so far; 0 where it is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def check_writable(folder: Path) -> None:
    """Make sure that files can be made in ``folder``, or that it can itself be made.

    Raises:
        OutputError: If not; nothing is left behind either way.
    """
    place = _existing(folder)
    if not place.is_dir():
        raise OutputError(f"{folder}: cannot be written to: {place} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to: {error.strerror}") from None


def check_space(folder: Path, needed: int) -> None:
    """Make sure that about ``needed`` bytes fit on the disk of ``folder``.

    Raises:
        OutputError: If they do not.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise OutputError(
            f"{folder}: not enough space: about {format_bytes(needed)} are needed and "
            f"{format_bytes(free)} are free; choose another place or write less"
        )


def format_bytes(count: float) -> str:
    """Return ``count`` bytes for people.

    >>> format_bytes(1_234_567)
    '1.23 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _existing(folder: Path) -> Path:
    """Return ``folder`` or the nearest of its parents that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())
