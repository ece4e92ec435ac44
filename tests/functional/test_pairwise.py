import numpy as np
import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.functional import inner_products


@pytest.mark.parametrize("zero_mean", [False, True])
def test_equals_numpy_over_block_borders(zero_mean):
    estimate = torch.randn(2, 3, 40_000) + 3
    reference = torch.randn(2, 2, 40_000)
    e, r = (x.double().numpy() for x in (estimate, reference))
    if zero_mean:
        e, r = e - e.mean(-1, keepdims=True), r - r.mean(-1, keepdims=True)
    squares, products, energies = inner_products(estimate, reference, zero_mean=zero_mean)
    assert products.dtype == torch.float64
    np.testing.assert_allclose(squares, (e**2).sum(-1))
    np.testing.assert_allclose(energies, (r**2).sum(-1))
    np.testing.assert_allclose(products, e @ r.transpose(0, 2, 1), rtol=1e-9, atol=1e-7)


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="equal but for one axis"):
        inner_products(torch.zeros(2, 3, 10), torch.zeros(3, 3, 10))
    with pytest.raises(ShapeError, match="equal but for one axis"):
        inner_products(torch.zeros(10), torch.zeros(10))
    with pytest.raises(ShapeError, match="floating"):
        inner_products(torch.zeros(2, 10).int(), torch.zeros(2, 10))
