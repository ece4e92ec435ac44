r"""Second-order sections: their design and their frequency response.

A section is a row ``(b0, b1, b2, 1, a1, a2)`` with the transfer function
:math:`(b_0 + b_1 z^{-1} + b_2 z^{-2}) / (1 + a_1 z^{-1} + a_2 z^{-2})`, the layout of
:func:`scipy.signal.sosfilt`. All designs are bilinear transforms of analog prototypes, warped so
that the given frequency is met exactly (R. Bristow-Johnson, *Audio EQ Cookbook*, 1998), computed
in float64 and differentiable in every argument.
"""

import math
from numbers import Integral
from typing import Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional._values import as_float64, as_sections, broadcast_shapes, check_range

__all__ = [
    "all_pass_biquad",
    "band_pass_biquad",
    "butterworth",
    "first_order",
    "frequency_response",
    "group_delay",
    "high_pass_biquad",
    "high_shelf_biquad",
    "low_pass_biquad",
    "low_shelf_biquad",
    "notch_biquad",
    "peak_biquad",
    "stable_biquad",
    "stable_polynomial",
]

_FLAT = math.sqrt(0.5)  # the quality of the second-order Butterworth filter


def peak_biquad(
    frequency_hz: float | Tensor,
    gain_db: float | Tensor,
    q: float | Tensor,
    *,
    sample_rate: float,
) -> Tensor:
    r"""Design a bell: ``gain_db`` at ``frequency_hz``, 0 dB far away.

    Prototype :math:`(s^2 + s A/Q + 1) / (s^2 + s/(AQ) + 1)` with :math:`A = 10^{gain/40}`.

    Args:
        frequency_hz: Center, in (0, ``sample_rate`` / 2); broadcasts with the others.
        gain_db: Gain at the center.
        q: Center over the bandwidth at half the gain in dB; positive.
        sample_rate: In Hz.

    Returns:
        Sections ``(..., 6)``, float64.

    Raises:
        ParameterError: A Python number is out of range (tensors are not looked at).

    >>> peak_biquad(1000.0, 0.0, 1.0, sample_rate=44100).shape
    torch.Size([6])
    """
    cosine, alpha, gain = _warp(frequency_hz, q, gain_db, sample_rate)
    middle = -2 * cosine
    return _section(
        (1 + alpha * gain, middle, 1 - alpha * gain),
        (1 + alpha / gain, middle, 1 - alpha / gain),
    )


def low_shelf_biquad(
    frequency_hz: float | Tensor,
    gain_db: float | Tensor,
    q: float | Tensor = _FLAT,
    *,
    sample_rate: float,
) -> Tensor:
    r"""Design a shelf of ``gain_db`` below ``frequency_hz``, where it has half the gain in dB.

    Prototype :math:`A (s^2 + s\sqrt{A}/Q + A) / (A s^2 + s\sqrt{A}/Q + 1)`. Arguments, result and
    errors as :func:`peak_biquad`.
    """
    return _shelf(frequency_hz, gain_db, q, sample_rate, sign=1.0)


def high_shelf_biquad(
    frequency_hz: float | Tensor,
    gain_db: float | Tensor,
    q: float | Tensor = _FLAT,
    *,
    sample_rate: float,
) -> Tensor:
    r"""Design a shelf of ``gain_db`` above ``frequency_hz``, where it has half the gain in dB.

    Prototype :math:`A (A s^2 + s\sqrt{A}/Q + 1) / (s^2 + s\sqrt{A}/Q + A)`. Arguments, result and
    errors as :func:`peak_biquad`.
    """
    return _shelf(frequency_hz, gain_db, q, sample_rate, sign=-1.0)


def low_pass_biquad(
    frequency_hz: float | Tensor, q: float | Tensor = _FLAT, *, sample_rate: float
) -> Tensor:
    """Design :math:`1 / (s^2 + s/Q + 1)`: the gain at ``frequency_hz`` is ``q``.

    Arguments, result and errors as :func:`peak_biquad`.
    """
    cosine, alpha, _ = _warp(frequency_hz, q, 0.0, sample_rate)
    edge = (1 - cosine) / 2
    return _section((edge, 1 - cosine, edge), (1 + alpha, -2 * cosine, 1 - alpha))


