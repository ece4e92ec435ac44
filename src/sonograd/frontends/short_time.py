"""What the layers on a short-time Fourier transform share: its settings, tables and parameters."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.frontends.base import FrontEnd, Output, check_counts, check_flags
from sonograd.frontends.tables import Tables
from sonograd.functional.fourier_basis import fourier_kernels
from sonograd.functional.framing import (
    PadMode,
    check_pad_mode,
    flat_rows,
    frame_signal,
    map_frames,
    may_work_in_pieces,
    weigh_frames,
)
from sonograd.functional.spectral import stft_map
from sonograd.functional.windows import WindowLike, get_window

__all__ = ["ShortTime", "check_frame_lengths", "root", "squared_modulus"]

Then = Callable[[Tensor, Tensor | None], Tensor]


class ShortTime(FrontEnd, Tables):
    """A layer that sees windowed frames through their Fourier transform.

    Attributes:
        window: ``(n_fft,)``, a parameter if it is trained.
        kernel_hz: The frequencies of bins in Hz, as designed, float64 on the CPU.
        kernels: The Fourier kernels if they are trained, ``(2, bins, n_fft)``: real and imaginary
            part, without window. Otherwise None: fixed ones are applied by FFT.
        convolves: Whether the layer has been prepared by :func:`exportable`.
    """

    window: Tensor
    kernels: Tensor | None
    convolves: bool

    def __init__(
        self,
        *,
        sample_rate: float,
        n_fft: int,
        win_length: int | None,
        hop_length: int | None,
        window: WindowLike,
        center: bool,
        pad_mode: PadMode,
        trainable_window: bool,
        output: Output | None = None,
    ) -> None:
        """Check the settings and design the window; see :class:`STFT`."""
        super().__init__(sample_rate=sample_rate, output=output)
        check_flags(center=center, trainable_window=trainable_window)
        win_length, hop_length = check_frame_lengths(n_fft, win_length, hop_length)
        check_pad_mode(pad_mode)
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.center, self.pad_mode = center, pad_mode
        shape = get_window(window, win_length, dtype=torch.float64).detach().cpu()
        before = (n_fft - win_length) // 2
        full = nnf.pad(shape, (before, n_fft - win_length - before))
        if trainable_window:
            self.add_parameter("window", full)
        else:
            self.add_table("window", full)
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
        self.kernel_hz = bins * (sample_rate / n_fft)
        self.kernels = None
        self.convolves = False

    def train_kernels(self) -> None:
        """Make the Fourier kernels parameters."""
        hz = self.kernel_hz
        start = fourier_kernels(hz, sample_rate=self.sample_rate, n_fft=self.n_fft)
        self.add_parameter("kernels", start)

    def convolve(self) -> None:
        """Use explicit kernels and real numbers from now on, as :func:`exportable` needs them."""
        if self.kernels is None:
            hz = self.kernel_hz
            del self.kernels
            self.add_table(
                "kernels", fourier_kernels(hz, sample_rate=self.sample_rate, n_fft=self.n_fft)
            )
        self.convolves = True

    def convolved_power(self, x: Tensor) -> Tensor:
        """Return the power of all bins by convolution, ``(..., frames, bins)``."""
        kernels = self.table("kernels", x) * self.table("window", x)
        flat = flat_rows(x).unsqueeze(1)
        before, after = self.margins
        mode = self.pad_mode
        flat = nnf.pad(flat, (before, after), mode=mode)
        parts = nnf.conv1d(flat, kernels.flatten(0, 1)[:, None], stride=self.hop_length)
        power: Tensor = parts.square().unflatten(1, (2, -1)).sum(1)
        return power.reshape(*x.shape[:-1], *power.shape[-2:]).mT

    @property
    def margins(self) -> tuple[int, int]:
        """Samples before and after the signal."""
        return (self.n_fft // 2,) * 2 if self.center else (0, 0)

    def map_spectra(
        self,
        x: Tensor,
        then: Then | None,
        *,
        features: int | None = None,
        real: bool = True,
        parameters: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Apply a function to the spectrum of every frame, see :func:`stft_map`.

        Returns:
            ``(..., frames, features)``, of the precision of ``x`` if ``real``, else complex.
        """
        dtype = x.dtype if real else torch.promote_types(x.dtype, torch.complex32)
        window = self.table("window", x)
        if self.kernels is not None:
            return self._map_trained(x, then, window, features, dtype, parameters)
        return stft_map(
            x,
            then,
            window=window,
            hop_length=self.hop_length,
            margins=self.margins,
            pad_mode=self.pad_mode,
            features=features,
            dtype=dtype,
            parameters=parameters,
        )

    def _map_trained(
        self,
        x: Tensor,
        then: Then | None,
        window: Tensor,
        features: int | None,
        dtype: torch.dtype,
        parameters: tuple[Tensor, ...],
    ) -> Tensor:
        """Do the same with explicit kernels."""
        kernels = self.table("kernels", x)
        bins = kernels.shape[1]
        matrix = (kernels * window).flatten(0, 1).mT

        def transform(frames: Tensor, out: Tensor | None) -> Tensor:
            real, imag = weigh_frames(frames, matrix).split(bins, dim=-1)
            spectrum = torch.complex(real, imag)
            if then is not None:
                return then(spectrum, out)
            return spectrum if out is None else out.copy_(spectrum)

        before, after = self.margins
        options = {"n_fft": self.n_fft, "hop_length": self.hop_length}
        options |= {"before": before, "after": after}
        if not may_work_in_pieces(x, matrix, *parameters):
            return transform(frame_signal(x, **options, pad_mode=self.pad_mode), None)
        features = bins if features is None else features
        return map_frames(
            x, transform, **options, pad_mode=self.pad_mode, features=features, dtype=dtype
        )

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        return f"{super().extra_repr()}, n_fft={self.n_fft}, hop_length={self.hop_length}"


def check_frame_lengths(
    n_fft: int, win_length: int | None, hop_length: int | None
) -> tuple[int, int]:
    """Return the length of the window and the hop, by default all and a quarter of a frame.

    Raises:
        ParameterError: If one of them is no whole number, or out of range.
    """
    check_counts(n_fft=n_fft)
    win_length = n_fft if win_length is None else win_length
    check_counts(win_length=win_length)
    if win_length > n_fft:
        raise ParameterError(f"win_length is {win_length}; expected 1 to n_fft ({n_fft})")
    hop_length = max(1, win_length // 4) if hop_length is None else hop_length
    check_counts(hop_length=hop_length)
    return win_length, hop_length


def squared_modulus(spectrum: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the power of complex numbers; its gradient is finite everywhere."""
    squares = torch.view_as_real(spectrum).square()  # Of numbers side by side: twice as fast.
    real, imag = squares.unbind(-1)
    return real + imag if out is None else torch.add(real, imag, out=out)


def root(power: Tensor, exponent: float) -> Tensor:
    """Return ``power ** exponent``, with a gradient of zero where the power is zero."""
    if exponent == 1.0:
        return power
    silent = power == 0
    raised = power.masked_fill(silent, 1.0)
    raised = raised.sqrt() if exponent == 0.5 else raised.pow(exponent)
    return raised.masked_fill(silent, 0.0)
