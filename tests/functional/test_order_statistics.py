import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError


@given(count=st.integers(1, 40), seed=st.integers(0, 1000))
def test_median_equals_torch(count, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 12, (count, 30), generator=generator).double()
    assert torch.equal(F.median(list(values)), values.median(0).values)


@given(
    half=st.integers(0, 20),
    rows=st.integers(1, 60),
    columns=st.integers(1, 40),
    dim=st.sampled_from([0, 1, -1]),
)
def test_filter_equals_scipy(half, rows, columns, dim):
    x = torch.randn(rows, columns)
    size = [1, 1]
    size[dim] = 2 * half + 1
    expected = ndimage.median_filter(x.numpy(), size=tuple(size), mode="reflect")
    actual = F.median_filter(x, length=2 * half + 1, dim=dim)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dim", [-3, -2, -1])
def test_filter_of_more_than_one_block(dim):
    x = torch.randn(70, 50, 61).movedim(0, 1)
    size = [1, 1, 1]
    size[dim] = 17
    expected = ndimage.median_filter(x.numpy(), size=tuple(size), mode="reflect")
    np.testing.assert_array_equal(F.median_filter(x, length=17, dim=dim), expected)


def test_gradients():
    x = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: F.median_filter(x, length=5), (x,))
    assert torch.autograd.gradcheck(lambda x: F.median(list(x.T)), (x,))


def test_empty_and_errors():
    assert F.median_filter(torch.zeros(3, 0), length=5).shape == (3, 0)
    with pytest.raises(ParameterError, match="length is 4; expected an odd number"):
        F.median_filter(torch.zeros(9), length=4)
    with pytest.raises(ParameterError, match="median of no tensors"):
        F.median([])
    with pytest.raises(ShapeError, match="floating-point"):
        F.median_filter(torch.arange(9), length=3)
