"""Pictures of sound; needs the extra ``[plot]``."""

from sonograd.plotting.audio import compare, spectrogram, waveform

__all__ = ["compare", "spectrogram", "waveform"]
