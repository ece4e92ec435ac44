"""Sums of partials, each with a phase of its own, none above half the sample rate."""

import torch
from torch import Tensor

from sonograd.errors import ShapeError
from sonograd.functional._values import check_range
from sonograd.shapes import check_floating

__all__ = ["additive", "additive_stream", "inharmonic_ratios"]

_FADE = 0.025  # of the sample rate: where partials fade out below half of it
_AT_ONCE = 1 << 21  # partials x samples computed at once, which bounds the memory


def inharmonic_ratios(partials: int, inharmonicity: float | Tensor = 0.0) -> Tensor:
    r"""Frequencies of the partials of a stiff string, relative to the string without stiffness.

    .. math:: r_k = k \sqrt{1 + B k^2}

    (H. Fletcher, E. D. Blackham and R. Stratton, *Quality of piano tones*, JASA 34(6), 1962.)

    Args:
        partials: How many.
        inharmonicity: :math:`B`, a number or ``(...)``; a few times 1e-4 for a piano.

    Returns:
        ``(..., partials)``, float64 (the dtype of ``inharmonicity`` on a device without it).

    >>> inharmonic_ratios(3)
    tensor([1., 2., 3.], dtype=torch.float64)
    """
    stiffness = torch.as_tensor(inharmonicity)
    if stiffness.device.type != "mps":
        stiffness = stiffness.to(torch.float64)
    k = torch.arange(1, partials + 1, dtype=stiffness.dtype, device=stiffness.device)
    return k * (1 + stiffness.unsqueeze(-1) * k.square()).clamp_min(0).sqrt()


