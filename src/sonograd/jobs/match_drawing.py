"""Draw the pictures of a match beside everything else that is to be done.

Drawing is Python from end to end, so threads do not help it. Where it can be done safely, two
copies of this process load what draws while the match is sought, and draw half of the pictures
each. Elsewhere a thread does it all.
"""

import importlib.util
import multiprocessing
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Protocol

import torch

from sonograd.jobs import match_pictures
from sonograd.jobs.match_pictures import PICTURES, Picture, load_drawing, picture
from sonograd.jobs.resources import usable_cores
from sonograd.matching import Landscape, MatchResult

__all__ = ["Drawing", "open_drawing"]

#: Who draws what: about the same work, the slice through the solution last.
_SHARES = (
    ("response", "gain_reduction", "remains"),
    ("static_curve", "convergence", "landscape"),
)


class Drawing(Protocol):
    """Draws the pictures of a match."""

    def begin(self, result: MatchResult) -> None:
        """Start to draw."""
        ...

    def finish(self) -> list[Picture]:
        """Wait for the pictures.

        Raises:
            MissingExtraError: If matplotlib is not installed.
        """
        ...


@contextmanager
def open_drawing() -> Iterator[Drawing]:
    """Load what draws, beside what the caller does."""
    with ExitStack() as stack:
        copies: list[_Copy] = []
        if _can_copy():
            with suppress(OSError):  # no room for another process
                for share in _SHARES:
                    copies.append(_Copy(share))
                    stack.callback(copies[-1].close)
        if len(copies) == len(_SHARES):
            yield _InCopies(copies)
        else:
            yield _InThreads(stack.enter_context(ThreadPoolExecutor(2)))


class _InThreads:
    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._drawn: Future[list[Picture]] | None = None
        pool.submit(load_drawing)

    def begin(self, result: MatchResult) -> None:
        slice_ = self._pool.submit(match_pictures.slice_around, result)
        self._drawn = self._pool.submit(_draw, result, PICTURES, slice_)

    def finish(self) -> list[Picture]:
        assert self._drawn is not None, "nothing was begun"
        return self._drawn.result()


class _InCopies:
    def __init__(self, copies: Sequence["_Copy"]) -> None:
        self._copies = copies
        self._result: MatchResult | None = None
        self._slice: Future[Landscape | None] = Future()

    def begin(self, result: MatchResult) -> None:
        self._result = result
        everything = pickle.dumps(result)
        for copy in self._copies:
            copy.send(everything)
        self._slice.set_result(match_pictures.slice_around(result))
        for copy in self._copies:
            if "landscape" in copy.share:
                copy.send(pickle.dumps(self._slice.result()))

    def finish(self) -> list[Picture]:
        assert self._result is not None, "nothing was begun"
        drawn: list[Picture] = []
        for copy in self._copies:
            answer = copy.receive()
            # What a copy could not do is done here: it works, or tells why not.
            drawn += _draw(self._result, copy.share, self._slice) if answer is None else answer
        return sorted(drawn, key=lambda item: PICTURES.index(item.name))


class _Copy:
    """A copy of this process that draws a share of the pictures."""

    def __init__(self, share: Sequence[str]) -> None:
        self.share = share
        context = multiprocessing.get_context("fork")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self._pipe, share), daemon=True)
        with warnings.catch_warnings():  # that libraries have threads; none of them is used there
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        there.close()

    def send(self, data: bytes) -> None:
        with suppress(OSError):  # it is gone, which receive() tells
            self._pipe.send_bytes(data)

    def receive(self) -> list[Picture] | None:
        """Return what was drawn, or None if that went wrong."""
        try:
            answer: list[Picture] = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            return None
        return answer

    def close(self) -> None:
        """End it; it has nothing that could be left behind."""
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _can_copy() -> bool:
    """Tell whether copies of this process are safe, and of use: only where nothing else runs."""
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and multiprocessing.parent_process() is None
        and usable_cores() > 1
        and importlib.util.find_spec("matplotlib") is not None
    )


def _serve(pipe: Connection, other_end: Connection, share: Sequence[str]) -> None:
    """Draw a share, in a copy; end where the process that was copied ends."""
    other_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    with suppress(Exception):  # the other end does it again, and tells what is wrong
        load_drawing()
        result = pickle.loads(pipe.recv_bytes())
        pipe.send_bytes(pickle.dumps(_draw(result, share, _Later(pipe))))


class _Later:
    """What comes through a pipe when it is asked for."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def result(self) -> Landscape | None:
        found: Landscape | None = pickle.loads(self._pipe.recv_bytes())
        return found


def _draw(
    result: MatchResult, share: Sequence[str], slice_: "Future[Landscape | None] | _Later"
) -> list[Picture]:
    found = match_pictures.charts(result, around=slice_.result, only=share)
    return [picture(chart) for chart in found]
