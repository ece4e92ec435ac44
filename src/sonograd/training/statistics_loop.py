"""The compiled loop behind :func:`sonograd.training.statistics.spectral_statistics`.

Import it only where numba is installed. It runs on one thread, so that no thread pool is started
beside torch's.
"""

from numba import njit
from numpy import empty, float32

__all__ = ["sum_spectra"]


@njit(fastmath=True, cache=True)
def _group_sums(values, grid, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for group in range(len(grid) - 1):
        total = float32(0.0)
        for f in range(grid[group], grid[group + 1]):
            total += values[f]
        out[group] = total


@njit(fastmath=True, cache=True)
def sum_spectra(spectra, gains, grid, powers, cross, correlations, energies):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fill ``powers``, ``cross`` and ``correlations``, and add to ``energies``.

    Args:
        spectra: ``(batch, stems, channels, frames, bins, 2)``.
        gains: ``(batch, stems, bins)``.
        grid: Borders of the groups of bins.
        powers: ``(batch, channels, frames, groups)``.
        cross: ``(batch, frames, groups)``; left as it is unless there are two channels.
        correlations: ``(batch, stems, channels, frames, groups)``.
        energies: ``(batch, stems)``.
    """
    batch, stems, channels, frames, bins, _ = spectra.shape
    real = empty((channels, bins), float32)
    imag = empty((channels, bins), float32)
    product = empty(bins, float32)
    for b in range(batch):
        for t in range(frames):
            for c in range(channels):
                real[c] = 0
                imag[c] = 0
                for j in range(stems):
                    for f in range(bins):
                        real[c, f] += gains[b, j, f] * spectra[b, j, c, t, f, 0]
                        imag[c, f] += gains[b, j, f] * spectra[b, j, c, t, f, 1]
                for f in range(bins):
                    product[f] = real[c, f] * real[c, f] + imag[c, f] * imag[c, f]
                _group_sums(product, grid, powers[b, c, t])
                for j in range(stems):
                    energy = float32(0.0)
                    for f in range(bins):
                        re = gains[b, j, f] * spectra[b, j, c, t, f, 0]
                        im = gains[b, j, f] * spectra[b, j, c, t, f, 1]
                        product[f] = real[c, f] * re + imag[c, f] * im
                        energy += re * re + im * im
                    energies[b, j] += energy
                    _group_sums(product, grid, correlations[b, j, c, t])
            if channels == 2:
                for f in range(bins):
                    product[f] = real[0, f] * real[1, f] + imag[0, f] * imag[1, f]
                _group_sums(product, grid, cross[b, t])
