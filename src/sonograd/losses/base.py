"""What every loss is: a module that compares an estimate with its reference."""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

from torch import Tensor, nn

from sonograd.shapes import check_floating, check_same_shape

__all__ = ["Loss", "Reduction"]

Reduction: TypeAlias = Literal["mean", "none"]


class Loss(nn.Module, ABC):
    """Base class of losses.

    A subclass writes :meth:`per_item`. Values and gradients are finite for finite input, silence
    included, and no item influences the value of another.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        """Choose what is returned.

        Args:
            reduction: ``"mean"`` for a scalar, ``"none"`` for one value per item.
        """
        super().__init__()
        self.reduction = reduction

    @abstractmethod
    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per item, before the mean."""

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: ``(..., samples)``.
            reference: The same shape.

        Raises:
            ShapeError: If the shapes differ or the tensors are not floating-point.
        """
        check_floating(estimate, name="estimate")
        check_same_shape(estimate, reference)
        values = self.per_item(estimate, reference)
        return values.mean() if self.reduction == "mean" else values
