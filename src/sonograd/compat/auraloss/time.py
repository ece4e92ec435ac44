"""Losses in the time domain, by the names of ``auraloss.time``."""

import torch
from torch import Tensor

from sonograd.losses.base import Loss, Reduction, check_positive
from sonograd.losses.waveform import LogCosh

__all__ = ["DCLoss", "ESRLoss", "LogCoshLoss", "SDSDRLoss", "SISDRLoss", "SNRLoss"]


class ESRLoss(Loss):
    """Error-to-signal ratio of energies, with the offset on the energy of the target."""

    def __init__(self, eps: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Take the arguments of the original."""
        super().__init__(reduction=reduction)
        check_positive(eps=eps)
        self.eps = eps

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal."""
        error = (reference - estimate).square().sum(dim=-1)
        return error / (reference.square().sum(dim=-1) + self.eps)


class DCLoss(Loss):
    """Difference of means, squared, over the power of the target."""

    def __init__(self, eps: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Take the arguments of the original."""
        super().__init__(reduction=reduction)
        check_positive(eps=eps)
        self.eps = eps

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal."""
        offset = (reference - estimate).mean(dim=-1).square()
        return offset / (reference.square().mean(dim=-1) + self.eps)


class LogCoshLoss(LogCosh):
    """Logarithm of the hyperbolic cosine of the error."""

    def __init__(self, a: float = 1.0, eps: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Take the arguments of the original; ``eps`` has no effect, as there in float32."""
        super().__init__(a=a, reduction=reduction)
        self.eps = eps


class _Ratio(Loss):
    """Negative ratio of energies in dB, with the offsets of the original."""

    def __init__(
        self, zero_mean: bool = True, eps: float = 1e-8, reduction: Reduction = "mean"
    ) -> None:
        """Take the arguments of the original."""
        super().__init__(reduction=reduction)
        check_positive(eps=eps)
        self.zero_mean = zero_mean
        self.eps = eps

    def _center(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=-1, keepdim=True) if self.zero_mean else x

    def _decibels(self, target: Tensor, error: Tensor) -> Tensor:
        ratio = target.square().sum(dim=-1) / (error.square().sum(dim=-1) + self.eps)
        return -10 * torch.log10(ratio + self.eps)

    def _scaled(self, estimate: Tensor, reference: Tensor) -> Tensor:
        inner = (estimate * reference).sum(dim=-1, keepdim=True)
        scale = inner / (reference.square().sum(dim=-1, keepdim=True) + self.eps)
        return scale * reference


class SNRLoss(_Ratio):
    """Negative signal-to-noise ratio, in dB."""

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal."""
        estimate, reference = self._center(estimate), self._center(reference)
        return self._decibels(reference, estimate - reference)


class SISDRLoss(_Ratio):
    """Negative scale-invariant signal-to-distortion ratio, in dB."""

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal."""
        estimate, reference = self._center(estimate), self._center(reference)
        target = self._scaled(estimate, reference)
        return self._decibels(target, estimate - target)


class SDSDRLoss(_Ratio):
    """Negative scale-dependent signal-to-distortion ratio, in dB."""

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal."""
        estimate, reference = self._center(estimate), self._center(reference)
        return self._decibels(self._scaled(estimate, reference), reference - estimate)
