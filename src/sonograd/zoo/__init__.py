"""Models by name."""

from sonograd.zoo.lookup import ResolvedModel, load, model_names, resolve

__all__ = ["ResolvedModel", "load", "model_names", "resolve"]
