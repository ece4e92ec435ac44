r"""Recursive filters, exact and parallel over time.

A filter of order ``n`` is a linear system with ``n`` states. Over a block of ``L`` samples its
output and its last state are matrix products of the samples and the first state,

.. math:: y = T x + O s, \qquad s' = A^L s + R x,

so only one state per block is left to be found one after the other, and that recursion is solved
in the same way on a coarser grid. All matrices are computed in float64, whatever the audio is:
single-precision coefficients alone would cost four digits.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._recursion_blocks import BLOCK, filter_blocks
from sonograd.functional._values import as_sections, broadcast_shapes, check_not_zero, check_tensor
from sonograd.shapes import check_floating

__all__ = ["lfilter", "sosfilt", "sosfilt_stream"]

_SECTIONS = 16  # filtered in one pass; a longer cascade takes several
_MAX_ORDER = 32

_System = tuple[Tensor, Tensor, Tensor, Tensor]
"""``A (filters, n, n), B (filters, n), C (filters, n), D (filters,)``."""


def sosfilt(x: Tensor, sos: Tensor) -> Tensor:
    """Filter with a cascade of second-order sections, starting at rest.

    Args:
        x: Signals ``(..., samples)``.
        sos: Sections ``(sections, 6)``, or ``(..., sections, 6)`` with leading dimensions that
            broadcast with those of ``x``; ``(6,)`` is one section. See
            :mod:`sonograd.functional.biquads`.

    Returns:
        Signals ``(..., samples)``, dtype and device of ``x``. Equal to
        :func:`scipy.signal.sosfilt` within rounding; differentiable in both arguments.

    Raises:
        ShapeError: ``sos`` is not ``(..., sections, 6)`` or does not broadcast.
        ParameterError: The coefficient ``a0`` of a section is 0 (looked at on the CPU only).

    >>> sosfilt(torch.ones(3), torch.tensor([[1.0, 0, 0, 1, -0.5, 0]]))
    tensor([1.0000, 1.5000, 1.7500])
    """
    sos = as_sections(sos)
    filters, rows, lead = _arrange(x, sos)
    check_not_zero(filters[..., 3], "a0 of a section")
    if 0 in rows.shape or not filters.shape[-2]:
        return x.expand(*lead, x.shape[-1]).clone()
    if filters.shape[-2] > _SECTIONS:
        return sosfilt(sosfilt(x, sos[..., :_SECTIONS, :]), sos[..., _SECTIONS:, :])
    return _run(rows, _cascade(filters), None)[0].reshape(*lead, -1)


def sosfilt_stream(x: Tensor, sos: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Filter the next block of a signal; the blocks joined equal :func:`sosfilt` of the whole.

    Args:
        x: The next samples ``(..., samples)``, any number of them.
        sos: As in :func:`sosfilt`; it may change from block to block.
        state: What the call before returned; ``None`` at the start.

    Returns:
        The filtered samples ``(..., samples)`` and the state ``(..., sections, 2)``, float64: the
        last two values inside each section between its poles and its zeros.
    """
    sos = as_sections(sos)
    filters, rows, lead = _arrange(x, sos)
    check_not_zero(filters[..., 3], "a0 of a section")
    sections = filters.shape[-2]
    shape = (*lead, sections, 2)
    if state is None:
        state = torch.zeros(shape, dtype=_wide(x), device=x.device)
    elif state.shape != shape:
        raise ShapeError(f"state has shape {tuple(state.shape)}; expected {shape}")
    if 0 in rows.shape or not sections:
        return x.expand(*lead, x.shape[-1]).clone(), state
    if sections > _SECTIONS:
        y, first = sosfilt_stream(x, sos[..., :_SECTIONS, :], state[..., :_SECTIONS, :])
        y, rest = sosfilt_stream(y, sos[..., _SECTIONS:, :], state[..., _SECTIONS:, :])
        return y, torch.cat([first, rest], dim=-2)
    to_basis, from_basis = _basis(filters)
    inside = state.reshape(*rows.shape[:2], sections, 2, 1).to(to_basis.device, to_basis.dtype)
    start = (to_basis[:, None] @ inside).flatten(2)
    y, end = _run(rows, _cascade(filters), start)
    inside = from_basis[:, None] @ end.to(from_basis).reshape(*rows.shape[:2], sections, 2, 1)
    return y.reshape(*lead, -1), inside.reshape(shape).to(state.device, state.dtype)


