"""The best one-to-one assignment between two groups."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError

__all__ = ["best_permutation"]

#: Up to so many, all assignments are tried at once, which is faster and stays on the device.
_ENUMERATED = 4


def best_permutation(cost: Tensor, *, maximize: bool = False) -> Tensor:
    """Assign an estimate to each reference so that the costs add up to the least.

    Groups of more than four are solved by shortest augmenting paths (the Hungarian algorithm in the
    form of Jonker and Volgenant, doi:10.1007/BF02278710), in cubic time on the processor. Nothing
    is differentiated: take the loss of the assigned pairs.

    Args:
        cost: Of every pair, ``(..., estimates, references)``; infinite for pairs that must not be,
            unless nothing else is left.
        maximize: Find the largest sum, of scores instead of costs.

    Returns:
        Numbers of estimates, int64, ``(..., references)``; -1 for a reference without one, of
        which there are ``references - estimates`` at most. Estimates may remain.

    Raises:
        ShapeError: If ``cost`` has fewer than two axes, or one of the last two is empty.
        ParameterError: If a cost is NaN.

    >>> best_permutation(torch.tensor([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]]))
    tensor([1, 0, 2])
    """
    if cost.ndim < 2 or 0 in cost.shape[-2:]:
        raise ShapeError(
            f"cost has shape {tuple(cost.shape)}; expected (..., estimates, references), "
            "at least one of each"
        )
    with torch.no_grad():
        costs = cost.detach()
        costs = costs.float() if costs.device.type == "mps" else costs.double()
        costs = _finite(-costs if maximize else costs)
        estimates, references = costs.shape[-2:]
        flat = costs.reshape(-1, estimates, references)
        if max(estimates, references) <= _ENUMERATED:
            result = _enumerate(flat)
        else:
            solved = [_augment(item) for item in flat.cpu().numpy()]
            stacked = np.stack(solved) if solved else np.zeros((0, references), dtype=np.int64)
            result = torch.from_numpy(stacked).to(cost.device)
        return result.reshape(*cost.shape[:-2], references)


def _finite(costs: Tensor) -> Tensor:
    """Replace infinite costs by some that no sum of others can reach."""
    if costs.isnan().any():
        raise ParameterError(
            f"{int(costs.isnan().sum())} of {costs.numel()} costs are NaN; expected numbers. "
            "Silent or damaged signals often cause this."
        )
    finite = costs.isfinite()
    if finite.all():
        return costs
    largest = costs.abs().masked_fill(~finite, 0.0).amax(dim=(-2, -1), keepdim=True)
    limit = (largest + 1) * 2 * (min(costs.shape[-2:]) + 1)
    return torch.where(finite, costs, costs.sign() * limit)


def _enumerate(costs: Tensor) -> Tensor:
    """Try all assignments of ``(items, estimates, references)``."""
    estimates, references = costs.shape[-2:]
    # With too few estimates, "nobody" fills up, at no cost.
    people = list(range(estimates)) + [-1] * max(references - estimates, 0)
    options = torch.tensor(
        sorted(set(itertools.permutations(people, references)), key=lambda p: [q % 99 for q in p]),
        device=costs.device,
    )
    padded = torch.cat([costs, torch.zeros_like(costs[:, :1])], dim=1)
    columns = torch.arange(references, device=costs.device)
    sums = padded[:, options % (estimates + 1), columns].sum(dim=-1)
    return options[sums.argmin(dim=-1)]


def _augment(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Solve one item by augmenting along shortest paths, one row of the smaller side at a time."""
    estimates, references = cost.shape
    by_estimate = estimates <= references
    table = cost if by_estimate else cost.T
    owner = _match_rows(table)
    result = np.full(references, -1, dtype=np.int64)
    if by_estimate:
        result[:] = owner
    else:
        for estimate, reference in enumerate(owner):
            if reference >= 0:
                result[reference] = estimate
    return result


def _match_rows(table: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give every row of a wide table a column of its own; return the row of each column, or -1."""
    rows, columns = table.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1, dtype=np.int64)
    choice = np.full(rows, -1, dtype=np.int64)
    for start in range(rows):
        distance = np.full(columns, np.inf)
        parent = np.full(columns, -1, dtype=np.int64)
        done = np.zeros(columns, dtype=bool)
        row, shortest = start, 0.0
        while True:
            slack = shortest + table[row] - row_price[row] - column_price
            closer = ~done & (slack < distance)
            distance[closer], parent[closer] = slack[closer], row
            column = int(np.where(done, np.inf, distance).argmin())
            shortest = float(distance[column])
            done[column] = True
            if owner[column] < 0:
                break
            row = int(owner[column])
        reached = done & (owner >= 0)
        row_price[start] += shortest
        row_price[owner[reached]] += shortest - distance[reached]
        column_price[done] -= shortest - distance[done]
        while column >= 0:
            row = int(parent[column])
            owner[column] = row
            choice[row], column = column, int(choice[row])
            if row == start:
                break
    return owner
