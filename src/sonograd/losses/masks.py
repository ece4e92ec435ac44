"""Losses on magnitudes and masks, for networks that estimate masks.

Their estimate is what ``separator.estimate(mix)`` returns, a
:class:`~sonograd.separators.MaskEstimate`; their reference is the complex spectrum of the stems, by
the transform of the separator: ``separator.transform(stems)``. Where the network is variational,
the divergence of its latent is added.
"""

from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.losses.base import (
    Criterion,
    Loss,
    Reduction,
    as_float,
    full_precision,
)
from sonograd.losses.spectral import Distance
from sonograd.losses.waveform import L1, L2

__all__ = [
    "ComponentLoss",
    "KLDivergence",
    "MaskCriterion",
    "MaskLoss",
    "MasksAndSpectrum",
    "OnMagnitudes",
    "kl_divergence",
]


class MasksAndSpectrum(Protocol):
    """What these losses look at, for example a :class:`~sonograd.separators.MaskEstimate`."""

    @property
    def masks(self) -> Tensor:
        """Real, ``(batch, stems, channels, bins, frames)``."""

    @property
    def mix_spectrum(self) -> Tensor:
        """Complex, ``(batch, channels, bins, frames)``."""

    @property
    def latent(self) -> tuple[Tensor, Tensor] | None:
        """Mean and log-variance, each ``(batch, ...)``, or None."""


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence of independent Gaussians from the standard one, per item and coordinate.

    .. math::
        \frac1{2D} \sum_d \mu_d^2 + \sigma_d^2 - \ln \sigma_d^2 - 1

    Kingma and Welling, *Auto-encoding variational Bayes*, arXiv:1312.6114, appendix B. It takes
    the log-variance, so that it is finite for every width.

    Args:
        mean: :math:`\mu`, ``(batch, ...)``.
        log_variance: :math:`\ln \sigma^2`, the same shape.

    Returns:
        One value per item, ``(batch,)``, in nats per coordinate.
    """
    terms = mean.square() + log_variance.exp() - log_variance - 1
    return 0.5 * terms.flatten(1).mean(dim=-1)


class MaskCriterion(Criterion):
    """Base of losses on a :class:`MasksAndSpectrum`; a subclass writes :meth:`per_stem`.

    The value of an item is the mean over its stems.
    """

    def __init__(self, *, kl_weight: float = 1e-2, reduction: Reduction = "mean") -> None:
        """Choose how much the latent of a variational network counts.

        Args:
            kl_weight: Weight of :func:`kl_divergence`, at least 0. Without a latent it has no
                effect.
            reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"`` for shape
                ``(batch,)``.
        """
        super().__init__(reduction=reduction)
        if not 0 <= kl_weight < float("inf"):
            raise ParameterError(f"kl_weight is {kl_weight}; expected a number >= 0")
        self.kl_weight = kl_weight

    @abstractmethod
    def per_stem(self, masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
        """Return one value per stem, ``(batch, stems)``.

        Args:
            masks: ``(batch, stems, channels, bins, frames)``.
            mix: Magnitudes of the mix, ``(batch, 1, channels, bins, frames)``.
            stems: Magnitudes of the references, the shape of ``masks``.
        """

    def forward(self, estimate: MasksAndSpectrum, reference: Tensor) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: Masks, spectrum of the mix, and latent.
            reference: Spectra of the stems by the same transform, complex (or their magnitudes),
                ``(batch, stems, channels, bins, frames)``.

        Raises:
            ShapeError: If the reference does not have the shape of the masks.
            AudioError: If a value is NaN or infinite.
        """
        masks, mix = estimate.masks, estimate.mix_spectrum
        _check_spectra(masks, mix, reference)
        with full_precision(masks):
            ours = as_float(masks), mix.abs().unsqueeze(1)
            values = self.per_stem(*ours, reference.abs()).mean(dim=-1)
            if estimate.latent is not None and self.kl_weight:
                values = values + self.kl_weight * kl_divergence(*map(as_float, estimate.latent))
        return self._reduce(values, masks=masks, mix_spectrum=mix, reference=reference)


