"""Run a stream of chunks through a separator: in order, in parallel, in bounded memory.

On a CPU several threads each run whole chunks with one intra-op thread: this scales with the free
cores and, unlike intra-op parallelism, does not stall when another program takes a core. On other
devices one thread runs batches, which become smaller when the device runs out of memory.

A song of one chunk has one thread, too: several would change the last digits of its stems, and
where another program takes a core, they take many times as long.

Threads are process state; this module alone sets them, and gives them back.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from sonograd.config.output import Precision
from sonograd.errors import ParameterError, SonogradError
from sonograd.jobs.resources import (
    free_cores,
    give_memory_back,
    resident_bytes,
    usable_cores,
)
from sonograd.separators import Lane, Separator
from sonograd.separators.stream import LaneStream

__all__ = ["ChunkRunner", "one_thread", "shared_cores"]

#: Chunks per worker that show how much memory is usual, and how much more is too much.
_USUAL_CHUNKS, _MOST_GROWTH = 4, 1.05


@contextmanager
def shared_cores(processes: int) -> Iterator[None]:
    """Give each of several processes its share of the cores, instead of all of them."""
    if processes == 1:
        yield
        return
    threads = max(usable_cores() // processes, 1)
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)  # for the processes that are started from here
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread, whatever the machine has, and give the threads back at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ChunkRunner:
    """Runs chunks through separators on one device; use it as a context manager.

    Results come in the order of the chunks and, at ``batch_size`` 1, do not depend on the number
    of workers. A separator keeps no state between chunks, so threads share it.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        workers: int | None = None,
        batch_size: int = 1,
        precision: Precision = "32",
    ) -> None:
        """Start nothing yet.

        Args:
            device: Where separators run; they must be there already.
            workers: Chunks in work at a time on the CPU; the number of free cores if None.
            batch_size: Chunks that run together, at most.
            precision: ``bf16`` runs the model under autocast.

        Raises:
            ParameterError: If a number is below 1.
        """
        if batch_size < 1:
            raise ParameterError(f"batch_size is {batch_size}; expected at least 1")
        if workers is not None and workers < 1:
            raise ParameterError(f"workers is {workers}; expected at least 1")
        self.device = device
        self.batch_size = batch_size
        self.precision = precision
        if device.type != "cpu":
            self.workers = 1
        else:
            self.workers = workers if workers is not None else free_cores()
        self._threads: int | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._finished, self._usual = 0, 0

    def __enter__(self) -> Self:
        """Start the workers."""
        if self.device.type == "cpu":
            self._threads = torch.get_num_threads()
            torch.set_num_threads(1)
            initializer = _one_thread
        else:
            initializer = None
        self._pool = ThreadPoolExecutor(
            self.workers, thread_name_prefix="sonograd", initializer=initializer
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for chunks in work, drop the others, and give the threads back."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        if self._threads is not None:
            torch.set_num_threads(self._threads)
            self._threads = None

    def run(self, separator: Separator, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the stems of each chunk, in order, on the CPU.

        Chunks are taken from the iterable only as fast as results are taken from here.

        Args:
            separator: A model in evaluation mode, on the runner's device.
            chunks: Each ``(channels, samples)``.

        Yields:
            ``(stems, channels, samples)`` per chunk.

        Raises:
            SonogradError: If the device has no memory for a single chunk.
        """
        lane = LaneStream(Lane(separator, separator.plan))
        return self.run_lanes((lane, index, chunk) for index, chunk in enumerate(chunks))

    def run_lanes(self, items: Iterable[tuple[LaneStream, int, Tensor]]) -> Iterator[Tensor]:
        """Do the same for chunks of several lanes.

        Args:
            items: A lane, the number of a chunk in it, and the chunk ``(channels, samples)``.
        """

        def separate(batch: list[tuple[LaneStream, int, Tensor]]) -> Tensor:
            chunks = torch.stack([chunk for _, _, chunk in batch])
            return self._separate(batch[0][0], chunks, [index for _, index, _ in batch])

        for stems in self.map(separate, self._batches(items)):
            yield from stems

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply a function to many things, some at a time, and yield the results in order."""
        if self._pool is None:
            raise RuntimeError("the runner has no workers; use it in a with statement")
        source = iter(items)
        in_flight: deque[Future[Any]] = deque()
        try:
            while True:
                for item in islice(source, self.workers + 1 - len(in_flight)):
                    in_flight.append(self._pool.submit(self._apply, function, item))
                if not in_flight:
                    return
                yield in_flight.popleft().result()
        finally:
            for work in in_flight:
                work.cancel()

    def _apply(self, function: Callable[[Any], Any], item: Any) -> Any:
        with self._arithmetic():
            return function(item)

    def _tidy(self) -> None:
        """Give memory back that has piled up since the first chunks were separated.

        To ask for it anew takes time; so this is done only where there is more than usual, and
        what it leaves is usual from then on.
        """
        resident = resident_bytes()
        self._finished += 1
        if self._finished <= _USUAL_CHUNKS * self.workers:
            self._usual = max(self._usual, resident)
        elif resident > _MOST_GROWTH * self._usual:
            give_memory_back()
            self._usual = max(self._usual, resident_bytes())

    def _batches(
        self, items: Iterable[tuple[LaneStream, int, Tensor]]
    ) -> Iterator[list[tuple[LaneStream, int, Tensor]]]:
        """Yield what can run together: chunks of one lane and one shape."""
        batch: list[tuple[LaneStream, int, Tensor]] = []
        for item in items:
            if batch and (item[0] is not batch[0][0] or item[2].shape != batch[0][2].shape):
                yield batch
                batch = []
            batch.append(item)
            if len(batch) >= self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _separate(self, lane: LaneStream, batch: Tensor, indices: list[int]) -> Tensor:
        """Separate ``(batch, channels, samples)``, in halves if memory does not suffice."""
        if not batch.any():
            size, channels, samples = batch.shape
            return batch.new_zeros(size, len(lane.lane.separator.stems), channels, samples)
        try:
            stems = lane.separate(batch.to(self.device), indices)
            stems = stems.to(device="cpu", dtype=batch.dtype)
            self._tidy()
            return stems
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        # Only here, with the error gone, are its tensors free.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            raise SonogradError(
                f"{self.device} has not enough memory for one chunk of {batch.shape[-1]} samples; "
                "close other programs, or use --device cpu or fewer --workers"
            )
        half = (len(batch) + 1) // 2
        self.batch_size = min(self.batch_size, len(batch) // 2)
        parts = ((batch[:half], indices[:half]), (batch[half:], indices[half:]))
        return torch.cat([self._separate(lane, *part) for part in parts])

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )
