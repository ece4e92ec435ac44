"""Which arithmetic a device is good at."""

import time
from functools import cache
from pathlib import Path

import torch

__all__ = ["bf16_is_faster", "has_bf16_units", "product_seconds"]

#: How many times faster products have to be, so that what else has to be done is paid for.
_LEAST_GAIN = 1.2
_SIZE, _REPEATS = 256, 5


def has_bf16_units(device: torch.device) -> bool:
    """Tell whether a device has units for bfloat16: GPUs that say so, and CPUs with tiles.

    The answer is always the same, as training that is to be repeated needs it.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False


@cache
def bf16_is_faster(device: torch.device) -> bool:
    """Tell whether products of matrices are faster in bfloat16 than in float32.

    Processors without tiles differ: some are twice as fast, others slower. So it is measured,
    which takes milliseconds.
    """
    if device.type != "cpu":
        return has_bf16_units(device)
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
