"""Which form of a function with a hand-written gradient torch can transform."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["differentiated_again", "gradients_of_plain", "plain_form_needed"]


def plain_form_needed(*tensors: Tensor) -> bool:
    """Tell whether ``torch.func`` transforms or forward-mode derivatives are under way.

    They need operations with rules of their own; a hand-written backward has none for them. While
    compiling, the hand-written form is always taken.
    """
    if torch.compiler.is_compiling():
        return False
    if torch._C._are_functorch_transforms_active():
        return True
    return any(forward_ad.unpack_dual(v).tangent is not None for v in tensors)


def differentiated_again() -> bool:
    """Tell, inside a backward, whether its own operations are being recorded."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def gradients_of_plain(
    plain: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Return the gradients of ``plain(*inputs)`` in all inputs, recorded for another backward."""
    aliases = [v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for v in inputs]
    outputs = plain(*aliases)
    found: tuple[Tensor, ...] = torch.autograd.grad(outputs, aliases, grads, create_graph=True)
    return found
