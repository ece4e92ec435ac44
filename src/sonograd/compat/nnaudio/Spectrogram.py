"""``nnAudio.Spectrogram``, the older name of :mod:`sonograd.compat.nnaudio.features`."""  # noqa: N999 - nnAudio's name

from sonograd.compat.nnaudio import features
from sonograd.compat.nnaudio.features import *  # noqa: F403

__all__ = list(features.__all__)
