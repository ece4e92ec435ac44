import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import best_permutation


def _total(cost, chosen):
    kept = chosen >= 0
    return cost[chosen[kept], np.arange(len(chosen))[kept]].sum()


@given(
    estimates=st.integers(1, 9),
    references=st.integers(1, 9),
    seed=st.integers(0, 10_000),
    ties=st.booleans(),
)
def test_equals_scipy(estimates, references, seed, ties):
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=(3, estimates, references))
    cost = np.round(cost) if ties else cost
    for maximize in (False, True):
        chosen = best_permutation(torch.from_numpy(cost), maximize=maximize).numpy()
        assert chosen.shape == (3, references)
        for item, order in zip(cost, chosen, strict=True):
            rows, columns = linear_sum_assignment(item, maximize=maximize)
            used = order[order >= 0]
            assert len(used) == len(set(used.tolist())) == min(estimates, references)
            np.testing.assert_allclose(_total(item, order), item[rows, columns].sum())


def test_large_problems_are_solved():
    cost = np.random.default_rng(0).random((60, 40))
    rows, columns = linear_sum_assignment(cost)
    chosen = best_permutation(torch.from_numpy(cost)).numpy()
    np.testing.assert_array_equal(chosen[columns], rows)


def test_every_permutation_is_found():
    for size in (2, 3, 4, 5):
        for order in itertools.permutations(range(size)):
            cost = torch.ones(size, size)
            cost[list(order), range(size)] = 0
            assert best_permutation(cost).tolist() == list(order)


@pytest.mark.parametrize("size", [3, 6])
def test_forbidden_pairs_are_avoided(size):
    cost = torch.rand(size, size, dtype=torch.float64)
    order = torch.randperm(size)
    mask = torch.ones(size, size, dtype=torch.bool)
    mask[order, torch.arange(size)] = False
    assert torch.equal(best_permutation(cost.masked_fill(mask, torch.inf)), order)
    everything = best_permutation(torch.full((size, size), torch.inf))
    assert sorted(everything.tolist()) == list(range(size))


def test_leading_dimensions_and_types():
    cost = torch.rand(2, 3, 5, 4, requires_grad=True)
    chosen = best_permutation(cost)
    assert chosen.shape == (2, 3, 4)
    assert chosen.dtype == torch.int64
    assert not chosen.requires_grad
    assert best_permutation(torch.rand(0, 5, 5)).shape == (0, 5)
    assert best_permutation(torch.rand(2, 2).half()).shape == (2,)


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match=r"cost has shape \(3,\)"):
        best_permutation(torch.rand(3))
    with pytest.raises(ShapeError, match="at least one of each"):
        best_permutation(torch.rand(3, 0))
    with pytest.raises(ParameterError, match="1 of 4 costs are NaN"):
        best_permutation(torch.tensor([[0.0, torch.nan], [1.0, 2.0]]))
