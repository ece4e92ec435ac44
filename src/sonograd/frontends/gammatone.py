"""Gammatone spectrograms, and the filters themselves in time."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.frontends.base import FrontEnd, check_counts
from sonograd.frontends.mel import BandSpectrogram
from sonograd.frontends.short_time import root
from sonograd.frontends.tables import Tables
from sonograd.functional._settings import check_option
from sonograd.functional.filterbanks import check_band
from sonograd.functional.framing import PadMode, frame_signal, weigh_frames
from sonograd.functional.gammatone import (
    gammatone_filterbank,
    gammatone_frequencies,
    gammatone_sos,
)
from sonograd.functional.recursion import sosfilt
from sonograd.functional.windows import WindowLike

__all__ = ["GammatoneFilterbank", "GammatoneSpectrogram"]

Method: TypeAlias = Literal["fft", "filters"]


class GammatoneFilterbank(FrontEnd, Tables):
    """Signals filtered by gammatone filters: one signal per band, at the sample rate.

    The recursive filters of :func:`~sonograd.functional.gammatone_sos`, exact for any length. In
    an exported graph they are one operator of this package, so that it is to be imported where the
    graph is loaded.

    Attributes:
        frequencies: Centers in Hz, ``(bands,)``.

    >>> GammatoneFilterbank(sample_rate=8000, n_bands=16)(torch.zeros(2, 800)).shape
    torch.Size([2, 16, 800])
    """

    frequencies: Tensor
    sections: Tensor

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        n_bands: int = 64,
        fmin: float = 20.0,
        fmax: float | None = None,
        width: float = 1.0,
    ) -> None:
        """Design the filters.

        Args:
            sample_rate: Samples per second.
            n_bands: Number of filters.
            fmin: Lowest center in Hz.
            fmax: Where the center above the highest one would be, in Hz; half the sample rate if
                None.
            width: Factor of the bandwidth of hearing.

        Raises:
            ParameterError: If an argument is out of range.
        """
        super().__init__(sample_rate=sample_rate)
        fmax = check_band(sample_rate, 1, fmin, fmax)
        check_counts(n_bands=n_bands)
        centers = gammatone_frequencies(n_bands, fmin=fmin, fmax=fmax)
        self.add_table("frequencies", centers)
        self.add_table("sections", gammatone_sos(centers, sample_rate=sample_rate, width=width))

    def transform(self, x: Tensor) -> Tensor:
        """Filter checked signals, float32 or float64, ``(..., samples)``."""
        bands = x.unsqueeze(-2).expand(*x.shape[:-1], len(self.frequencies), x.shape[-1])
        sections = self._exact_sections(x)
        return sosfilt(bands, sections)

    def _exact_sections(self, x: Tensor) -> Tensor:
        # Poles near 1 need the coefficients in float64, whatever the signals are in.
        if x.device.type == "mps":
            return self.table("sections", x)
        return self.table("sections", x.new_empty(0, dtype=torch.float64))


class GammatoneSpectrogram(BandSpectrogram):
    r"""Energy in the bands of hearing.

    ``method="fft"`` weights the bins of a Fourier transform, which is fast:

    .. math::
        S_{im} = \frac{1}{N} \sum_k |H_i(f_k)| \, |X_{km}|^p

    ``method="filters"`` runs the filters of :class:`GammatoneFilterbank` and takes the mean power
    under the window in every frame, so that a sinusoid of amplitude :math:`a` at a center gives
    :math:`a^2 / 2` (to the power of :math:`p / 2`); their delay, up to 20 ms at the lowest
    frequencies, is part of the result.

    Attributes:
        frequencies: Centers in Hz, ``(n_bands,)``.

    >>> GammatoneSpectrogram(sample_rate=8000, n_fft=512)(torch.zeros(2, 8000)).shape
    torch.Size([2, 64, 16])
    """

    frequencies: Tensor

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        n_fft: int = 2048,
        win_length: int | None = None,
        hop_length: int = 512,
        window: WindowLike = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        n_bands: int = 64,
        fmin: float = 0.0,
        fmax: float | None = None,
        width: float = 1.0,
        power: float = 2.0,
        method: Method = "fft",
        trainable: bool = False,
        trainable_stft: bool = False,
        trainable_window: bool = False,
    ) -> None:
        """Design the bank.

        Args:
            sample_rate: Samples per second.
            n_fft: Length :math:`N` of the frames.
            win_length: Length of the window, at most ``n_fft``.
            hop_length: Samples between frames.
            window: See :func:`~sonograd.functional.get_window`.
            center: As for :class:`STFT`.
            pad_mode: As for :class:`STFT`.
            n_bands: Number of bands.
            fmin: Lowest center in Hz.
            fmax: Where the center above the highest one would be, in Hz; half the sample rate if
                None.
            width: Factor of the bandwidth of hearing.
            power: The exponent :math:`p`: 2 for energy, 1 for magnitude.
            method: ``"fft"`` or ``"filters"``.
            trainable: Make the weights of bins parameters.
            trainable_stft: Make the Fourier kernels parameters.
            trainable_window: Make the window a parameter.

        Raises:
            ParameterError: If an argument is out of range, or weights of bins shall be trained
                that ``method="filters"`` does not have.
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
        )
        check_option(method, "method", ("fft", "filters"))
        if method == "filters" and (trainable or trainable_stft):
            raise ParameterError(
                "method 'filters' has no bins to train; use method='fft', or trainable_window"
            )
        self.method = method
        fmax = check_band(sample_rate, n_fft, fmin, fmax)
        bank = gammatone_filterbank(
            sample_rate=sample_rate,
            n_fft=n_fft,
            n_bands=n_bands,
            fmin=fmin,
            fmax=fmax,
            width=width,
            dtype=torch.float64,
        )
        self.add_table("frequencies", gammatone_frequencies(n_bands, fmin=fmin, fmax=fmax))
        self.add_bank(bank / n_fft, power=power, trainable=trainable, trainable_stft=trainable_stft)
        self.filters = None
        if method == "filters":
            self.filters = GammatoneFilterbank(
                sample_rate=sample_rate, n_bands=n_bands, fmin=fmin, fmax=fmax, width=width
            )

    def bands(self, x: Tensor) -> Tensor:
        """Return ``(..., frames, bands)``."""
        if self.filters is None:
            return super().bands(x)
        energy = self.filters.transform(x).square()
        before, after = self.margins
        # What the filters give outside of the signal is silence, or as the signal goes on.
        frames = frame_signal(
            energy,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            before=before,
            after=after,
            pad_mode=self.pad_mode,
        )
        weight = self.table("window", x).square()
        mean = weigh_frames(frames, (weight / weight.sum())[:, None]).squeeze(-1)
        return root(mean.mT, self.power / 2)
