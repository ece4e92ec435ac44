"""Balanced gradients."""

import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.losses import Balancer


def _losses(y, scale=1.0):
    return {"a": scale * y.square().sum(), "b": (y * torch.arange(1.0, 5.0)).sum()}


def test_shares_do_not_depend_on_scales():
    results = []
    for scale in (1e-4, 1.0, 1e4):
        y = torch.ones(3, 4, requires_grad=True)
        Balancer({"a": 3.0, "b": 1.0}).backward(_losses(y, scale), y)
        results.append(y.grad)
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])
    # Three quarters of a unit vector along (1, 1, 1, 1), one along (1, 2, 3, 4); mean of items.
    direction = torch.arange(1.0, 5.0)
    expected = (0.75 * torch.ones(4) / 2 + 0.25 * direction / direction.norm()) / 3
    torch.testing.assert_close(results[1], expected.expand(3, 4))


def test_norms_are_averaged_over_time():
    balancer = Balancer({"a": 1.0}, decay=0.5, per_item=False)
    for factor, average in ((1.0, 1.0), (4.0, (0.5 * 0.5 * 1 + 0.5 * 4) / 0.75)):
        y = torch.zeros(1, requires_grad=True)
        norms = balancer.backward({"a": factor * y.sum()}, y)
        assert norms == {"a": factor}
        assert y.grad.item() == pytest.approx(factor / average)


def test_state_is_saved():
    balancer = Balancer({"a": 1.0, "b": 2.0}, decay=0.9)
    y = torch.ones(2, 4, requires_grad=True)
    balancer.backward(_losses(y), y)
    twin = Balancer({"a": 1.0, "b": 2.0}, decay=0.9)
    twin.load_state_dict(balancer.state_dict())
    grads = []
    for one in (balancer, twin):
        z = 2 * torch.ones(2, 4)
        z.requires_grad_()
        one.backward(_losses(z, 7.0), z)
        grads.append(z.grad)
    assert torch.equal(*grads)


def test_gradient_goes_on_into_the_network():
    layer = torch.nn.Linear(4, 4)
    y = layer(torch.ones(2, 4))
    Balancer({"a": 1.0, "b": 1.0}).backward(_losses(y), y)
    assert layer.weight.grad.norm() > 0


def test_a_loss_without_gradient_has_no_part():
    y = torch.zeros(2, 4, requires_grad=True)
    norms = Balancer({"a": 1.0, "b": 1.0}).backward(_losses(y), y)
    assert norms["a"] == 0
    assert torch.isfinite(y.grad).all()


def test_bad_input_is_refused():
    y = torch.ones(2, 4, requires_grad=True)
    balancer = Balancer({"a": 1.0})
    with pytest.raises(ParameterError, match="no weight for b"):
        balancer.backward(_losses(y), y)
    with pytest.raises(ParameterError, match="does not depend"):
        balancer.backward({"a": torch.ones(1, requires_grad=True).sum()}, y)
    with pytest.raises(ParameterError, match="no gradient"):
        balancer.backward({"a": torch.ones(())}, y)
    with pytest.raises(ParameterError, match="expected a scalar"):
        balancer.backward({"a": y}, y)
    with pytest.raises(ParameterError, match="gradient of a has norm"):
        balancer.backward({"a": (y * torch.inf).sum()}, y)
    assert y.grad is None
    for bad in ({}, {"a": -1.0}, {"a": 0.0}):
        with pytest.raises(ParameterError, match="weights is"):
            Balancer(bad)
    with pytest.raises(ParameterError, match="decay is 1"):
        Balancer({"a": 1.0}, decay=1)
