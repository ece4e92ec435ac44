"""The state of a training run: saved whole or not at all, read without executing anything."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sonograd.atomic import AtomicFile, write_problem
from sonograd.config.session import WEIGHTS_NAME
from sonograd.errors import CheckpointError, OutputError
from sonograd.separators.checkpoint import check_layers

__all__ = ["TrainingState", "check_state", "read_state", "write_state"]

_FORMAT = "sonograd-training"
_VERSION = 2
_REMEDY = f"Without it, training starts anew from {WEIGHTS_NAME}, if that is there."


@dataclass
class TrainingState:
    """Everything that a later process needs to go on as if nothing had happened.

    Random numbers need no state: they follow from the seed and the number of the step.

    Attributes:
        step: Steps done.
        seconds: Seconds spent on them.
        best: Best validation score so far, in dB; None before the first validation.
        model: Weights.
        average: Their moving average.
        optimizer: State of the optimizer.
        plateaus: Best validation loss, epochs since then, and plateaus.
        scaler: State of the gradient scaler; empty without one.
        epochs: First step, first epoch, and steps per epoch, see
            :meth:`~sonograd.training.Clock.go_on`.
        layers: Version of the layers of the model.
    """

    step: int
    seconds: float
    best: float | None
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    plateaus: tuple[float, int, int] = (float("inf"), 0, 0)
    scaler: dict[str, Any] = field(default_factory=dict)
    epochs: tuple[int, int, int] | None = None
    layers: int = 1


def write_state(state: TrainingState, path: str | os.PathLike[str]) -> None:
    """Write ``state``; an interruption at any time leaves the old file or the new one.

    Raises:
        OutputError: If the file cannot be written.
    """
    path = Path(path)
    content = {"format": _FORMAT, "version": _VERSION, **vars(state)}
    try:
        with AtomicFile(path, durable=True) as file:
            torch.save(content, file.path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot be written: {write_problem(error)}.") from None


def read_state(path: str | os.PathLike[str]) -> TrainingState:
    """Read a file of :func:`write_state` onto the CPU.

    Raises:
        CheckpointError: If it is missing, damaged, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; there is nothing to resume.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damaged bytes can lead to any error in the reader
        raise CheckpointError(f"{path}: damaged, or no training state. {_REMEDY}") from None
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise CheckpointError(f"{path}: not a training state of sonograd. {_REMEDY}")
    version = content.pop("version", None)
    if version != _VERSION:
        raise CheckpointError(
            f"{path}: has version {version!r}, this sonograd reads {_VERSION}; "
            "resume with the sonograd that wrote it."
        )
    try:
        return TrainingState(**content)
    except TypeError:
        raise CheckpointError(f"{path}: damaged (entries are missing). {_REMEDY}") from None


def check_state(state: TrainingState, model: nn.Module) -> None:
    """Refuse to go on with the state of another model.

    Raises:
        CheckpointError: If it comes from another version of the layers of ``model``, or if its
            weights have other names or shapes.
    """
    config = getattr(model, "config", None)
    check_layers("the training state", config, str(state.layers))
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in state.model.items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"the training state belongs to another model: its {name} has the shape "
                f"{theirs.get(name, 'of nothing')}, expected {ours.get(name, 'none')}; "
                "restore model.json, or train in another folder."
            )
