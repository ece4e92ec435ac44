"""The recursions of tangents, compiled with numba where it is installed.

Each has a twin in torch with the same numbers.
"""

import numpy as np
import torch
from torch import Tensor

from sonograd.functional._kernels import _compiled, has_fast_kernels
from sonograd.functional.recursion import sosfilt
from sonograd.functional.scans import linear_scan

__all__ = ["band_tangents", "carry_tangents", "scan_tangents"]


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


def band_tangents(y: Tensor, section: Tensor, slopes: Tensor, out: Tensor) -> None:
    """Derive the output of a cascade in the parameters of one of its sections.

    With the section ``N / D`` that is ``(dN / N - dD / D) y``: two recursions, short sums.

    Args:
        y: Output of the whole cascade, ``(rows, samples)``, float64.
        section: ``(6,)``, its zeros inside the unit circle.
        slopes: Derivatives of the section, ``(parameters, 6)``.
        out: Filled, ``(parameters, rows, samples)``.
    """
    if has_fast_kernels() and y.device.type == "cpu" and out.is_contiguous():
        numbers = [v.contiguous().numpy() for v in (y, section, slopes)]
        _compiled(_band)(*numbers, out.numpy())
        return
    kind = out.dtype
    whole = torch.tensor([1.0, 0.0, 0.0], dtype=section.dtype)
    small = y.to(kind)
    zeros, poles = (
        torch.nn.functional.pad(sosfilt(small, torch.cat([whole, part])[None]), (2, 0))
        for part in (section[:3], section[3:])
    )
    length = y.shape[-1]
    for place, slope in enumerate(slopes.tolist()):
        total = torch.mul(zeros[..., 2:], slope[0], out=out[place])
        for lag in (1, 2):
            total.add_(zeros[..., 2 - lag : 2 - lag + length], alpha=slope[lag])
            total.add_(poles[..., 2 - lag : 2 - lag + length], alpha=-slope[3 + lag])


def carry_tangents(
    tangent: Tensor, keep: Tensor, feed: Tensor, gain: Tensor, pull: Tensor, out: Tensor
) -> None:
    """Carry tangents ``t`` through ``gain t + pull s`` with ``s' = keep s + feed t``.

    Args:
        tangent: ``(tangents, rows, samples)``.
        keep: ``(rows, samples)``, float64, as the next three.
        feed: What of a tangent enters the recursion.
        gain: What passes directly.
        pull: What the recursion does to the output.
        out: Filled, as ``tangent``.
    """
    if not tangent.numel():
        return
    if has_fast_kernels() and tangent.device.type == "cpu" and out.is_contiguous():
        numbers = [v.contiguous().numpy() for v in (tangent, keep, feed, gain, pull)]
        _compiled(_carry)(*numbers, out.numpy())
        return
    kind = out.dtype
    state = scan_tangents(keep, tangent * feed.to(kind))
    torch.mul(tangent, gain.to(kind), out=out).addcmul_(state, pull.to(kind))


def _band(y, section, slopes, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    first = 1.0 / section[0]
    b1, b2 = section[1] * first, section[2] * first
    a1, a2 = section[4] / section[3], section[5] / section[3]
    params = slopes.shape[0]
    for row in range(y.shape[0]):
        u1, u2, v1, v2 = 0.0, 0.0, 0.0, 0.0
        for n in range(y.shape[1]):
            u = y[row, n] - a1 * u1 - a2 * u2
            v = y[row, n] * first - b1 * v1 - b2 * v2
            for p in range(params):
                out[p, row, n] = (
                    slopes[p, 0] * v
                    + slopes[p, 1] * v1
                    + slopes[p, 2] * v2
                    - slopes[p, 4] * u1
                    - slopes[p, 5] * u2
                )
            u2, u1, v2, v1 = u1, u, v1, v


def _carry(tangent, keep, feed, gain, pull, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    tangents, rows, samples = tangent.shape
    for row in range(rows):
        p = 0
        while p + 4 <= tangents:  # four at a time: each waits for its own last value only
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for n in range(samples):
                k, f = keep[row, n], feed[row, n]
                g, h = gain[row, n], pull[row, n]
                q, r = np.float64(tangent[p, row, n]), np.float64(tangent[p + 1, row, n])
                s, t = np.float64(tangent[p + 2, row, n]), np.float64(tangent[p + 3, row, n])
                a = k * a + f * q
                b = k * b + f * r
                c = k * c + f * s
                d = k * d + f * t
                out[p, row, n] = g * q + h * a
                out[p + 1, row, n] = g * r + h * b
                out[p + 2, row, n] = g * s + h * c
                out[p + 3, row, n] = g * t + h * d
            p += 4
        while p < tangents:
            a = 0.0
            for n in range(samples):
                t = np.float64(tangent[p, row, n])
                a = keep[row, n] * a + feed[row, n] * t
                out[p, row, n] = gain[row, n] * t + pull[row, n] * a
            p += 1


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
