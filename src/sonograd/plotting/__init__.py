"""Pictures of sound; needs the extra ``[plot]``."""

from sonograd.plotting.animation import Animation, animate_fit
from sonograd.plotting.audio import compare, spectrogram, waveform
from sonograd.plotting.landscape import loss_landscape
from sonograd.plotting.levels import levels
from sonograd.plotting.responses import convergence, gain_reduction, response, static_curve
from sonograd.plotting.scores import score_boxes
from sonograd.plotting.training import compare_waveforms, history

__all__ = [
    "Animation",
    "animate_fit",
    "compare",
    "compare_waveforms",
    "convergence",
    "gain_reduction",
    "history",
    "levels",
    "loss_landscape",
    "response",
    "score_boxes",
    "spectrogram",
    "static_curve",
    "waveform",
]
