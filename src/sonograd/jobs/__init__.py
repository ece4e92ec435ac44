"""The programs behind the command line, as functions."""

from sonograd.jobs.demo import DemoReport, DemoScore, demo
from sonograd.jobs.outcome import SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.separate import separate_files

__all__ = [
    "DemoReport",
    "DemoScore",
    "SeparationEvent",
    "SeparationReport",
    "SongOutcome",
    "demo",
    "separate_files",
]
