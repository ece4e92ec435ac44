"""Draw how a training went."""

import os
from pathlib import Path

from sonograd.atomic import AtomicFile
from sonograd.errors import OutputError, ParameterError

__all__ = ["plot_history"]

_LOG = "log.csv"
_PICTURE = "history.png"


def plot_history(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Draw the ``log.csv`` of a session folder; return the path of the picture.

    Args:
        folder: The session folder, or a table.
        out: The picture; ``history.png`` beside the table if None.
        overwrite: Replace a picture that is there already.

    Raises:
        ParameterError: If there is no table, or nothing in it.
        OutputError: If the picture exists, or cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    folder = Path(folder)
    table = folder / _LOG if folder.is_dir() else folder
    if not table.is_file():
        raise ParameterError(
            f"{table}: no such file; expected a session folder that was trained, see: "
            "sonograd train --help"
        )
    path = table.parent / _PICTURE if out is None else Path(out)
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists and is kept; choose another --out, or --overwrite.")
    from sonograd.plotting import history

    figure = history(table)
    try:
        with AtomicFile(path) as file:
            figure.savefig(file.path, format=path.suffix[1:] or "png")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from None
    except ValueError as error:
        raise OutputError(f"{path}: {error}.") from None
    return path
