"""Signals from their transform at any frequencies: least squares by conjugate gradients."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.errors import ParameterError
from sonograd.functional.framing import PadMode, frame_signal

__all__ = ["FrameSystem", "condition_number", "least_squares_inverse", "toeplitz_symbol"]

_LIMIT = 1e4  # ratio of frame bounds above which parts of a signal count as lost
_STEPS = 120


@dataclass(frozen=True)
class FrameSystem:
    r"""A transform :math:`A` of real signals: inner products of frames with complex kernels.

    Attributes:
        kernels: Windowed kernels, real and imaginary part, ``(2, bins, frame_length)``.
        hop_length: Samples between frames.
        margins: Samples before and after the signal.
        pad_mode: What they are.
        symbol: For kernels :math:`w_n e^{-i \omega_k n}`: the window, and the transform of
            :math:`\sum_k \cos \omega_k d` at twice the frame length, which make products with
            :math:`A^* A` fast.
    """

    kernels: Tensor
    hop_length: int
    margins: tuple[int, int]
    pad_mode: PadMode
    symbol: tuple[Tensor, Tensor] | None = None

    def frames(self, x: Tensor) -> Tensor:
        """Return the frames of ``(..., samples)``, ``(..., frames, frame_length)``."""
        before, after = self.margins
        return frame_signal(
            x,
            n_fft=self.kernels.shape[-1],
            hop_length=self.hop_length,
            before=before,
            after=after,
            pad_mode=self.pad_mode,
        )

    def gather(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the adjoint of :meth:`frames` at signals like ``x``."""
        with torch.enable_grad():
            signal = torch.zeros_like(x).requires_grad_()
            frames = self.frames(signal)

        def adjoint(parts: Tensor) -> Tensor:
            (result,) = torch.autograd.grad(frames, signal, parts, retain_graph=True)
            return result

        return adjoint

    def apply(self, x: Tensor) -> Tensor:
        """Return :math:`A x`, complex ``(..., bins, frames)``."""
        frames = self.frames(x)
        return torch.complex(*(frames @ part.mT for part in self.kernels)).mT

    def synthesis(self, spectrum: Tensor) -> Tensor:
        """Return the frames whose sum is :math:`A^* X`."""
        return spectrum.mT.real @ self.kernels[0] + spectrum.mT.imag @ self.kernels[1]

    def normal(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with :math:`A^* A` for signals like ``x``."""
        gather = self.gather(x)
        if self.symbol is not None:
            window, response = self.symbol
            length = window.shape[0]

            def fast(signal: Tensor) -> Tensor:
                spectrum = torch.fft.rfft(self.frames(signal) * window, 2 * length) * response
                return gather(torch.fft.irfft(spectrum, 2 * length)[..., :length] * window)

            return fast
        gram = (self.kernels.mT @ self.kernels).sum(0)
        return lambda signal: gather(self.frames(signal) @ gram)


def toeplitz_symbol(cycles: Tensor, length: int) -> Tensor:
    r"""Transform of :math:`\sum_k \cos 2 \pi c_k d` for ``|d| < length``, at ``2 length``."""
    distance = torch.arange(length, dtype=torch.float64, device=cycles.device)
    values = torch.cos(2 * math.pi * torch.remainder(cycles[:, None] * distance, 1.0)).sum(0)
    circle = torch.cat([values, values.new_zeros(1), values[1:].flip(0)])
    symbol: Tensor = torch.fft.rfft(circle)
    return symbol


def least_squares_inverse(
    system: FrameSystem, spectrum: Tensor, length: int, *, ratio: float | None = None
) -> Tensor:
    r"""Solve :math:`\min_x \|A x - X\|`.

    Args:
        system: :math:`A`, in float64, or in float32 where there is nothing else.
        spectrum: :math:`X`, complex ``(..., bins, frames)``, in the precision of ``system``.
        length: Samples of the signal; there must be as many frames in it as in ``spectrum``.
        ratio: The :func:`condition_number` of ``system``, if it is known.

    Returns:
        ``(..., samples)``, with gradients with respect to ``spectrum``.

    Raises:
        ParameterError: If the singular values of :math:`A` are more than about 100 apart.
    """
    if ratio is None:
        ratio = condition_number(system)
    if not ratio < _LIMIT:
        weaker = (
            f"{math.sqrt(ratio):.0f} times weaker than others" if ratio < 1e14 else "as nothing"
        )
        raise ParameterError(f"parts of a signal would come back {weaker}")
    shape = (*spectrum.shape[:-2], length)
    if math.prod(shape) == 0 or spectrum.shape[-1] == 0:
        return spectrum.real.new_zeros(shape)
    result: Tensor = _Solve.apply(spectrum, system, length)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def condition_number(system: FrameSystem) -> float:
    """Estimate the ratio of frame bounds, from below, by Lanczos' method on noise."""
    samples = 8 * system.kernels.shape[-1] + sum(system.margins)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    x = noise.to(system.kernels)
    # The signal goes round in a circle, so that no end of it is covered less.
    x = pad(x, (0, -samples % system.hop_length))
    circle = (0, system.kernels.shape[-1] - system.hop_length)
    normal = replace(system, margins=circle, pad_mode="circular").normal(x)
    basis = [x / x.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(_STEPS):
        y = normal(basis[-1])
        diagonal.append(float(y @ basis[-1]))
        stacked = torch.stack(basis)
        for _ in range(2):  # once leaves rounding errors that grow
            y = y - stacked.mT @ (stacked @ y)
        size = float(y.norm())
        if not size > 1e-10 * max(diagonal):
            break
        beside.append(size)
        basis.append(y / size)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    side = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    values = torch.linalg.eigvalsh(matrix + torch.diag(side, 1) + torch.diag(side, -1))
    lowest, highest = float(values[0]), float(values[-1])
    return highest / lowest if lowest > 1e-15 * highest else math.inf


def _conjugate_gradients(normal: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """Solve ``A* A x = right`` for every signal."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(-1, keepdim=True)

    def ratio(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(b > 0, a / b.where(b > 0, 1.0), 0.0)

    tolerance = 1e-26 if right.dtype == torch.float64 else 1e-13
    x = torch.zeros_like(right)
    residual = direction = right
    size = start = dot(right, right)
    for _ in range(2000):
        if bool((size <= tolerance * start).all()):
            break
        image = normal(direction)
        step = ratio(size, dot(direction, image))
        x = x + step * direction
        residual = residual - step * image
        last, size = size, dot(residual, residual)
        direction = residual + ratio(size, last) * direction
    return x


class _Solve(torch.autograd.Function):
    """The solution, whose gradient is that of a second system with the same matrix."""

    @staticmethod
    def forward(ctx, spectrum, system, length):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN205
        """Solve the normal equations."""
        ctx.system = system
        like = spectrum.real.new_zeros(*spectrum.shape[:-2], length)
        right = system.gather(like)(system.synthesis(spectrum))
        return _conjugate_gradients(system.normal(like), right)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN205
        """Transform the solution for the gradient."""
        normal = ctx.system.normal(gradient)
        return ctx.system.apply(_conjugate_gradients(normal, gradient)), None, None