def additive(
    frequency_hz: Tensor,
    amplitudes: Tensor,
    *,
    sample_rate: float,
    ratios: Tensor | None = None,
    phase: float | Tensor = 0.0,
) -> Tensor:
    r"""Add sines whose frequencies follow one curve.

    .. math:: y = \sum_k a_k\, m(r_k f) \sin 2 \pi \Big(\varphi_k + \int r_k f\, dt\Big)

    The mask :math:`m` is 1 up to 0.475 of the sample rate, 0 from 0.5 on and a straight line
    between, so that partials neither alias nor click as they come and go.

    Args:
        frequency_hz: ``(..., samples)``, in Hz.
        amplitudes: ``(..., partials, samples)``, or ``(..., partials, 1)`` where they stay; complex
            ones carry a phase: the imaginary part of their turning sum is taken.
        sample_rate: In Hz.
        ratios: As ``amplitudes``; ``1, 2, 3, ...`` if not given.
        phase: Turns at the first sample, a number or ``(..., partials)``.

    Returns:
        ``(..., samples)``, real, precision of ``amplitudes``. The phase is accumulated in float64.
    """
    _check(frequency_hz, amplitudes, ratios)
    partials, samples = amplitudes.shape[-2], frequency_hz.shape[-1]
    length = max(_AT_ONCE // max(partials * max(frequency_hz[..., :1].numel(), 1), 1), 64)
    y, now = [], _start(phase, amplitudes)
    for begin in range(0, samples, length):
        part = slice(begin, min(begin + length, samples))
        piece, now = additive_stream(
            frequency_hz[..., part],
            _cut(amplitudes, part),
            sample_rate=sample_rate,
            ratios=None if ratios is None else _cut(ratios, part),
            phase=now,
        )
        y.append(piece)
    if not y:
        return additive_stream(
            frequency_hz, amplitudes, sample_rate=sample_rate, ratios=ratios, phase=phase
        )[0]
    return torch.cat(y, dim=-1)


def additive_stream(
    frequency_hz: Tensor,
    amplitudes: Tensor,
    *,
    sample_rate: float,
    ratios: Tensor | None = None,
    phase: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor]:
    """As :func:`additive`, for the next block of samples.

    Args:
        frequency_hz: As in :func:`additive`.
        amplitudes: As in :func:`additive`.
        sample_rate: In Hz.
        ratios: As in :func:`additive`.
        phase: What the call before returned; the phase at the start otherwise.

    Returns:
        The block ``(..., samples)`` and the phase after it, ``(..., partials)`` in turns.
    """
    _check(frequency_hz, amplitudes, ratios)
    check_range(sample_rate, "sample_rate", above=0)
    samples = frequency_hz.shape[-1]
    wide = torch.float32 if frequency_hz.device.type == "mps" else torch.float64
    number = torch.arange(1, amplitudes.shape[-2] + 1, device=amplitudes.device).unsqueeze(-1)
    multiples = (number if ratios is None else ratios).to(frequency_hz.device, wide)
    # A curve that is one value, repeated, needs one mask.
    steady = samples > 0 and frequency_hz.stride(-1) == 0
    step = ((frequency_hz[..., :1] if steady else frequency_hz).to(wide) / sample_rate).unsqueeze(
        -2
    )
    start = _start(phase, amplitudes).to(step.device, wide).unsqueeze(-1)
    amplitudes = amplitudes * _mask(multiples, step).to(amplitudes.real.dtype)
    cycles = _cycles(step, samples, steady=steady)
    total = multiples * cycles[..., -1:]
    if ratios is None:
        turn = torch.polar(torch.ones_like(cycles), _radians(cycles - step))
        y = _power_series(turn, amplitudes * torch.polar(torch.ones_like(start), _radians(start)))
    elif multiples.shape[-1] == 1:
        y = _sum_of_sines(start + multiples * (cycles - step), amplitudes)
    else:
        moved = (multiples * step).cumsum(-1)
        total = moved[..., -1:]
        y = _sum_of_sines(start + moved - multiples * step, amplitudes)
    end = start + total if samples else start
    return y.to(amplitudes.real.dtype), (end - end.detach().floor()).squeeze(-1)


def _cycles(step: Tensor, samples: int, *, steady: bool) -> Tensor:
    """Turns after each sample."""
    if steady:
        return step * torch.arange(1, samples + 1, dtype=step.dtype, device=step.device)
    return step.cumsum(-1)


def _mask(multiples: Tensor, step: Tensor) -> Tensor:
    """Gain of partials at ``multiples * step`` of the sample rate."""
    if multiples.numel() and step.numel():
        highest = multiples.detach().abs().max() * step.detach().abs().max()
        if bool(highest <= 0.5 - _FADE):
            return torch.ones_like(multiples[..., :1, :1])
    return ((0.5 - (multiples * step).abs()) / _FADE).clamp(0, 1)


def _radians(turns: Tensor) -> Tensor:
    return 2 * torch.pi * (turns - turns.detach().floor())


def _power_series(turn: Tensor, amplitudes: Tensor) -> Tensor:
    """Imaginary part of ``sum_k amplitudes[k] turn ** k``, by Horner's rule.

    Args:
        turn: ``(..., 1, samples)``, on the unit circle.
        amplitudes: ``(..., partials, samples or 1)``, complex.
    """
    turn = turn.squeeze(-2)
    rows = amplitudes.to(turn.dtype).unbind(-2)
    if not rows:
        return torch.zeros_like(turn.real)
    total = rows[-1] * turn
    for row in reversed(rows[:-1]):
        total = (total + row) * turn
    return total.imag


def _sum_of_sines(turns: Tensor, amplitudes: Tensor) -> Tensor:
    angle = _radians(turns).to(amplitudes.real.dtype)
    if not amplitudes.is_complex():
        return (amplitudes * angle.sin()).sum(-2)
    return (amplitudes.real * angle.sin() + amplitudes.imag * angle.cos()).sum(-2)


def _start(phase: float | Tensor, amplitudes: Tensor) -> Tensor:
    start = torch.as_tensor(phase, device=amplitudes.device)
    return start if start.ndim else start.expand(amplitudes.shape[-2] if amplitudes.ndim else 1)


def _cut(x: Tensor, part: slice) -> Tensor:
    return x if x.shape[-1] == 1 else x[..., part]


def _check(frequency_hz: Tensor, amplitudes: Tensor, ratios: Tensor | None) -> None:
    check_floating(frequency_hz, name="frequency_hz")
    if not frequency_hz.ndim:
        raise ShapeError("frequency_hz is a scalar; expected (..., samples)")
    if not amplitudes.is_complex():
        check_floating(amplitudes, name="amplitudes")
    for name, value in (("amplitudes", amplitudes), ("ratios", ratios)):
        if value is None:
            continue
        if value.ndim < 2 or value.shape[-1] not in {1, frequency_hz.shape[-1]}:
            raise ShapeError(
                f"{name} has shape {tuple(value.shape)} and frequency_hz "
                f"{tuple(frequency_hz.shape)}; expected (..., partials, samples or 1). "
                f"If they stay, pass {name}.unsqueeze(-1)."
            )
