"""Multichannel Wiener filtering: stems from magnitudes, made consistent across channels."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError

__all__ = ["expectation_maximization", "wiener"]

#: Bins that are iterated on together.
_BINS = 128


def wiener(
    magnitudes: Tensor,
    mix: Tensor,
    *,
    iterations: int = 1,
    softmask: bool = False,
    residual: bool = False,
    scale: float = 10.0,
    eps: float = 1e-10,
) -> Tensor:
    """Turn estimated magnitudes of stems into their spectra.

    The phase of the mix is the first guess; :func:`expectation_maximization` then lets each stem
    have one place in the stereo picture per frequency. Nugraha, Liutkus and Vincent, *Multichannel
    audio source separation with deep neural networks*, doi:10.1109/TASLP.2016.2580946.

    Args:
        magnitudes: At least 0, ``(..., stems, channels, bins, frames)``; ``channels`` may be 1.
        mix: Complex spectrum of the mix, ``(..., channels, bins, frames)``.
        iterations: Iterations; 0 keeps the first guess.
        softmask: Share out the mix in the ratio of the magnitudes as the first guess.
        residual: Add a stem: what is left of the mix after the first guess of the others.
        scale: Level that the loudest bin of a mix is brought down to for the iterations.
        eps: Energy of the noise that is assumed everywhere.

    Returns:
        Complex, ``(..., stems, channels, bins, frames)``, one more stem with ``residual``. Silence
        gives the magnitudes as they are, which should be 0.

    Raises:
        ShapeError: If the shapes do not fit each other, or ``mix`` is not complex.
        ParameterError: If ``iterations`` is negative, or there is one stem alone to iterate on.
    """
    _check(magnitudes, mix)
    if iterations < 0:
        raise ParameterError(f"iterations is {iterations}; expected at least 0")
    around = mix.unsqueeze(-4)
    if softmask:
        stems = around * (magnitudes / (eps + magnitudes.sum(-4, keepdim=True)))
    else:
        level = around.abs()
        silent = level == 0
        stems = magnitudes * (around / level.masked_fill(silent, 1.0)).masked_fill(silent, 1.0)
    if residual:
        stems = torch.cat([stems, around - stems.sum(-4, keepdim=True)], dim=-4)
    if iterations == 0:
        return stems
    if stems.shape[-4] == 1:
        raise ParameterError(
            "there is one stem alone, so that nothing can be shared out; expected iterations=0, "
            "or residual=True"
        )
    loudest = (around.abs().amax((-4, -3, -2, -1), keepdim=True) / scale).clamp(min=1.0)
    stems = expectation_maximization(
        stems / loudest, mix / loudest.squeeze(-4), iterations=iterations, eps=eps
    )
    return stems * loudest


def expectation_maximization(
    stems: Tensor, mix: Tensor, *, iterations: int, eps: float = 1e-10
) -> Tensor:
    r"""Refine stems under a model of one power per bin and one place per frequency.

    With :math:`v_j(f, t)` the mean power of the channels of stem :math:`j`,

    .. math::
        R_j(f) = \frac{\sum_t y_j y_j^H}{\epsilon + \sum_t v_j}, \qquad
        y_j \leftarrow v_j R_j \Big(\sqrt{\epsilon} I + \sum_k v_k R_k\Big)^{-1} x .

    Liutkus, Badeau and Richard, *Kernel additive models for source separation*,
    doi:10.1109/TSP.2014.2332434; weights as in Nugraha et al. (see :func:`wiener`).

    Args:
        stems: First guess :math:`y`, complex, ``(..., stems, channels, bins, frames)``.
        mix: :math:`x`, complex, ``(..., channels, bins, frames)``.
        iterations: How often both steps are taken.
        eps: :math:`\epsilon`.

    Returns:
        Complex, like ``stems``.
    """
    _check(stems, mix)
    # In single precision, as published weights have seen it: the covariances may be near singular.
    noise = float(torch.tensor(eps, dtype=torch.float32).sqrt())
    # No bin knows of another: some at a time need a fraction of the memory, and stay in the cache.
    parts = zip(stems.split(_BINS, -2), mix.split(_BINS, -2), strict=True)
    found = [_iterate(some, around, iterations, eps, noise) for some, around in parts]
    return found[0] if len(found) == 1 else torch.cat(found, dim=-2)


def _iterate(stems: Tensor, mix: Tensor, iterations: int, eps: float, noise: float) -> Tensor:
    for _ in range(iterations):
        # Bins first, so that frames are summed and shared out by products of matrices.
        y = stems.permute(*range(stems.ndim - 4), -2, -4, -3, -1)  # (..., bins, stems, ch, frames)
        power = (y.real.square() + y.imag.square()).mean(-2)  # (..., bins, stems, frames)
        weight = eps + power.sum(-1)
        place = (y @ y.mH) / weight[..., None, None]  # (..., bins, stems, channels, channels)
        stems = _filter(place, power, mix, noise)
    return stems


def _filter(place: Tensor, power: Tensor, mix: Tensor, noise: float) -> Tensor:
    """Return every stem's share of the mix, ``(..., stems, channels, bins, frames)``."""
    channels = mix.shape[-3]
    x = mix.movedim(-2, -3)  # (..., bins, channels, frames)
    # Covariance of the mix, (..., bins, channels * channels, frames).
    flat = place.flatten(-2).mT
    total = torch.complex(flat.real @ power, flat.imag @ power)
    if channels == 1:
        solved = x / (total + noise)
    elif channels == 2:
        solved = _solve_pairs(total, x, noise)
    else:
        matrix = total.movedim(-2, -1).unflatten(-1, (channels, channels))
        matrix = matrix + noise * torch.eye(channels, dtype=matrix.real.dtype, device=x.device)
        solved = torch.linalg.solve(matrix, x.movedim(-2, -1)[..., None])[..., 0].movedim(-1, -2)
    shares = place @ solved.unsqueeze(-3)  # (..., bins, stems, channels, frames)
    shares = shares * power.unsqueeze(-2)
    return shares.permute(*range(shares.ndim - 4), -3, -2, -4, -1)


def _solve_pairs(total: Tensor, x: Tensor, noise: float) -> Tensor:
    """Solve a Hermitian system of two equations for every bin and frame."""
    a, b, c, d = total.unbind(-2)
    a, d = a.real + noise, d.real + noise
    determinant = a * d - (b * c).real
    left, right = x.unbind(-2)
    first = (d * left - b * right) / determinant
    second = (a * right - c * left) / determinant
    return torch.stack((first, second), dim=-2)


def _check(stems: Tensor, mix: Tensor) -> None:
    shape = tuple(stems.shape)
    if not mix.is_complex() or mix.ndim < 3 or stems.ndim != mix.ndim + 1:
        raise ShapeError(
            f"stems have shape {shape} and the mix {tuple(mix.shape)}, {mix.dtype}; expected "
            "(..., stems, channels, bins, frames) and complex (..., channels, bins, frames)"
        )
    fits = (1, mix.shape[-3])
    if stems.shape[-2:] != mix.shape[-2:] or stems.shape[-3] not in fits:
        raise ShapeError(
            f"stems have shape {shape} and the mix {tuple(mix.shape)}; expected the same channels, "
            "bins and frames"
        )
