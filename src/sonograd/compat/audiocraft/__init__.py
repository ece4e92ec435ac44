"""Names of audiocraft."""

from sonograd.compat.audiocraft import metrics

__all__ = ["metrics"]
