"""Many pairs in parallel processes."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sonograd.errors import ParameterError, SonogradError
from sonograd.matching.api import match
from sonograd.matching.result import MatchResult
from sonograd.processes import told_when_killed

__all__ = ["BatchItem", "match_batch"]

Audio = Tensor | str | os.PathLike[str]


@dataclass(frozen=True)
class BatchItem:
    """One pair of :func:`match_batch`.

    Attributes:
        index: Its place in what was given.
        result: What was found; None if it failed.
        error: The one line that says why it failed; empty if it did not.
    """

    index: int
    result: MatchResult | None
    error: str = ""


def match_batch(
    pairs: Iterable[tuple[Audio, Audio]],
    chain: Any = "auto",
    *,
    sample_rate: int | None = None,
    workers: int | None = None,
    on_progress: Callable[[float, float], None] | None = None,
    on_item: Callable[[BatchItem], None] | None = None,
    **options: Any,
) -> list[BatchItem]:
    """Match many pairs; one that fails does not stop the others.

    Args:
        pairs: Dry and wet, tensors ``(channels, samples)`` or paths.
        chain: As in :func:`~sonograd.matching.match`.
        sample_rate: Of tensors, in Hz.
        workers: Processes; as many as torch has threads if None. With 1, everything runs
            here.
        on_progress: Called with the number of pairs done, and of all.
        on_item: Called with each pair when it is done, in the order of their ends.
        **options: Further arguments of :func:`~sonograd.matching.match`; ``threads`` is 1 in
            several processes.

    Returns:
        One item per pair, in their order.
    """
    listed = list(pairs)
    if any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in listed):
        raise ParameterError("pairs holds something else than pairs (dry, wet)")
    count = workers if workers is not None else torch.get_num_threads()
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ParameterError(f"workers is {workers!r}; expected a whole number, at least 1")
    given = {"chain": chain, "sample_rate": sample_rate, **options}
    items: list[BatchItem | None] = [None] * len(listed)

    def done(item: BatchItem) -> None:
        items[item.index] = item
        if on_item is not None:
            on_item(item)
        if on_progress is not None:
            on_progress(sum(i is not None for i in items), len(items))

    if count == 1 or len(listed) <= 1:
        for index, pair in enumerate(listed):
            done(_one(index, pair, given))
    else:
        given["threads"] = 1  # the processes share the cores
        _check_travels(given)
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(count, len(listed)), mp_context=context, initializer=_alone)
        try:
            with told_when_killed("matched a pair", kept=False):
                waiting = [pool.submit(_one, k, pair, given) for k, pair in enumerate(listed)]
                for future in as_completed(waiting):
                    done(future.result())
        finally:
            pool.shutdown(cancel_futures=True)
    return [item for item in items if item is not None]


def _check_travels(given: dict[str, Any]) -> None:
    """Refuse what cannot be sent to another process."""
    try:
        pickle.dumps(given)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ParameterError(
            f"an argument cannot be sent to other processes ({error}); define functions in a "
            "module, or pass workers=1"
        ) from None


def _alone() -> None:
    """One thread per process: the processes share the cores."""
    torch.set_num_threads(1)


def _one(index: int, pair: tuple[Audio, Audio], given: dict[str, Any]) -> BatchItem:
    try:
        return BatchItem(index, match(*pair, **given))
    except (SonogradError, OSError) as error:
        return BatchItem(index, None, str(error))
