r"""The Liljencrants-Fant pulse: how the glottis closes, as one number.

G. Fant, J. Liljencrants and Q. Lin, *A four-parameter model of glottal flow*, STL-QPSR 4, 1985; the
one-number form after G. Fant, *The LF-model revisited*, STL-QPSR 2-3, 1995. The derivative of the
flow over one period, which is what leaves the lips, is

.. math::

    E(t) = \begin{cases} E_0\, e^{\alpha t} \sin \omega_g t & t \le t_e \\
    -\frac{1}{\varepsilon t_a} \big(e^{-\varepsilon (t - t_e)} - e^{-\varepsilon (1 - t_e)}\big)
    & t_e < t \le 1 \end{cases}

with :math:`E(t_e) = -1` and no flow left at the end. :math:`R_d` is 0.3 for a pressed voice, about
1 for a plain one and 2.7 for a breathy one. Its Fourier series has a closed form, so it can be
played at any pitch without aliases.
"""

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["glottal_harmonics", "glottal_pulse"]

_LOW, _HIGH = 0.3, 2.7
_HALVINGS = 60


def glottal_pulse(turns: Tensor, rd: Tensor) -> Tensor:
    """Return the derivative of the glottal flow, not band-limited.

    Args:
        turns: Place in the period, ``(...)``; whole turns do not matter.
        rd: Shape in [0.3, 2.7], broadcasts with ``turns``.

    Returns:
        ``(...)``, between -1 (the moment of closing) and about 0.6.
    """
    t = torch.remainder(turns, 1.0)
    omega, t_e, t_a, epsilon, alpha = _timing(rd.to(t.dtype))
    opening = -torch.exp(alpha * (t - t_e)) * (omega * t).sin() / (omega * t_e).sin()
    late = (t - t_e).clamp_min(0)
    closing = torch.exp(-epsilon * (1 - t_e)) - torch.exp(-epsilon * late)
    return torch.where(t <= t_e, opening, closing / (epsilon * t_a))


def glottal_harmonics(rd: Tensor, harmonics: int) -> Tensor:
    r"""Return the Fourier series of the pulse, in closed form.

    Args:
        rd: ``(...)``, in [0.3, 2.7].
        harmonics: How many.

    Returns:
        Complex :math:`a_k`, ``(..., harmonics)`` for :math:`k = 1, 2, \dots`, such that the pulse
        is the imaginary part of :math:`\sum_k a_k e^{2 \pi i k t}`, as
        :func:`~sonograd.functional.additive` adds them.
    """
    if harmonics < 1:
        raise ParameterError(f"harmonics is {harmonics}; expected at least 1")
    wide = rd if rd.device.type == "mps" else rd.double()
    omega, t_e, t_a, epsilon, alpha = (v.unsqueeze(-1) for v in _timing(wide))
    k = torch.arange(1, harmonics + 1, dtype=wide.dtype, device=wide.device)
    turn = torch.complex(torch.zeros_like(k), 2 * torch.pi * k)
    s = alpha - turn
    sine, cosine = (omega * t_e).sin(), (omega * t_e).cos()
    at_closing = torch.exp(-turn * t_e)
    # Both terms are divided by e^(alpha t_e), which may be huge.
    opened = at_closing * (s * sine - omega * cosine) + omega * torch.exp(-alpha * t_e)
    opened = -opened / (sine * (s.square() + omega.square()))
    rest = torch.exp(-epsilon * (1 - t_e))
    closed = (at_closing - rest) / (epsilon + turn) - rest * (at_closing - 1) / turn
    series = opened - closed / (epsilon * t_a)
    result: Tensor = 2j * series
    return result.to(torch.complex64 if rd.dtype == torch.float32 else result.dtype)


def _timing(rd: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Frequency of the opening, closing time, return time and the two rates, from ``rd``."""
    rd = rd.clamp(_LOW, _HIGH)
    t_a = (-1 + 4.8 * rd) / 100
    r_k = (22.4 + 11.8 * rd) / 100
    r_g = r_k / (4 * (0.11 * rd / (0.5 + 1.2 * r_k) - t_a))
    omega = 2 * torch.pi * r_g
    t_e = (1 + r_k) / (2 * r_g)
    epsilon = _solve_epsilon(t_a, 1 - t_e)
    alpha = _solve_alpha(omega, t_e, t_a, epsilon)
    return omega, t_e, t_a, epsilon, alpha


def _solve_epsilon(t_a: Tensor, rest: Tensor) -> Tensor:
    """Solve ``epsilon t_a = 1 - exp(-epsilon rest)`` for its positive root."""
    epsilon = 1 / t_a.detach()
    with torch.no_grad():
        for _ in range(30):
            epsilon = (1 - torch.exp(-epsilon * rest)) / t_a
        for _ in range(6):
            epsilon = epsilon - _excess(epsilon, t_a, rest) / (
                t_a - rest * torch.exp(-epsilon * rest)
            )
    slope = (t_a - rest * torch.exp(-epsilon * rest)).detach()
    return epsilon - _excess(epsilon, t_a, rest) / slope


def _excess(epsilon: Tensor, t_a: Tensor, rest: Tensor) -> Tensor:
    return epsilon * t_a - 1 + torch.exp(-epsilon * rest)


def _flow(alpha: Tensor, omega: Tensor, t_e: Tensor, returned: Tensor) -> Tensor:
    """What is left of the flow at the end of the period; falls with ``alpha``."""
    sine, cosine = (omega * t_e).sin(), (omega * t_e).cos()
    opened = alpha * sine - omega * cosine + omega * torch.exp(-alpha * t_e)
    return -opened / (sine * (alpha.square() + omega.square())) - returned


def _solve_alpha(omega: Tensor, t_e: Tensor, t_a: Tensor, epsilon: Tensor) -> Tensor:
    rest = 1 - t_e
    decayed = torch.exp(-epsilon * rest)
    returned = ((1 - decayed) / epsilon - rest * decayed) / (epsilon * t_a)
    with torch.no_grad():
        low, high = torch.full_like(omega, -60.0), torch.full_like(omega, 120.0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            left = _flow(middle, omega, t_e, returned) > 0
            low, high = torch.where(left, middle, low), torch.where(left, high, middle)
        alpha = (low + high) / 2
        step = 1e-5
        slope = _flow(alpha + step, omega, t_e, returned)
        slope = (slope - _flow(alpha - step, omega, t_e, returned)) / (2 * step)
    return alpha - _flow(alpha, omega, t_e, returned) / slope
