"""Layers about harmony: pitch classes, and steady against sudden sound."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.frontends.base import FrontEnd, check_counts, check_flags, check_signal
from sonograd.frontends.mel import BandSpectrogram
from sonograd.frontends.stft import STFT
from sonograd.functional._settings import check_number, check_option
from sonograd.functional._values import check_tensor
from sonograd.functional.filterbanks import chroma_filterbank
from sonograd.functional.framing import PadMode
from sonograd.functional.masking import check_margins, harmonic_percussive_masks
from sonograd.functional.windows import WindowLike

__all__ = ["Chroma", "HarmonicPercussive"]


class Chroma(BandSpectrogram):
    r"""Energy per pitch class, from the bins of a Fourier transform.

    .. math::
        C_{im} = \sum_k B_{ik} |X_{km}|^p \Big/ \max_j \sum_k B_{jk} |X_{km}|^p

    with the bank :math:`B` of :func:`~sonograd.functional.chroma_filterbank`. Equal to
    :func:`librosa.feature.chroma_stft` with a given tuning.

    >>> Chroma(sample_rate=22050)(torch.zeros(2, 22050)).shape
    torch.Size([2, 12, 44])
    """

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
        n_chroma: int = 12,
        tuning: float = 0.0,
        center_octave: float | None = 5.0,
        octave_width: float = 2.0,
        base_c: bool = True,
        power: float = 2.0,
        norm: str = "max",
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
            n_chroma: Pitch classes per octave.
            tuning: Deviation from A = 440 Hz, in steps of ``n_chroma`` per octave.
            center_octave: Octave (above 27.5 Hz) that counts most; all alike if None.
            octave_width: Standard deviation of the weights, in octaves.
            base_c: The first class is C; otherwise A.
            power: The exponent :math:`p`.
            norm: What every frame is divided by: ``"max"``, ``"sum"``, ``"euclidean"``, or
                ``"none"``. Silence stays zero.
            trainable: Make the bank a parameter.
            trainable_stft: Make the Fourier kernels parameters.
            trainable_window: Make the window a parameter.

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
        )
        check_flags(base_c=base_c)
        check_option(norm, "norm", ("max", "sum", "euclidean", "none"))
        self.norm = norm
        bank = chroma_filterbank(
            sample_rate=sample_rate,
            n_fft=n_fft,
            n_chroma=n_chroma,
            tuning=tuning,
            center_octave=center_octave,
            octave_width=octave_width,
            base_c=base_c,
            dtype=torch.float64,
        )
        self.add_bank(bank, power=power, trainable=trainable, trainable_stft=trainable_stft)

    def bands(self, x: Tensor) -> Tensor:
        """Return ``(..., frames, classes)``."""
        energy = super().bands(x)
        if self.norm == "none":
            return energy
        size = energy.abs()
        if self.norm == "max":
            total = size.amax(-1, keepdim=True)
        elif self.norm == "sum":
            total = size.sum(-1, keepdim=True)
        else:
            silent = (size == 0).all(-1, keepdim=True)
            total = size.square().sum(-1, keepdim=True).masked_fill(silent, 1.0).sqrt()
        return energy / total.where(total > torch.finfo(total.dtype).tiny, 1.0)


class HarmonicPercussive(FrontEnd):
    """Split signals into steady and sudden sound, by medians of the spectrogram.

    See :func:`~sonograd.functional.harmonic_percussive_masks`; with margins of one the two parts
    add up to the signal.

    >>> harmonic, percussive = HarmonicPercussive(sample_rate=8000)(torch.rand(2, 8000)).unbind(-2)
    >>> harmonic.shape
    torch.Size([2, 8000])
    """

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        n_fft: int = 2048,
        win_length: int | None = None,
        hop_length: int | None = None,
        window: WindowLike = "hann",
        pad_mode: PadMode = "constant",
        time_length: int = 31,
        frequency_length: int = 31,
        power: float = 2.0,
        margins: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Choose the filters.

        Args:
            sample_rate: Samples per second.
            n_fft: Length of the frames.
            win_length: Length of the window, at most ``n_fft``.
            hop_length: Samples between frames; a quarter of the window if None.
            window: See :func:`~sonograd.functional.get_window`.
            pad_mode: As for :class:`STFT`.
            time_length: Frames under the median that keeps steady sound, odd.
            frequency_length: Bins under the median that keeps sudden sound, odd.
            power: Exponent of the soft masks.
            margins: How many times stronger steady and sudden sound must be to count; at least 1.

        Raises:
            ParameterError: If an argument is out of range.
        """
        super().__init__(sample_rate=sample_rate)
        for name, value in (("time_length", time_length), ("frequency_length", frequency_length)):
            check_counts(**{name: value})
            if value % 2 == 0:
                raise ParameterError(f"{name} is {value}; expected an odd number, at least 1")
        check_number("power", power, positive=True)
        check_margins(margins)
        self.stft = STFT(
            sample_rate=sample_rate,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            window=window,
            pad_mode=pad_mode,
        )
        self.time_length, self.frequency_length = time_length, frequency_length
        self.power, self.margins = power, margins

    def masks(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masks of steady and of sudden sound for ``(..., bins, frames)``."""
        check_tensor(spectrum, "spectrum")
        return harmonic_percussive_masks(
            spectrum.abs() if spectrum.is_complex() else spectrum,
            time_length=self.time_length,
            frequency_length=self.frequency_length,
            power=self.power,
            margins=self.margins,
        )

    def spectra(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the complex spectra of both parts of ``(..., samples)``."""
        spectrum = self.stft.transform(check_signal(x))
        harmonic, percussive = self.masks(spectrum)
        return spectrum * harmonic, spectrum * percussive

    def transform(self, x: Tensor) -> Tensor:
        """Split checked signals ``(..., samples)`` into ``(..., 2, samples)``."""
        parts = torch.stack(self.spectra(x), dim=-3)
        return self.stft.inverse(parts, length=x.shape[-1])
