"""The first release of nnAudio: ``from sonograd.compat.nnaudio.v1 import Spectrogram``.

Its four layers have the arguments, in the order and with the defaults, of its documentation:
magnitudes, a hop of 512 samples, and constant-Q transforms from 220 Hz. Their results are those
of :mod:`sonograd.compat.nnaudio.features`.
"""

from importlib import import_module
from typing import Any

__all__ = ["Spectrogram"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"sonograd.compat.nnaudio.v1.{name}")
    raise AttributeError(f"module 'sonograd.compat.nnaudio.v1' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