def lfilter(x: Tensor, b: Tensor, a: Tensor) -> Tensor:
    """Filter with one rational transfer function, starting at rest.

    Above order 4 or so, poles move with the rounding of their polynomial: prefer
    :func:`sosfilt`. The states are kept in float64 for that reason.

    Args:
        x: Signals ``(..., samples)``.
        b: Numerator ``(..., taps)``; leading dimensions broadcast with those of ``x``.
        a: Denominator ``(..., taps)``, its first coefficient not zero.

    Returns:
        Signals ``(..., samples)``, dtype and device of ``x``, equal to
        :func:`scipy.signal.lfilter` within rounding.

    Raises:
        ParameterError: The order is above 32, or ``a[0]`` is 0 (looked at on the CPU only).
    """
    check_tensor(b, "b")
    check_tensor(a, "a")
    if not b.ndim or not a.ndim or not b.shape[-1] or not a.shape[-1]:
        raise ShapeError(f"b and a have shapes {tuple(b.shape)} and {tuple(a.shape)}; need taps")
    check_not_zero(a[..., 0], "a[0]")
    taps = max(b.shape[-1], a.shape[-1], 2)
    _check_order(taps - 1)
    b, a = (pad(c.to(_wide(c)), (0, taps - c.shape[-1])) for c in (b, a.to(b.device)))
    b, a = torch.broadcast_tensors(b / a[..., :1], a / a[..., :1])
    filters, rows, lead = _arrange(x, torch.stack([b, a], dim=-2), width=taps)
    if 0 in rows.shape:
        return x.expand(*lead, x.shape[-1]).clone()
    b, a = filters.unbind(-2)
    wide = rows.to(_wide(rows))
    return _run(wide, _polynomial_system(b, a), None)[0].to(x.dtype).reshape(*lead, -1)


def _polynomial_system(b: Tensor, a: Tensor) -> _System:
    """Ladder form of each stable filter, transposed form of the others (no value is looked at)."""
    coefficients, polynomials = _reflections(a)
    stable = (torch.cat(coefficients, -1).abs() < 1).all(-1)
    safe = [torch.where(stable[:, None], k, torch.zeros_like(k)) for k in coefficients]
    ladder, transposed = _ladder(b, safe, polynomials), _transposed_form(b, a)
    return (
        torch.where(stable[:, None, None], ladder[0], transposed[0]),
        torch.where(stable[:, None], ladder[1], transposed[1]),
        torch.where(stable[:, None], ladder[2], transposed[2]),
        torch.where(stable, ladder[3], transposed[3]),
    )


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64


def _check_order(order: int) -> None:
    if order > _MAX_ORDER:
        raise ParameterError(
            f"the filter has order {order}; at most {_MAX_ORDER} is supported. "
            "Factor it into second-order sections and use sosfilt."
        )


