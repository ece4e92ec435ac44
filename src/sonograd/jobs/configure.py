"""Make the session folder of a new model."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from sonograd.atomic import write_problem
from sonograd.config import SeparatorConfig, parse_config, suggest, to_dict, write_config
from sonograd.config.session import CONFIG_NAME, WEIGHTS_NAME
from sonograd.errors import ConfigError, ModelNotFoundError, OutputError

__all__ = ["MODEL_TYPES", "configure", "describe", "model_config", "write_session"]

_KINDS: Mapping[str, Any] = {
    kind.__dataclass_fields__["model_type"].default: kind for kind in get_args(SeparatorConfig)
}
#: Names of the architectures: those of the spectrogram U-Nets, the default model's, and more.
MODEL_TYPES: tuple[str, ...] = tuple(_KINDS)
_MUSDB = frozenset({"drums", "bass", "other", "vocals"})


def model_config(
    model: str, *, targets: Sequence[str] = (), settings: Mapping[str, Any] | None = None
) -> SeparatorConfig:
    """Return a configuration.

    Args:
        model: One of :data:`MODEL_TYPES`, for its defaults; or a model with weights, see
            :func:`sonograd.zoo.resolve`, for what that one is built from.
        targets: Stems to estimate; the model's own if empty.
        settings: Other fields to change.

    Raises:
        ConfigError: If anything is not valid; with every problem at once.
    """
    data: dict[str, Any] = {"model_type": model} if model in _KINDS else _known(model)
    names = [field.name for field in dataclasses.fields(_KINDS[data["model_type"]])]
    if targets:
        data["targets"] = list(targets)
        if "complete_targets" in names and not set(targets) >= _MUSDB:
            data["complete_targets"] = False
    data |= settings or {}
    data = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
    return parse_config(data, cast("type[SeparatorConfig]", SeparatorConfig), source=model)


def _known(model: str) -> dict[str, Any]:
    """Return the configuration of a model that exists already."""
    from sonograd.zoo.lookup import model_names, resolve

    try:
        found = resolve(model)
    except ModelNotFoundError as error:
        names = sorted({*MODEL_TYPES, *model_names()})
        raise ConfigError(
            "model_type",
            [f"got {model!r}; expected one of {', '.join(names)}." + suggest(model, names)],
        ) from error
    if found.path is None:
        raise ConfigError("model_type", [f"{model} works without weights; use it as it is."])
    config = found.load().config
    if config is None:
        raise ConfigError("model_type", [f"{model} cannot be trained: {found.note}."])
    return to_dict(config)


def configure(
    config: SeparatorConfig, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write ``model.json`` into a session folder, which is made if need be.

    Nothing is ever deleted: ``overwrite`` replaces ``model.json`` alone.

    Raises:
        OutputError: If the folder holds a model already, or cannot be written to.
    """
    folder = Path(folder)
    _check_folder(folder, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {write_problem(error)}.") from None
    path = folder / CONFIG_NAME
    write_config(config, path)
    return path


def write_session(
    config: SeparatorConfig,
    folder: str | os.PathLike[str],
    write_weights: Callable[[Path], object],
    *,
    overwrite: bool = False,
) -> Path:
    """Write ``model.json`` and weights into a session folder.

    Both are written in full first, in a hidden folder: within the session folder if that is there,
    else beside it. A new session folder then appears with both, or not at all; in one that was
    there they take their places one right after the other. If anything fails before, all is as it
    was. What a process that was killed has left there is removed by the next one, where the system
    can tell (locks of files).

    Args:
        config: What the model is built from.
        folder: Is made if need be; nothing else in it is touched.
        write_weights: Writes the weights to a path that it is given.
        overwrite: Replace these two files in a folder that is not empty.

    Returns:
        The path of the weights.

    Raises:
        OutputError: If the folder holds a model already, or cannot be written to.
    """
    from sonograd.jobs.outputs import StagedFolder, remove_abandoned  # loads torch

    given, folder = Path(folder), Path(folder).absolute()
    # One that is there may be of another disk, or of a parent that cannot be written to.
    parent = folder if folder.is_dir() else folder.parent
    remove_abandoned([parent])
    _check_folder(folder, overwrite=overwrite)
    with StagedFolder(folder, parent=parent) as stage:
        try:
            write_weights(stage.path / WEIGHTS_NAME)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {write_problem(error)}.") from None
        write_config(config, stage.path / CONFIG_NAME)
        stage.publish()
    return given / WEIGHTS_NAME


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; expected a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(
            f"{folder}: is not empty and is kept; choose another folder, "
            "or replace its model.json alone with --overwrite."
        )


def describe(config: SeparatorConfig) -> dict[str, Any]:
    """Return the fields of a configuration by name, the architecture first."""
    fields = to_dict(config)
    return {"model_type": fields.pop("model_type"), **fields}
