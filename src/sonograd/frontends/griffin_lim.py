"""Griffin-Lim as a layer: signals from magnitudes."""

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.frontends.short_time import check_frame_lengths
from sonograd.frontends.tables import Tables
from sonograd.functional._settings import check_count, check_flag, check_number
from sonograd.functional.framing import PadMode, check_pad_mode
from sonograd.functional.griffin_lim import griffin_lim
from sonograd.functional.windows import WindowLike, get_window
from sonograd.shapes import check_floating

__all__ = ["GriffinLim"]


class GriffinLim(Tables):
    """Find signals whose spectra have given magnitudes.

    See :func:`~sonograd.functional.griffin_lim`.

    >>> GriffinLim(n_fft=64, iterations=2)(torch.ones(2, 33, 5)).shape
    torch.Size([2, 64])
    """

    window: Tensor

    def __init__(
        self,
        *,
        n_fft: int = 2048,
        win_length: int | None = None,
        hop_length: int | None = None,
        window: WindowLike = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        iterations: int = 32,
        momentum: float = 0.99,
        seed: int | None = 0,
    ) -> None:
        """Take the settings of the transform whose magnitudes will come.

        Args:
            n_fft: As for :class:`STFT`.
            win_length: As for :class:`STFT`.
            hop_length: As for :class:`STFT`.
            window: As for :class:`STFT`.
            center: As for :class:`STFT`.
            pad_mode: As for :class:`STFT`.
            iterations: How often phases are renewed.
            momentum: From 0 (the original algorithm) to below 1.
            seed: Seed of the phases to begin with; None begins with phases of zero.

        Raises:
            ParameterError: If an argument is out of range.
        """
        super().__init__()
        win_length, hop_length = check_frame_lengths(n_fft, win_length, hop_length)
        check_flag("center", center)
        check_count("iterations", iterations, least=0)
        if seed is not None:
            check_count("seed", seed, least=0)
        check_number("momentum", momentum)
        if not 0 <= momentum < 1:
            raise ParameterError(f"momentum is {momentum}; expected 0 to below 1")
        check_pad_mode(pad_mode)
        self.n_fft, self.hop_length, self.center, self.pad_mode = (
            n_fft,
            hop_length,
            center,
            pad_mode,
        )
        self.iterations, self.momentum, self.seed = iterations, momentum, seed
        before = (n_fft - win_length) // 2
        shape = get_window(window, win_length, dtype=torch.float64)
        self.add_table("window", nnf.pad(shape, (before, n_fft - win_length - before)))

    def forward(self, magnitude: Tensor, length: int | None = None) -> Tensor:
        """Return signals ``(..., samples)``.

        Args:
            magnitude: ``(..., bins, frames)``, at least 0.
            length: Samples to return; ``(frames - 1) * hop_length`` if None and ``center``.

        Raises:
            ShapeError: If ``magnitude`` has another number of bins.
            ParameterError: If a magnitude is negative, NaN or infinite (looked at on the CPU only).
        """
        check_floating(magnitude, name="magnitude")
        return griffin_lim(
            magnitude,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            window=self.table("window", magnitude),
            center=self.center,
            pad_mode=self.pad_mode,
            length=length,
            iterations=self.iterations,
            momentum=self.momentum,
            seed=self.seed,
        )

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        return f"n_fft={self.n_fft}, hop_length={self.hop_length}, iterations={self.iterations}"
