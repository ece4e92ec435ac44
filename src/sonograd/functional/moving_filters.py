"""Second- and first-order filters, in blocks, whose values may stand still or move.

What stands still is filtered by block matrices, what moves by a state variable filter; both keep
the two integrators of the latter as their state, so that a stream may go from one to the other.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.recursion import sosfilt_stream
from sonograd.functional.scans import linear_scan
from sonograd.functional.state_variable import integrate

__all__ = ["BiquadKind", "biquad_stream", "first_order_stream"]

BiquadKind: TypeAlias = Literal[
    "low_pass",
    "high_pass",
    "band_pass",
    "notch",
    "all_pass",
    "peak",
    "low_shelf",
    "high_shelf",
]
_SEGMENT = 1 << 18  # samples whose coefficients move, filtered at once


def biquad_stream(
    x: Tensor,
    kind: BiquadKind,
    frequency_hz: Tensor,
    q: Tensor,
    state: Tensor | None,
    *,
    sample_rate: float,
    gain_db: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Filter the next block with one of the sections of :mod:`sonograd.functional.biquads`.

    Constant values give that section exactly. With moving ones it is the state variable filter of
    the same response at every moment (V. Zavalishin, *The Art of VA Filter Design*, 2012,
    chapter 4), which neither clicks nor becomes unstable.

    Args:
        x: The next samples ``(..., samples)``.
        kind: Which response.
        frequency_hz: ``(..., 1)``, or ``(..., samples)`` where it moves; below half of the rate.
        q: As ``frequency_hz``.
        state: What the call before returned; ``None`` at the start.
        sample_rate: In Hz.
        gain_db: As ``frequency_hz``; for the peak and the shelves.

    Returns:
        ``(..., samples)`` and the state ``(..., 2)``.
    """
    g, damping, weights = _prototype(kind, frequency_hz, q, gain_db, sample_rate)
    lead = broadcast_shapes(x.shape[:-1], g.shape[:-1], damping.shape[:-1])
    state = _ready(state, (*lead, 2), g)
    if not x.shape[-1]:
        return x.expand(*lead, 0).clone(), state
    if g.shape[-1] == damping.shape[-1] == 1 and all(w.shape[-1] == 1 for w in weights):
        return _standing(x.expand(*lead, -1), g, damping, weights, state)
    shape = (*lead, x.shape[-1])
    spread = [v.expand(shape) for v in (x, g, damping, *weights)]
    parts = []
    for begin in range(0, x.shape[-1], _SEGMENT):
        piece = [v[..., begin : begin + _SEGMENT] for v in spread]
        now = piece[0].to(g.dtype)
        band, low, state = integrate(now, piece[1], piece[2], state)
        parts.append((piece[3] * now + piece[4] * band + piece[5] * low).to(x.dtype))
    return torch.cat(parts, dim=-1), state


def first_order_stream(
    x: Tensor,
    kind: Literal["low_pass", "high_pass"],
    frequency_hz: Tensor,
    state: Tensor | None,
    *,
    sample_rate: float,
) -> tuple[Tensor, Tensor]:
    """Filter the next block with :func:`~sonograd.functional.first_order`.

    Arguments and results as :func:`biquad_stream`; the state is ``(..., 1)``.
    """
    if kind not in {"low_pass", "high_pass"}:
        raise ParameterError(f"kind is {kind!r}; expected 'low_pass' or 'high_pass'")
    g = torch.tan(math.pi / sample_rate * frequency_hz)
    lead = broadcast_shapes(x.shape[:-1], g.shape[:-1])
    state = _ready(state, (*lead, 1), g)
    if not x.shape[-1]:
        return x.expand(*lead, 0).clone(), state
    share = g / (1 + g)
    if g.shape[-1] == 1:
        zero, one = torch.zeros_like(share), torch.ones_like(share)
        zeros = (share, share, zero) if kind == "low_pass" else (1 - share, share - 1, zero)
        sos = torch.cat([*zeros, one, 2 * share - 1, zero], dim=-1).unsqueeze(-2)
        inside = torch.cat([state / (2 * share), torch.zeros_like(state)], dim=-1)
        y, inside = sosfilt_stream(x.expand(*lead, -1), sos, inside.unsqueeze(-2))
        return y, 2 * share * inside[..., 0, :1]
    wide = x.to(g.dtype).expand(*lead, -1)
    share = share.expand_as(wide)
    states = linear_scan((1 - 2 * share)[None, None], (2 * share * wide)[None], state[..., 0][None])
    before = torch.cat([state, states[0, ..., :-1]], dim=-1)
    low = before + share * (wide - before)
    y = low if kind == "low_pass" else wide - low
    return y.to(x.dtype), states[0, ..., -1:]


def _ready(state: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    if state is None:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    if state.shape != shape:
        raise ShapeError(f"state has shape {tuple(state.shape)}; expected {shape}")
    return state


def _prototype(
    kind: BiquadKind, frequency_hz: Tensor, q: Tensor, gain_db: Tensor | None, sample_rate: float
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Integrator gain, damping, and the weights of input, band and low output."""
    g, k = torch.tan(math.pi / sample_rate * frequency_hz), 1 / q
    zero, one = torch.zeros_like(k), torch.ones_like(k)
    plain = {
        "low_pass": (zero, zero, one),
        "high_pass": (one, -k, -one),
        "band_pass": (zero, k, zero),
        "notch": (one, -k, zero),
        "all_pass": (one, -2 * k, zero),
    }
    if kind in plain:
        return g, k, plain[kind]
    if gain_db is None:
        raise ParameterError(f"kind is {kind!r}, which needs gain_db")
    a = torch.pow(10.0, gain_db / 40)
    if kind == "peak":
        return g, k / a, (one, k * (a - 1 / a), zero)
    if kind == "low_shelf":
        return g / a.sqrt(), k, (one, k * (a - 1), a * a - 1)
    if kind == "high_shelf":
        return g * a.sqrt(), k, (a * a, k * a * (1 - a), 1 - a * a)
    allowed = ", ".join(map(repr, [*plain, "peak", "low_shelf", "high_shelf"]))
    raise ParameterError(f"kind is {kind!r}; expected one of {allowed}")


def _standing(
    x: Tensor, g: Tensor, damping: Tensor, weights: tuple[Tensor, ...], state: Tensor
) -> tuple[Tensor, Tensor]:
    """Filter by block matrices, from and to the state of the integrators.

    With ``D = 1 + g (g + k)``, the integrators hold ``2 g / D (w1 - w2)`` and
    ``2 g^2 / D (w1 + w2)`` of the direct form.
    """
    g, damping, *mix = torch.broadcast_tensors(g, damping, *weights)
    whole = 1 + g * (g + damping)
    band, low = g / whole, g * g / whole
    zeros = (
        mix[0] + mix[1] * band + mix[2] * low,
        2 * (mix[0] * (g * g - 1) / whole + mix[2] * low),
        mix[0] * (1 + g * (g - damping)) / whole - mix[1] * band + mix[2] * low,
    )
    poles = (torch.ones_like(g), 2 * (g * g - 1) / whole, (1 + g * (g - damping)) / whole)
    sos = torch.cat([*zeros, *poles], dim=-1).unsqueeze(-2)
    difference, total = state[..., :1] / (2 * band), state[..., 1:] / (2 * low)
    inside = torch.cat([total + difference, total - difference], dim=-1) / 2
    y, inside = sosfilt_stream(x, sos, inside.unsqueeze(-2))
    first, second = inside[..., 0, :1], inside[..., 0, 1:]
    return y, torch.cat([2 * band * (first - second), 2 * low * (first + second)], dim=-1)
