"""Cepstral layers: mel-frequency coefficients, and frequency combined with periodicity."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.frontends.base import (
    FrontEnd,
    check_counts,
    check_flags,
    check_numbers,
    check_signal,
)
from sonograd.frontends.mel import MelSpectrogram
from sonograd.frontends.short_time import root, squared_modulus
from sonograd.frontends.tables import Tables
from sonograd.functional.cepstral import (
    cosine_basis,
    generalized_cepstra,
    lifter_weights,
    log_frequency_maps,
)
from sonograd.functional.convolution import fast_length
from sonograd.functional.filterbanks import FilterNorm
from sonograd.functional.framing import PadMode, check_pad_mode
from sonograd.functional.scales import MelScale, power_to_db
from sonograd.functional.spectral import stft_map
from sonograd.functional.windows import WindowLike, get_window

__all__ = ["MFCC", "CombinedFrequencyPeriodicity"]


class MFCC(FrontEnd, Tables):
    r"""Mel-frequency cepstral coefficients.

    .. math::
        C_{jm} = \sum_i D_{ji} \, L_{im}, \qquad
        L_{im} = \max\Big(10 \log_{10} \frac{\max(S_{im}, a)}{r},\ \max_{im} L_{im} - t\Big)

    of the mel spectrogram :math:`S`, with the orthonormal cosine transform :math:`D`. Equal to
    :func:`librosa.feature.mfcc` of one signal; here every signal has its own maximum.

    Attributes:
        mel: The :class:`MelSpectrogram`.

    >>> MFCC(sample_rate=8000, n_fft=512)(torch.zeros(2, 8000)).shape
    torch.Size([2, 20, 16])
    """

    basis: Tensor

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        n_mfcc: int = 20,
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
        dct_norm: bool = True,
        lifter: float = 0.0,
        reference: float = 1.0,
        amin: float = 1e-10,
        top_db: float | None = 80.0,
        trainable: bool = False,
        trainable_stft: bool = False,
        trainable_window: bool = False,
    ) -> None:
        """Design the bank and the cosine transform.

        Args:
            sample_rate: Samples per second.
            n_mfcc: Number of coefficients, at most ``n_mels``.
            n_fft: Length of the frames.
            win_length: Length of the window, at most ``n_fft``.
            hop_length: Samples between frames.
            window: See :func:`~sonograd.functional.get_window`.
            center: As for :class:`STFT`.
            pad_mode: As for :class:`STFT`.
            n_mels: Number of mel bands.
            fmin: Where the first band begins, in Hz.
            fmax: Where the last band ends, in Hz; half the sample rate if None.
            mel_scale: ``"slaney"`` or ``"htk"``.
            norm: ``"slaney"`` for filters of equal area, ``"none"`` for equal peaks.
            power: Exponent of the mel spectrogram.
            dct_norm: Take the orthonormal cosine transform, else twice the plain sum.
            lifter: Weight of higher coefficients, see :func:`librosa.feature.mfcc`; 0 for none.
            reference: The power :math:`r` that is 0 dB.
            amin: The power :math:`a` below which all is alike.
            top_db: The range :math:`t` in dB; None for all.
            trainable: Make the mel bank a parameter.
            trainable_stft: Make the Fourier kernels parameters.
            trainable_window: Make the window a parameter.

        Raises:
            ParameterError: If an argument is out of range.
        """
        super().__init__(sample_rate=sample_rate)
        check_counts(n_mfcc=n_mfcc, n_mels=n_mels)
        check_flags(dct_norm=dct_norm)
        if not 1 <= n_mfcc <= n_mels:
            raise ParameterError(f"n_mfcc is {n_mfcc}; expected 1 to n_mels ({n_mels})")
        self.mel = MelSpectrogram(
            sample_rate=sample_rate,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
            n_mels=n_mels,
            fmin=fmin,
            fmax=fmax,
            mel_scale=mel_scale,
            norm=norm,
            power=power,
            trainable=trainable,
            trainable_stft=trainable_stft,
            trainable_window=trainable_window,
        )
        power_to_db(torch.ones(1, 1), reference=reference, amin=amin, top_db=top_db)  # checks them
        self.reference, self.amin, self.top_db = reference, amin, top_db
        basis = cosine_basis(n_mfcc, n_mels, norm=dct_norm)
        self.add_table("basis", basis * lifter_weights(n_mfcc, lifter)[:, None])

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals, float32 or float64, ``(..., samples)``."""
        level = power_to_db(
            self.mel.bands(x), reference=self.reference, amin=self.amin, top_db=self.top_db
        )
        return (level @ self.table("basis", x).mT).mT


