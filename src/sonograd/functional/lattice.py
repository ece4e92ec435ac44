r"""All-pole filters by their reflection coefficients: stable whatever happens to them.

Reflection coefficients are the reflections between the sections of a tube, as a vocal tract is
one; any values between -1 and 1 give a stable filter, also while they move.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._values import check_range
from sonograd.shapes import check_floating

__all__ = [
    "formant_polynomial",
    "lattice_filter",
    "linear_prediction",
    "polynomial_to_reflections",
    "reflections_to_polynomial",
]

_MAX_ORDER = 64


def reflections_to_polynomial(reflections: Tensor) -> Tensor:
    r"""Step up (J. Markel and A. Gray, *Linear Prediction of Speech*, 1976, section 5.3).

    .. math:: A_m(z) = A_{m-1}(z) + k_m z^{-m} A_{m-1}(z^{-1})

    Args:
        reflections: :math:`k`, ``(..., order)``.

    Returns:
        ``(..., order + 1)``, the first coefficient 1.

    >>> reflections_to_polynomial(torch.tensor([0.5, 0.5]))
    tensor([1.0000, 0.7500, 0.5000])
    """
    polynomial = torch.ones_like(reflections[..., :1])
    for m in range(reflections.shape[-1]):
        longer = pad(polynomial, (0, 1))
        polynomial = longer + reflections[..., m : m + 1] * longer.flip(-1)
    return polynomial


def polynomial_to_reflections(polynomial: Tensor) -> Tensor:
    """Step down, the opposite of :func:`reflections_to_polynomial`.

    Args:
        polynomial: ``(..., order + 1)``, all its zeros inside the unit circle.

    Returns:
        ``(..., order)``.
    """
    polynomial = polynomial / polynomial[..., :1]
    found = []
    while polynomial.shape[-1] > 1:
        k = polynomial[..., -1:]
        rest = (1 - k.square()).clamp_min(1e-12)
        polynomial = ((polynomial - k * polynomial.flip(-1)) / rest)[..., :-1]
        found.append(k)
    return torch.cat([*found[::-1], polynomial[..., :0]], -1)


def formant_polynomial(formants_hz: Tensor, bandwidths_hz: Tensor, *, sample_rate: float) -> Tensor:
    r"""Place one pair of poles for each formant.

    .. math:: A(z) = \prod_k \big(1 - 2 e^{-\pi B_k / f_s} \cos(2 \pi F_k / f_s)\,z^{-1}
              + e^{-2 \pi B_k / f_s} z^{-2}\big)

    Args:
        formants_hz: :math:`F`, ``(..., formants)``.
        bandwidths_hz: :math:`B`, as ``formants_hz``.
        sample_rate: In Hz.

    Returns:
        ``(..., 2 * formants + 1)``, the denominator of an all-pole filter.
    """
    check_range(sample_rate, "sample_rate", above=0)
    formants, bandwidths = torch.broadcast_tensors(formants_hz, bandwidths_hz)
    if not formants.ndim:
        raise ShapeError("formants_hz is a scalar; expected (..., formants)")
    radius = torch.exp(-torch.pi * bandwidths / sample_rate)
    first = -2 * radius * torch.cos(2 * torch.pi * formants / sample_rate)
    second = radius.square()
    polynomial = torch.ones_like(radius[..., :1])
    for k in range(radius.shape[-1]):
        longer = pad(polynomial, (0, 2))
        once, twice = pad(polynomial, (1, 1)), pad(polynomial, (2, 0))
        polynomial = longer + first[..., k : k + 1] * once + second[..., k : k + 1] * twice
    return polynomial


def linear_prediction(x: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Find the all-pole filter that shapes white noise into ``x``, by the autocorrelation method.

    Levinson's recursion gives the reflection coefficients as they are needed. The caller windows.

    Args:
        x: Signals ``(..., samples)``.
        order: Number of poles.

    Returns:
        Reflection coefficients ``(..., order)``, below 1, and the root mean square of what cannot
        be predicted, ``(...)``. Silence gives zeros.
    """
    check_floating(x)
    if not 1 <= order <= _MAX_ORDER:
        raise ParameterError(f"order is {order}; expected a number from 1 to {_MAX_ORDER}")
    wide = x if x.device.type == "mps" else x.double()
    samples = wide.shape[-1]
    n_fft = 1 << (samples + order).bit_length()
    spectrum = torch.fft.rfft(wide, n_fft)
    r = torch.fft.irfft(spectrum.abs().square(), n_fft)[..., : order + 1] / max(samples, 1)
    error = r[..., :1] * (1 + 1e-12) + 1e-30
    polynomial = torch.ones_like(error)
    found = []
    for m in range(1, order + 1):
        k = -(polynomial * r[..., 1 : m + 1].flip(-1)).sum(-1, keepdim=True) / error
        longer = pad(polynomial, (0, 1))
        polynomial = longer + k * longer.flip(-1)
        error = error * (1 - k.square()).clamp_min(1e-12)
        found.append(k)
    return torch.cat(found, -1).to(x.dtype), error.clamp_min(0).sqrt().squeeze(-1).to(x.dtype)


