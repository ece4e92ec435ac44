"""Filters ahead of a loss, by the names of ``auraloss.perceptual``."""

from typing import Literal, TypeAlias

from torch import Tensor, nn

from sonograd.errors import ParameterError, ShapeError
from sonograd.losses.perceptual import AWeighting, PreEmphasis

__all__ = ["FIRFilter", "FilterType", "SumAndDifference"]

FilterType: TypeAlias = Literal["hp", "fd", "aw"]


class SumAndDifference(nn.Module):
    """Sum and difference of two channels, each ``(batch, 1, samples)``."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Take ``(batch, 2, samples)``."""
        if x.ndim != 3 or x.shape[1] != 2:
            raise ShapeError(f"x has shape {tuple(x.shape)}; expected (batch, 2, samples)")
        return self.sum(x).unsqueeze(1), self.diff(x).unsqueeze(1)

    @staticmethod
    def sum(x: Tensor) -> Tensor:
        """Return the sum, ``(batch, samples)``."""
        return x[:, 0, :] + x[:, 1, :]

    @staticmethod
    def diff(x: Tensor) -> Tensor:
        """Return the difference, ``(batch, samples)``."""
        return x[:, 0, :] - x[:, 1, :]


class FIRFilter(nn.Module):
    """Pre-emphasis (``"hp"``, ``"fd"``) or A-weighting (``"aw"``) of both signals of a loss."""

    def __init__(
        self,
        filter_type: FilterType = "hp",
        coef: float = 0.85,
        fs: float = 44100,
        ntaps: int = 101,
        plot: bool = False,
    ) -> None:
        """Take the arguments of the original; ``ntaps`` is checked, but the filters are exact.

        Raises:
            ParameterError: If ``filter_type`` is unknown, ``ntaps`` is even, or ``plot`` is set.
        """
        super().__init__()
        if ntaps % 2 == 0:
            raise ParameterError(f"ntaps is {ntaps}; expected an odd number")
        if plot:
            raise ParameterError("plot is True; losses do not draw. See sonograd.plotting")
        self.filter: nn.Module
        match filter_type:
            case "hp":
                self.filter = PreEmphasis(coefficient=coef)
            case "fd":
                self.filter = PreEmphasis(coefficient=coef, kind="folded")
            case "aw":
                self.filter = AWeighting(sample_rate=fs)
            case _:
                raise ParameterError(f"filter_type is {filter_type!r}; expected 'hp', 'fd' or 'aw'")
        self.filter_type = filter_type
        self.coef, self.fs, self.ntaps = coef, fs, ntaps

    def forward(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Filter both, ``(..., samples)``."""
        return self.filter(input), self.filter(target)
