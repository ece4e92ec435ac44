"""Make the session folder of a new model."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from sonograd.config import SeparatorConfig, parse_config, suggest, to_dict, write_config
from sonograd.config.session import CONFIG_NAME
from sonograd.errors import ConfigError, OutputError

__all__ = ["MODEL_TYPES", "configure", "model_config"]

_KINDS: Mapping[str, Any] = {
    kind.__dataclass_fields__["model_type"].default: kind for kind in get_args(SeparatorConfig)
}
#: Names of the architectures.
MODEL_TYPES: tuple[str, ...] = tuple(_KINDS)
_MUSDB = frozenset({"drums", "bass", "other", "vocals"})


def model_config(
    model_type: str, *, targets: Sequence[str] = (), settings: Mapping[str, Any] | None = None
) -> SeparatorConfig:
    """Return a configuration.

    Args:
        model_type: One of :data:`MODEL_TYPES`.
        targets: Stems to estimate; the architecture's own if empty.
        settings: Other fields to change.

    Raises:
        ConfigError: If anything is not valid; with every problem at once.
    """
    if model_type not in _KINDS:
        raise ConfigError(
            "model_type",
            [
                f"got {model_type!r}; expected one of {', '.join(MODEL_TYPES)}."
                + suggest(model_type, MODEL_TYPES)
            ],
        )
    names = [field.name for field in dataclasses.fields(_KINDS[model_type])]
    data: dict[str, Any] = {"model_type": model_type, **(settings or {})}
    if targets:
        data["targets"] = list(targets)
        if "complete_targets" in names and not set(targets) >= _MUSDB:
            data.setdefault("complete_targets", False)
    data = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
    return parse_config(data, cast("type[SeparatorConfig]", SeparatorConfig), source=model_type)


def configure(
    config: SeparatorConfig, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write ``model.json`` into a session folder, which is made if need be.

    Nothing is ever deleted: ``overwrite`` replaces ``model.json`` alone.

    Raises:
        OutputError: If the folder holds a model already, or cannot be written to.
    """
    folder = Path(folder)
    path = folder / CONFIG_NAME
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; expected a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(
            f"{folder}: is not empty and is kept; choose another folder, "
            "or replace its model.json alone with --overwrite."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}.") from None
    write_config(config, path)
    return path


def describe(config: SeparatorConfig) -> dict[str, Any]:
    """Return what ``--display`` shows: the fields by name."""
    return to_dict(config)
