"""The linear recursion of tangents, compiled with numba where it is installed.

Its twin in torch is :func:`~sonograd.functional.scans.linear_scan`, with the same numbers.
"""

import numpy as np
from torch import Tensor

from sonograd.functional._kernels import _compiled, has_fast_kernels
from sonograd.functional.scans import linear_scan

__all__ = ["scan_tangents"]


def scan_tangents(keep: Tensor, drive: Tensor) -> Tensor:
    """Solve ``s[n] = keep[n] s[n - 1] + drive[n]`` from 0; ``drive`` may be overwritten.

    Args:
        keep: ``(rows, samples)``, float64.
        drive: ``(tangents, rows, samples)``, float32 or float64.

    Returns:
        ``(tangents, rows, samples)``, dtype of ``drive``.
    """
    if not drive.numel():
        return drive
    if has_fast_kernels() and drive.device.type == "cpu":
        drive = drive.contiguous()
        _compiled(_scan)(keep.contiguous().numpy(), drive.numpy())
        return drive
    return linear_scan(keep[None, None], drive.to(keep.dtype)[None])[0].to(drive.dtype)


def _scan(keep, drive):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    tangents, rows, samples = drive.shape
    for row in range(rows):
        p = 0
        while p + 4 <= tangents:  # four at a time: each waits for its own last value only
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for n in range(samples):
                k = keep[row, n]
                a = k * a + np.float64(drive[p, row, n])
                b = k * b + np.float64(drive[p + 1, row, n])
                c = k * c + np.float64(drive[p + 2, row, n])
                d = k * d + np.float64(drive[p + 3, row, n])
                drive[p, row, n] = a
                drive[p + 1, row, n] = b
                drive[p + 2, row, n] = c
                drive[p + 3, row, n] = d
            p += 4
        while p < tangents:
            a = 0.0
            for n in range(samples):
                a = keep[row, n] * a + np.float64(drive[p, row, n])
                drive[p, row, n] = a
            p += 1
