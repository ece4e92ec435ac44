"""Phase modulation, also of a sine by itself."""

import math

import numpy as np
import torch
from torch import Tensor

from sonograd.errors import ShapeError
from sonograd.functional._transforms import plain_form_needed
from sonograd.functional.scans import linear_scan
from sonograd.shapes import check_floating

__all__ = ["feedback_sine"]

_MANY_ROWS = 24  # from which numpy, all rows at once, is faster than one row after the other


def feedback_sine(
    turns: Tensor, feedback: Tensor, *, past: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Play a sine whose phase is modulated by its own last two samples.

    .. math:: y_n = \sin\Big(2 \pi \varphi_n + \beta\,\frac{y_{n-1} + y_{n-2}}{2}\Big)

    The mean of two keeps it from hunting at strong feedback, as in the synthesizers of the
    eighties (N. Tomisawa, US patent 4,249,447, 1981). There is no closed form: samples are found
    one after the other, and gradients by solving the linear recursion of the small changes, which
    is parallel.

    Args:
        turns: Phase, ``(..., samples)``; modulation by others included.
        feedback: :math:`\beta` in radians, ``(..., samples or 1)``; noise from about 2 on.
        past: The two samples before, ``(..., 2)``, the later one last; silence if not given.

    Returns:
        ``(..., samples)`` in the dtype of ``turns``, and the last two samples ``(..., 2)``;
        differentiable in all arguments.
    """
    check_floating(turns, name="turns")
    if not turns.ndim or (feedback.ndim and feedback.shape[-1] not in {1, turns.shape[-1]}):
        raise ShapeError(
            f"turns has shape {tuple(turns.shape)} and feedback {tuple(feedback.shape)}; expected "
            "(..., samples) and (..., samples or 1)"
        )
    wide = torch.float32 if turns.device.type == "mps" else torch.float64
    angle = 2 * torch.pi * torch.remainder(turns.to(wide), 1.0)
    angle, strength = torch.broadcast_tensors(angle, feedback.to(wide))
    if past is None:
        past = angle.new_zeros(*angle.shape[:-1], 2)
    past = past.to(wide).expand(*angle.shape[:-1], 2)
    if not angle.numel():
        return angle.to(turns.dtype), past
    if plain_form_needed(angle, strength, past):
        y = _one_by_one(angle, strength, past)
    else:
        with torch.no_grad():
            y = _solve(angle, strength, past)
        if torch.is_grad_enabled() and any(v.requires_grad for v in (angle, strength, past)):
            y = _attach_gradient(y, angle, strength, past)
    return y.to(turns.dtype), torch.cat([past, y], -1)[..., -2:]


def _one_by_one(angle: Tensor, strength: Tensor, past: Tensor) -> Tensor:
    """Sample by sample, in operations that torch can transform."""
    two, one = past.unbind(-1)
    heard = []
    for phase, weight in zip(angle.unbind(-1), (strength / 2).unbind(-1), strict=True):
        one, two = (phase + weight * (one + two)).sin(), one
        heard.append(one)
    return torch.stack(heard, -1)


def _attach_gradient(y: Tensor, angle: Tensor, strength: Tensor, past: Tensor) -> Tensor:
    """Add a change of zero that has the gradient of the solution (a step of Newton's method)."""
    known = torch.cat([past.detach(), y], -1)
    phase = angle + strength * (known[..., 1:-1] + known[..., :-2]) / 2
    slope = (phase.cos() * strength).detach() / 2
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    transition = torch.stack([torch.stack([slope, slope]), torch.stack([one, zero])])
    drive = torch.stack([phase.sin() - y, zero])
    start = (past - past.detach()).flip(-1).movedim(-1, 0)
    return y + linear_scan(transition, drive, start)[0]


def _solve(angle: Tensor, strength: Tensor, past: Tensor) -> Tensor:
    samples = angle.shape[-1]
    angles = angle.reshape(-1, samples).cpu().double().numpy()
    halves = strength.reshape(-1, samples).cpu().double().numpy() / 2
    before = past.reshape(-1, 2).cpu().double().numpy()
    y = np.empty_like(angles)
    if len(angles) >= _MANY_ROWS:
        two, one = before[:, 0], before[:, 1]
        for n in range(samples):
            one, two = np.sin(angles[:, n] + halves[:, n] * (one + two)), one
            y[:, n] = one
    else:
        for row, (phases, half) in enumerate(zip(angles.tolist(), halves.tolist(), strict=True)):
            later, earlier = float(before[row, 1]), float(before[row, 0])
            heard = []
            for phase, weight in zip(phases, half, strict=True):
                later, earlier = math.sin(phase + weight * (later + earlier)), later
                heard.append(later)
            y[row] = heard
    return torch.from_numpy(y).to(angle).reshape(angle.shape)
