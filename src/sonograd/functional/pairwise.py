"""Inner products of every estimate with every reference, exact enough for ratios of energies."""

import torch
from torch import Tensor

from sonograd.errors import ShapeError
from sonograd.shapes import check_floating

__all__ = ["inner_products"]

#: Samples that are converted to float64 at a time: they stay in the cache.
_BLOCK = 1 << 14


def inner_products(
    estimate: Tensor, reference: Tensor, *, zero_mean: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return energies and inner products of all pairs in float64, without gradient.

    Args:
        estimate: ``(..., estimates, samples)``.
        reference: ``(..., references, samples)``.
        zero_mean: Subtract the mean of each signal first.

    Returns:
        Energies of the estimates ``(..., estimates)``, products ``(..., estimates, references)``
        and energies of the references ``(..., references)``.

    Raises:
        ShapeError: If a dimension other than the one before the last differs.
    """
    check_floating(estimate, name="estimate")
    check_floating(reference, name="reference")
    shapes = tuple(estimate.shape), tuple(reference.shape)
    if (
        min(map(len, shapes)) < 2
        or shapes[0][:-2] != shapes[1][:-2]
        or shapes[0][-1] != shapes[1][-1]
    ):
        raise ShapeError(
            f"estimate has shape {shapes[0]} and reference {shapes[1]}; expected "
            "(..., estimates, samples) and (..., references, samples), equal but for one axis"
        )
    # Apple's GPUs have no float64; the sums of the processor are exact.
    device = torch.device("cpu") if estimate.device.type == "mps" else estimate.device
    estimate, reference = estimate.detach().to(device), reference.detach().to(device)
    if zero_mean:
        estimate, reference = _centered(estimate), _centered(reference)
    lead, counts = shapes[0][:-2], (shapes[0][-2], shapes[1][-2])
    squares = estimate.new_zeros(*lead, counts[0], dtype=torch.float64)
    energies = estimate.new_zeros(*lead, counts[1], dtype=torch.float64)
    products = estimate.new_zeros(*lead, *counts, dtype=torch.float64)
    step = _BLOCK if device.type == "cpu" else 1 << 22
    for begin in range(0, shapes[0][-1], step):
        e = estimate[..., begin : begin + step].double()
        r = reference[..., begin : begin + step].double()
        squares += torch.linalg.vecdot(e, e)
        energies += torch.linalg.vecdot(r, r)
        products += e @ r.mT
    return squares, products, energies


def _centered(x: Tensor) -> Tensor:
    return x.double() - x.mean(dim=-1, keepdim=True, dtype=torch.float64)
