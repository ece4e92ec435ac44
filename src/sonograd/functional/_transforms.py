"""Which form of a function with a hand-written gradient torch can transform."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["plain_form_needed"]


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
