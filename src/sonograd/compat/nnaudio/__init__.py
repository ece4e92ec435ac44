"""nnAudio's names on our layers.

``from nnAudio import features`` becomes ``from sonograd.compat.nnaudio import features``, and so
for ``Spectrogram``, ``utils`` and ``librosa_functions``: the names, the order and defaults of
arguments, the shapes of results and the attributes are those of nnAudio 0.3.3 and 0.3.4. The
signatures of its first release are in :mod:`sonograd.compat.nnaudio.v1`.

Results are nnAudio's where those are right. Where they are not, the class says so and is right;
``legacy=True`` gives the results of nnAudio, for networks that were trained on them. Layers run by
FFT unless their kernels are trained, print nothing, and have nothing but trainable parameters in
their state dict; a state dict of nnAudio loads all the same.
"""

from importlib import import_module
from typing import Any

__all__ = ["Spectrogram", "features", "librosa_functions", "utils", "v1"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"sonograd.compat.nnaudio.{name}")
    raise AttributeError(f"module 'sonograd.compat.nnaudio' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