def _arrange(x: Tensor, filters: Tensor, *, width: int = 6) -> tuple[Tensor, Tensor, torch.Size]:
    """Line up filters ``(filters, ..., width)`` with rows ``(filters, rows, samples)``.

    Trailing leading dimensions that all share one filter become rows of it.
    """
    check_tensor(x, "x")
    check_floating(x)
    if not x.ndim:
        raise ShapeError("x is a scalar; expected (..., samples)")
    if filters.ndim < 2 or filters.shape[-1] != width:
        raise ShapeError(f"sos has shape {tuple(filters.shape)}; expected (..., sections, {width})")
    own, core = filters.shape[:-2], filters.shape[-2:]
    try:
        lead = broadcast_shapes(x.shape[:-1], own)
    except RuntimeError as error:
        raise ShapeError(
            f"the filters have leading shape {tuple(own)}, which does not broadcast with the "
            f"leading dimensions {tuple(x.shape[:-1])} of x"
        ) from error
    own = torch.Size((1,) * (len(lead) - len(own)) + tuple(own))
    split = max([0, *(i + 1 for i, size in enumerate(own) if size != 1)])
    # Not numel(), which would fix the sizes in exported graphs.
    count, shared = math.prod(lead[:split]), math.prod(lead[split:])
    rows = x.expand(*lead, x.shape[-1]).reshape(count, shared, x.shape[-1])
    filters = filters.reshape(*own[:split], *core).expand(*lead[:split], *core)
    wide = filters.reshape(count, *core)
    if wide.device.type == "mps":
        wide = wide.cpu()
    return wide.to(torch.float64), rows, lead


def _basis(sos: Tensor) -> tuple[Tensor, Tensor]:
    """Change of state ``(filters, sections, 2, 2)`` from direct form II, and back.

    Direct form II keeps ``(w1, w2)``, the last two values of the all-pole signal: nearly equal,
    and huge for poles near 1. The basis ``(d w1, w1 - w2)`` with ``d = sqrt(1 + a1 + a2)`` is of
    the size of the signal and smooth in the coefficients, also where poles become real.
    """
    normal = sos[..., 4:] / sos[..., 3:4]
    scale = (1 + normal.sum(-1)).clamp_min(1e-12).sqrt()
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    forth = torch.stack([torch.stack([scale, zero], -1), torch.stack([one, -one], -1)], -2)
    back = torch.stack([torch.stack([1 / scale, zero], -1), torch.stack([1 / scale, -one], -1)], -2)
    return forth, back


def _cascade(sos: Tensor) -> _System:
    """Join the sections ``(filters, sections, 6)`` to one system."""
    sos = sos / sos[..., 3:4]
    b0, b1, b2, _, a1, a2 = sos.unbind(-1)
    forth, back = _basis(sos)
    zero, one = torch.zeros_like(a1), torch.ones_like(a1)
    a_all = torch.stack([torch.stack([-a1, -a2], -1), torch.stack([one, zero], -1)], -2)
    a_all = forth @ a_all @ back
    b_all = forth[..., 0]
    c_all = (torch.stack([b1 - b0 * a1, b2 - b0 * a2], -1)[..., None, :] @ back)[..., 0, :]
    a, b, c, d = a_all[:, 0], b_all[:, 0], c_all[:, 0], b0[:, 0]
    for k in range(1, sos.shape[1]):
        upper = pad(a, (0, 2))
        lower = torch.cat([b_all[:, k, :, None] * c[:, None, :], a_all[:, k]], -1)
        a = torch.cat([upper, lower], -2)
        b = torch.cat([b, b_all[:, k] * d[:, None]], -1)
        c = torch.cat([b0[:, k, None] * c, c_all[:, k]], -1)
        d = d * b0[:, k]
    return a, b, c, d