class CombinedFrequencyPeriodicity(FrontEnd, Tables):
    r"""Pitches that show both as a partial and as a period.

    A compressed spectrum has peaks at the partials of a tone, and its own transform, a cepstrum,
    at multiples of the period; their product on a common scale of pitch keeps the fundamental:

    .. math::
        Z_{im} = \Big(\sum_k A_{ik} S_{km}\Big) \Big(\sum_n B_{in} C_{nm}\Big)

    with the spectrum and cepstrum of :func:`~sonograd.functional.generalized_cepstra` and the maps
    of :func:`~sonograd.functional.log_frequency_maps`. Su and Yang, *Combining spectral and
    temporal representations for multipitch estimation of polyphonic music*,
    doi:10.1109/TASLP.2015.2442411.

    Attributes:
        frequencies: Pitches in Hz, ``(bins,)``.

    >>> CombinedFrequencyPeriodicity()(torch.zeros(2, 16000)).shape
    torch.Size([2, 174, 51])
    """

    frequencies: Tensor
    window: Tensor

    def __init__(
        self,
        *,
        sample_rate: float = 16000,
        hop_length: int = 320,
        win_length: int = 2049,
        resolution_hz: float = 2.0,
        n_fft: int | None = None,
        window: WindowLike = "blackmanharris",
        pad_mode: PadMode = "constant",
        fmin: float = 80.0,
        fmax: float = 1000.0,
        bins_per_octave: int = 48,
        exponents: Sequence[float] = (0.24, 0.6, 1.0),
    ) -> None:
        """Design the maps.

        Args:
            sample_rate: Samples per second.
            hop_length: Samples between frames.
            win_length: Length of the window in samples.
            resolution_hz: Distance of Fourier bins in Hz, at most: the transform has
                ``sample_rate / resolution_hz`` points, or the next larger number that is fast.
            n_fft: Points of the transform, an even number, in place of ``resolution_hz``.
            window: See :func:`~sonograd.functional.get_window`; symmetric here.
            pad_mode: As for :class:`STFT`.
            fmin: First pitch in Hz.
            fmax: Where pitches end, in Hz.
            bins_per_octave: Pitches per octave.
            exponents: How spectrum and cepstra are compressed, in turn; 0 for the logarithm.

        Raises:
            ParameterError: If an argument is out of range.
        """
        super().__init__(sample_rate=sample_rate)
        check_pad_mode(pad_mode)
        check_numbers(fmin=fmin, fmax=fmax, resolution_hz=resolution_hz)
        self.n_fft = _transform_length(sample_rate, resolution_hz, n_fft, fmin)
        check_counts(hop_length=hop_length, win_length=win_length)
        if win_length > self.n_fft:
            raise ParameterError(
                f"win_length is {win_length}; expected at most the {self.n_fft} points of the "
                "transform. Use a smaller resolution_hz or a shorter window."
            )
        self.hop_length, self.win_length, self.pad_mode = hop_length, win_length, pad_mode
        shape = get_window(window, win_length, periodic=False, dtype=torch.float64)
        self.add_table("window", shape / shape.norm())
        pitches, of_bins, of_periods = log_frequency_maps(
            sample_rate=sample_rate,
            n_fft=self.n_fft,
            fmin=fmin,
            fmax=fmax,
            bins_per_octave=bins_per_octave,
        )
        self.cutoffs = (round(sample_rate / fmax), round(fmin * self.n_fft / sample_rate))
        generalized_cepstra(torch.ones(3), exponents=exponents, cutoffs=self.cutoffs)  # checks them
        self.exponents = tuple(exponents)
        self.add_table("frequencies", pitches)
        # Both maps end long before the spectra do.
        self.ends = tuple(int(m.any(0).nonzero().max()) + 1 for m in (of_bins, of_periods))
        self.add_table("bin_map", of_bins[:, : self.ends[0]].contiguous())
        self.add_table("period_map", of_periods[:, : self.ends[1]].contiguous())

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals, float32 or float64, ``(..., samples)``."""
        return self._combined(x, whole=False).mT

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the magnitude spectrum, the spectrum and the cepstrum on the scale of pitches.

        Args:
            x: ``(..., samples)``.

        Returns:
            Three tensors ``(..., bins, frames)``; the product of the last two is the result of
            the layer.

        Raises:
            ShapeError: If ``x`` is a scalar, or not real and floating-point.
            ParameterError: If a sample is NaN or infinite.
        """
        x = check_signal(x)
        plain, spectrum, cepstrum = self._combined(x, whole=True).unflatten(-1, (3, -1)).unbind(-2)
        return plain.mT, spectrum.mT, cepstrum.mT

    def _combined(self, x: Tensor, *, whole: bool) -> Tensor:
        bin_map, period_map = self.table("bin_map", x), self.table("period_map", x)

        def then(spectrum: Tensor, out: Tensor | None) -> Tensor:
            power = squared_modulus(spectrum)
            magnitude = power.sqrt_() if out is not None else root(power, 0.5)
            last, cepstrum = generalized_cepstra(
                magnitude, exponents=self.exponents, cutoffs=self.cutoffs
            )
            by_bin = last[..., : self.ends[0]] @ bin_map.mT
            by_period = cepstrum[..., : self.ends[1]] @ period_map.mT
            result = by_bin * by_period
            if whole:
                plain = magnitude[..., : self.ends[0]] @ bin_map.mT
                result = torch.cat([plain, by_bin, by_period], dim=-1)
            return result if out is None else out.copy_(result)

        before = self.win_length // 2
        return stft_map(
            x,
            then,
            window=self.table("window", x),
            hop_length=self.hop_length,
            margins=(before, self.win_length - before),
            pad_mode=self.pad_mode,
            n_fft=self.n_fft,
            features=(3 if whole else 1) * len(self.frequencies),
            dtype=x.dtype,
        )


def _transform_length(
    sample_rate: float, resolution_hz: float, n_fft: int | None, fmin: float
) -> int:
    """Return the points of the transform; by default a multiple of 16 without large factors."""
    if fmin <= 0:
        raise ParameterError(f"fmin is {fmin} Hz; expected more than 0")
    if n_fft is not None:
        check_counts(n_fft=n_fft)
        if n_fft < 2 or n_fft % 2 or sample_rate / n_fft > fmin:
            raise ParameterError(
                f"n_fft is {n_fft}; expected an even number, at least sample_rate / fmin "
                f"({sample_rate / fmin:g})"
            )
        return n_fft
    if not 0 < resolution_hz <= fmin:
        raise ParameterError(
            f"resolution_hz is {resolution_hz}; expected more than 0, and at most fmin ({fmin})"
        )
    return 16 * fast_length(math.ceil(sample_rate / resolution_hz / 16))
