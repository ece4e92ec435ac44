"""Pictures of sound; needs the extra ``[plot]``."""

from sonograd.plotting.audio import compare, spectrogram, waveform
from sonograd.plotting.scores import score_boxes
from sonograd.plotting.training import compare_waveforms, history

__all__ = ["compare", "compare_waveforms", "history", "score_boxes", "spectrogram", "waveform"]
