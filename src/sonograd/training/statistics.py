r"""What a soft mask needs to know about a mix and its stems, in one pass over their spectra.

If a mask :math:`m` is constant over a group of bins, the error of stem :math:`S` in it is

.. math::
    \sum_f |m X_f - S_f|^2 = m^2 \sum_f |X_f|^2 - 2 m \sum_f \Re(X_f^* S_f) + \sum_f |S_f|^2

so that three sums per group replace the spectra: the features and the loss of a mask network
follow from them, exactly. :func:`spectral_statistics` computes them with torch anywhere, and in a
compiled loop on the CPU where numba is installed (``pip install 'sonograd[fast]'``).
"""

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["SpectralStatistics", "frame_spectrum", "spectral_statistics"]


@dataclass(frozen=True)
class SpectralStatistics:
    """Sums over groups of bins.

    Attributes:
        powers: Power of the mix, ``(batch, channels, frames, groups)``.
        cross: Real part of the cross spectrum of left and right, ``(batch, frames, groups)``;
            None for mono.
        correlations: Real part of the product of each stem with the conjugate mix,
            ``(batch, stems, channels, frames, groups)``.
        energies: Energy of each stem, ``(batch, stems)``.
    """

    powers: Tensor
    cross: Tensor | None
    correlations: Tensor
    energies: Tensor


def frame_spectrum(x: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Return centered frames' spectra with frames before bins, ``(..., frames, bins)``.

    Args:
        x: ``(..., samples)``; zeros are assumed around it.
        window: ``(n_fft,)``.
        hop_length: Samples between frames.
    """
    half = window.numel() // 2
    frames = F.pad(x, (half, half)).unfold(-1, window.numel(), hop_length)
    spectrum: Tensor = torch.fft.rfft(frames * window)
    return spectrum


def spectral_statistics(
    spectra: Tensor, gains: Tensor, grid: NDArray[np.int64], *, compiled: bool | None = None
) -> SpectralStatistics:
    """Scale stems by ``gains``, mix them, and sum over groups of bins.

    Args:
        spectra: Spectra of the stems, ``(batch, stems, channels, frames, bins)``, complex64.
        gains: ``(batch, stems, bins)``.
        grid: Borders of the groups.
        compiled: Use the compiled loop; if None, on the CPU where numba is installed.
    """
    if compiled is None:
        compiled = spectra.device.type == "cpu" and _numba_is_installed()
    if compiled:
        return _compiled_statistics(spectra, gains, grid)
    stems = spectra * gains[:, :, None, None]
    mix = stems.sum(dim=1)
    widths = torch.as_tensor(np.diff(grid), device=spectra.device)
    group = torch.repeat_interleave(torch.arange(len(widths), device=spectra.device), widths)

    def sums(x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], len(widths)).index_add_(-1, group, x)

    cross = None
    if mix.shape[1] == 2:
        cross = sums((mix[:, 0].conj() * mix[:, 1]).real)
    return SpectralStatistics(
        powers=sums(mix.real.square() + mix.imag.square()),
        cross=cross,
        correlations=sums((mix.conj()[:, None] * stems).real),
        energies=(stems.real.square() + stems.imag.square()).sum(dim=(2, 3, 4)),
    )


@cache
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def _compiled_statistics(
    spectra: Tensor, gains: Tensor, grid: NDArray[np.int64]
) -> SpectralStatistics:
    batch, stems, channels, frames, _ = spectra.shape
    groups = len(grid) - 1
    powers = np.empty((batch, channels, frames, groups), np.float32)
    cross = np.empty((batch, frames, groups), np.float32)
    correlations = np.empty((batch, stems, channels, frames, groups), np.float32)
    energies = np.zeros((batch, stems), np.float64)
    values = torch.view_as_real(spectra.detach().contiguous()).numpy()
    loop = importlib.import_module("sonograd.training.statistics_loop").sum_spectra
    loop(values, gains.contiguous().numpy(), grid, powers, cross, correlations, energies)
    return SpectralStatistics(
        powers=torch.from_numpy(powers),
        cross=torch.from_numpy(cross) if channels == 2 else None,
        correlations=torch.from_numpy(correlations),
        energies=torch.from_numpy(energies.astype(np.float32)),
    )
