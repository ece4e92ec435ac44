"""``sonograd.models.load``: another name for :func:`sonograd.load`."""

from sonograd.zoo.resolve import load

__all__ = ["load"]
