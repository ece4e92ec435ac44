"""Where models that were downloaded lie, and what is known about them.

Each model has a folder of its own: ``source.json`` says where it came from and which hash each
file had, the rest is a session folder, or several of them for a model with members.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sonograd.config import read_config, write_config
from sonograd.config.common import STRICT
from sonograd.errors import ConfigError, OutputError

__all__ = [
    "SOURCE_NAME",
    "FileRecord",
    "SourceRecord",
    "cached_models",
    "damaged_files",
    "downloads_folder",
    "file_sha256",
    "leftovers",
    "lock_model",
    "models_folder",
    "only_one",
    "read_source",
    "remove_cached",
    "remove_leftovers",
    "staged_folder",
    "write_source",
]

SOURCE_NAME = "source.json"


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file that was downloaded.

    Attributes:
        url: Where it came from; a path for a file of the user's.
        sha256: Its hash, all 64 digits.
        size: Its bytes.
    """

    url: str
    sha256: str
    size: Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """What ``source.json`` says about a converted model.

    Attributes:
        name: What the model is called.
        family: Its architecture.
        license: Under which conditions its weights were published; None if that is unknown.
        stems: What it gives.
        files: The files it was made from.
        weights: Hash of each file that it was made into, by its name in this folder.
        member_weights: How much of each stem each member gives, for a model with members.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    family: str
    license: str | None = None
    stems: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    weights: dict[str, str] = field(default_factory=dict)
    member_weights: tuple[tuple[float, ...], ...] | None = None


def models_folder() -> Path:
    """Return the folder for models: below ``$SONOGRAD_CACHE``, or the user's cache."""
    base = os.environ.get("SONOGRAD_CACHE")
    if base:
        return Path(os.path.expanduser(base), "models")  # noqa: PTH111, never fails
    import pooch

    return Path(pooch.os_cache("sonograd"), "models")


def cached_models() -> tuple[str, ...]:
    """Return the names of the models in the cache, sorted."""
    folder = models_folder()
    if not folder.is_dir():
        return ()
    found = (path.parent.name for path in folder.glob(f"*/{SOURCE_NAME}"))
    return tuple(sorted(name for name in found if not name.startswith(".")))


def read_source(folder: Path) -> SourceRecord | None:
    """Return what is known about a folder, or None if it holds no converted model."""
    path = folder / SOURCE_NAME
    if not path.is_file():
        return None
    try:
        return read_config(path, SourceRecord)
    except ConfigError:
        return None


def write_source(record: SourceRecord, folder: Path) -> None:
    """Write ``source.json``."""
    write_config(record, folder / SOURCE_NAME)


def damaged_files(folder: Path) -> list[str]:
    """Return which files of a converted model are not what was written, and why."""
    record = read_source(folder)
    if record is None:
        return [f"{SOURCE_NAME}: missing or damaged"]
    problems = []
    for name, expected in record.weights.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif (actual := file_sha256(path)) != expected:
            problems.append(f"{name}: SHA-256 is {actual} instead of {expected}")
    return problems


def downloads_folder() -> Path:
    """Return the folder for files that are on their way into the cache."""
    return models_folder().with_name("downloads")


def leftovers(*, with_running: bool = False) -> dict[str, int]:
    """Return how many bytes are left of downloads that broke off or were refused, by model.

    Args:
        with_running: Those that a process is at, too; they are known by their locks.
    """
    folder = downloads_folder()
    if not folder.is_dir():
        return {}
    found = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    sizes = {
        path.name: _size(path)
        for path in found
        if with_running or not _is_locked(path.with_name(f"{path.name}.lock"))
    }
    return {name: size for name, size in sizes.items() if size}


def remove_leftovers(name: str) -> int:
    """Delete what downloads and conversions of a model left; return how many bytes that freed.

    To be called while the model is locked, see :func:`lock_model`.
    """
    folder = models_folder()
    stale = [downloads_folder() / name]
    if folder.is_dir():
        stale += [
            path
            for path in folder.iterdir()
            if re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.part", path.name)
        ]
    size = sum(_size(path) for path in stale)
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return size


@contextmanager
def lock_model(name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Let nobody else write or remove a model of the cache.

    Args:
        name: What its folder is called.
        on_wait: See :func:`only_one`.

    Raises:
        OutputError: If the cache cannot be written to.
    """
    lock = downloads_folder() / f"{name}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(only_one(lock, on_wait))
        except OSError as error:
            raise OutputError(f"{lock}: cannot be written: {error.strerror or error}.") from None
        yield


def remove_cached(name: str) -> int:
    """Delete a model from the cache, and what is left of its downloads; return the freed bytes.

    Raises:
        OutputError: If it cannot be deleted, or another process is at it.
    """
    folder = models_folder() / name

    def refuse() -> None:
        raise OutputError(f"{folder}: is being written by another process; try again later.")

    with lock_model(name, refuse):
        size = remove_leftovers(name)
        if not folder.exists():
            return size
        size += _size(folder)
        trash = _hidden(folder)
        try:
            folder.replace(trash)  # so that nobody finds half of it
            shutil.rmtree(trash)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be removed: {error.strerror}.") from None
        return size


def _size(folder: Path) -> int:
    """Return the bytes of all files; some may go while they are counted."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += Path(place, name).stat().st_size
    return size


def _hidden(folder: Path) -> Path:
    """Return a place beside a folder for what is to take its place, or has lost it."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Fill a hidden folder that takes the place of ``target`` at the end, if nothing fails.

    Raises:
        OutputError: If the folder cannot be made or moved.
    """
    stage = _hidden(target)
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be made: {error.strerror}.") from None
    try:
        yield stage
        try:
            if target.exists():  # somebody else was faster, or it was damaged
                old = _hidden(target)
                target.replace(old)
                shutil.rmtree(old, ignore_errors=True)
            stage.replace(target)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def only_one(lock: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one process or thread at a time go on, where the system can tell.

    Args:
        lock: A file that all of them lock; it is made, and stays.
        on_wait: Called before waiting for another one, if there is one; it may raise.

    Raises:
        OSError: If the file cannot be made.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some file systems have no locks
            pass
        yield


def _is_locked(lock: Path) -> bool:
    """Tell whether another process or thread is where :func:`only_one` lets one at a time go."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or the file system has no locks
        pass
    return False


def file_sha256(path: Path) -> str:
    """Return the hash of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(record: SourceRecord) -> str:
    """Return one hash for all weights of a model."""
    text = json.dumps(sorted(record.weights.items()))
    return hashlib.sha256(text.encode()).hexdigest()
