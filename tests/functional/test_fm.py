import math

import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ShapeError


def _expected(turns, feedback):
    heard = [0.0, 0.0]
    for n, turn in enumerate(turns):
        heard.append(math.sin(2 * math.pi * turn + feedback[n] * (heard[-1] + heard[-2]) / 2))
    return torch.tensor(heard[2:], dtype=torch.float64)


@pytest.mark.parametrize("rows", [1, 3, 30])
@pytest.mark.parametrize("strength", [0.0, 0.8, 2.9])
def test_is_the_recursion(rows, strength):
    turns = torch.rand(rows, 1, dtype=torch.float64) + torch.arange(300).double() * 0.013
    feedback = strength * torch.rand(rows, 300, dtype=torch.float64)
    y, past = F.feedback_sine(turns, feedback)
    for row in range(rows):
        expected = _expected(turns[row].tolist(), feedback[row].tolist())
        torch.testing.assert_close(y[row], expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(past, y[:, -2:])


def test_goes_on_from_its_past():
    turns = torch.arange(200).double() * 0.03
    feedback = torch.tensor([1.3], dtype=torch.float64)
    whole, _ = F.feedback_sine(turns, feedback)
    first, past = F.feedback_sine(turns[:1], feedback)
    second, past = F.feedback_sine(turns[1:90], feedback, past=past)
    third, _ = F.feedback_sine(turns[90:], feedback, past=past)
    torch.testing.assert_close(torch.cat([first, second, third]), whole)
    empty, same = F.feedback_sine(turns[:0], feedback, past=past)
    assert empty.shape == (0,)
    assert torch.equal(same, past)


def test_gradients():
    turns = torch.rand(2, 17, dtype=torch.float64, requires_grad=True)
    feedback = torch.tensor([[0.7], [1.4]], dtype=torch.float64, requires_grad=True)
    past = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)

    def run(turns, feedback, past):
        return F.feedback_sine(turns, feedback, past=past)

    assert torch.autograd.gradcheck(run, (turns, feedback, past))


def test_refuses():
    with pytest.raises(ShapeError, match=r"turns has shape \(2, 5\) and feedback \(4,\)"):
        F.feedback_sine(torch.rand(2, 5), torch.rand(4))
