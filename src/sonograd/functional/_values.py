"""Numbers and tensors as arguments: brought to float64 on one device, and checked where free."""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError

__all__ = ["as_float64", "check_range"]


def as_float64(*values: float | Tensor) -> tuple[Tensor, ...]:
    """Return ``values`` as float64 tensors of one broadcast shape, on the device of the tensors.

    Values on a device without float64 (MPS) are moved to the CPU. Gradients are kept.
    """
    devices = {v.device for v in values if isinstance(v, Tensor) and v.ndim}
    devices = devices or {v.device for v in values if isinstance(v, Tensor)}
    device = next(iter(devices), torch.device("cpu"))
    if device.type == "mps":
        device = torch.device("cpu")
    tensors = [torch.as_tensor(v, dtype=torch.float64).to(device) for v in values]
    return tuple(torch.broadcast_tensors(*tensors))


def check_range(
    value: float | Tensor,
    name: str,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    closed: bool = False,
) -> None:
    """Refuse a Python number outside ``(above, below)``, or ``[above, below]`` if ``closed``.

    Tensors pass: looking at their values would stall a GPU, and an optimizer that steps out of
    range must not stop the program.
    """
    if isinstance(value, Tensor):
        return
    inside = above <= value <= below if closed else above < value < below
    if not inside:
        left, right = ("[", "]") if closed else ("(", ")")
        span = f"{left}{above}, {below}{right}"
        raise ParameterError(f"{name} is {value}; expected a value in {span}")
