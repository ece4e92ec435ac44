"""The programs behind the command line, as functions.

Each is loaded when it is first used, so that commands that need no network load no torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

#: The module that each name is in.
_HOMES = {
    "DemoReport": "demo",
    "DemoScore": "demo",
    "Drawing": "spectrogram",
    "DrawingReport": "spectrogram",
    "EvaluationReport": "evaluate",
    "MODEL_TYPES": "configure",
    "MatchOutcome": "match",
    "MatchReport": "match",
    "SeparationEvent": "outcome",
    "SeparationReport": "outcome",
    "SongOutcome": "outcome",
    "Summary": "summary",
    "TrainResult": "train",
    "configure": "configure",
    "demo": "demo",
    "download": "download",
    "draw_spectrograms": "spectrogram",
    "evaluate": "evaluate",
    "match_files": "match",
    "model_config": "configure",
    "plot_history": "history",
    "render_files": "render",
    "separate_files": "separate",
    "test": "test",
    "train": "train",
}


class _Jobs(ModuleType):
    """Keeps ``jobs.demo`` the function, although a module of this package has its name, too."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Jobs
