"""The relative volume of mel spectrograms as a loss."""

import math
import warnings

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.rvm import volume_mel_filters
from sonograd.functional.spectral import stft
from sonograd.losses.base import Loss, Reduction

__all__ = ["RelativeVolumeMelLoss"]

#: Amplitude of the offset that gives silence a gradient, relative to the activity volume.
_OFFSET = 1e-4


class RelativeVolumeMelLoss(Loss):
    r"""Relative volume of the error of mel spectrograms, smooth, in dB.

    What :class:`~sonograd.metrics.RelativeVolumeMel` measures (San Roman et al.,
    arXiv:2308.02560), made to be minimized: with mel amplitudes :math:`z, \hat z` of signals that
    were divided by the level of the reference,

    .. math::
        10 \lg \frac{r + 10^{l/10}}{1 + r \, 10^{-h/10}}, \qquad
        r = \frac{(z - \hat z)^2}{\max(z, 10^{A/20})^2}

    instead of :math:`10 \lg r` clamped to :math:`[l, h]`: at most 3.1 dB from the metric in every
    bin, between the same limits, and nowhere flat. The level is that of each item, and bands that
    hold no bin are left out.

    Magnitudes alone give silence no direction to grow in. A tiny offset with the phase of the
    reference is therefore added to both spectra: an estimate that is exactly silent has a gradient,
    towards the reference. Elsewhere phase plays no part: combine with a loss of waveforms or
    complex spectra where it matters. Perfect estimates, and two silent signals, give :math:`l`.

    >>> x = torch.randn(1, 4000)
    >>> RelativeVolumeMelLoss()(x, x).round(decimals=3)
    tensor(-25.)
    """

    filters: Tensor
    window: Tensor

    def __init__(
        self,
        sample_rate: int = 24_000,
        n_mels: int = 80,
        n_fft: int = 512,
        hop_length: int = 128,
        min_relative_volume: float = -25.0,
        max_relative_volume: float = 25.0,
        max_initial_gain: float = 25.0,
        min_activity_volume: float = -25.0,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the mel spectrogram and the limits.

        Args:
            sample_rate: In Hz.
            n_mels: Number of bands.
            n_fft: Length of the transform in samples.
            hop_length: Samples between frames.
            min_relative_volume: :math:`l` in dB.
            max_relative_volume: :math:`h` in dB.
            max_initial_gain: A quiet reference is amplified by no more than this, in dB.
            min_activity_volume: :math:`A`; quieter bins count as this loud, in dB.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., channels, samples)``: the mean over channels, bands and frames. A signal
                ``(samples,)`` is one item.
        """
        super().__init__(reduction=reduction)
        if not min_relative_volume < max_relative_volume:
            raise ParameterError(
                f"min_relative_volume is {min_relative_volume} and max_relative_volume "
                f"{max_relative_volume}; expected the first to be lower"
            )
        if hop_length < 1:
            raise ParameterError(f"hop_length is {hop_length}; expected at least 1")
        filters = volume_mel_filters(sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft)
        empty = filters.amax(dim=0) <= 0
        if empty.any():
            warnings.warn(
                f"{int(empty.sum())} of {n_mels} mel bands are narrower than a bin and hold none; "
                "they are left out. Use fewer bands or a longer transform.",
                stacklevel=2,
            )
        self.n_fft, self.hop_length = n_fft, hop_length
        self.limits_db = min_relative_volume, max_relative_volume
        self.max_initial_gain = max_initial_gain
        self.min_activity_volume = min_activity_volume
        window = torch.hann_window(n_fft, dtype=torch.float64)
        self.register_buffer("filters", filters[:, ~empty], persistent=False)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per item, ``(...)`` from ``(..., channels, samples)``."""
        dims = tuple(range(-min(reference.ndim, 2), 0))
        return self.per_bin(estimate, reference).flatten(estimate.ndim - len(dims)).mean(dim=-1)

    def per_bin(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return the relative volume in dB, ``(..., channels, bands, frames)``."""
        if reference.shape[-1] <= self.n_fft // 2:
            raise ShapeError(
                f"estimate has shape {tuple(estimate.shape)}; expected more than "
                f"{self.n_fft // 2} samples, half a transform"
            )
        dims = tuple(range(-min(reference.ndim, 2), 0))
        power = reference.detach().square().mean(dim=dims, keepdim=True)
        level = power.clamp(min=10 ** (-self.max_initial_gain / 10)).sqrt()
        activity = 10 ** (self.min_activity_volume / 20)
        offset = _OFFSET * activity
        truth = self._spectrum(reference / level)
        magnitude = (truth.real.square() + truth.imag.square() + offset**2).sqrt().detach()
        push = offset * truth.detach() / magnitude
        z, z_hat = (self._mel(s + push, offset) for s in (truth, self._spectrum(estimate / level)))
        ratio = ((z - z_hat) / z.clamp(min=activity)).square()
        low, high = (10 ** (limit / 10) for limit in self.limits_db)
        value = torch.log(ratio + low) - torch.log1p(ratio / high)
        return 10 / math.log(10) * value

    def _spectrum(self, x: Tensor) -> Tensor:
        return stft(x, n_fft=self.n_fft, hop_length=self.hop_length, window=self.window.to(x))

    def _mel(self, spectrum: Tensor, offset: float) -> Tensor:
        """Return amplitudes ``(..., bands, frames)``, never quite 0."""
        power = spectrum.real.square() + spectrum.imag.square()
        return (self.filters.mT.to(power) @ power + offset**2).sqrt()
