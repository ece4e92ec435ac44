"""What every loss is: a module that compares an estimate with its reference."""

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.shapes import check_floating, check_same_shape

__all__ = ["Criterion", "Loss", "Reduction", "check_positive", "check_signals"]

Reduction: TypeAlias = Literal["mean", "sum", "none"]


class Criterion(nn.Module, ABC):
    """What losses of all kinds share: how the values of items become one.

    Attributes:
        check_finite: Raise an error if a value is not finite, instead of returning it. Set it to
            False where something else looks for NaN, such as a gradient scaler.
    """

    check_finite: bool = True

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        """Choose what is returned.

        Args:
            reduction: ``"mean"`` or ``"sum"`` over all items for a scalar, ``"none"`` for one
                value per item.

        Raises:
            ParameterError: If ``reduction`` is none of these.
        """
        super().__init__()
        if reduction not in get_args(Reduction):
            raise ParameterError(f"reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")
        self.reduction = reduction

    @abstractmethod
    def forward(self, estimate: Any, reference: Tensor) -> Tensor:
        """Compare; lower is better."""

    def extra_repr(self) -> str:
        """Show the reduction."""
        return f"reduction={self.reduction!r}"

    def _reduce(self, values: Tensor, **inputs: Tensor) -> Tensor:
        """Apply the reduction to ``values``; name the culprit among ``inputs`` of what is NaN."""
        # Compiled graphs and torch.func cannot look at values.
        blind = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        if self.check_finite and not blind:
            _check_finite(values, inputs)
        match self.reduction:
            case "mean":
                return values.mean()
            case "sum":
                return values.sum()
            case "none":
                return values


class Loss(Criterion):
    """Base class of losses on tensors.

    A subclass writes :meth:`per_item`. Values and gradients are finite for finite input, silence
    included, and no item influences the value of another. Half precision is computed in float32,
    under autocast too.
    """

    @abstractmethod
    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per item, before the reduction."""

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: ``(..., samples)``.
            reference: The same shape.

        Raises:
            ShapeError: If the shapes differ, or a tensor is empty, not floating point, or seems
                to be ``(samples, channels)``.
            AudioError: If a value is NaN or infinite.
        """
        check_signals(estimate, reference)
        with full_precision(estimate):
            values = self.per_item(as_float(estimate), as_float(reference))
        return self._reduce(values, estimate=estimate, reference=reference)

    def pairwise(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return the value of every estimate against every reference, without gradient.

        Args:
            estimate: ``(..., estimates, channels, samples)``.
            reference: ``(..., references, channels, samples)``.

        Returns:
            ``(..., estimates, references)``, the mean over channels, float64.
        """
        with torch.no_grad(), full_precision(estimate):
            estimate, reference = _double(estimate), _double(reference)
            rows = []
            for one in estimate.unbind(-3):
                row = [self.per_item(one, other) for other in reference.unbind(-3)]
                rows.append(torch.stack([_without(v, one.ndim - 2) for v in row], dim=-1))
            return torch.stack(rows, dim=-2)


def full_precision(x: Tensor) -> Any:
    """Return a context in which autocast is off for the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)


def as_float(x: Tensor) -> Tensor:
    """Return ``x`` in float32, or float64 if it is."""
    return x if x.dtype == torch.float64 else x.float()


def check_signals(estimate: Tensor, reference: Tensor) -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless both are signals of one shape."""
    for name, x in (("estimate", estimate), ("reference", reference)):
        check_floating(x, name=name)
        _check_layout(x, name)
    check_same_shape(estimate, reference)


def check_positive(**values: float) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` unless all are positive and finite."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value}; expected a positive number")


def _check_layout(x: Tensor, name: str) -> None:
    got = f"{name} has shape {tuple(x.shape)}"
    if x.ndim < 1:
        raise ShapeError(f"{got}; expected (..., samples)")
    if x.numel() == 0:
        raise ShapeError(f"{got}, which is empty; there is nothing to compare")
    if x.ndim >= 2 and x.shape[-1] <= 8 and x.shape[-2] >= 1024:
        raise ShapeError(
            f"{got}; expected (..., channels, samples). "
            f"Is it (samples, channels)? Then pass {name}.mT."
        )


def _check_finite(values: Tensor, inputs: dict[str, Tensor]) -> None:
    if torch.isfinite(values).all():
        return
    for name, x in inputs.items():
        bad = int((~torch.isfinite(x)).sum())
        if bad:
            raise AudioError(
                f"{name} holds {bad} values of {x.numel()} that are NaN or infinite; "
                "expected finite numbers"
            )
    peak = max((float(x.detach().abs().max()) for x in inputs.values()), default=float("nan"))
    raise AudioError(
        f"the loss is not finite for values up to {peak:.3g}; expected audio around full scale, 1. "
        "Scale it, or compute in float64."
    )


def _double(x: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return x.float() if x.device.type == "mps" else x.double()


def _without(values: Tensor, leading: int) -> Tensor:
    """Average what lies behind the ``leading`` dimensions."""
    if values.ndim < leading:
        raise ParameterError(
            "the loss has one value for several stems; expected one with values per signal or per "
            "(channels, samples), so that stems can be compared one by one"
        )
    return values.flatten(leading).mean(dim=-1) if values.ndim > leading else values
