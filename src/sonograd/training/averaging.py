"""A moving average of the weights of a model."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

__all__ = ["WeightAverage"]

M = TypeVar("M", bound=nn.Module)


class WeightAverage(Generic[M]):
    r"""The exponential moving average :math:`a \leftarrow d a + (1 - d) w` of weights and buffers.

    In its first steps the average follows faster, :math:`d = \min(\text{decay}, (t + 1)/(t + 10))`
    after ``t`` steps, so that the initial weights are soon forgotten. Buffers of integers are
    copied.
    """

    def __init__(self, model: M, decay: float) -> None:
        """Start with a copy of ``model``."""
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(requires_grad=False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: M, step: int) -> None:
        """Take in the weights after ``step`` earlier updates."""
        decay = min(self.decay, (step + 1) / (step + 10)) if self.decay else 0.0
        average, current = self.model.state_dict(), model.state_dict()
        pairs = [(value, current[name]) for name, value in average.items()]
        moving = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([a for a, _ in moving], [w for _, w in moving], 1 - decay)
        for value, now in pairs:
            if not value.is_floating_point():
                value.copy_(now)
