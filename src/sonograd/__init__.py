"""Learn, measure and take apart sound, by gradient.

* :mod:`sonograd.functional` - the mathematics, as pure functions of tensors
* :mod:`sonograd.frontends` - trainable time-frequency layers
* :mod:`sonograd.effects`, :mod:`sonograd.synths` - differentiable processors and instruments
* :mod:`sonograd.losses`, :mod:`sonograd.metrics` - what to train with, and what to report
* :mod:`sonograd.separators` - models that take a mix apart; :func:`load` finds one by name
* :mod:`sonograd.data` - audio files, folders of stems, chunks, synthetic songs
* :mod:`sonograd.plotting` - pictures of sound
* :mod:`sonograd.training` - configure and train separators
* :mod:`sonograd.matching` - the settings between dry and processed audio
* :mod:`sonograd.compat` - the names of nnAudio, auraloss and audiocraft's metric
* :mod:`sonograd.jobs` - the programs behind the command line, as functions

Importing this package loads none of them: every name is fetched when it is first used.
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonograd.zoo.lookup import load

__version__ = _version("sonograd")

_SUBPACKAGES = (
    "cli",
    "compat",
    "config",
    "data",
    "effects",
    "errors",
    "frontends",
    "functional",
    "jobs",
    "losses",
    "matching",
    "metrics",
    "models",
    "params",
    "plotting",
    "separators",
    "synths",
    "training",
    "zoo",
)

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        return import_module("sonograd.zoo.lookup").load
    if name in _SUBPACKAGES:
        return import_module(f"sonograd.{name}")
    raise AttributeError(f"module 'sonograd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
