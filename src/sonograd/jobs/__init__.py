"""The programs behind the command line, as functions."""

from sonograd.jobs.configure import MODEL_TYPES, configure, model_config
from sonograd.jobs.demo import DemoReport, DemoScore, demo
from sonograd.jobs.outcome import SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.separate import separate_files
from sonograd.jobs.train import TrainResult, train

__all__ = [
    "MODEL_TYPES",
    "DemoReport",
    "DemoScore",
    "SeparationEvent",
    "SeparationReport",
    "SongOutcome",
    "TrainResult",
    "configure",
    "demo",
    "model_config",
    "separate_files",
    "train",
]