def _reflections(a: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Step down ``a (filters, n + 1)``: reflection coefficients and polynomials, orders 1 to n."""
    polynomials, coefficients = [a], []
    for _ in range(a.shape[-1] - 1):
        k = polynomials[-1][:, -1:]
        # A pole outside the unit circle shows as |k| >= 1; what follows it is not used then.
        rest = torch.where(k.abs() < 1, 1 - k * k, torch.ones_like(k))
        lower = (polynomials[-1] - k * polynomials[-1].flip(-1))[:, :-1] / rest
        polynomials.append(lower)
        coefficients.append(k)
    return coefficients[::-1], polynomials[-2::-1]


def _ladder(b: Tensor, coefficients: list[Tensor], polynomials: list[Tensor]) -> _System:
    """Normalized ladder form (A. Gray and J. Markel, IEEE TASSP 23(3), 1975).

    Each stage rotates, so that states and input map to states and output of an all-pass by an
    orthogonal matrix: no power of ``A`` exceeds 1, however close the poles lie.
    """
    order = len(coefficients)
    unit = torch.eye(order + 1, dtype=b.dtype, device=b.device).expand(len(b), -1, -1)
    forward, scale, residue = unit[:, order], torch.ones_like(b[:, :1]), b
    output = torch.zeros_like(forward)
    backward = []
    for m in range(order, 0, -1):
        k = coefficients[m - 1]
        cosine = (1 - k * k).sqrt()
        signal = k * forward + cosine * unit[:, m - 1]
        forward = cosine * forward - k * unit[:, m - 1]
        weight = residue[:, m : m + 1]
        residue = (residue - weight * polynomials[m - 1].flip(-1))[:, :m]
        output = output + weight / scale * signal
        scale = scale * cosine
        backward.append(signal)
    output = output + residue / scale * forward
    states = torch.stack([forward, *backward[:0:-1]], dim=1)
    return states[..., :-1], states[..., -1], output[:, :-1], output[:, -1]


def _transposed_form(b: Tensor, a: Tensor) -> _System:
    """Transposed direct form II, for poles on or outside the unit circle."""
    order = a.shape[-1] - 1
    shift = torch.eye(order, order - 1, dtype=a.dtype, device=a.device).expand(len(a), -1, -1)
    # Row i of A takes state i + 1; column 0 is the output, fed back.
    transition = torch.cat([-a[:, 1:, None], shift], dim=-1)
    first = torch.zeros_like(a[:, 1:])
    first[:, 0] = 1
    return transition, b[:, 1:] - b[:, :1] * a[:, 1:], first, b[:, 0]


def _krylov(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``[B, AB, ..., A^(L-1) B]`` as ``(filters, n, L)``, and ``A^L``, by doubling."""
    columns, power = b[:, :, None], a
    while columns.shape[-1] < BLOCK:
        columns = torch.cat([columns, power @ columns], -1)
        power = power @ power
    return columns, power


def _block_matrices(system: _System) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``T^T (L, L), O^T (n, L), R^T (L, n), (A^L)^T (n, n)``, each with leading ``filters``."""
    a, b, c, d = system
    columns, power = _krylov(a, b)
    rows, _ = _krylov(a.mT, c)
    impulse = torch.cat([d[:, None], (c[:, None, :] @ columns)[:, 0, :-1]], -1)
    time = torch.arange(BLOCK, device=a.device)
    lag = time - time[:, None] + (BLOCK - 1)
    toeplitz = pad(impulse, (BLOCK - 1, 0))[:, lag]
    return toeplitz, rows, columns.flip(-1).mT, power.mT


def _run(x: Tensor, system: _System, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Filter rows ``(filters, rows, samples)`` from state ``start (filters, rows, n)``.

    Returns the output, in the dtype of ``x``, and the last state. Half precision is widened and
    autocast switched off: a recursion would amplify their rounding.
    """
    half = x.dtype in {torch.float16, torch.bfloat16}
    if torch.amp.is_autocast_available(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            y, end = _blocks(x.float() if half else x, system, start)
    else:
        y, end = _blocks(x.float() if half else x, system, start)
    return y.to(x.dtype), end


def _blocks(x: Tensor, system: _System, start: Tensor | None) -> tuple[Tensor, Tensor]:
    filters, rows, samples = x.shape
    matrices = _block_matrices(system)
    cast = [m.to(x.device, x.dtype).contiguous() for m in matrices]
    order = cast[-1].shape[-1]
    first = x.new_zeros(filters, rows, order) if start is None else start.to(x)
    y, last = filter_blocks(x, first, *cast)
    if start is None:
        return y, first
    tail = samples - (-(-samples // BLOCK) - 1) * BLOCK
    rest = x[..., samples - tail :] @ cast[2][:, BLOCK - tail :]
    leap = torch.linalg.matrix_power(system[0], tail).mT.to(x.device, x.dtype)
    return y, last @ leap + rest
