r"""Strings as delay loops, differentiable in all that describes them.

A loop of a whole delay and a short filter, :math:`y_n = x_n + \sum_k c_k y_{n - D - k}`, is a
linear recursion. Its gradient is the same loop run backward in time: no step of it is recorded.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._transforms import plain_form_needed
from sonograd.functional._values import check_range
from sonograd.shapes import check_floating

__all__ = ["delay_loop", "plucked_shape", "string_loop"]

_SHORT = 96  # samples per step of the loop below which it is unrolled first
_NEWTON = 6
_POINTS = 8  # of the interpolator
_MIDDLE = _POINTS // 2 - 1  # the least delay at which it is at its best
_LARGEST_GAIN = 1 - 3e-6  # of the loop at 0 Hz: rounding errors must die away too


def delay_loop(x: Tensor, taps: Tensor, delay: Tensor, *, past: Tensor | None = None) -> Tensor:
    """Send a signal around a loop, exactly.

    ``y[n] = x[n] + sum_k taps[k] y[n - delay - k]``.

    Args:
        x: Signals ``(rows, samples)``.
        taps: ``(rows, taps)``.
        delay: Whole samples, ``(rows,)``, int64, at least 1.
        past: What came out before, ``(rows, any)``, the latest last; silence if not given.

    Returns:
        ``(rows, samples)``; differentiable in ``x``, ``taps`` and ``past``, also twice.
    """
    check_floating(x)
    rows = x.shape[0] if x.ndim == 2 else -1
    if rows < 0 or taps.ndim != 2 or taps.shape[0] != rows or delay.shape != (rows,):
        raise ShapeError(
            f"x, taps and delay have shapes {tuple(x.shape)}, {tuple(taps.shape)} and "
            f"{tuple(delay.shape)}; expected (rows, samples), (rows, taps) and (rows,)"
        )
    if delay.numel() and int(delay.min()) < 1:
        raise ParameterError(f"delay is {int(delay.min())}; expected at least 1 sample")
    if not x.numel():
        return x
    plain = plain_form_needed(x, taps)
    if past is not None and past.shape[-1]:
        # What the loop still carries, as it comes out.
        x = x + _windows(past, taps, past.shape[-1] - delay, x.shape[-1], plain=plain)
    if plain:
        return _plain_loop(x, taps, delay)
    y: Tensor = _DelayLoop.apply(x, taps, delay)  # type: ignore[no-untyped-call]
    return y


def string_loop(
    frequency_hz: Tensor,
    *,
    sample_rate: float,
    decay_s: Tensor,
    damping: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Design the loop of a plucked string whose fundamental is exactly in tune.

    The loop is a whole delay :math:`D`, twice the symmetric low-pass :math:`(d/4, 1-d/2, d/4)`, a
    seventh-order Lagrange interpolator for the fraction :math:`\tau` and a gain :math:`g`. The pole
    of the fundamental is put where it belongs, at :math:`z_0 = 10^{-3/(T f_s)} e^{2 \pi i f/f_s}`:
    :math:`\tau` and :math:`g` follow from :math:`g\,S(z_0)^2 L_\tau(z_0)\,z_0^{-D} = 1`, solved by
    Newton's method (after D. Jaffe and J. Smith, *Extensions of the Karplus-Strong plucked-string
    algorithm*, Computer Music Journal 7(2), 1983, who tune the phase delay alone).

    Args:
        frequency_hz: ``(rows,)``, float64, up to ``sample_rate`` / 8.
        sample_rate: In Hz.
        decay_s: Time :math:`T` in which the fundamental falls by 60 dB, ``(rows,)``.
        damping: :math:`d` in [0, 1], ``(rows,)``: how much faster high partials fall. It is reduced
            where the fundamental of a high string would fall sooner than ``decay_s``. (A string
            near the upper end that should ring for many seconds still does: the interpolator
            loses more, and a gain above 1 at 0 Hz would grow without end.)

    Returns:
        The taps ``(rows, 12)`` and the delay ``(rows,)``, int64, for :func:`delay_loop`.
    """
    check_range(sample_rate, "sample_rate", above=0)
    period = sample_rate / frequency_hz
    delay = (period.detach() - _MIDDLE - 2).floor().to(torch.int64).clamp_min(1)
    start = period - delay - 2
    radius = -3 * math.log(10) / (decay_s * sample_rate)
    log_z = torch.complex(radius, 2 * torch.pi * frequency_hz / sample_rate)
    k = torch.arange(_POINTS, dtype=frequency_hz.dtype, device=frequency_hz.device)
    lags = torch.exp(-log_z.unsqueeze(-1) * k)  # z0 ** -k
    turn = torch.exp(-log_z * (delay + 2))
    # The low-pass may take no more from the fundamental than it loses in a turn, less what the
    # interpolator takes: then the gain is not above 1.
    left = 1 / (turn * (_lagrange(start) * lags).sum(-1)).abs()
    spare = 1 - (left / _LARGEST_GAIN).clamp_max(1).sqrt()
    damping = torch.minimum(damping, 2 * spare / (1 - torch.cos(log_z.imag)))
    smooth = 1 - damping / 2 + damping / 4 * (lags[:, 1] + 1 / lags[:, 1])
    rest = smooth.square() * turn
    fraction = _solve_fraction(rest, lags, start)
    lagrange = _lagrange(fraction)
    gain = 1 / (rest * (lagrange * lags).sum(-1)).abs()
    three = torch.stack([damping / 4, 1 - damping / 2, damping / 4], -1)
    taps = _convolve(_convolve(three, three), lagrange)
    # The taps sum to the gain at 0 Hz.
    return taps * gain.clamp_max(1 - 1e-6).unsqueeze(-1), delay


