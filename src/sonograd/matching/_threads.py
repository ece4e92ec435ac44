"""Work side by side in threads, with the same results whatever their number.

What is independent is told as a list of tasks. Each runs in one thread, in the same arithmetic
wherever it runs; the thread that tells them works, too, and takes over what nobody began. So a
core that another program holds costs no more than the task that waits for it, unlike threads
inside an operator, which all wait for the last one. Without :func:`threads_for_work`, and inside
a task, everything runs one after the other.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

__all__ = ["ahead", "begin", "side_by_side", "threads_for_work"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Helpers:
    """Threads beside the one that tells what is to be done."""

    pool: ThreadPoolExecutor
    count: int


_HELPERS: ContextVar[_Helpers | None] = ContextVar("sonograd_matching_helpers", default=None)


@contextmanager
def threads_for_work(count: int) -> Iterator[None]:
    """Let tasks run in ``count`` threads, this one among them, each one thread to torch."""
    if count == 1:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    helping = count - 1
    try:
        with ThreadPoolExecutor(
            helping, "sonograd-match", initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            token = _HELPERS.set(_Helpers(pool, helping))
            try:
                yield
            finally:
                _HELPERS.reset(token)
    finally:
        torch.set_num_threads(before)


def side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run tasks that do not depend on each other; return what they return, in their order.

    The first error, in that order, is raised; what was not begun is left then.
    """
    helpers = _HELPERS.get()
    if helpers is None or len(tasks) < 2:
        return [task() for task in tasks]
    work = _Work(tasks)
    work.share(helpers)
    try:
        while work.step():
            pass
        return [end.result() for end in work.ends]
    finally:
        work.waiting.clear()


def ahead(tasks: Sequence[Callable[[], T]]) -> Generator[T, None, None]:
    """Yield what tasks return, in their order, while threads work on later ones.

    Whoever stops to ask has to close the generator: what was not begun is left then.
    """
    helpers = _HELPERS.get()
    if helpers is None or len(tasks) < 2:
        for task in tasks:
            yield task()
        return
    work = _Work(tasks)
    work.share(helpers)
    try:
        for end in work.ends:
            while not end.done() and work.step():
                pass
            yield end.result()
    finally:
        work.waiting.clear()


def begin(task: Callable[[], T]) -> Callable[[], T]:
    """Let another thread begin a task; what is returned waits for its result, or does it."""
    helpers = _HELPERS.get()
    work = _Work([task])
    if helpers is not None:
        work.share(helpers, beside=0)

    def finish() -> T:
        if work.waiting:
            work.step()
        return work.ends[0].result()

    return finish


class _Work(Generic[T]):
    """Tasks that wait for somebody, and the ends of all."""

    def __init__(self, tasks: Sequence[Callable[[], T]]) -> None:
        self.waiting = deque(enumerate(tasks))
        self.ends: list[Future[T]] = [Future() for _ in tasks]

    def share(self, helpers: _Helpers, beside: int = 1) -> None:
        """Ask for help; ``beside`` of the tasks are for the thread that asks."""
        for _ in range(min(helpers.count, len(self.ends) - beside)):
            helpers.pool.submit(self._help)

    def _help(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        """Do the next task that waits; tell whether there was one."""
        try:
            place, task = self.waiting.popleft()
        except IndexError:
            return False
        token = _HELPERS.set(None)  # the threads have enough to do
        end: Future[Any] = self.ends[place]
        try:
            end.set_result(task())
        except BaseException as error:
            self.waiting.clear()  # all before it were begun, and theirs is the first error
            end.set_exception(error)
        finally:
            _HELPERS.reset(token)
        return True
