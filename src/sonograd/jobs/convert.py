"""Turn a published checkpoint into a session folder."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sonograd.errors import ParameterError
from sonograd.jobs.configure import write_session
from sonograd.separators import save_separator
from sonograd.separators.checkpoint import is_checkpoint
from sonograd.zoo.convert import convert_checkpoint, detect_family
from sonograd.zoo.unpickle import published_names

__all__ = ["convert"]


def convert(
    files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    family: str | None = None,
    config: str | os.PathLike[str] | None = None,
    stems: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``model.json`` and ``weights.safetensors`` for a published checkpoint.

    Nothing in the files is ever run. Several files are the networks of one model, one per stem;
    the stems are called like the files up to the first ``-`` unless ``stems`` says otherwise.

    Args:
        files: ``.th``, ``.pth``, ``.ckpt`` or ``.safetensors``.
        folder: The session folder; named like the first file if None.
        family: Architecture, one of :data:`~sonograd.zoo.FAMILIES`; found out if None.
        config: The ``.yaml`` or ``.json`` file with the settings of the network, for checkpoints
            that do not hold them.
        stems: Names of the stems, in the order of the network or of the files.
        overwrite: Replace those two files, and nothing else, in a folder that is not empty.

    Returns:
        The path of the weights.

    Raises:
        CheckpointError: If a file is damaged, refused, or belongs to another family.
        ConfigError: If the settings do not fit.
        ParameterError: If nothing says how the network was built.
        OutputError: If the folder is not empty, or cannot be written to.
    """
    paths = [Path(files)] if isinstance(files, str | os.PathLike) else [Path(x) for x in files]
    if not paths:
        raise ParameterError("there is no file to convert")
    given: Sequence[Path] | Mapping[str, Path] = paths
    if len(paths) > 1 or _is_one_of_several(paths[0], family):
        given = _by_stem(paths, stems)
        stems = None
    separator = convert_checkpoint(
        given, family=family, settings=Path(config) if config is not None else None, stems=stems
    )
    assert separator.config is not None  # every model with weights has one
    target = Path(folder) if folder is not None else Path(paths[0].stem)
    notes = {"source": ", ".join(path.name for path in paths)}
    return write_session(
        separator.config,
        target,
        lambda path: save_separator(separator, path, metadata=notes),
        overwrite=overwrite,
    )


def _is_one_of_several(path: Path, family: str | None) -> bool:
    """Tell whether a file is the network of one stem, of which there may be others."""
    if family not in {None, "OpenUnmix"} or is_checkpoint(path):
        return False
    return detect_family(published_names(path)) == "OpenUnmix"


def _by_stem(paths: Sequence[Path], stems: Sequence[str] | None) -> dict[str, Path]:
    names = list(stems) if stems is not None else [_stem_of(path) for path in paths]
    if len(set(names)) != len(paths):
        raise ParameterError(
            f"stems is {', '.join(names)} for {len(paths)} files; expected one name for each."
        )
    return dict(zip(names, paths, strict=True))


def _stem_of(path: Path) -> str:
    """Return ``vocals`` for ``vocals-b62c91ce.pth`` and ``speech_f5e0d9f9.pth``."""
    name, _, digits = path.stem.replace("_", "-").rpartition("-")
    return name if name and len(digits) == 8 else path.stem
