"""Weights of a separator in one safetensors file, with its configuration in the metadata.

Nothing in such a file is executed: it holds named tensors and JSON. Files made by pickle
(``.pth``, ``.ckpt``, ...) are refused.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sonograd.atomic import AtomicFile, write_problem
from sonograd.config import SeparatorConfig, parse_config, to_dict
from sonograd.errors import CheckpointError, ConfigError, OutputError, ParameterError
from sonograd.separators.base import Separator
from sonograd.separators.fitting import built_separator, fill_separator, join_some

__all__ = ["CheckpointInfo", "load_separator", "read_checkpoint_info", "save_separator"]

FORMAT = "sonograd-separator"
VERSION = 1
PICKLED = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".th"})
#: Settings that may change after training, since no weight depends on them: the length and the
#: overlap of chunks, and how spectra are filtered behind the networks.
FREE_SETTINGS = frozenset(
    {"dropout_p", "interchangeable", "num_overlap", "residual_target", "sample_length", "softmask"}
    | {"wiener_frames", "wiener_iterations", "wiener_residual"}
)


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says about itself.

    Attributes:
        config: What the model is built from.
        metadata: What was given to :func:`save_separator`.
        version: Version of the format.
    """

    config: SeparatorConfig
    metadata: Mapping[str, str] = field(default_factory=dict)
    version: int = VERSION


def save_separator(
    separator: Separator,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write the weights and the configuration of ``separator``; the file appears complete or not.

    Args:
        separator: A model with weights, on any device.
        path: A file name that ends in ``.safetensors``.
        metadata: Notes to keep with the weights, such as scores or a license.
        dtype: Type to store the weights in, such as ``torch.float16`` for half the size; they are
            always loaded as float32.

    Raises:
        ParameterError: If the model has no weights, or they do not fit into ``dtype``.
        OutputError: If the file cannot be written.
    """
    path = Path(path)
    if separator.config is None:
        raise ParameterError(f"{type(separator).__name__} has no weights that could be saved")
    if path.suffix != ".safetensors":
        raise ParameterError(f"path is {str(path)!r}; expected a name that ends in .safetensors")
    tensors = {
        name: _storable(tensor, name, dtype) for name, tensor in separator.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "layers_version": str(layers_version(separator.config)),
        "config": json.dumps(to_dict(separator.config)),
        "metadata": json.dumps(dict(metadata or {})),
    }
    try:
        with AtomicFile(path) as file:
            save_file(tensors, file.path, metadata=header)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written: {write_problem(error)}.") from None


def _storable(tensor: Tensor, name: str, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu()
    if dtype is None or not tensor.is_floating_point():
        return tensor.contiguous()
    stored = tensor.to(dtype).contiguous()
    if tensor.isfinite().all() and not stored.isfinite().all():
        raise ParameterError(f"{name} reaches {tensor.abs().max():.3g}, which {dtype} cannot hold")
    return stored


def read_checkpoint_info(path: str | os.PathLike[str]) -> CheckpointInfo:
    """Read what a checkpoint says about itself, without its weights.

    Raises:
        CheckpointError: If the file is missing, damaged, or not one of ours.
    """
    return _read(Path(path), weights=False)[0]


def load_separator(
    path: str | os.PathLike[str], *, config: SeparatorConfig | None = None
) -> Separator:
    """Build the model that a checkpoint describes and load its weights, all of them.

    Args:
        path: A file written by :func:`save_separator`.
        config: What the model is expected to be built from, such as the ``model.json`` beside the
            checkpoint. Settings that no weight depends on (:data:`FREE_SETTINGS`) are taken
            from it; any other difference is an error.

    Returns:
        The model in evaluation mode, in float32 on the CPU.

    Raises:
        CheckpointError: If the file is missing, damaged, or belongs to another model.
    """
    path = Path(path)
    info, tensors = _read(path, weights=True)
    if config is not None:
        _check_same_model(path, info.config, config)
    separator = built_separator(path, config or info.config, tensors)
    return fill_separator(path, separator, tensors)


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file is one that :func:`save_separator` wrote, by its header."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError, ValueError):
        return False


def _read(path: Path, *, weights: bool) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    if path.suffix.lower() in PICKLED:
        raise CheckpointError(
            f"{path}: files of this kind can run any program when they are opened, so they are "
            "not; expected a .safetensors file, which sonograd convert makes of it."
        )
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}; expected a .safetensors file.")
    try:
        with safe_open(path, framework="pt") as file:
            info = _parse_header(path, file.metadata() or {})
            names = file.keys() if weights else []
            return info, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged, or not a safetensors file ({reason}).") from None


def _parse_header(path: Path, header: Mapping[str, str]) -> CheckpointInfo:
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: a safetensors file, but not a separator (its format is "
            f"{header.get('format', '')!r}, expected {FORMAT!r})."
        )
    version = header.get("version", "")
    if version != str(VERSION):
        raise CheckpointError(
            f"{path}: has version {version!r} of the format, this sonograd reads {VERSION}; "
            "a newer sonograd may read it."
        )
    try:
        config = parse_config(
            json.loads(header.get("config", "")),
            cast("type[SeparatorConfig]", SeparatorConfig),
            source="configuration",
        )
        metadata = json.loads(header.get("metadata", "{}"))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (json.JSONDecodeError, RecursionError):
        raise CheckpointError(f"{path}: its configuration is not valid JSON.") from None
    check_layers(path, config, header.get("layers_version", "1"))
    notes = metadata.items() if isinstance(metadata, Mapping) else ()
    return CheckpointInfo(config, {str(key): str(value) for key, value in notes})


def layers_version(config: SeparatorConfig | None) -> int:
    """Return the version of the layers that ``config`` stands for, 1 where it names none."""
    return getattr(config, "layers_version", 1)


def check_layers(what: Path | str, config: SeparatorConfig | None, found: str) -> None:
    """Refuse weights of another version of the layers than those that ``config`` stands for.

    Args:
        what: Where the weights are.
        config: What the model is built from.
        found: The version that is noted there.

    Raises:
        CheckpointError: If ``found`` is another version.
    """
    expected = str(layers_version(config))
    if found != expected:
        name = getattr(config, "model_type", "model")
        raise CheckpointError(
            f"{what}: was made by another sonograd, whose {name} has other layers (version "
            f"{found}, expected {expected}); train it again, in another folder."
        )


def _check_same_model(path: Path, stored: SeparatorConfig, expected: SeparatorConfig) -> None:
    """Refuse configurations that the weights were not trained for."""
    if type(stored) is not type(expected):
        raise CheckpointError(
            f"{path}: holds a {stored.model_type}, expected a {expected.model_type}."
        )
    before, now = dataclasses.asdict(stored), dataclasses.asdict(expected)
    differences = [
        f"{key} {before[key]!r} instead of {now[key]!r}"
        for key in before
        if before[key] != now[key] and key not in FREE_SETTINGS
    ]
    if differences:
        raise CheckpointError(
            f"{path}: was trained with {join_some(differences)}; "
            "restore the configuration, or train again."
        )
