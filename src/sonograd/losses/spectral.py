"""Losses that compare magnitude spectrograms."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError
from sonograd.functional.spectral import stft
from sonograd.losses.base import Loss, Reduction

__all__ = ["MultiResolutionSTFT", "STFTLoss"]


class STFTLoss(Loss):
    r"""Spectral convergence and log-magnitude distance at one resolution.

    .. math::
        \frac{\big\| |\hat S| - |S| \big\|_F}{\|S\|_F + \epsilon}
        + \frac1{FT} \sum_{f,t} \big|\ln(|\hat S_{ft}| + \epsilon) - \ln(|S_{ft}| + \epsilon)\big|

    Yamamoto et al., *Parallel WaveGAN*, doi:10.1109/ICASSP40776.2020.9053795, eqs. 4 to 6, one
    value per signal. Magnitudes are those of a window of unit sum.
    """

    window: Tensor

    def __init__(
        self,
        *,
        n_fft: int = 1024,
        hop_length: int | None = None,
        epsilon: float = 1e-5,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the resolution.

        Args:
            n_fft: FFT length and length of the Hann window in samples.
            hop_length: Samples between frames; a quarter of ``n_fft`` if None.
            epsilon: Magnitude below which differences fade; positive.
            reduction: ``"mean"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.
        """
        super().__init__(reduction=reduction)
        if not epsilon > 0:
            raise ParameterError(f"epsilon is {epsilon}; expected a positive number")
        self.n_fft = n_fft
        self.hop_length = n_fft // 4 if hop_length is None else hop_length
        self.epsilon = epsilon
        window = torch.hann_window(n_fft, dtype=torch.float64)
        self.register_buffer("window", (window / window.sum()).float(), persistent=False)

    def _magnitude(self, x: Tensor) -> Tensor:
        spectrum = stft(
            x,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            window=self.window.to(x.dtype),
            pad_mode="constant",
        )
        power = spectrum.real.square() + spectrum.imag.square()
        # The offset keeps the derivative of the root finite on silence.
        return (power + self.epsilon**2).sqrt()

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        ours, theirs = self._magnitude(estimate), self._magnitude(reference)
        difference = (ours - theirs).square().sum(dim=(-2, -1))
        norm = theirs.square().sum(dim=(-2, -1)).sqrt()
        convergence = (difference + self.epsilon**2).sqrt() / (norm + self.epsilon)
        return convergence + (ours.log() - theirs.log()).abs().mean(dim=(-2, -1))


class MultiResolutionSTFT(Loss):
    """The mean of :class:`STFTLoss` over several FFT lengths."""

    def __init__(
        self, *, n_ffts: Sequence[int] = (512, 1024, 2048), reduction: Reduction = "mean"
    ) -> None:
        """Choose the resolutions.

        Args:
            n_ffts: FFT lengths in samples.
            reduction: ``"mean"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.
        """
        super().__init__(reduction=reduction)
        if not n_ffts:
            raise ParameterError("n_ffts is empty; expected at least one FFT length")
        self.resolutions = nn.ModuleList(STFTLoss(n_fft=n, reduction="none") for n in n_ffts)

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        values = [resolution(estimate, reference) for resolution in self.resolutions]
        return torch.stack(values).mean(dim=0)