def high_pass_biquad(
    frequency_hz: float | Tensor, q: float | Tensor = _FLAT, *, sample_rate: float
) -> Tensor:
    """Design :math:`s^2 / (s^2 + s/Q + 1)`: the gain at ``frequency_hz`` is ``q``.

    Arguments, result and errors as :func:`peak_biquad`.
    """
    cosine, alpha, _ = _warp(frequency_hz, q, 0.0, sample_rate)
    edge = (1 + cosine) / 2
    return _section((edge, -(1 + cosine), edge), (1 + alpha, -2 * cosine, 1 - alpha))


def band_pass_biquad(
    frequency_hz: float | Tensor, q: float | Tensor, *, sample_rate: float
) -> Tensor:
    """Design :math:`(s/Q) / (s^2 + s/Q + 1)`: 0 dB at ``frequency_hz``.

    Arguments, result and errors as :func:`peak_biquad`.
    """
    cosine, alpha, _ = _warp(frequency_hz, q, 0.0, sample_rate)
    zero = torch.zeros_like(alpha)
    return _section((alpha, zero, -alpha), (1 + alpha, -2 * cosine, 1 - alpha))


def notch_biquad(frequency_hz: float | Tensor, q: float | Tensor, *, sample_rate: float) -> Tensor:
    """Design :math:`(s^2 + 1) / (s^2 + s/Q + 1)`: silence at ``frequency_hz``.

    Arguments, result and errors as :func:`peak_biquad`.
    """
    cosine, alpha, _ = _warp(frequency_hz, q, 0.0, sample_rate)
    one = torch.ones_like(alpha)
    return _section((one, -2 * cosine, one), (1 + alpha, -2 * cosine, 1 - alpha))


def all_pass_biquad(
    frequency_hz: float | Tensor, q: float | Tensor, *, sample_rate: float
) -> Tensor:
    """Design :math:`(s^2 - s/Q + 1) / (s^2 + s/Q + 1)`: the phase is -180 deg at ``frequency_hz``.

    Arguments, result and errors as :func:`peak_biquad`.
    """
    cosine, alpha, _ = _warp(frequency_hz, q, 0.0, sample_rate)
    middle = -2 * cosine
    return _section((1 - alpha, middle, 1 + alpha), (1 + alpha, middle, 1 - alpha))


