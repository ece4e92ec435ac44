"""``sonograd.models.load``: another name for :func:`sonograd.load`."""

from sonograd.zoo.lookup import load

__all__ = ["load"]
