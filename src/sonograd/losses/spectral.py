"""Losses that compare spectrograms at one resolution."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.spectral import stft
from sonograd.functional.stft_distances import (
    Resolution,
    SpectralWeights,
    magnitude_distance,
    stft_distance,
)
from sonograd.functional.windows import get_window
from sonograd.losses.base import Loss, Reduction, check_positive

__all__ = ["Distance", "STFTLoss"]

Distance: TypeAlias = Literal["l1", "l2"]


class STFTLoss(Loss):
    r"""Distances between the magnitudes of two short-time Fourier transforms.

    .. math::
        w_c \frac{\|A - B\|_F}{\|B\|_F}
        + \frac{w_l}{FT} \sum_{f,t} |\ln A_{ft} - \ln B_{ft}|
        + \frac{w_m}{FT} \sum_{f,t} |A_{ft} - B_{ft}|
        + \frac{w_p}{FT} \sum_{f,t} \Big| \frac{\hat S_{ft}}{A_{ft}} - \frac{S_{ft}}{B_{ft}} \Big|^2

    with :math:`A = \max(|\hat S|, f)` and :math:`B = \max(|S|, f)` of transforms without scaling;
    the last term is :math:`2 (1 - \cos \Delta\phi)` above the floor.
    Yamamoto et al., *Parallel WaveGAN*, doi:10.1109/ICASSP40776.2020.9053795, eqs. 4 to 6, one
    value per signal; Steinmetz and Reiss, *auraloss*, 2020. Without phase, squares and scaling of
    the reference, the gradient is computed in closed form, see
    :func:`sonograd.functional.stft_distance`.

    Silence: magnitudes have a floor, and a reference quieter than ``quiet`` counts as that loud in
    the convergence. A silent estimate has a finite value and the gradient 0: magnitudes do not tell
    in which direction to go.
    """

    window: Tensor

    def __init__(
        self,
        *,
        n_fft: int = 1024,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: str = "hann",
        convergence: float = 1.0,
        log_magnitude: float = 1.0,
        magnitude: float = 0.0,
        phase: float = 0.0,
        distance: Distance = "l1",
        scale_invariant: bool = False,
        floor: float = 1e-4,
        quiet: float = 1e-3,
        batch_coupled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the transform and what is compared.

        Args:
            n_fft: Length of the transform in samples.
            hop_length: Samples between frames; a quarter of ``n_fft`` if None.
            win_length: Length of the window; ``n_fft`` if None.
            window: Name of the window, see :func:`sonograd.functional.get_window`.
            convergence: Weight :math:`w_c` of the spectral convergence.
            log_magnitude: Weight :math:`w_l` of the difference of logarithms.
            magnitude: Weight :math:`w_m` of the difference.
            phase: Weight :math:`w_p` of the difference of phases.
            distance: ``"l2"`` squares the differences of logarithms and of magnitudes.
            scale_invariant: Scale the reference to the estimate by least squares first.
            floor: Smallest magnitude :math:`f`, positive.
            quiet: Amplitude below which a reference counts as this loud in the convergence.
            batch_coupled: Take the norms over all signals together, sums over all bins for
                ``reduction="sum"``, and phases as plain differences of angles, as published
                implementations do. Then items do influence each other.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., samples)``.

        Raises:
            ParameterError: If a value is out of range, or ``batch_coupled`` is asked for values
                of items.
        """
        super().__init__(reduction=reduction)
        check_positive(floor=floor)
        hop = max(1, n_fft // 4) if hop_length is None else hop_length
        self.resolution = Resolution(n_fft, hop, n_fft if win_length is None else win_length)
        self.weights = SpectralWeights(convergence, log_magnitude, magnitude)
        if not 0 <= phase < float("inf"):
            raise ParameterError(f"the weight phase is {phase}; expected a number >= 0")
        if not phase + convergence + log_magnitude + magnitude > 0:
            raise ParameterError("all weights are 0; expected at least one that is positive")
        if distance not in {"l1", "l2"}:
            raise ParameterError(f"distance is {distance!r}; expected 'l1' or 'l2'")
        if batch_coupled and reduction == "none":
            raise ParameterError(
                "batch_coupled gives one value for the whole batch; reduction is 'none', "
                "expected 'mean' or 'sum'"
            )
        self.phase = phase
        self.squared = distance == "l2"
        self.scale_invariant = scale_invariant
        self.floor = floor
        self.quiet = quiet
        self.batch_coupled = batch_coupled
        self.register_buffer(
            "window",
            get_window(window, self.resolution.win_length, dtype=torch.float64),
            persistent=False,
        )

    def extra_repr(self) -> str:
        """Show the transform."""
        r = self.resolution
        return f"n_fft={r.n_fft}, hop_length={r.hop_length}, win_length={r.win_length}"

    def transform_magnitude(self, magnitude: Tensor) -> Tensor:
        """Return what is compared instead of the magnitude of each bin."""
        return magnitude

    @property
    def closed_form(self) -> bool:
        """Whether the gradient is computed in closed form."""
        plain = type(self).transform_magnitude is STFTLoss.transform_magnitude
        return plain and not (self.phase or self.squared or self.scale_invariant)

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``; a scalar if ``batch_coupled``."""
        coupled_sum = self.batch_coupled and self.reduction == "sum"
        if self.closed_form and not reference.requires_grad and not coupled_sum:
            return stft_distance(
                estimate,
                reference,
                resolutions=[self.resolution],
                windows=[self.window],
                weights=self.weights,
                floor=self.floor,
                quiet=self.quiet,
                batch_coupled=self.batch_coupled,
            )
        return self._by_autograd(estimate, reference)

    def _by_autograd(self, estimate: Tensor, reference: Tensor) -> Tensor:
        spectra = self._spectrum(estimate), self._spectrum(reference)
        ours, theirs = (self.transform_magnitude(self._magnitude(s)) for s in spectra)
        if self.scale_invariant:
            scale = (ours * theirs).sum(dim=(-2, -1)) / theirs.square().sum(dim=(-2, -1))
            theirs = theirs * scale[..., None, None]
        values = self._compare(ours, theirs)
        if self.phase:
            values = values + self.phase * self._phase_distance(*spectra)
        return values

    def _compare(self, ours: Tensor, theirs: Tensor) -> Tensor:
        weights = self.weights
        if self.batch_coupled and self.reduction == "sum":
            weights = SpectralWeights(
                weights.convergence,
                weights.log_magnitude * ours.numel(),
                weights.magnitude * ours.numel(),
            )
        bins = ours.shape[-1] * ours.shape[-2]
        return magnitude_distance(
            ours,
            theirs,
            weights=weights,
            quiet_norm=self.quiet * float((self.window.square().sum() * bins).sqrt()),
            squared=self.squared,
            batch_coupled=self.batch_coupled,
        )

    def _spectrum(self, x: Tensor) -> Tensor:
        return stft(
            x,
            n_fft=self.resolution.n_fft,
            hop_length=self.resolution.hop_length,
            win_length=self.resolution.win_length,
            window=self.window.to(x),
        )

    def _magnitude(self, spectrum: Tensor) -> Tensor:
        power = spectrum.real.square() + spectrum.imag.square()
        return power.clamp(min=self.floor**2).sqrt()

    def _phase_distance(self, estimate: Tensor, reference: Tensor) -> Tensor:
        if self.batch_coupled:
            return (estimate.angle() - reference.angle()).square().mean()
        ours, theirs = (s / self._magnitude(s) for s in (estimate, reference))
        chord = ours - theirs
        return (chord.real.square() + chord.imag.square()).mean(dim=(-2, -1))
