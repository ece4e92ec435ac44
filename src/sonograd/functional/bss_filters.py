"""The distortion filters of BSS eval: correlations of long signals, and the filters from them."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.functional.convolution import fast_length

__all__ = ["Correlator", "projection_filters"]

_BLOCKS = 16  # blocks whose spectra are held at once
_RESIDUAL = 1e-11  # relative; filters this exact give energies far beyond 1e-4 dB
_JITTER = 1e-12
_ROWS = 512  # of a Cholesky factor that are used at once


class Correlator:
    r"""Correlations of references with everything, summed over a signal that comes in pieces.

    .. math::
        r_{ab}[k] = \sum_n x_a[n] \, y_b[n + k], \qquad |k| < L

    Memory does not depend on the length of the signal.
    """

    def __init__(self, references: int, signals: int, taps: int, device: torch.device) -> None:
        """Start with nothing.

        Args:
            references: The first so many signals are correlated with all.
            signals: Number of signals.
            taps: Number of lags :math:`L`.
            device: Of the signals.
        """
        self._references = references
        self._taps = taps
        self._n_fft = fast_length(max(8192, 8 * taps))
        self._step = self._n_fft - 2 * (taps - 1)
        self._pending = torch.zeros(signals, taps - 1, dtype=torch.float64, device=device)
        bins = self._n_fft // 2 + 1
        self._total = torch.zeros(bins, references, signals, dtype=torch.complex128, device=device)

    def feed(self, signals: Tensor) -> None:
        """Add the next samples, float64 ``(signals, samples)``."""
        self._pending = torch.cat([self._pending, signals], dim=-1)
        ready = (self._pending.shape[-1] - self._n_fft) // self._step + 1
        done = 0
        while done < ready:
            count = min(_BLOCKS, ready - done)
            self._add(done * self._step, count)
            done += count
        self._pending = self._pending[:, done * self._step :]

    def finish(self) -> Tensor:
        """Return the correlations ``(references, signals, 2 taps - 1)`` from lag ``1 - taps``."""
        rest = self._pending.shape[-1] - (self._taps - 1)
        blocks = -(-rest // self._step)
        if blocks > 0:
            missing = (blocks - 1) * self._step + self._n_fft - self._pending.shape[-1]
            self._pending = pad(self._pending, (0, max(missing, 0)))
            for start in range(0, blocks, _BLOCKS):
                self._add(start * self._step, min(_BLOCKS, blocks - start))
        lags: Tensor = torch.fft.irfft(self._total, n=self._n_fft, dim=0)
        return lags[: 2 * self._taps - 1].permute(1, 2, 0).contiguous()

    def _add(self, start: int, count: int) -> None:
        stop = start + (count - 1) * self._step + self._n_fft
        wide = self._pending[:, start:stop].unfold(-1, self._n_fft, self._step)
        ahead = self._taps - 1
        narrow = wide[: self._references, :, ahead : ahead + self._step]
        x = torch.fft.rfft(narrow, n=self._n_fft).permute(2, 0, 1).contiguous()
        y = torch.fft.rfft(wide).permute(2, 1, 0).contiguous()
        self._total += x.conj_physical_() @ y


def projection_filters(auto: Tensor, cross: Tensor) -> Tensor:
    """Filters that bring references nearest to other signals, in the least-squares sense.

    The normal equations are block Toeplitz; they are solved by the block Levinson recursion and
    refined. Where they are singular (sources that repeat each other, silent channels), a small
    multiple of the identity is added.

    Args:
        auto: Correlations of the references with each other, ``(m, m, 2 taps - 1)``.
        cross: Those of the references with the other signals for lags >= 0, ``(m, k, taps)``.

    Returns:
        ``(m, k, taps)``.
    """
    taps = cross.shape[-1]
    energy = auto[..., taps - 1].diagonal()
    # Unit energies, so that "small" means the same for loud and quiet sources.
    scale = torch.where(energy > 0, energy, 1.0).rsqrt()
    blocks = (auto * scale[:, None, None] * scale[:, None]).permute(2, 0, 1).contiguous()
    blocks[taps - 1].diagonal().add_((energy <= 0).to(blocks))
    right = (cross * scale[:, None, None]).permute(2, 0, 1).contiguous()
    solution = _levinson_refined(blocks, right)
    if solution is None:
        solution = _cholesky_refined(blocks, right)
    return solution.permute(1, 2, 0) * scale[:, None, None]


class _Toeplitz:
    """Product with a block Toeplitz matrix by FFT."""

    def __init__(self, blocks: Tensor) -> None:
        self.taps = (blocks.shape[0] + 1) // 2
        self.n_fft = fast_length(2 * self.taps - 1)
        column = blocks.new_zeros(self.n_fft, *blocks.shape[1:])
        column[: self.taps] = blocks[self.taps - 1 :]
        if self.taps > 1:
            column[1 - self.taps :] = blocks[: self.taps - 1]
        self.spectrum = torch.fft.rfft(column, dim=0)

    def __matmul__(self, x: Tensor) -> Tensor:
        spectrum = self.spectrum @ torch.fft.rfft(x, n=self.n_fft, dim=0)
        product: Tensor = torch.fft.irfft(spectrum, n=self.n_fft, dim=0)[: self.taps]
        return product


def _relative(residual: Tensor, right: Tensor) -> float:
    norms = right.norm(dim=(0, 1))
    return float((residual.norm(dim=(0, 1)) / torch.where(norms > 0, norms, 1.0)).max())


def _levinson_refined(blocks: Tensor, right: Tensor) -> Tensor | None:
    """Solve by recursion, or return None where that does not converge."""
    matrix = _Toeplitz(blocks)
    solution = torch.zeros_like(right)
    residual, last = right, 1.0
    for _ in range(3):
        solution = solution + _levinson(blocks, residual)
        residual = right - matrix @ solution
        error = _relative(residual, right)
        if error < _RESIDUAL:
            return solution
        if not error < 0.1 * last:
            return None
        last = error
    return None


def _levinson(blocks: Tensor, right: Tensor) -> Tensor:
    """Block Levinson recursion (Akaike, doi:10.1137/0124025).

    Args:
        blocks: The matrices ``T[t, u]`` for ``t - u`` from ``1 - taps``, ``(2 taps - 1, m, m)``.
        right: ``(taps, m, k)``.

    Returns:
        ``(taps, m, k)``; NaN where a step is singular.
    """
    taps, size, count = right.shape
    center = taps - 1
    lower = blocks[center + 1 :].flip(0).permute(1, 0, 2).reshape(size, -1)
    upper = blocks[:center].flip(0).permute(1, 0, 2).reshape(size, -1)
    # Columns: the forward vector, then the solution so far; the backward vector by itself.
    state = right.new_zeros(taps * size, size + count)
    backward = right.new_zeros(taps * size, size)
    both = right.new_zeros(taps * size, 2 * size)
    identity = torch.eye(size, dtype=right.dtype, device=right.device)
    inverse = torch.linalg.inv_ex(blocks[center])[0]
    state[:size] = torch.cat([inverse, inverse @ right[0]], dim=1)
    backward[:size] = inverse
    for n in range(1, taps):
        done, more = n * size, (n + 1) * size
        errors = lower[:, (taps - 1 - n) * size :] @ state[:done]
        error_backward = upper[:, :done] @ backward[:done]
        step = torch.cat(
            [
                torch.cat([identity, error_backward], 1),
                torch.cat([errors[:, :size], identity], 1),
            ]
        )
        vectors = both[:more]
        vectors[:done, :size] = state[:done, :size]
        vectors[done:, :size] = 0
        vectors[:size, size:] = 0
        vectors[size:, size:] = backward[:done]
        vectors = vectors @ torch.linalg.inv_ex(step)[0]
        state[:more, :size] = vectors[:, :size]
        backward[:more] = vectors[:, size:]
        state[:more, size:] += vectors[:, size:] @ (right[n] - errors[:, size:])
    return state[:, size:].reshape(taps, size, count)


def _cholesky_refined(blocks: Tensor, right: Tensor) -> Tensor:
    """Solve with a multiple of the identity added, and refine against the matrix as it is."""
    taps, size, count = right.shape
    matrix = _Toeplitz(blocks)
    jitter = _JITTER
    rows = right.reshape(taps * size, count)
    while True:
        factor = _factor(blocks, jitter)
        if factor is not None:
            break
        jitter *= 10
    solution = _substitute(factor, rows)
    for _ in range(2):
        residual = right - matrix @ solution.reshape(right.shape)
        solution = solution + _substitute(factor, residual.reshape(rows.shape))
    return solution.reshape(right.shape)


def _substitute(factor: Tensor, right: Tensor) -> Tensor:
    """Solve with a Cholesky factor, in blocks: LAPACK would copy all of it."""
    x = right.clone()
    starts = range(0, len(x), _ROWS)
    for start in starts:
        rows = slice(start, start + _ROWS)
        known = x[rows] - factor[rows, :start] @ x[:start]
        x[rows] = torch.linalg.solve_triangular(factor[rows, rows], known, upper=False)
    for start in reversed(starts):
        rows = slice(start, start + _ROWS)
        known = x[rows] - factor[start + _ROWS :, rows].mT @ x[start + _ROWS :]
        x[rows] = torch.linalg.solve_triangular(factor[rows, rows].mT, known, upper=True)
    return x


def _factor(blocks: Tensor, jitter: float) -> Tensor | None:
    """Lower Cholesky factor of the matrix plus ``jitter``, made in place; None if indefinite."""
    taps, size = (blocks.shape[0] + 1) // 2, blocks.shape[1]
    matrix = blocks.new_empty(taps, size, taps, size)
    for t in range(taps):
        # Row t holds the lags t, t - 1, ..., t - taps + 1.
        matrix[t] = blocks[t : t + taps].flip(0).permute(1, 0, 2)
    flat = matrix.reshape(taps * size, taps * size)
    flat.diagonal().add_(jitter)
    info = torch.empty((), dtype=torch.int32, device=flat.device)
    # The matrix is symmetric: its transpose has the layout that LAPACK can overwrite.
    torch.linalg.cholesky_ex(flat.mT, out=(flat.mT, info))
    return None if int(info) else flat.mT
