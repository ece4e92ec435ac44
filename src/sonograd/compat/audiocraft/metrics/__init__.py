"""Metrics under the names of audiocraft."""

from sonograd.compat.audiocraft.metrics import rvm
from sonograd.compat.audiocraft.metrics.rvm import RelativeVolumeMel

__all__ = ["RelativeVolumeMel", "rvm"]
