"""Spectra summed by a bank of filters: the mel spectrogram, and what it is built from."""

import warnings

import torch
from torch import Tensor

from sonograd.frontends.base import check_counts, check_flags
from sonograd.frontends.short_time import ShortTime, root, squared_modulus
from sonograd.functional._settings import check_number, check_option
from sonograd.functional.filterbanks import (
    FilterNorm,
    band_spans,
    check_band,
    mel_filterbank,
    sum_bands,
)
from sonograd.functional.framing import PadMode
from sonograd.functional.scales import MelScale, mel_frequencies
from sonograd.functional.windows import WindowLike

__all__ = ["BandSpectrogram", "MelSpectrogram"]


class BandSpectrogram(ShortTime):
    r"""Powers of a spectrum summed by a filter bank, :math:`\sum_k B_{ik} |X_{km}|^p`.

    Attributes:
        bank: ``(bands, bins)``, a parameter if it is trained.
        power: The exponent :math:`p`.
    """

    bank: Tensor

    def add_bank(
        self, bank: Tensor, *, power: float, trainable: bool, trainable_stft: bool
    ) -> None:
        """Take a bank, float64, and make parameters of what shall be trained."""
        check_number("power", power, positive=True)
        check_flags(trainable=trainable, trainable_stft=trainable_stft)
        self.power = power
        self.spans = () if trainable else band_spans(bank)
        if trainable:
            self.add_parameter("bank", bank)
        else:
            self.add_table("bank", bank)
        if trainable_stft:
            self.train_kernels()

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals, float32 or float64, ``(..., samples)``."""
        return self.bands(x).mT

    def bands(self, x: Tensor) -> Tensor:
        """Return ``(..., frames, bands)``."""
        bank = self.table("bank", x)
        if self.convolves:
            return sum_bands(root(self.convolved_power(x), self.power / 2), bank)

        def then(spectrum: Tensor, out: Tensor | None) -> Tensor:
            return sum_bands(root(squared_modulus(spectrum), self.power / 2), bank, self.spans, out)

        return self.map_spectra(x, then, features=bank.shape[0], parameters=(bank,))


class MelSpectrogram(BandSpectrogram):
    r"""Energy in bands that are equally wide in mel.

    .. math::
        S_{im} = \sum_k M_{ik} \, |X_{km}|^p

    with the bank :math:`M` of :func:`~sonograd.functional.mel_filterbank` and the transform
    :math:`X` of :class:`STFT`. Equal to :func:`librosa.feature.melspectrogram`. A few frames are
    worked on at a time, so that no spectrum of the whole signal is ever in memory, unless
    gradients are asked for.

    Attributes:
        frequencies: Peaks of the filters in Hz, ``(n_mels,)``.
        bank: ``(n_mels, n_fft // 2 + 1)``, a parameter if ``trainable``.

    >>> MelSpectrogram(sample_rate=8000, n_fft=512, n_mels=40)(torch.zeros(2, 8000)).shape
    torch.Size([2, 40, 16])
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
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float | None = None,
        mel_scale: MelScale = "slaney",
        norm: FilterNorm = "slaney",
        power: float = 2.0,
        trainable: bool = False,
        trainable_stft: bool = False,
        trainable_window: bool = False,
    ) -> None:
        """Design the bank.

        Args:
            sample_rate: Samples per second.
            n_fft: Length of the frames.
            win_length: Length of the window, at most ``n_fft``.
            hop_length: Samples between frames.
            window: See :func:`~sonograd.functional.get_window`.
            center: As for :class:`STFT`.
            pad_mode: As for :class:`STFT`.
            n_mels: Number of bands.
            fmin: Where the first band begins, in Hz.
            fmax: Where the last band ends, in Hz; half the sample rate if None.
            mel_scale: ``"slaney"`` or ``"htk"``.
            norm: ``"slaney"`` for filters of equal area, ``"none"`` for equal peaks.
            power: The exponent :math:`p`: 2 for energy, 1 for magnitude.
            trainable: Make the bank a parameter.
            trainable_stft: Make the Fourier kernels parameters.
            trainable_window: Make the window a parameter.

        Raises:
            ParameterError: If an argument is out of range.

        Warns:
            UserWarning: If filters are narrower than the distance of bins, so that they see none.
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
        check_counts(n_mels=n_mels)
        check_option(mel_scale, "mel_scale", ("slaney", "htk"))
        bank = mel_filterbank(
            sample_rate=sample_rate,
            n_fft=n_fft,
            n_mels=n_mels,
            fmin=fmin,
            fmax=fmax,
            scale=mel_scale,
            norm=norm,
            dtype=torch.float64,
        )
        _warn_of_empty(bank)
        fmax = check_band(sample_rate, n_fft, fmin, fmax)
        peaks = mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax, scale=mel_scale)[1:-1]
        self.add_table("frequencies", peaks)
        self.add_bank(bank, power=power, trainable=trainable, trainable_stft=trainable_stft)


def _warn_of_empty(bank: Tensor) -> None:
    empty = int((bank == 0).all(-1).sum())
    if empty:
        warnings.warn(
            f"{empty} of {len(bank)} mel filters are empty: they lie between two bins. "
            "Use a longer n_fft or fewer n_mels.",
            UserWarning,
            stacklevel=3,
        )
