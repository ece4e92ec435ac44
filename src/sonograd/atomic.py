"""Files that appear complete or not at all."""

import errno
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["AtomicFile", "write_problem"]

# How the writers of torch and safetensors say that a disk is full: the first notices that less
# was written than it gave.
_FULL = ("os error 28", "inline_container", "iostream error", "PytorchStreamWriter")


def write_problem(error: Exception) -> str:
    """Return why a file could not be written, and what to do, in words for a message.

    >>> write_problem(OSError(28, "No space left on device"))
    'No space left on device; make room for it, then go on'
    """
    text = str(getattr(error, "strerror", None) or error).partition("\n")[0]
    if getattr(error, "errno", None) == errno.ENOSPC or any(sign in text for sign in _FULL):
        return "No space left on device; make room for it, then go on"
    return text


class AtomicFile:
    """A file that is written under a hidden name beside its place, then moved there.

    At the end of a ``with`` block it replaces what was at ``target``; if the block raises, it is
    removed and ``target`` stays as it was. Its permissions are those of any new file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder, "notes.txt")
    ...     with AtomicFile(target) as file:
    ...         _ = file.path.write_text("all of it")
    ...     target.read_text()
    'all of it'
    """

    def __init__(self, target: str | os.PathLike[str], *, durable: bool = False) -> None:
        """Make the hidden file, empty.

        Args:
            target: Where the file will be; its folder exists.
            durable: Wait until the content is on the disk before it is moved, so that it survives
                a power failure.

        Raises:
            OSError: If it cannot be made.
        """
        self.target = Path(target)
        self._durable = durable
        name = f".{self.target.name[:40]}.{secrets.token_hex(6)}.part"
        self.path = self.target.with_name(name)
        with self.path.open("xb") as file:
            self._mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)

    def commit(self) -> None:
        """Move the file into place.

        Raises:
            OSError: If that fails; the file is still there then.
        """
        self.path.chmod(self._mode)  # some libraries put a file of their own in its place
        if self._durable:
            with self.path.open("r+b") as file:
                os.fsync(file.fileno())
        self.path.replace(self.target)

    def discard(self) -> None:
        """Remove the file if it was not moved."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Move the file into place, or remove it if the block raised."""
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()
