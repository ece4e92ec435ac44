"""The programs behind the command line, as functions."""

from sonograd.jobs.configure import MODEL_TYPES, configure, model_config
from sonograd.jobs.demo import DemoReport, DemoScore, demo
from sonograd.jobs.download import download
from sonograd.jobs.evaluate import EvaluationReport, evaluate
from sonograd.jobs.history import plot_history
from sonograd.jobs.match import MatchOutcome, MatchReport, match_files
from sonograd.jobs.outcome import SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.render import render_files
from sonograd.jobs.separate import separate_files
from sonograd.jobs.spectrogram import Drawing, DrawingReport, draw_spectrograms
from sonograd.jobs.summary import Summary
from sonograd.jobs.test import test
from sonograd.jobs.train import TrainResult, train

__all__ = [
    "MODEL_TYPES",
    "DemoReport",
    "DemoScore",
    "Drawing",
    "DrawingReport",
    "EvaluationReport",
    "MatchOutcome",
    "MatchReport",
    "SeparationEvent",
    "SeparationReport",
    "SongOutcome",
    "Summary",
    "TrainResult",
    "configure",
    "demo",
    "download",
    "draw_spectrograms",
    "evaluate",
    "match_files",
    "model_config",
    "plot_history",
    "render_files",
    "separate_files",
    "test",
    "train",
]
