"""Run a stream of chunks through a separator: in order, in parallel, in bounded memory.

On a CPU several threads each run whole chunks with one intra-op thread: this scales with the free
cores and, unlike intra-op parallelism, does not stall when another program takes a core. On other
devices one thread runs batches, which become smaller when the device runs out of memory.

Threads are process state; this module alone sets them, and gives them back.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from sonograd.config.output import Precision
from sonograd.errors import ParameterError, SonogradError
from sonograd.jobs.resources import free_cores, usable_cores
from sonograd.separators import Separator

__all__ = ["ChunkRunner", "shared_cores"]


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
            chunks: Each ``(channels, samples)``, all of one shape.

        Yields:
            ``(stems, channels, samples)`` per chunk.

        Raises:
            SonogradError: If the device has no memory for a single chunk.
        """
        if self._pool is None:
            raise RuntimeError("the runner has no workers; use it in a with statement")
        source = iter(chunks)
        in_flight: deque[Future[Tensor]] = deque()
        try:
            while True:
                while len(in_flight) <= self.workers:
                    batch = list(islice(source, self.batch_size))
                    if not batch:
                        break
                    work = self._pool.submit(self._separate, separator, torch.stack(batch))
                    in_flight.append(work)
                if not in_flight:
                    return
                yield from in_flight.popleft().result()
        finally:
            for work in in_flight:
                work.cancel()

    def _separate(self, separator: Separator, batch: Tensor) -> Tensor:
        """Separate ``(batch, channels, samples)``, in halves if memory does not suffice."""
        if not batch.any():
            size, channels, samples = batch.shape
            return batch.new_zeros(size, len(separator.stems), channels, samples)
        try:
            with self._arithmetic():
                stems = separator.separate_chunks(batch.to(self.device))
            return stems.to(device="cpu", dtype=batch.dtype)
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
        self.batch_size = min(self.batch_size, len(batch) // 2)
        halves = batch.split((len(batch) + 1) // 2)
        return torch.cat([self._separate(separator, half) for half in halves])

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
