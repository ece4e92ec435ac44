"""``STFT`` and ``iSTFT``."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd import frontends
from sonograd.compat.nnaudio._layer import (
    Layer,
    check_form,
    check_spectrum,
    complex_pair,
    flat_signals,
    unflatten,
)
from sonograd.compat.nnaudio._windows import Window, get_window, named
from sonograd.compat.nnaudio.utils import create_fourier_kernels, fourier_bins, pad_center
from sonograd.errors import ParameterError
from sonograd.functional import istft
from sonograd.functional.fourier_basis import FrequencyScale
from sonograd.functional.framing import PadMode, check_pad_mode, extend

__all__ = ["STFT", "STFTBase", "iSTFT"]

_SCALES: dict[str, FrequencyScale] = {
    "no": "none", "linear": "linear", "log": "log", "log2": "log2",
}  # fmt: skip


class STFTBase(Layer):
    """What ``STFT`` and ``iSTFT`` share: the inverse of an ordinary transform."""

    n_fft: int
    stride: int
    center: bool

    def inverse_stft(
        self,
        X: Tensor,  # noqa: N803
        window: Tensor,
        onesided: bool = True,
        length: int | None = None,
    ) -> Tensor:
        """Return the signal ``(batch, samples)`` whose transform is nearest to ``X``."""
        spectrum = check_spectrum(X)
        if onesided:
            expected = self.n_fft // 2 + 1
        else:
            expected = self.n_fft
            # The part that a real signal can have.
            mirrored = spectrum.flip(1).roll(1, 1).conj()
            spectrum = (0.5 * (spectrum + mirrored))[:, : self.n_fft // 2 + 1]
        if X.shape[1] != expected:
            raise ParameterError(
                f"X has {X.shape[1]} bins; expected {expected} for n_fft {self.n_fft} and "
                f"onesided={onesided}"
            )
        return istft(
            spectrum,
            n_fft=self.n_fft,
            hop_length=self.stride,
            window=window.to(spectrum.real.dtype),
            center=self.center,
            length=length,
        )


class STFT(STFTBase):
    """``nnAudio.features.STFT``: a short-time Fourier transform on any frequency scale.

    As there, ``freq_scale`` decides where the bins lie: ``"no"`` at the bins of the FFT,
    ``"linear"`` and ``"log"`` (or ``"log2"``) between ``fmin`` and ``fmax``. A fixed transform
    runs by FFT; with ``trainable`` its sines and cosines, ``wsin`` and ``wcos``, are parameters
    and it is a convolution. Other than there, signals may be shorter than a window, the inverse
    of a linear or logarithmic scale is the least-squares one or an error, and nothing is printed.
    """

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Window = "hann",
        freq_scale: str = "no",
        center: bool = True,
        pad_mode: PadMode = "reflect",
        iSTFT: bool = False,  # noqa: N803
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable: bool = False,
        output_format: str = "Complex",
        verbose: bool = True,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        self.n_fft, self.freq_bins = n_fft, freq_bins
        self.win_length = n_fft if win_length is None else win_length
        self.stride = self.win_length // 4 if hop_length is None else hop_length
        self.window, self.freq_scale, self.center, self.pad_mode = (
            window, freq_scale, center, pad_mode,
        )  # fmt: skip
        self.iSTFT, self.trainable, self.output_format = iSTFT, trainable, output_format
        self.pad_amount = n_fft // 2
        self._band = (fmin, fmax, sr)
        check_form(output_format)
        check_pad_mode(pad_mode)
        count = n_fft // 2 + 1 if freq_bins is None else freq_bins
        bins = fourier_bins(freq_scale, count, n_fft=n_fft, fmin=fmin, fmax=fmax, sr=sr)
        self.bin_list, self.bins2freq = bins.tolist(), (bins * sr / n_fft).tolist()
        mask = pad_center(get_window(window, self.win_length), n_fft).astype(np.float32)
        self.constant("window_mask", mask[None, :, None])
        if trainable:
            self.parameter("wsin", self.make("wsin"))
            self.parameter("wcos", self.make("wcos"))
        else:
            self.offer("wsin", "wcos")
        if iSTFT:
            self.offer("kernel_sin_inv", "kernel_cos_inv")
        with torch.device("cpu"):
            self._front = frontends.STFT(
                sample_rate=sr, n_fft=n_fft, hop_length=self.stride, win_length=self.win_length,
                window=named(window), center=center, pad_mode=pad_mode, freq_bins=freq_bins,
                freq_scale=_SCALES[freq_scale],
                fmin=fmin, fmax=fmax,
            )  # fmt: skip
        self._front.to(self._place.device)

    def make(self, name: str) -> Tensor:
        """Return a windowed sine or cosine ``(bins, 1, n_fft)``, or one of the inverse."""
        fmin, fmax, sr = self._band
        wsin, wcos, _, _, mask = create_fourier_kernels(
            self.n_fft, win_length=self.win_length, freq_bins=self.freq_bins, window=self.window,
            freq_scale=self.freq_scale, fmin=fmin, fmax=fmax, sr=sr,
        )  # fmt: skip
        if name in {"wsin", "wcos"}:
            return torch.tensor({"wsin": wsin, "wcos": wcos}[name] * mask)
        kernel, sign = (wsin, -1) if name == "kernel_sin_inv" else (wcos, 1)
        forward = torch.tensor(kernel)
        return torch.cat([forward, sign * forward[1:-1].flip(0)]).unsqueeze(-1)

    def forward(self, x: Tensor, output_format: str | None = None) -> Tensor:
        """Transform signals.

        Args:
            x: ``(samples,)``, ``(batch, samples)`` or ``(batch, 1, samples)``.
            output_format: ``"Complex"``: ``(batch, bins, frames, 2)``; ``"Magnitude"`` and
                ``"Phase"`` (in radians): ``(batch, bins, frames)``. That of the layer if None.
        """
        output_format = check_form(output_format or self.output_format)
        self.num_samples = x.shape[-1]
        signals, lead = flat_signals(x)
        spectrum = self._convolve(signals) if self.trainable else self._front(signals)
        if output_format == "Complex":
            return unflatten(complex_pair(spectrum), lead)
        if output_format == "Phase":
            return unflatten((spectrum + 0.0).angle(), lead)
        if self.trainable:
            power = spectrum.real.square() + spectrum.imag.square()
            return unflatten((power + 1e-8).sqrt(), lead)
        return unflatten(spectrum.abs(), lead)

    def _convolve(self, signals: Tensor) -> Tensor:
        """Convolve with the trainable kernels, real and imaginary part at once."""
        if self.center:
            stop = signals.shape[-1] + self.pad_amount
            signals = extend(signals, -self.pad_amount, stop, pad_mode=self.pad_mode)
        kernels = torch.cat([self.wcos, -self.wsin]).to(signals.dtype)
        parts = nnf.conv1d(signals.unsqueeze(1), kernels, stride=self.stride)
        real, imaginary = parts.chunk(2, 1)
        return torch.complex(real, imaginary)[:, : self.freq_bins]

    def inverse(
        self,
        X: Tensor,  # noqa: N803
        onesided: bool = True,
        length: int | None = None,
        refresh_win: bool = True,
    ) -> Tensor:
        """Return the signals ``(batch, samples)`` of spectra ``(batch, bins, frames, 2)``.

        Args:
            X: What ``forward`` gives with ``output_format="Complex"``.
            onesided: Whether there are ``n_fft // 2 + 1`` bins; otherwise ``n_fft``.
            length: Samples to return; those that the frames are centered in if None.
            refresh_win: Without effect.

        Raises:
            ParameterError: If the layer was made without ``iSTFT=True``, or its bins do not
                determine a signal.
        """
        if not self.iSTFT:
            raise ParameterError("iSTFT is False; make the layer with iSTFT=True to use inverse")
        if self.freq_scale == "no":
            window = self.window_mask.flatten()
            return self.inverse_stft(X, window, onesided=onesided, length=length)
        spectrum = check_spectrum(X)
        samples = (X.shape[2] - 1) * self.stride if length is None else length
        return self._front.inverse(spectrum, samples)

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        size = (len(self.bins2freq), 1, self.n_fft)
        return (
            f"n_fft={self.n_fft}, Fourier Kernel size={size}, iSTFT={self.iSTFT}, "
            f"trainable={self.trainable}"
        )


class iSTFT(STFTBase):  # noqa: N801 - nnAudio's name
    """``nnAudio.features.iSTFT``: signals from complex spectra ``(batch, bins, frames, 2)``.

    With ``trainable_kernels`` the cosines and sines are parameters, and the inverse is a
    convolution; ``trainable_window`` makes the window one. Only ``freq_scale="no"`` has an
    inverse here.
    """

    def __init__(
        self,
        n_fft: int = 2048,
        win_length: int | None = None,
        freq_bins: int | None = None,
        hop_length: int | None = None,
        window: Window = "hann",
        freq_scale: str = "no",
        center: bool = True,
        fmin: float = 50,
        fmax: float = 6000,
        sr: float = 22050,
        trainable_kernels: bool = False,
        trainable_window: bool = False,
        verbose: bool = True,
        refresh_win: bool = True,
    ) -> None:
        """Build the layer; arguments are those of nnAudio, in its order."""
        super().__init__()
        if freq_scale != "no":
            raise ParameterError(
                f"freq_scale is {freq_scale!r}; expected 'no'. Spectra on another scale are "
                "inverted by STFT(..., iSTFT=True).inverse, where their bins determine a signal."
            )
        self.n_fft, self.center, self.refresh_win = n_fft, center, refresh_win
        self.win_length = n_fft if win_length is None else win_length
        self.stride = self.win_length // 4 if hop_length is None else hop_length
        self.pad_amount = n_fft // 2
        self.trainable_kernels = trainable_kernels
        self._band = (fmin, fmax, sr)
        mask = get_window(window, self.win_length).astype("float32")[None, :, None]
        if trainable_window:
            self.parameter("window_mask", mask)
        else:
            self.constant("window_mask", mask)
        if trainable_kernels:
            self.parameter("kernel_sin", self.make("kernel_sin"))
            self.parameter("kernel_cos", self.make("kernel_cos"))
        else:
            self.offer("kernel_sin", "kernel_cos")

    def make(self, name: str) -> Tensor:
        """Return all sines or cosines, ``(n_fft, 1, n_fft, 1)``."""
        with torch.device("cpu"):
            wsin, wcos, *_ = create_fourier_kernels(
                self.n_fft, freq_bins=self.n_fft, freq_scale="no"
            )
            return torch.tensor(wsin if name == "kernel_sin" else wcos).unsqueeze(-1)

    def forward(
        self,
        X: Tensor,  # noqa: N803
        onesided: bool = False,
        length: int | None = None,
        refresh_win: bool | None = None,
    ) -> Tensor:
        """Return signals ``(batch, samples)``.

        Args:
            X: ``(batch, bins, frames, 2)``, with ``n_fft`` bins.
            onesided: Whether there are only ``n_fft // 2 + 1`` bins.
            length: Samples to return; those that the frames are centered in if None.
            refresh_win: Without effect.
        """
        window = self.window_mask.flatten()
        if not self.trainable_kernels:
            return self.inverse_stft(X, window, onesided=onesided, length=length)
        spectrum = check_spectrum(X)
        if onesided:
            spectrum = torch.cat([spectrum, spectrum[:, 1:-1].flip(1).conj()], 1)
        # The trainable kernels take the place of the inverse FFT; a frame is what it gave.
        cosines, sines = self.kernel_cos[:, 0, :, 0], self.kernel_sin[:, 0, :, 0]
        frames = (cosines.mT @ spectrum.real - sines.mT @ spectrum.imag) / self.n_fft
        half = torch.fft.rfft(frames, dim=1)
        return istft(
            half, n_fft=self.n_fft, hop_length=self.stride, window=self._centered(window),
            center=self.center, length=length,
        )  # fmt: skip

    def inverse_stft(
        self,
        X: Tensor,  # noqa: N803
        window: Tensor,
        onesided: bool = True,
        length: int | None = None,
    ) -> Tensor:
        """Invert with the window centered in its frame."""
        return super().inverse_stft(X, self._centered(window), onesided=onesided, length=length)

    def _centered(self, window: Tensor) -> Tensor:
        before = (self.n_fft - self.win_length) // 2
        return nnf.pad(window, (before, self.n_fft - self.win_length - before))
