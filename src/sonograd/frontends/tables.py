"""Designed numbers that a layer keeps: in float32 on its device, in float64 where that is asked."""

import torch
from torch import Tensor, nn

__all__ = ["Tables"]


class Tables(nn.Module):
    """A module with constants that were designed in float64 and are no part of the state dict.

    Each is a float32 buffer, so that it moves with the module to devices without float64; float64
    input gets the exact numbers instead.
    """

    def add_table(self, name: str, exact: Tensor) -> None:
        """Keep ``exact`` (float64, on the CPU) as buffer ``name``."""
        self.__dict__.setdefault("_exact", {})[name] = exact
        self.register_buffer(name, exact.to(torch.float32), persistent=False)

    def table(self, name: str, like: Tensor) -> Tensor:
        """Return the table in the precision of ``like``, which may be complex, on its device."""
        value = getattr(self, name)
        dtype = like.real.dtype
        if isinstance(value, nn.Parameter):
            return value.to(dtype=dtype, device=like.device)
        if dtype == value.dtype == torch.float32 and value.device == like.device:
            return value  # type: ignore[no-any-return]
        exact: Tensor = self.__dict__["_exact"][name]
        return exact.to(dtype=dtype, device=like.device)

    def add_parameter(self, name: str, start: Tensor) -> None:
        """Let ``name`` be trained from ``start``."""
        setattr(self, name, nn.Parameter(start.to(torch.get_default_dtype(), copy=True)))
