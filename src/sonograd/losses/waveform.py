"""Losses that compare waveforms sample by sample."""

from torch import Tensor

from sonograd.losses.base import Loss

__all__ = ["L1", "L2"]


class L1(Loss):
    r"""Mean absolute error of each signal, :math:`\frac1N \sum_n |\hat s_n - s_n|`.

    Args:
        reduction: ``"mean"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.

    >>> import torch
    >>> L1()(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(1.)
    """

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        return (estimate - reference).abs().mean(dim=-1)


class L2(Loss):
    r"""Mean squared error of each signal, :math:`\frac1N \sum_n (\hat s_n - s_n)^2`.

    Args:
        reduction: ``"mean"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.

    >>> import torch
    >>> L2()(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        return (estimate - reference).square().mean(dim=-1)
