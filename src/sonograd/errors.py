"""Every exception that sonograd raises on purpose.

::

    SonogradError
    ├── ShapeError            a tensor with the wrong layout            (ValueError)
    ├── ParameterError        a value outside its range                 (ValueError)
    ├── ConfigError           a configuration file or object            (ValueError)
    ├── AudioError            an audio file or its samples
    ├── DatasetError          a folder of songs
    ├── CheckpointError       a file of weights or training state
    ├── ModelNotFoundError    a model name that nothing answers to      (LookupError)
    ├── DownloadError         a file that cannot be fetched
    ├── OutputError           a place that cannot be written to
    ├── TrainingError         training that cannot go on
    ├── UnrelatedError        two recordings of different material
    └── MissingExtraError     an optional dependency                    (ImportError)

Messages say what came, what was expected and what to do, on one line where possible;
the command line prints them as they are.
"""

from collections.abc import Sequence

__all__ = [
    "AudioError",
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "DownloadError",
    "MissingExtraError",
    "ModelNotFoundError",
    "OutputError",
    "ParameterError",
    "ShapeError",
    "SonogradError",
    "TrainingError",
    "UnrelatedError",
]

#: Environment variable; if it is set, programs show where an error came from.
TRACEBACK = "SONOGRAD_TRACEBACK"


class SonogradError(Exception):
    """Base of all errors raised on purpose."""


class ShapeError(SonogradError, ValueError):
    """A tensor does not have the layout that was asked for."""


class ParameterError(SonogradError, ValueError):
    """An argument is outside its range or contradicts another one."""


class ConfigError(SonogradError, ValueError):
    """A configuration is not valid; ``problems`` lists every reason at once."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        """Join ``problems``, each with its path and nearest valid name, under ``source``."""
        self.source = source
        self.problems = tuple(problems)
        super().__init__(f"{source}: " + "; ".join(self.problems))


class AudioError(SonogradError):
    """An audio file cannot be read, or its samples cannot be used."""


class DatasetError(SonogradError):
    """A folder of songs does not hold what is needed."""


class CheckpointError(SonogradError):
    """A file of weights or training state is damaged or belongs to another model."""


class ModelNotFoundError(SonogradError, LookupError):
    """No model answers to the given name."""


class DownloadError(SonogradError):
    """A file cannot be fetched from where it is published."""


class OutputError(SonogradError):
    """A result cannot be written where it was asked for."""


class TrainingError(SonogradError):
    """Training cannot go on, for example because the loss is no number."""


class UnrelatedError(SonogradError):
    """Two recordings do not hold the same material, so no settings lie between them."""


class MissingExtraError(SonogradError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        """Say what ``purpose`` needs and which ``extra`` brings it."""
        self.extra = extra
        super().__init__(
            f"{purpose} needs an optional dependency; "
            f"install it with: pip install 'sonograd[{extra}]' (in a clone: '.[{extra}]')"
        )
