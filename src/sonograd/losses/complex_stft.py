"""Losses on spectra: complex ones, and magnitudes of the whole signal."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.spectral import stft
from sonograd.losses.base import Loss, Reduction, check_positive

__all__ = ["ComplexMultiResolution", "SpectralMagnitude"]


class ComplexMultiResolution(Loss):
    r"""Absolute error of the waveform and of complex spectra at several resolutions.

    .. math::
        \frac1N \sum_n |\hat s_n - s_n| + w \sum_k \frac1{F_k T_k} \sum_{f,t} |\hat S^k - S^k|

    with transforms without scaling. It sees magnitude and phase, is finite everywhere, and 0 for
    two silent signals. What BS-RoFormer and its kin are trained with: Lu et al., *Music source
    separation with band-split RoPE transformer*, arXiv:2309.02612, eq. 4.

    >>> x = torch.randn(4000)
    >>> ComplexMultiResolution()(x, x)
    tensor(0.)
    """

    def __init__(
        self,
        *,
        win_lengths: Sequence[int] = (4096, 2048, 1024, 512, 256),
        hop_length: int = 147,
        min_fft: int = 2048,
        waveform: float = 1.0,
        spectrum: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the resolutions.

        Args:
            win_lengths: Lengths of the Hann windows in samples.
            hop_length: Samples between frames of all.
            min_fft: Transforms of shorter windows are this long; 1 for as long as the window.
            waveform: Weight of the waveform, at least 0.
            spectrum: Weight :math:`w` of the sum over resolutions, at least 0.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., samples)``.
        """
        super().__init__(reduction=reduction)
        if not win_lengths or min(win_lengths) < 4 or hop_length < 1 or min_fft < 1:
            raise ParameterError(
                f"win_lengths is {tuple(win_lengths)}, hop_length {hop_length} and min_fft "
                f"{min_fft}; expected windows of at least 4 samples, and at least 1"
            )
        if not min(waveform, spectrum) >= 0:
            raise ParameterError(
                f"the weights are {waveform} and {spectrum}; expected numbers >= 0"
            )
        self.win_lengths = tuple(win_lengths)
        self.hop_length = hop_length
        self.min_fft = min_fft
        self.waveform, self.spectrum = waveform, spectrum

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        error = estimate - reference
        values = self.waveform * error.abs().mean(dim=-1)
        for length in self.win_lengths if self.spectrum else ():
            # Transforms are linear: that of the difference is enough.
            spectrum = stft(
                error,
                n_fft=max(length, self.min_fft),
                hop_length=self.hop_length,
                win_length=length,
            )
            values = values + self.spectrum * spectrum.abs().mean(dim=(-2, -1))
        return values


class SpectralMagnitude(Loss):
    r"""Mean absolute difference of the magnitudes of one Fourier transform of all samples.

    .. math::
        \frac1F \sum_f \big| |\hat S_f|^p - |S_f|^p \big|

    Blind to phase, so that a delayed or phase-shifted copy is as good as the reference itself:
    gains and spectra can be fitted where waveforms do not line up. Silence is 0; for powers below
    1 magnitudes have a floor of :math:`10^{-8}`, under which there is no gradient.

    >>> time = torch.arange(800) / 800
    >>> sine, cosine = (torch.sin(6.2832 * (50 * time + shift)) for shift in (0.0, 0.25))
    >>> bool(SpectralMagnitude()(sine, cosine) < 1e-2)
    True
    """

    def __init__(self, power: float = 1.0, *, reduction: Reduction = "mean") -> None:
        """Choose the exponent.

        Args:
            power: :math:`p`, positive; 2 compares power spectra.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., samples)``.
        """
        super().__init__(reduction=reduction)
        check_positive(power=power)
        self.power = power

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        ours, theirs = self._transform(estimate), self._transform(reference)
        return (ours - theirs).abs().mean(dim=-1)

    def _transform(self, x: Tensor) -> Tensor:
        magnitude: Tensor = torch.fft.rfft(x).abs()
        if self.power == 1:
            return magnitude
        if self.power < 1:
            magnitude = magnitude.clamp(min=1e-8)
        return magnitude**self.power
