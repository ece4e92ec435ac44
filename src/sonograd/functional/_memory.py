"""Memory for large results."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["new_memory"]

_LARGE = 1 << 22
_TYPES = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}


def new_memory(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Return memory that is not initialized, on the device of ``like``.

    Large memory on the CPU comes from numpy, which asks the system for large pages. To be given
    small ones, one by one when they are first written, takes longer than many a transform.

    Args:
        like: Where from to take the device, and the type if there is no other.
        shape: As the result shall have.
        dtype: Of the result.
    """
    dtype = like.dtype if dtype is None else dtype
    size = dtype.itemsize
    for length in shape:
        size *= length
    if like.device.type == "cpu" and dtype in _TYPES and size >= _LARGE:
        return torch.from_numpy(np.empty(tuple(shape), _TYPES[dtype]))
    return like.new_empty(shape, dtype=dtype)