def plucked_shape(
    noise: Tensor,
    frequency_hz: Tensor,
    *,
    sample_rate: float,
    brightness: Tensor,
    pick_position: Tensor,
) -> Tensor:
    """Filter one period of noise around the circle: what the pick does to the string.

    Args:
        noise: ``(rows, length)``; the first whole period of it is used.
        frequency_hz: ``(rows,)``.
        sample_rate: In Hz.
        brightness: In (0, 1], ``(rows,)``: 1 leaves it white, less is a one-pole low-pass.
        pick_position: In (0, 1) of the length of the string, ``(rows,)``; partials that have a node
            there are missing.

    Returns:
        ``(rows, length)``, mean 0 and mean square 1 over the period, 0 after it.
    """
    length = noise.shape[-1]
    periods = (sample_rate / frequency_hz.detach()).floor().clamp(1, max(length, 1)).long()
    shapes = [noise.new_zeros(0, length)]
    for row, period in enumerate(periods.tolist()):
        k = torch.arange(period // 2 + 1, dtype=noise.dtype, device=noise.device)
        turn = torch.polar(torch.ones_like(k), -2 * torch.pi * k / period)
        low_pass = brightness[row] / (1 - (1 - brightness[row]) * turn)
        node = 2 * torch.pi * k * pick_position[row]
        comb = 1 - torch.polar(torch.ones_like(node), -node)
        spectrum = torch.fft.rfft(noise[row, :period]) * low_pass * comb
        shape = torch.fft.irfft(spectrum, period)
        shape = shape / shape.square().mean().clamp_min(1e-12).sqrt()
        shapes.append(pad(shape, (0, length - period)).unsqueeze(0))
    return torch.cat(shapes)


def _lagrange(fraction: Tensor) -> Tensor:
    """Weights ``(rows, 8)`` of a delay of ``fraction`` samples, best around the middle."""
    k = torch.arange(_POINTS, dtype=fraction.dtype, device=fraction.device)
    distance = fraction.unsqueeze(-1) - k
    weights = []
    for point in range(_POINTS):
        others = [j for j in range(_POINTS) if j != point]
        weights.append(distance[:, others].prod(-1) / math.prod(point - j for j in others))
    return torch.stack(weights, -1)


def _solve_fraction(rest: Tensor, lags: Tensor, start: Tensor) -> Tensor:
    """Find the fraction for which a turn of the loop has no phase at the pole.

    The delay in samples is nearly the fraction itself, so each step adds what is missing.
    """
    step = lags[:, 1].angle()  # radians per sample of delay
    fraction = start
    for _ in range(_NEWTON):
        phase = (rest * (_lagrange(fraction) * lags).sum(-1)).angle()
        fraction = fraction - phase / step
    return fraction


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    """Convolve rows of few taps."""
    total = a.new_zeros(a.shape[0], a.shape[1] + b.shape[1] - 1)
    for k in range(a.shape[1]):
        total = total + pad(a[:, k, None] * b, (k, a.shape[1] - 1 - k))
    return total


def _windows(x: Tensor, taps: Tensor, first: Tensor, length: int, *, plain: bool = False) -> Tensor:
    """Return ``sum_k taps[k] x[first + n - k]`` for ``n`` below ``length``, zero outside ``x``."""
    count = taps.shape[-1]
    index = first.unsqueeze(-1) - (count - 1) + torch.arange(length + count - 1, device=x.device)
    inside = (index >= 0) & (index < x.shape[-1])
    window = torch.where(inside, x.gather(-1, index.clamp(0, x.shape[-1] - 1)), 0.0)
    if not plain:
        return (window.unfold(-1, count, 1) @ taps.flip(-1).unsqueeze(-1)).squeeze(-1)
    total = torch.zeros_like(window[:, :length])
    for k in range(count):
        total = total + taps[:, k, None] * window[:, count - 1 - k : count - 1 - k + length]
    return total


def _plain_loop(x: Tensor, taps: Tensor, delay: Tensor) -> Tensor:
    """Step by step, in operations that torch can transform."""
    step, reach = int(delay.min()), int(delay.max()) + taps.shape[-1] - 1
    heard, parts = torch.zeros_like(x[:, :1]).expand(-1, reach), []
    for begin in range(0, x.shape[-1], step):
        now = x[:, begin : begin + step]
        now = now + _windows(heard, taps, reach - delay, now.shape[-1], plain=True)
        heard = torch.cat([heard, now], -1)[:, -reach:]
        parts.append(now)
    return torch.cat(parts, -1)


class _DelayLoop(torch.autograd.Function):
    """``y = x + C y`` with the strictly causal ``C``; so ``dx = dy + C^T dx``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, delay: Tensor) -> Tensor:
        y = _run_loop(x, taps, delay)
        ctx.save_for_backward(taps, delay, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        taps, delay, y = ctx.saved_tensors
        back: Tensor = _DelayLoop.apply(grads[0].flip(-1), taps, delay)  # type: ignore[no-untyped-call]
        back = back.flip(-1)
        grad_taps = None
        if ctx.needs_input_grad[1]:
            samples = y.shape[-1]
            n = torch.arange(samples, device=y.device)
            columns = []
            for k in range(taps.shape[-1]):
                index = n - delay.unsqueeze(-1) - k
                late = torch.where(index >= 0, y.gather(-1, index.clamp_min(0)), 0.0)
                columns.append((back * late).sum(-1))
            grad_taps = torch.stack(columns, -1)
        return back, grad_taps, None


def _run_loop(x: Tensor, taps: Tensor, delay: Tensor) -> Tensor:
    samples = x.shape[-1]
    # One turn applied twice is a loop of twice the delay: unroll short ones.
    while int(delay.min()) < min(_SHORT, samples):
        x = x + _windows(x, taps, -delay, samples)
        taps, delay = _convolve(taps, taps), 2 * delay
    count, step = taps.shape[-1], int(delay.min())
    if step >= samples:
        return x.clone()
    reach = int(delay.max()) + count - 1
    y = x.new_zeros(x.shape[0], reach + samples)
    y[:, reach:] = x
    weights = taps.flip(-1).unsqueeze(-1)
    oldest = (reach - delay - (count - 1)).unsqueeze(-1)
    same = bool((delay == delay[0]).all())
    for begin in range(step, samples, step):
        length = min(step, samples - begin)
        if same:
            first = int(oldest[0]) + begin
            window = y[:, first : first + length + count - 1]
        else:
            index = oldest + begin + torch.arange(length + count - 1, device=x.device)
            window = y.gather(-1, index)
        now = y[:, reach + begin : reach + begin + length]
        now += (window.unfold(-1, count, 1) @ weights).squeeze(-1)
    return y[:, reach:]