def lattice_filter(
    x: Tensor, reflections: Tensor, *, hop_length: int, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Filter with poles that change from frame to frame, in the normalized lattice.

    Each stage of the lattice rotates signal and state, so energy is never made: the filter is
    stable for any reflections below 1 and does not jump when they change (A. Gray and J. Markel,
    *A normalized digital filter structure*, IEEE TASSP 23(3), 1975). White noise of variance 1
    comes out with variance 1, whatever the reflections are.

    Args:
        x: Signals ``(rows, samples)``, beginning where a frame begins.
        reflections: ``(1 or rows, frames, order)``, one set for each ``hop_length`` samples, held
            within them; the last set is held if there are too few.
        hop_length: Samples per frame; short ones, 16 to 256, are fast.
        state: What the call before returned; rest if not given. It stands after the last whole
            frame: go on from there.

    Returns:
        ``(rows, samples)`` in the dtype of ``x`` and the state ``(rows, order)``; equal to filters
        computed sample by sample.
    """
    check_floating(x)
    if x.ndim != 2 or reflections.ndim != 3 or not reflections.shape[1]:
        raise ShapeError(
            f"x and reflections have shapes {tuple(x.shape)} and {tuple(reflections.shape)}; "
            "expected (rows, samples) and (1 or rows, frames, order)"
        )
    if hop_length < 1:
        raise ParameterError(f"hop_length is {hop_length}; expected at least 1")
    if not 1 <= reflections.shape[-1] <= _MAX_ORDER:
        raise ParameterError(
            f"reflections have order {reflections.shape[-1]}; expected 1 to {_MAX_ORDER}"
        )
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    rows, samples = x.shape
    frames = -(-samples // hop_length)
    order = reflections.shape[-1]
    now = x.new_zeros(rows, order, dtype=wide) if state is None else state.to(x.device, wide)
    if not samples or not rows:
        return x, now
    held = torch.arange(frames, device=x.device).clamp_max(reflections.shape[1] - 1)
    matrices = _frame_matrices(reflections.to(x.device, wide)[:, held], hop_length)
    toeplitz, outputs, inputs, power = matrices
    pieces = pad(x.to(wide), (0, frames * hop_length - samples)).unflatten(-1, (frames, hop_length))
    driven = torch.einsum("rfl,rfln->rfn", pieces, inputs.expand(rows, -1, -1, -1))
    before = [now]
    for k in range(frames):
        before.append((before[-1].unsqueeze(1) @ power[:, k]).squeeze(1) + driven[:, k])
    states = torch.stack(before[:-1], 1)
    y = torch.einsum("rfn,rfnl->rfl", states, outputs.expand(rows, -1, -1, -1))
    y = y + torch.einsum("rfk,rfkl->rfl", pieces, toeplitz.expand(rows, -1, -1, -1))
    return y.flatten(1)[:, :samples].to(x.dtype), before[samples // hop_length]


def _lattice_system(reflections: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``A (..., n, n), B (..., n), C (..., n), D (...)`` of the normalized all-pole lattice."""
    order = reflections.shape[-1]
    sine = reflections.clamp(-1 + 1e-9, 1 - 1e-9)
    cosine = (1 - sine.square()).sqrt()
    unit = torch.eye(order + 1, dtype=sine.dtype, device=sine.device)
    # Rows say how a signal depends on the states and, last, on the input.
    forward = unit[order].expand(*sine.shape[:-1], -1)
    backward = []
    for m in range(order, 0, -1):
        k, c = sine[..., m - 1 : m], cosine[..., m - 1 : m]
        backward.append(k * forward + c * unit[m - 1])
        forward = c * forward - k * unit[m - 1]
    states = torch.stack([forward, *backward[:0:-1]], -2)
    return states[..., :-1], states[..., -1], forward[..., :-1], forward[..., -1]


def _frame_matrices(reflections: Tensor, length: int) -> tuple[Tensor, ...]:
    """``T^T (L, L), O^T (n, L), R^T (L, n), (A^L)^T (n, n)``, each with leading ``(rows, frames)``.

    Within a frame ``y = T x + O s`` and ``s' = A^L s + R x``.
    """
    a, b, c, d = _lattice_system(reflections)
    columns, rows, power = b.unsqueeze(-1), c.unsqueeze(-2), a
    while columns.shape[-1] < length:
        columns = torch.cat([columns, power @ columns], -1)
        rows = torch.cat([rows, rows @ power], -2)
        power = power @ power
    columns, rows = columns[..., :length], rows[..., :length, :]
    power = torch.linalg.matrix_power(a, length)
    impulse = torch.cat([d.unsqueeze(-1), (c.unsqueeze(-2) @ columns).squeeze(-2)[..., :-1]], -1)
    time = torch.arange(length, device=a.device)
    lag = time - time.unsqueeze(-1) + (length - 1)
    toeplitz = pad(impulse, (length - 1, 0))[..., lag]
    return toeplitz, rows.mT, columns.flip(-1).mT, power.mT
