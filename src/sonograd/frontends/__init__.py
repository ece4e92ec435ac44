"""Time-frequency layers: exact, trainable, and invertible where their bins allow it."""

from sonograd.frontends.base import FrontEnd, present

__all__ = ["FrontEnd", "present"]
