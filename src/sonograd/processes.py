"""What becomes of work whose processes are killed."""

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from sonograd.errors import SonogradError

__all__ = ["told_when_killed"]


@contextmanager
def told_when_killed(work: str, *, kept: bool = True) -> Iterator[None]:
    """Turn the end of a process of a pool into one line.

    Args:
        work: What the process did, as in "made songs".
        kept: Whether what was done before stays.

    Raises:
        SonogradError: If a process was killed, as the system does when memory runs out.
    """
    try:
        yield
    except BrokenProcessPool:
        stays = "what is done stays: run" if kept else "run"
        raise SonogradError(
            f"a process that {work} was killed, perhaps for want of memory; {stays} this again, "
            "with fewer workers."
        ) from None
