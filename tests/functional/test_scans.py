import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import ShapeError
from sonograd.functional import scans


def _loop(transition, drive, start):
    states, state = [], start
    for n in range(drive.shape[-1]):
        state = np.einsum("ij...,j...->i...", transition[..., n], state) + drive[..., n]
        states.append(state)
    return np.stack(states, -1)


@given(samples=st.integers(1, 700), order=st.integers(1, 3))
def test_matches_the_loop(samples, order):
    generator = np.random.default_rng(samples)
    transition = generator.uniform(-0.5, 0.5, (order, order, 1, samples))
    drive = generator.standard_normal((order, 2, samples))
    start = generator.standard_normal((order, 2))
    actual = F.linear_scan(*(torch.from_numpy(v) for v in (transition, drive, start)))
    np.testing.assert_allclose(
        actual,
        _loop(np.broadcast_to(transition, (order, order, 2, samples)), drive, start),
        atol=1e-12,
    )


def test_segments_join(monkeypatch):
    transition, drive = torch.rand(1, 1, 500), torch.randn(1, 500)
    whole = F.linear_scan(transition, drive)
    monkeypatch.setattr(scans, "_SEGMENT", 128)
    torch.testing.assert_close(F.linear_scan(transition, drive), whole)


def test_gradients():
    transition = (0.5 * torch.randn(2, 2, 40, dtype=torch.float64)).requires_grad_(True)
    drive = torch.randn(2, 40, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(F.linear_scan, (transition, drive, start), fast_mode=True)


def test_empty_and_wrong():
    assert F.linear_scan(torch.zeros(1, 1, 0), torch.zeros(1, 0)).shape == (1, 0)
    with pytest.raises(ShapeError, match=r"expected \(order, order"):
        F.linear_scan(torch.zeros(2, 1, 4), torch.zeros(2, 4))
