"""Train separators.

Running a training needs the extra ``[train]``: :func:`sonograd.training.loop.fit` on Lightning, or
from a session folder, :func:`sonograd.jobs.train`. What is here works without it.
"""

from sonograd.training.averaging import WeightAverage
from sonograd.training.criteria import make_criterion, training_loss
from sonograd.training.logging import TrainingEvent
from sonograd.training.schedule import Clock, learning_rate
from sonograd.training.state import TrainingState, read_state, write_state
from sonograd.training.statistics import SpectralStatistics, spectral_statistics
from sonograd.training.validation import median_scores, score_song

__all__ = [
    "Clock",
    "SpectralStatistics",
    "TrainingEvent",
    "TrainingState",
    "WeightAverage",
    "learning_rate",
    "make_criterion",
    "median_scores",
    "read_state",
    "score_song",
    "spectral_statistics",
    "training_loss",
    "write_state",
]
