"""Which arithmetic a device is good at."""

import time
from functools import cache

import torch

__all__ = ["bf16_is_faster"]

#: How many times faster products have to be, so that what else has to be done is paid for.
_LEAST_GAIN = 1.2
_SIZE, _REPEATS = 256, 5


@cache
def bf16_is_faster(device: torch.device) -> bool:
    """Tell whether products of matrices are faster in bfloat16 than in float32.

    GPUs say so. Of processors, those with units for tiles are and those that can only convert are
    not, and what is in between differs; so it is measured, which takes milliseconds.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return product_seconds(torch.float32) > _LEAST_GAIN * product_seconds(torch.bfloat16)


def product_seconds(dtype: torch.dtype) -> float:
    """Return how long a product of two matrices takes on the processor."""
    matrix = torch.full((_SIZE, _SIZE), 1 / _SIZE, dtype=dtype, device="cpu")
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - begin)
    return min(times)
