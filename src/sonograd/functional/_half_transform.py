r"""The FFT of real numbers by one of half as many complex ones.

It is what an FFT library does as well, but for long signals several times as fast: between the
transform and the recombination the numbers stay where they are.

.. math::
    z[m] = x[2m] + i \, x[2m + 1], \qquad
    2 X[k] = \left(Z[k] + \overline{Z[n - k]}\right)
             - i e^{-\pi i k / n} \left(Z[k] - \overline{Z[n - k]}\right)

for :math:`2 n` samples. Press et al., *Numerical Recipes*, 12.3. The spectrum is *packed*: ``n``
complex numbers, of which the first holds the two real ones at 0 and ``n``.
"""

import math

import torch
from torch import Tensor

__all__ = ["packed_spectrum", "signal_of_packed", "turns"]

_BLOCK = 1 << 14


def turns(size: int) -> Tensor:
    r"""Return :math:`-i e^{-\pi i k / n}` for ``k`` from 1 to ``n // 2``, ``n = size // 2``.

    In complex128 on the CPU.
    """
    half = size // 2
    angle = torch.arange(1, half // 2 + 1, dtype=torch.float64, device="cpu") * (-math.pi / half)
    return torch.polar(torch.ones_like(angle), angle - math.pi / 2)


def packed_spectrum(x: Tensor, turns: Tensor) -> Tensor:
    """Return ``4 / size`` times the spectra of real signals ``(rows, size)``, packed.

    Args:
        x: Real and contiguous.
        turns: Those of :func:`turns`.
    """
    spectrum: Tensor = torch.fft.fft(_as_complex(x), norm="forward")
    first = spectrum[:, 0].clone()
    spectrum[:, 0] = 2 * torch.complex(first.real + first.imag, first.real - first.imag)
    _combine(spectrum, turns, back=False)
    return spectrum


def signal_of_packed(spectrum: Tensor, turns: Tensor) -> Tensor:
    """Return ``size`` times the signals, ``(rows, size)``, with these spectra, which are lost.

    Args:
        spectrum: Packed, ``(rows, size // 2)``.
        turns: Those of :func:`turns`.
    """
    first = spectrum[:, 0].clone()
    spectrum[:, 0] = torch.complex(first.real + first.imag, first.real - first.imag)
    _combine(spectrum, turns, back=True)
    signal: Tensor = torch.view_as_real(torch.fft.ifft(spectrum, norm="forward")).flatten(-2)
    return signal


def _as_complex(x: Tensor) -> Tensor:
    if x.storage_offset() % 2:
        x = x.clone()
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _combine(z: Tensor, turns: Tensor, *, back: bool) -> None:
    """Apply the formula above to ``z``, or undo it, in place, at a few points at a time."""
    half = z.shape[-1]
    step = max(1, _BLOCK // len(z))
    for begin in range(1, len(turns) + 1, step):
        stop = min(begin + step, len(turns) + 1)
        left, right = z[:, begin:stop], z[:, half - stop + 1 : half - begin + 1]
        mirrored = _mirror(right)
        near, far = (mirrored, left) if back else (left, mirrored)
        far = torch.conj_physical(far)
        difference = (near - far).mul_(turns[begin - 1 : stop - 1])
        total = far.add_(near)
        near = total + difference
        far = torch.conj_physical(total.sub_(difference))
        left.copy_(far if back else near)
        right.copy_(_mirror(near if back else far))


def _mirror(z: Tensor) -> Tensor:
    if z.dtype == torch.complex64:  # As numbers of the same size, which are faster to flip.
        return z.view(torch.float64).flip(-1).view(z.dtype)
    return z.flip(-1)
