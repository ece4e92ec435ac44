r"""Linear recursions whose coefficients change at every sample, parallel over time.

:math:`s_n = A_n s_{n-1} + u_n` is associative in the pairs :math:`(A, u)`: groups of samples are
composed at once, the recursion over groups is solved in the same way, and its result is carried
into the groups. No approximation is made, and gradients flow through it.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ShapeError
from sonograd.functional._values import broadcast_shapes

__all__ = ["linear_scan"]

_FAN = 16
_SEGMENT = 1 << 18  # samples solved at once, which bounds the memory


def linear_scan(transition: Tensor, drive: Tensor, start: Tensor | None = None) -> Tensor:
    """Solve ``s[n] = transition[n] s[n - 1] + drive[n]``.

    Args:
        transition: ``(order, order, ..., samples)``; leading ``...`` broadcast with ``drive``.
        drive: ``(order, ..., samples)``.
        start: ``s[-1]``, ``(order, ...)``; zero if not given.

    Returns:
        ``(order, ..., samples)``.

    >>> linear_scan(torch.full((1, 1, 3), 0.5), torch.ones(1, 3))
    tensor([[1.0000, 1.5000, 1.7500]])
    """
    order = drive.shape[0]
    if transition.shape[:2] != (order, order):
        raise ShapeError(
            f"transition has shape {tuple(transition.shape)} and drive {tuple(drive.shape)}; "
            "expected (order, order, ..., samples) and (order, ..., samples)"
        )
    shape = broadcast_shapes(transition.shape[2:], drive.shape[1:])
    transition = transition.expand(order, order, *shape)
    drive = drive.expand(order, *shape)
    state = drive.new_zeros(order, *shape[:-1]) if start is None else start
    parts = []
    for begin in range(0, shape[-1], _SEGMENT):
        part = _solve(
            transition[..., begin : begin + _SEGMENT], drive[..., begin : begin + _SEGMENT], state
        )
        state = part[..., -1]
        parts.append(part)
    return torch.cat(parts, dim=-1) if parts else drive.clone()


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Multiply ``(order, order, ...)`` and ``(order, ..., )`` element by element."""
    result = matrix[:, 0] * vector[0]
    for k in range(1, vector.shape[0]):
        result = torch.addcmul(result, matrix[:, k], vector[k])
    return result


def _solve(transition: Tensor, drive: Tensor, state: Tensor) -> Tensor:
    order, samples = drive.shape[0], drive.shape[-1]
    if samples <= _FAN:
        states = []
        for n in range(samples):
            state = _apply(transition[..., n], state) + drive[..., n]
            states.append(state)
        return torch.stack(states, dim=-1)
    groups = -(-samples // _FAN)
    missing = groups * _FAN - samples
    # The column right of the matrix is the drive: one composition carries both.
    pairs = torch.cat([transition, drive[:, None]], dim=1)
    pairs = pad(pairs, (0, missing)).unflatten(-1, (groups, _FAN)).movedim(-1, 0).contiguous()
    total = [pairs[0]]
    for n in range(1, _FAN):
        matrix, last = pairs[n, :, :order], total[-1]
        composed = _compose(matrix, last)
        composed = torch.cat(
            [composed[:, :order], composed[:, order:] + pairs[n, :, order:]], dim=1
        )
        total.append(composed)
    coarse = total[-1]
    ends = _solve(coarse[:, :order], coarse[:, order], state)
    before = torch.cat([state[..., None], ends[..., :-1]], dim=-1)
    joined = torch.stack(total, dim=-1)
    result = joined[:, order] + _apply(joined[:, :order], before[..., None].expand_as(joined[:, 0]))
    return result.flatten(-2)[..., :samples]


def _compose(matrix: Tensor, last: Tensor) -> Tensor:
    result = matrix[:, 0, None] * last[None, 0]
    for k in range(1, matrix.shape[1]):
        result = torch.addcmul(result, matrix[:, k, None], last[None, k])
    return result