class OnMagnitudes(MaskCriterion):
    """A loss on the masked magnitudes of the mix and the magnitudes of the stems.

    >>> from sonograd.losses import L1
    >>> loss = OnMagnitudes(L1())
    """

    def __init__(
        self, loss: Loss, *, kl_weight: float = 1e-2, reduction: Reduction = "mean"
    ) -> None:
        """Choose the loss, such as :class:`L1`, :class:`L2` or :class:`RMSE`.

        Args:
            loss: Gets magnitudes ``(batch, stems, channels, bins * frames)``; its own reduction
                is not used.
            kl_weight: As in :class:`MaskCriterion`.
            reduction: As in :class:`MaskCriterion`.
        """
        super().__init__(kl_weight=kl_weight, reduction=reduction)
        self.loss = loss

    def per_stem(self, masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
        """Return one value per stem, ``(batch, stems)``."""
        values = self.loss.per_item((masks * mix).flatten(-2), stems.flatten(-2))
        return values.flatten(2).mean(dim=-1)


class KLDivergence(OnMagnitudes):
    """The loss of a variational autoencoder: a reconstruction, and the divergence of the latent.

    Raises :class:`~sonograd.errors.ParameterError` for networks without a latent.
    """

    def __init__(
        self,
        *,
        distance: Distance = "l1",
        kl_weight: float = 1e-2,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the reconstruction.

        Args:
            distance: Of the magnitudes, ``"l1"`` or ``"l2"``.
            kl_weight: Weight of the divergence. With 1 this is a bound of the likelihood, in which
                the latent of most networks soon carries nothing.
            reduction: As in :class:`MaskCriterion`.
        """
        if distance not in {"l1", "l2"}:
            raise ParameterError(f"distance is {distance!r}; expected 'l1' or 'l2'")
        loss = L1() if distance == "l1" else L2()
        super().__init__(loss, kl_weight=kl_weight, reduction=reduction)

    def forward(self, estimate: MasksAndSpectrum, reference: Tensor) -> Tensor:
        """Compare, see :meth:`MaskCriterion.forward`."""
        if estimate.latent is None:
            raise ParameterError(
                "the estimate has no latent; expected that of a variational network such as "
                "SpectrogramNetVAE. For others use OnMagnitudes."
            )
        return super().forward(estimate, reference)


class MaskLoss(MaskCriterion):
    r"""Distance between the masks and the ideal ratio :math:`\min(|S| / |X|, 1)`.

    Each bin counts by its magnitude in the mix, so that nothing depends on bins where there is
    nothing to take apart; a silent mix gives 0.
    """

    def __init__(
        self,
        *,
        distance: Distance = "l1",
        kl_weight: float = 1e-2,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose the distance, ``"l1"`` or ``"l2"``; the rest is as in :class:`MaskCriterion`."""
        super().__init__(kl_weight=kl_weight, reduction=reduction)
        if distance not in {"l1", "l2"}:
            raise ParameterError(f"distance is {distance!r}; expected 'l1' or 'l2'")
        self.distance = distance

    def per_stem(self, masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
        """Return one value per stem, ``(batch, stems)``."""
        tiny = torch.finfo(mix.dtype).tiny
        error = masks - (stems / mix.clamp(min=tiny)).clamp(max=1.0)
        error = error.abs() if self.distance == "l1" else error.square()
        weights = mix.expand_as(error)
        dims = (-3, -2, -1)
        return (weights * error).sum(dim=dims) / weights.sum(dim=dims).clamp(min=1e-12)


class ComponentLoss(MaskCriterion):
    r"""What the mask does to the stem and to the rest of the mix, apart from each other.

    .. math::
        (1 - \alpha - \beta) \frac{\|M Y - Y\|^2}{\|X\|^2} + \alpha \frac{\|M R\|^2}{\|X\|^2}
        + \frac\beta2 \Big\| \frac{M R}{\|M R\|} - \frac{R}{\|R\|} \Big\|^2

    with the magnitudes :math:`X, Y` of mix and stem and :math:`R = \max(X - Y, 0)`: how much of
    the stem is lost, how much of the rest stays, and whether what stays still sounds like the rest.
    Xu et al., *Components loss for neural networks in mask-based speech enhancement*,
    doi:10.1186/s13636-021-00207-6. Energies are relative to the mix, so that the three have one
    scale; silence gives 0.

    By default loss and rest weigh the same, for which the best mask is that of Wiener, and a little
    is left to the third.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.45,
        beta: float = 0.1,
        kl_weight: float = 1e-2,
        reduction: Reduction = "mean",
    ) -> None:
        r"""Choose the weights.

        Args:
            alpha: :math:`\alpha`, of what stays of the rest.
            beta: :math:`\beta`, of how that sounds. ``alpha + beta`` is below 1.
            kl_weight: As in :class:`MaskCriterion`.
            reduction: As in :class:`MaskCriterion`.
        """
        super().__init__(kl_weight=kl_weight, reduction=reduction)
        if not (alpha >= 0 and beta >= 0 and alpha + beta < 1):
            raise ParameterError(
                f"alpha is {alpha} and beta {beta}; expected numbers >= 0 with a sum below 1, "
                "since the stem itself has the weight 1 - alpha - beta"
            )
        self.alpha, self.beta = alpha, beta

    def per_stem(self, masks: Tensor, mix: Tensor, stems: Tensor) -> Tensor:
        """Return one value per stem, ``(batch, stems)``."""
        rest = (mix - stems).clamp(min=0.0)
        kept = masks * rest
        energy = _energy(mix) + 1e-12
        lost = _energy((masks - 1) * stems) / energy
        shape = _energy(_unit(kept) - _unit(rest))
        remains = _energy(kept) / energy
        separation = 1 - self.alpha - self.beta
        return separation * lost + self.alpha * remains + 0.5 * self.beta * shape


def _energy(x: Tensor) -> Tensor:
    return x.square().sum(dim=(-3, -2, -1))


def _unit(x: Tensor) -> Tensor:
    """Scale to unit norm; silence stays silent, with a finite gradient."""
    return x / (_energy(x) + 1e-8).sqrt()[..., None, None, None]


def _check_spectra(masks: Tensor, mix: Tensor, reference: Tensor) -> None:
    if masks.shape != reference.shape:
        raise ShapeError(
            f"the masks have shape {tuple(masks.shape)} but reference has "
            f"{tuple(reference.shape)}; they must be equal, (batch, stems, channels, bins, "
            "frames). Take the spectrum of the stems by the transform of the separator."
        )
    if masks.ndim != 5 or mix.shape != (masks.shape[0], *masks.shape[2:]):
        raise ShapeError(
            f"the masks have shape {tuple(masks.shape)} and the spectrum of the mix "
            f"{tuple(mix.shape)}; expected (batch, stems, channels, bins, frames) and "
            "(batch, channels, bins, frames)"
        )
    if masks.numel() == 0:
        raise ShapeError(f"the masks have shape {tuple(masks.shape)}; there is nothing to compare")
