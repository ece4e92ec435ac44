"""Signals from magnitudes alone."""

import math
from functools import partial

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._settings import check_count, check_levels, check_number
from sonograd.functional.framing import PadMode
from sonograd.functional.spectral import istft, stft

__all__ = ["griffin_lim"]


def griffin_lim(
    magnitude: Tensor,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: PadMode = "constant",
    length: int | None = None,
    iterations: int = 32,
    momentum: float = 0.99,
    seed: int | None = 0,
) -> Tensor:
    r"""Find a signal whose spectrum has the given magnitudes.

    Each step makes a signal of the magnitudes with the present phases, and takes new phases from

    .. math::
        T_j = \mathrm{STFT}(\mathrm{ISTFT}(|X| e^{i \phi_{j-1}})), \qquad
        \phi_j = \arg \Big( T_j - \frac{\alpha}{1 + \alpha} T_{j-1} \Big)

    Griffin and Lim, doi:10.1109/TASSP.1984.1164317; with momentum :math:`\alpha`: Perraudin, Balazs
    and Søndergaard, *A fast Griffin-Lim algorithm*, doi:10.1109/WASPAA.2013.6701851, in the form of
    :func:`librosa.griffinlim`.

    Args:
        magnitude: ``(..., bins, frames)``, at least 0.
        n_fft: As for :func:`stft`.
        hop_length: As for :func:`stft`.
        win_length: As for :func:`stft`.
        window: As for :func:`stft`.
        center: As for :func:`stft`.
        pad_mode: As for :func:`stft`.
        length: Samples to return, see :func:`istft`.
        iterations: How often phases are renewed.
        momentum: :math:`\alpha`, from 0 (the original algorithm) to below 1.
        seed: Seed of the random phases to begin with; the same seed gives the same signal, and
            every signal of a batch gets the phases that it would get alone. None begins with
            phases of zero.

    Returns:
        ``(..., samples)``. Differentiable with respect to ``magnitude``.

    Raises:
        ShapeError: If ``magnitude`` has another number of bins.
        ParameterError: If an argument is out of range, or a magnitude is negative, NaN or infinite
            (looked at on the CPU only).
    """
    check_levels(magnitude, name="magnitude")
    check_count("n_fft", n_fft)
    if magnitude.ndim < 2 or magnitude.shape[-2] != n_fft // 2 + 1:
        raise ShapeError(
            f"magnitude has shape {tuple(magnitude.shape)}; expected (..., bins, frames) with "
            f"{n_fft // 2 + 1} bins for n_fft {n_fft}"
        )
    check_count("iterations", iterations, least=0)
    if length is not None:
        check_count("length", length, least=0)
    if seed is not None:
        check_count("seed", seed, least=0)
    check_number("momentum", momentum)
    if not 0 <= momentum < 1:
        raise ParameterError(f"momentum is {momentum}; expected 0 to below 1")
    if magnitude.dtype in {torch.float16, torch.bfloat16}:
        magnitude = magnitude.float()
    forth = partial(
        stft,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        center=center,
        pad_mode=pad_mode,
    )
    back = partial(
        istft,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        center=center,
    )
    spectrum = magnitude * _first_phases(magnitude, seed)
    before: Tensor | None = None
    for _ in range(iterations if magnitude.numel() else 0):
        now = forth(back(spectrum))
        direction = now if before is None else now - momentum / (1 + momentum) * before
        size = direction.abs()
        silent = size <= torch.finfo(size.dtype).tiny
        spectrum = direction * (magnitude / size.masked_fill(silent, 1.0))
        spectrum = torch.where(silent, magnitude.to(spectrum.dtype), spectrum)
        before = now
    return back(spectrum, length=length)


def _first_phases(magnitude: Tensor, seed: int | None) -> Tensor:
    """Return complex numbers of modulus one, ``(bins, frames)``."""
    phase = torch.zeros(magnitude.shape[-2:], dtype=torch.float64)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        phase = 2 * math.pi * torch.rand(phase.shape, generator=generator, dtype=torch.float64)
    phasors = torch.polar(torch.ones_like(phase), phase)
    return phasors.to(
        dtype=torch.promote_types(magnitude.dtype, torch.complex32), device=magnitude.device
    )
