"""The programs behind the command line, as functions."""

from sonograd.jobs.configure import MODEL_TYPES, configure, model_config
from sonograd.jobs.demo import DemoReport, DemoScore, demo
from sonograd.jobs.outcome import SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.render import render_files
from sonograd.jobs.separate import separate_files
from sonograd.jobs.spectrogram import Drawing, DrawingReport, draw_spectrograms
from sonograd.jobs.train import TrainResult, train

__all__ = [
    "MODEL_TYPES",
    "DemoReport",
    "DemoScore",
    "Drawing",
    "DrawingReport",
    "SeparationEvent",
    "SeparationReport",
    "SongOutcome",
    "TrainResult",
    "configure",
    "demo",
    "draw_spectrograms",
    "model_config",
    "render_files",
    "separate_files",
    "train",
]
