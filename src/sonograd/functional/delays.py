"""Delays: moving, for chorus and vibrato, and with feedback, for echoes."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import broadcast_shapes, check_range
from sonograd.shapes import check_audio, check_floating

__all__ = ["delay_line", "echo", "fractional_delay", "moving_delay"]

_PIECE = 1 << 15  # samples worked on at a time where no gradient is asked for


def fractional_delay(
    x: Tensor,
    delay_s: float | Tensor,
    *,
    sample_rate: float,
    interpolation: Literal["linear", "cubic"] = "cubic",
) -> Tensor:
    """Read each sample ``delay_s`` in the past, between samples too; before the start is silence.

    A delay that moves by ``d`` seconds per second shifts the pitch by the factor ``1 - d``.

    Args:
        x: Signals ``(..., samples)``.
        delay_s: Seconds, a number, ``(..., 1)`` or a curve ``(..., samples)``; not negative.
        sample_rate: In Hz.
        interpolation: Two points, or the four of a third-order Lagrange polynomial.

    Returns:
        ``(..., samples)``, dtype and device of ``x``; differentiable in both.
    """
    check_floating(x)
    if interpolation not in {"linear", "cubic"}:
        raise ParameterError(f"interpolation is {interpolation!r}; expected 'linear' or 'cubic'")
    check_range(sample_rate, "sample_rate", above=0)
    check_range(delay_s, "delay_s", above=0, closed=True)
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    delay = torch.as_tensor(delay_s, dtype=wide, device=x.device).clamp_min(0) * sample_rate
    samples = x.shape[-1]
    if delay.ndim and delay.shape[-1] not in {1, samples}:
        raise ShapeError(f"delay_s has shape {tuple(delay.shape)}; expected (..., {samples})")
    shape = broadcast_shapes(x.shape, delay.shape)
    delay = delay.expand(shape) if delay.ndim and delay.shape[-1] > 1 else delay
    # One sample of the future is read by the cubic; it is silence after the end.
    padded = pad(x.expand(shape), (1, 1))
    time = torch.arange(1, samples + 1, device=x.device)
    if not delay.ndim or delay.shape[-1] == 1 or torch.is_grad_enabled() or samples <= _PIECE:
        return read_line(padded, time, delay, interpolation)
    pieces = zip(time.split(_PIECE), delay.split(_PIECE, -1), strict=True)
    return torch.cat([read_line(padded, t, d, interpolation) for t, d in pieces], -1)


def echo(
    x: Tensor,
    *,
    sample_rate: float,
    delay_s: float,
    feedback: float | Tensor = 0.0,
    mix: float | Tensor = 0.5,
    ping_pong: bool = False,
) -> Tensor:
    """Repeat the sound every ``delay_s``, each time ``feedback`` as loud.

    ``w[n] = x[n] + feedback w[n - D]`` with ``D = int(delay_s sample_rate)``, and
    ``y = (1 - mix) x + mix w[n - D]``.

    Args:
        x: Audio ``(..., channels, samples)``.
        sample_rate: In Hz.
        delay_s: Seconds, at least one sample.
        feedback: Below 1 to fade, a number or a tensor that broadcasts with ``x``.
        mix: Of the echoes, in [0, 1].
        ping_pong: Turn the channels around at each repetition.

    Returns:
        As ``x``, with the echoes that begin within its length.
    """
    check_audio(x)
    distance = int(delay_s * sample_rate)
    if distance < 1:
        raise ParameterError(
            f"delay_s is {delay_s}, less than one sample; expected at least {1 / sample_rate:.2e}"
        )
    samples = x.shape[-1]
    delayed = [torch.zeros_like(x[..., :distance])]
    for begin in range(0, samples - distance, distance):
        length = min(distance, samples - distance - begin)
        again = _turn(delayed[-1], ping_pong)[..., :length]
        delayed.append(x[..., begin : begin + length] + feedback * again)
    wet = torch.cat(delayed, dim=-1)[..., :samples]
    return (1 - mix) * x + mix * _turn(wet, ping_pong)


def delay_line(x: Tensor, delay: int, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Delay the next block of a signal by whole samples.

    Args:
        x: The next samples ``(..., samples)``, any number of them.
        delay: In samples, not negative.
        state: What the call before returned; None at the start, before which is silence.

    Returns:
        ``(..., samples)``, and the last ``delay`` samples.

    >>> delay_line(torch.tensor([1.0, 2.0, 3.0]), 2)[0]
    tensor([0., 0., 1.])
    """
    if delay < 0:
        raise ParameterError(f"delay is {delay} samples; expected at least 0")
    if state is None:
        state = x.new_zeros(*x.shape[:-1], delay)
    if not delay:
        return x, state
    line = torch.cat([state, x], dim=-1)
    return line[..., : x.shape[-1]], line[..., x.shape[-1] :]


def moving_delay(
    x: Tensor,
    delay: Tensor,
    *,
    limit: float,
    interpolation: Literal["linear", "cubic"] = "cubic",
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Read each sample of the next block of a signal ``delay`` samples in the past.

    Args:
        x: The next samples ``(..., samples)``.
        delay: In samples, float64, broadcasts with ``x``; at least 0 for linear interpolation and
            1 for cubic, which needs the sample after.
        limit: The largest delay that will ever come, in samples.
        interpolation: Two points, or the four of a third-order Lagrange polynomial.
        state: What the call before returned; None at the start, before which is silence.

    Returns:
        ``(..., samples)``, and the samples that may still be read.
    """
    reach = math.ceil(limit) + 3
    if state is None:
        state = x.new_zeros(*x.shape[:-1], reach)
    line = torch.cat([state, x], dim=-1)
    time = torch.arange(reach, line.shape[-1], device=x.device)
    return read_line(line, time, delay, interpolation), line[..., -reach:]


def read_line(
    line: Tensor, time: Tensor, delay: Tensor, interpolation: Literal["linear", "cubic"]
) -> Tensor:
    """Read ``line (..., n)`` at the positions ``time (samples,)``, ``delay`` samples earlier."""
    whole = delay.detach().floor()
    rest = (delay - whole).to(line.dtype)
    newest = time - whole.long()
    shape = (*line.shape[:-1], time.shape[0])
    points, first = (_linear(rest), 0) if interpolation == "linear" else (_cubic(rest), -1)
    y = torch.zeros((), dtype=line.dtype, device=line.device)
    for k, weight in enumerate(points, start=first):
        index = (newest - k).clamp(0, line.shape[-1] - 1).expand(shape)
        y = y + weight * line.gather(-1, index)
    return y


def _turn(x: Tensor, ping_pong: bool) -> Tensor:
    return x.flip(-2) if ping_pong else x


def _linear(rest: Tensor) -> tuple[Tensor, ...]:
    return 1 - rest, rest


def _cubic(rest: Tensor) -> tuple[Tensor, ...]:
    """Lagrange weights of the points at delays -1, 0, 1 and 2."""
    after, more, two = rest + 1, rest - 1, rest - 2
    return (
        -rest * more * two / 6,
        after * more * two / 2,
        -after * rest * two / 2,
        after * rest * more / 6,
    )
