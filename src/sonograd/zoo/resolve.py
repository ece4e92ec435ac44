"""From what a user types as MODEL to a separator."""

from sonograd.errors import ModelNotFoundError
from sonograd.separators import Separator

__all__ = ["load"]


def load(model: str, target: str | None = None) -> Separator:
    """Return the separator that answers to ``model``, in evaluation mode."""
    raise ModelNotFoundError(f"no model is called {model!r} ({target})")
