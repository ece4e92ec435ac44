"""Names of other libraries on our layers: a program changes one import line.

* :mod:`sonograd.compat.audiocraft` - audiocraft's ``metrics.rvm``
* :mod:`sonograd.compat.auraloss` - auraloss 0.4 (``time``, ``freq``, ``perceptual``)
* :mod:`sonograd.compat.nnaudio` - nnAudio 0.3 (``features``, ``Spectrogram``, ``utils``), and its
  first release under :mod:`sonograd.compat.nnaudio.v1`
"""

from importlib import import_module
from typing import Any

__all__ = ["audiocraft", "auraloss", "nnaudio"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"sonograd.compat.{name}")
    raise AttributeError(f"module 'sonograd.compat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
