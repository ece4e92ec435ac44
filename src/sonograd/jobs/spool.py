"""Tensors on disk: what a survey of a long song keeps, without growing in memory."""

import math
import tempfile
import threading
from collections.abc import Iterator, MutableMapping

import numpy as np
import torch
from torch import Tensor

from sonograd.atomic import write_problem
from sonograd.errors import OutputError

__all__ = ["SpooledBlocks"]

#: Bytes that stay in memory before anything is written to disk.
_IN_MEMORY = 1 << 25


class SpooledBlocks(MutableMapping[tuple[int | str, ...], Tensor]):
    """A dict of tensors in a temporary file, which vanishes with it; threads may share it.

    A tensor that replaces another one of its size takes its place in the file.
    """

    def __init__(self) -> None:
        """Start empty, in memory."""
        self._file: tempfile.SpooledTemporaryFile[bytes] | None = None  # made when it is needed
        self._lock = threading.Lock()
        self._places: dict[tuple[int | str, ...], tuple[int, tuple[int, ...], np.dtype]] = {}
        self._end = 0

    def __setitem__(self, key: tuple[int | str, ...], value: Tensor) -> None:
        """Write a tensor.

        Raises:
            OutputError: If the folder for temporary files is full, or cannot be written to.
        """
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        with self._lock:
            known = self._places.get(key)
            fits = known is not None and _bytes(known[1], known[2]) == array.nbytes
            begin = known[0] if known is not None and fits else self._end
            try:
                if self._file is None:
                    self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
                self._file.seek(begin)
                self._file.write(array.tobytes())
            except OSError as error:
                raise OutputError(
                    f"{tempfile.gettempdir()}: what a model keeps of a long song cannot be "
                    f"written: {write_problem(error)}; TMPDIR=FOLDER takes another place"
                ) from None
            self._places[key] = (begin, array.shape, array.dtype)
            self._end = max(self._end, begin + array.nbytes)

    def __getitem__(self, key: tuple[int | str, ...]) -> Tensor:
        """Read a tensor."""
        with self._lock:
            begin, shape, dtype = self._places[key]
            assert self._file is not None
            self._file.seek(begin)
            data = bytearray(self._file.read(_bytes(shape, dtype)))
        if not data:
            return torch.from_numpy(np.empty(shape, dtype))
        return torch.from_numpy(np.frombuffer(data, dtype).reshape(shape))

    def close(self) -> None:
        """Forget everything, and free the disk."""
        self._places.clear()
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        """Free the disk."""
        self.close()

    def __delitem__(self, key: tuple[int | str, ...]) -> None:
        """Forget a tensor; its place in the file is lost."""
        with self._lock:
            del self._places[key]

    def __iter__(self) -> Iterator[tuple[int | str, ...]]:
        """Iterate over the names."""
        return iter(tuple(self._places))

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._places)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize
