"""Losses made for source separation."""

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.losses.base import Loss, Reduction

__all__ = ["SISDR", "LogEnergy"]


class SISDR(Loss):
    r"""Negative scale-invariant signal-to-distortion ratio, in dB.

    .. math::
        -10 \log_{10} \frac{\|\alpha s\|^2 + \epsilon}{\|\alpha s - \hat s\|^2 + \epsilon},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2 + \epsilon}

    Le Roux et al., *SDR - half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855. A silent
    reference has :math:`\alpha = 0`: its value is :math:`10 \log_{10}` of the energy of the
    estimate, relative to :math:`\epsilon`, so that the estimate is still pulled to silence. The
    exact measure without :math:`\epsilon` is :func:`sonograd.functional.si_sdr`.

    >>> estimate, reference = torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0])
    >>> SISDR()(estimate, reference).round(decimals=3)
    tensor(-20.)
    """

    def __init__(self, *, epsilon: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Choose the offset.

        Args:
            epsilon: Added to every energy, positive.
            reduction: ``"mean"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.
        """
        super().__init__(reduction=reduction)
        if not epsilon > 0:
            raise ParameterError(f"epsilon is {epsilon}; expected a positive number")
        self.epsilon = epsilon

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        energy = reference.square().sum(dim=-1, keepdim=True)
        inner = (estimate * reference).sum(dim=-1, keepdim=True)
        target = inner / (energy + self.epsilon) * reference
        signal = target.square().sum(dim=-1) + self.epsilon
        noise = (target - estimate).square().sum(dim=-1) + self.epsilon
        return 10 * (noise.log10() - signal.log10())


class LogEnergy(Loss):
    r"""Logarithm of the energy of the error, :math:`\lg(\frac1N \|\hat s - s\|^2 + f)`.

    A tenth of the negative signal-to-noise ratio in dB, up to a constant, with a floor: a
    tenfold smaller error counts the same for a loud and a quiet stem, until it falls below
    :math:`f`. Scale signals to a mix of unit power before.

    >>> LogEnergy(floor_db=-30)(torch.ones(2, 100), torch.ones(2, 100)).round(decimals=4)
    tensor(-3.)
    """

    def __init__(self, *, floor_db: float = -25.0, reduction: Reduction = "mean") -> None:
        """Choose the floor.

        Args:
            floor_db: Power of an error that no longer matters, in dB.
            reduction: ``"mean"``, or ``"none"`` for shape ``(...)`` from
                ``(..., channels, samples)``.
        """
        super().__init__(reduction=reduction)
        self.floor_db = floor_db

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per audio signal, ``(...)``."""
        power = (estimate - reference).square().mean(dim=(-2, -1))
        return torch.log10(power + 10 ** (self.floor_db / 10))
