"""The short-time Fourier transform as a layer, on any scale of frequencies."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.frontends.base import Output, check_coefficients, check_flags
from sonograd.frontends.short_time import ShortTime, root, squared_modulus
from sonograd.functional._settings import check_count
from sonograd.functional.fourier_basis import (
    FrequencyScale,
    fourier_frequencies,
    fourier_kernels,
    interpolate_bins,
    interpolation,
)
from sonograd.functional.framing import PadMode
from sonograd.functional.least_squares import (
    FrameSystem,
    condition_number,
    least_squares_inverse,
    toeplitz_symbol,
)
from sonograd.functional.spectral import istft, stft_map
from sonograd.functional.windows import WindowLike

__all__ = ["STFT"]


class STFT(ShortTime):
    r"""Short-time Fourier transform.

    .. math::
        X[k, m] = \sum_{n=0}^{N-1} w[n] \, x[n + m H - c] \, e^{-2 \pi i f_k n / s}

    with :math:`c = \lfloor N / 2 \rfloor` if ``center``, else 0, and the frequencies
    :math:`f_k` of :func:`~sonograd.functional.fourier_frequencies`. Phases are those at the start
    of each frame.

    Fixed frequencies are computed by FFT, on any scale; kernels that are trained are applied as
    they are, as one matrix product.

    Attributes:
        frequencies: ``(bins,)`` in Hz.

    >>> STFT(sample_rate=8000, n_fft=512)(torch.zeros(2, 8000)).shape
    torch.Size([2, 257, 63])
    """

    frequencies: Tensor

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        n_fft: int = 2048,
        win_length: int | None = None,
        hop_length: int | None = None,
        window: WindowLike = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        freq_scale: FrequencyScale = "none",
        freq_bins: int | None = None,
        fmin: float = 50.0,
        fmax: float | None = 6000.0,
        trainable: bool = False,
        trainable_window: bool = False,
        output: Output = "complex",
    ) -> None:
        """Design the transform.

        Args:
            sample_rate: Samples per second.
            n_fft: Length :math:`N` of the frames.
            win_length: Length of the window, at most ``n_fft``; it is centered in the frame.
            hop_length: Samples :math:`H` between frames; a quarter of the window if None.
            window: See :func:`~sonograd.functional.get_window`.
            center: Frame ``m`` is centered at sample ``m * hop_length``, and the signal goes on
                by ``n_fft // 2`` at both ends. Otherwise frames start there.
            pad_mode: What lies outside the signal: ``"constant"`` (silence), ``"reflect"``,
                ``"replicate"`` or ``"circular"``.
            freq_scale: ``"none"`` for the bins of the FFT, ``"linear"``, ``"log"`` or ``"log2"``.
            freq_bins: Number of bins; ``n_fft // 2 + 1`` if None.
            fmin: Lowest frequency in Hz, for scales other than ``"none"``.
            fmax: Where the scale ends, in Hz; half the sample rate if None.
            trainable: Make the Fourier kernels parameters.
            trainable_window: Make the window a parameter.
            output: ``"complex"``, ``"magnitude"``, ``"power"`` or ``"phase"``.

        Raises:
            ParameterError: If an argument is out of range.
        """
        super().__init__(
            sample_rate=sample_rate,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
            trainable_window=trainable_window,
            output=output,
        )
        check_flags(trainable=trainable)
        frequencies = fourier_frequencies(
            sample_rate=sample_rate,
            n_fft=n_fft,
            freq_scale=freq_scale,
            freq_bins=freq_bins,
            fmin=fmin,
            fmax=fmax,
        )
        self.freq_scale = freq_scale
        self.add_table("frequencies", frequencies)
        self.kernel_hz = frequencies
        self._ratio: float | None = None
        self.spans: tuple[tuple[int, int, int, int], ...] = ()
        if trainable:
            self.train_kernels()
        elif freq_scale != "none":
            plan = interpolation(frequencies, sample_rate=sample_rate, n_fft=n_fft)
            self.spans = plan.spans
            self.add_table("weight", plan.weight)
            self.add_table("matrices", plan.matrices)

    def convolve(self) -> None:
        """Use explicit kernels and real numbers from now on, as :func:`exportable` needs them."""
        if self.output not in {"magnitude", "power"}:
            raise ParameterError(
                f"output is {self.output!r}; only 'magnitude' and 'power' have a form without "
                "complex numbers"
            )
        super().convolve()

    @property
    def bins(self) -> int:
        """Number of frequencies."""
        return len(self.frequencies)

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals, float32 or float64, ``(..., samples)``."""
        return self._spectra(x, "complex").mT

    def _transform(self, x: Tensor) -> Tensor:
        if self.convolves:
            power = self.convolved_power(x).mT[..., : self.bins, :]
            return power if self.output == "power" else root(power, 0.5)
        if self.output in {"magnitude", "power"}:
            return self._spectra(x, self.output).mT
        return super()._transform(x)

    def _spectra(self, x: Tensor, output: Output) -> Tensor:
        """Return ``(..., frames, bins)``, complex, or its modulus or power."""

        def then(spectrum: Tensor, out: Tensor | None) -> Tensor:
            if self.spans:
                whole = None if output != "complex" else out
                spectrum = interpolate_bins(
                    spectrum, self.table("matrices", spectrum), self.spans, whole
                )
            elif self.kernels is None:
                spectrum = spectrum[..., : self.bins]
            if output == "power":
                return squared_modulus(spectrum, out)
            if out is None:
                return spectrum.abs() if output == "magnitude" else spectrum
            if output == "magnitude":
                return squared_modulus(spectrum, out).sqrt_()
            return spectrum if self.spans else out.copy_(spectrum)

        real = output != "complex"
        if not self.spans:
            plain = output == "complex" and self.bins == self.n_fft // 2 + 1
            return self.map_spectra(x, None if plain else then, features=self.bins, real=real)
        return stft_map(
            x,
            then,
            window=self.table("window", x) * self.table("weight", x),
            hop_length=self.hop_length,
            margins=self.margins,
            pad_mode=self.pad_mode,
            n_fft=2 * self.n_fft,
            features=self.bins,
            dtype=x.dtype if real else None,
        )

    def inverse(self, spectrum: Tensor, length: int | None = None) -> Tensor:
        """Return the signals whose transform is nearest to ``spectrum`` in the square sense.

        On the bins of the FFT this is :func:`~sonograd.functional.istft`, and exact for any
        spectrum of a signal. Other bins, and trained kernels, are inverted by conjugate gradients,
        if no signal is lost in them.

        Args:
            spectrum: Complex ``(..., bins, frames)``.
            length: Samples to return; as many as ``(frames - 1) * hop_length``, plus ``n_fft``
                without ``center``, if None.

        Returns:
            ``(..., samples)``.

        Raises:
            ShapeError: If ``spectrum`` is not complex or has another number of bins.
            ParameterError: If the bins do not determine a signal, if a value is not finite, or if
                there are not as many frames in ``length`` samples (other bins only).
        """
        check_coefficients(spectrum, bins=self.bins)
        if length is not None:
            check_count("length", length, least=0)
        if self.freq_scale == "none" and self.kernels is None:
            if self.bins != self.n_fft // 2 + 1:
                raise ParameterError(
                    f"freq_bins is {self.bins} of {self.n_fft // 2 + 1}: what lies above them is "
                    "lost; keep all bins to invert the transform"
                )
            return istft(
                spectrum,
                n_fft=self.n_fft,
                hop_length=self.hop_length,
                window=self.table("window", spectrum),
                center=self.center,
                length=length,
            )
        if length is None:
            covered = (spectrum.shape[-1] - 1) * self.hop_length + self.n_fft
            length = max(0, covered - sum(self.margins)) if spectrum.shape[-1] else 0
        like = spectrum if spectrum.device.type == "mps" else spectrum.to(torch.complex128)
        count = 1 + (length + sum(self.margins) - self.n_fft) // self.hop_length
        if count != spectrum.shape[-1]:
            raise ParameterError(
                f"length is {length}, which has {count} frames; spectrum has {spectrum.shape[-1]}"
            )
        system = self._system(like)
        # What is trained may have changed since the last time.
        known = self._ratio if not list(self.parameters()) else None
        self._ratio = condition_number(system) if known is None else known
        try:
            found = least_squares_inverse(system, like, length, ratio=self._ratio)
            return found.to(spectrum.real.dtype)
        except ParameterError as error:
            span = f"{float(self.frequencies.min()):g} to {float(self.frequencies.max()):g} Hz"
            raise ParameterError(
                f"{self.bins} bins from {span} cannot be inverted: {error}. Use "
                "freq_scale='none', or freq_scale='linear' with fmin=0, fmax=None and at least "
                f"n_fft // 2 + 1 bins ({self.n_fft // 2 + 1})."
            ) from None

    @torch.no_grad()
    def _system(self, like: Tensor) -> FrameSystem:
        """Return the transform as explicit kernels, with its fast form where there is one."""
        window = self.table("window", like)
        symbol = None
        if self.kernels is None:
            frequencies = self.table("frequencies", like)
            kernels = fourier_kernels(frequencies, sample_rate=self.sample_rate, n_fft=self.n_fft)
            response = toeplitz_symbol(frequencies / self.sample_rate, self.n_fft)
            symbol = (window, response.to(like.dtype))
        else:
            kernels = self.table("kernels", like)
        return FrameSystem(
            kernels.to(window) * window, self.hop_length, self.margins, self.pad_mode, symbol
        )
