"""The programs behind the command line, as functions."""

from sonograd.jobs.outcome import SeparationEvent, SeparationReport, SongOutcome
from sonograd.jobs.separate import separate_files

__all__ = ["SeparationEvent", "SeparationReport", "SongOutcome", "separate_files"]