def butterworth(
    order: int,
    frequency_hz: float | Tensor,
    *,
    sample_rate: float,
    kind: Literal["low_pass", "high_pass"] = "low_pass",
) -> Tensor:
    """Design a maximally flat filter, -3 dB at ``frequency_hz`` (S. Butterworth, 1930).

    Args:
        order: From 1; the slope is 6 dB per octave and order.
        frequency_hz: In (0, ``sample_rate`` / 2), any shape ``(...)``.
        sample_rate: In Hz.
        kind: Which side passes.

    Returns:
        Sections ``(..., ceil(order / 2), 6)``, float64; of an odd order, the first has order 1.

    Raises:
        ParameterError: ``order``, ``kind`` or a number ``frequency_hz`` is out of range.
    """
    if isinstance(order, bool) or not isinstance(order, Integral) or order < 1:
        raise ParameterError(f"order is {order!r}; expected a whole number, at least 1")
    order = int(order)
    if kind not in {"low_pass", "high_pass"}:
        raise ParameterError(f"kind is {kind!r}; expected 'low_pass' or 'high_pass'")
    design = low_pass_biquad if kind == "low_pass" else high_pass_biquad
    odd = order % 2
    sections = [first_order(frequency_hz, sample_rate=sample_rate, kind=kind)] if odd else []
    for k in range(order // 2):
        angle = math.pi * (2 * k + 1) / (2 * order)
        sections.append(design(frequency_hz, 0.5 / math.sin(angle), sample_rate=sample_rate))
    return torch.stack(sections, dim=-2)


def first_order(
    frequency_hz: float | Tensor,
    *,
    sample_rate: float,
    kind: Literal["low_pass", "high_pass", "all_pass"] = "low_pass",
) -> Tensor:
    """Design ``1 / (s + 1)``, ``s / (s + 1)`` or ``(1 - s) / (s + 1)``.

    The passes have -3 dB, the all-pass has a phase of -90 deg at ``frequency_hz``. Arguments,
    result and errors as :func:`peak_biquad`.
    """
    check_range(sample_rate, "sample_rate", above=0)
    check_range(frequency_hz, "frequency_hz", above=0, below=sample_rate / 2)
    (frequency,) = as_float64(frequency_hz)
    warped = torch.tan(math.pi / sample_rate * frequency)
    one, zero = torch.ones_like(warped), torch.zeros_like(warped)
    numerators = {
        "low_pass": (warped, warped, zero),
        "high_pass": (one, -one, zero),
        "all_pass": (warped - 1, warped + 1, zero),
    }
    if kind not in numerators:
        raise ParameterError(f"kind is {kind!r}; expected one of {', '.join(numerators)}")
    return _section(numerators[kind], (1 + warped, warped - 1, zero))


def frequency_response(
    sos: Tensor, frequencies_hz: float | Tensor, *, sample_rate: float
) -> Tensor:
    """Evaluate a cascade on the unit circle.

    Args:
        sos: Sections ``(..., sections, 6)``; ``(6,)`` is one.
        frequencies_hz: Where, in Hz, shape ``(bins,)`` or a number.
        sample_rate: In Hz.

    Returns:
        Complex response ``(..., bins)``, complex128; ``(...,)`` for a number.
    """
    sos = as_sections(sos)
    coefficients = sos.to(torch.float64)
    basis, scalar = _unit_circle(sos, frequencies_hz, sample_rate)
    numerator = coefficients[..., :3].to(basis.dtype) @ basis
    denominator = coefficients[..., 3:].to(basis.dtype) @ basis
    response = (numerator / denominator).prod(dim=-2)
    return response[..., 0] if scalar else response


def group_delay(sos: Tensor, frequencies_hz: float | Tensor, *, sample_rate: float) -> Tensor:
    r"""Delay of the envelope of a tone, :math:`-d\varphi / d\omega`, in samples.

    For a polynomial :math:`p(z) = \sum p_k z^{-k}` it is
    :math:`\mathrm{Re} \sum k p_k z^{-k} / p(z)`; numerators add, denominators subtract.

    Args:
        sos: Sections ``(..., sections, 6)``; ``(6,)`` is one.
        frequencies_hz: Where, in Hz, shape ``(bins,)`` or a number.
        sample_rate: In Hz.

    Returns:
        Samples ``(..., bins)``, float64, ``(...,)`` for a number. Where a zero lies on the circle,
        the phase jumps and the result is not finite.
    """
    sos = as_sections(sos)
    basis, scalar = _unit_circle(sos, frequencies_hz, sample_rate)
    coefficients = sos.to(torch.float64).to(basis.dtype)
    powers = torch.arange(3, device=sos.device, dtype=torch.float64)[:, None]

    def delay(polynomial: Tensor) -> Tensor:
        return ((polynomial @ (powers * basis)) / (polynomial @ basis)).real

    result = (delay(coefficients[..., :3]) - delay(coefficients[..., 3:])).sum(dim=-2)
    return result[..., 0] if scalar else result


def stable_biquad(numerator: Tensor, poles: Tensor) -> Tensor:
    r"""Turn any real numbers into a stable section, to learn filters freely.

    A section is stable inside the triangle :math:`|a_2| < 1,\; |a_1| < 1 + a_2`, reached by
    :math:`a_2 = \tanh r_2,\; a_1 = (1 + a_2) \tanh r_1`.

    Args:
        numerator: ``(..., 3)``, used as it is.
        poles: ``(r1, r2)`` as ``(..., 2)``; 0 gives no feedback.

    Returns:
        Sections ``(..., 6)``, float64.
    """
    numerator, poles = numerator.to(torch.float64), _bounded(poles)
    a2 = poles[..., 1]
    a1 = (1 + a2) * poles[..., 0]
    denominator = torch.stack([torch.ones_like(a1), a1, a2], dim=-1)
    lead = broadcast_shapes(numerator.shape[:-1], denominator.shape[:-1])
    return torch.cat([numerator.expand(*lead, 3), denominator.expand(*lead, 3)], dim=-1)


def stable_polynomial(reflections: Tensor) -> Tensor:
    r"""Turn any real numbers into the denominator of a stable filter of any order.

    Their hyperbolic tangents are the reflection coefficients of a lattice, which is stable as long
    as each is smaller than 1 (J. Markel and A. Gray, *Linear Prediction of Speech*, 1976); the
    step-up recursion is :math:`a \leftarrow (a, 0) + k\,(0, \overleftarrow{a})`.

    Args:
        reflections: ``(..., order)``, any values; 0 gives no feedback.

    Returns:
        ``a`` as ``(..., order + 1)`` with ``a[0] = 1``, float64, for
        :func:`~sonograd.functional.lfilter`.
    """
    bounded = _bounded(reflections)
    a = torch.ones_like(bounded[..., :0].sum(-1, keepdim=True)) + 0 * bounded.sum(-1, keepdim=True)
    for k in bounded.unbind(-1):
        longer = torch.nn.functional.pad(a, (0, 1))
        a = longer + k[..., None] * longer.flip(-1)
    return a


def _bounded(x: Tensor) -> Tensor:
    """``tanh``, held away from 1, where poles would lie on the circle."""
    return (1 - 1e-6) * torch.tanh(x.to(torch.float64))


def _unit_circle(
    sos: Tensor, frequencies_hz: float | Tensor, sample_rate: float
) -> tuple[Tensor, bool]:
    """Powers 0, -1 and -2 of z as ``(3, bins)``, and whether one number was given."""
    check_range(sample_rate, "sample_rate", above=0)
    frequencies = torch.as_tensor(frequencies_hz).to(sos.device, torch.float64)
    angle = -2 * math.pi / sample_rate * frequencies.reshape(-1)
    powers = torch.polar(torch.ones(1, dtype=torch.float64, device=sos.device), angle)
    return torch.stack([torch.ones_like(powers), powers, powers * powers]), not frequencies.ndim


def _warp(
    frequency_hz: float | Tensor, q: float | Tensor, gain_db: float | Tensor, sample_rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine of the digital frequency, sin / 2Q, and the square root of the gain."""
    check_range(sample_rate, "sample_rate", above=0)
    check_range(frequency_hz, "frequency_hz", above=0, below=sample_rate / 2)
    check_range(q, "q", above=0)
    check_range(gain_db, "gain_db")
    frequency, quality, gain = as_float64(frequency_hz, q, gain_db)
    angle = 2 * math.pi / sample_rate * frequency
    return torch.cos(angle), torch.sin(angle) / (2 * quality), torch.pow(10.0, gain / 40)


def _shelf(
    frequency_hz: float | Tensor,
    gain_db: float | Tensor,
    q: float | Tensor,
    sample_rate: float,
    sign: float,
) -> Tensor:
    """Both shelves: replacing z by -z mirrors the low one (``sign`` 1) into the high one (-1)."""
    cosine, alpha, gain = _warp(frequency_hz, q, gain_db, sample_rate)
    mirrored = sign * cosine
    plus, minus = gain + 1, gain - 1
    slope = 2 * gain.sqrt() * alpha
    return _section(
        (
            gain * (plus - minus * mirrored + slope),
            sign * 2 * gain * (minus - plus * mirrored),
            gain * (plus - minus * mirrored - slope),
        ),
        (
            plus + minus * mirrored + slope,
            -sign * 2 * (minus + plus * mirrored),
            plus + minus * mirrored - slope,
        ),
    )


def _section(numerator: tuple[Tensor, ...], denominator: tuple[Tensor, ...]) -> Tensor:
    section = torch.stack([*numerator, *denominator], dim=-1)
    return section / section[..., 3:4]
