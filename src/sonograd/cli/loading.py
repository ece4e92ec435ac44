"""Import large libraries a little faster."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage among what is imported, then or later: modules stay to the end."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
