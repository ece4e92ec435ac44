"""Feedback delay networks: delays that hear each other through an orthogonal matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._values import broadcast_shapes
from sonograd.functional.recursion import sosfilt_stream

__all__ = ["FeedbackNetworkState", "decay_filters", "feedback_network", "hadamard", "prime_delays"]


@dataclass(frozen=True)
class FeedbackNetworkState:
    """What a network remembers: its delays ``(batch, lines, longest)``, its filters."""

    lines: Tensor
    filters: Tensor | None


def feedback_network(
    x: Tensor,
    delays: Sequence[int],
    matrix: Tensor,
    filters: Tensor | None = None,
    *,
    state: FeedbackNetworkState | None = None,
) -> tuple[Tensor, FeedbackNetworkState]:
    r"""Return what leaves the delays, :math:`o = h * v_{n-N}` with :math:`v_n = x_n + M o`.

    With an orthogonal matrix and no filters no energy is lost (J. Stautner and M. Puckette,
    Computer Music Journal 6(1), 1982; J.-M. Jot and A. Chaigne, AES convention 90, 1991).

    Args:
        x: What enters each delay, ``(batch, lines, samples)``.
        delays: Length of each in samples.
        matrix: ``(lines, lines)``.
        filters: Sections behind each delay, ``(1 or batch, lines, sections, 6)``.
        state: What the call before returned; None at the start.

    Returns:
        ``(batch, lines, samples)``, and the state.
    """
    batch, lines, samples = x.shape
    longest, block = max(delays), min(delays)
    if state is None:
        state = FeedbackNetworkState(x.new_zeros(batch, lines, longest), None)
    first = longest - torch.tensor(delays, device=x.device)[:, None]
    index = (first + torch.arange(block, device=x.device)).expand(batch, -1, -1)
    matrix = matrix.to(x)
    window, memory = state.lines, state.filters
    outputs = []
    for begin in range(0, samples, block):
        now = x[..., begin : begin + block]
        length = now.shape[-1]
        leaving = window.gather(-1, index[..., :length])
        if filters is not None:
            leaving, memory = sosfilt_stream(leaving, filters, memory)
        outputs.append(leaving)
        window = torch.cat([window, now + matrix @ leaving], dim=-1)[..., length:]
    return torch.cat(outputs, dim=-1), FeedbackNetworkState(window, memory)


def decay_filters(
    delays: Sequence[int],
    t60_s: tuple[Tensor, Tensor, Tensor],
    edges_hz: tuple[Tensor, Tensor],
    *,
    sample_rate: float,
) -> Tensor:
    r"""Design what each delay loses per turn: :math:`-60 N / (f_s T_{60})` dB, in three bands.

    The middle gain, and a shelf of order 1 for the ratio of each outer one to it.

    Args:
        delays: Length of each in samples.
        t60_s: Reverberation times of low, middle and high frequencies, ``(...)``.
        edges_hz: Where low goes over to middle and middle to high, ``(...)``.
        sample_rate: In Hz.

    Returns:
        ``(..., lines, 2, 6)``.
    """
    like = torch.broadcast_tensors(*t60_s, *edges_hz)[0]
    lengths = torch.tensor(delays, dtype=like.dtype, device=like.device)
    low, middle, high = (
        torch.pow(10.0, -3 * lengths / sample_rate / t60[..., None]) for t60 in t60_s
    )
    warped = [torch.tan(math.pi / sample_rate * edge)[..., None] for edge in edges_hz]
    shelves = (
        _shelf(middle, low / middle, warped[0], high=False),
        _shelf(torch.ones_like(high), high / middle, warped[1], high=True),
    )
    shape = broadcast_shapes(*(shelf.shape for shelf in shelves))
    return torch.stack([shelf.expand(shape) for shelf in shelves], dim=-2)


def _shelf(level: Tensor, gain: Tensor, warped: Tensor, *, high: bool) -> Tensor:
    """``level`` times a shelf of order 1 that reaches ``gain``, half of it in dB at the edge."""
    root = gain.sqrt()
    zero = warped * (1 / root if high else root)
    pole = warped * (root if high else 1 / root)
    scale = level * (gain if high else torch.ones_like(gain))
    level, zero, pole, scale = torch.broadcast_tensors(level, zero, pole, scale)
    none, one = torch.zeros_like(pole), torch.ones_like(pole)
    first = 1 + pole
    parts = [scale * (1 + zero) / first, scale * (zero - 1) / first, none]
    return torch.stack([*parts, one, (pole - 1) / first, none], dim=-1)


def hadamard(size: int) -> Tensor:
    """Return the orthogonal matrix with entries of one magnitude, float64; a power of two.

    >>> hadamard(2).sign().tolist()
    [[1.0, 1.0], [1.0, -1.0]]
    """
    if size < 1 or size & (size - 1):
        raise ParameterError(f"size is {size}; expected a power of two")
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while matrix.shape[0] < size:
        upper = torch.cat([matrix, matrix], dim=1)
        matrix = torch.cat([upper, torch.cat([matrix, -matrix], dim=1)])
    return matrix / math.sqrt(size)


def prime_delays(count: int, shortest_s: float, longest_s: float, sample_rate: float) -> list[int]:
    """Return different primes, spread geometrically between two times.

    >>> prime_delays(3, 0.01, 0.02, 8000)
    [83, 113, 163]
    """
    delays: list[int] = []
    for k in range(count):
        fraction = k / max(count - 1, 1)
        samples = round(sample_rate * shortest_s * (longest_s / shortest_s) ** fraction)
        while samples in delays or not _is_prime(samples):
            samples += 1
        delays.append(samples)
    return delays


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % k for k in range(2, math.isqrt(number) + 1))
