"""Put a published model into a session folder."""

import os
import shutil
from pathlib import Path

from sonograd.atomic import AtomicFile
from sonograd.config.session import WEIGHTS_NAME
from sonograd.errors import OutputError, ParameterError
from sonograd.jobs.configure import configure
from sonograd.zoo.lookup import resolve

__all__ = ["download"]


def download(
    model: str, folder: str | os.PathLike[str] | None = None, *, overwrite: bool = False
) -> Path:
    """Write ``model.json`` and ``weights.safetensors`` of a model; return the path of the latter.

    Args:
        model: Its name, see :func:`sonograd.zoo.model_names`.
        folder: The session folder; named like the model if None.
        overwrite: Replace those two files, and nothing else, in a folder that is not empty.

    Raises:
        ModelNotFoundError: If there is no such model.
        ParameterError: If it has no weights.
        OutputError: If the folder is not empty, or cannot be written to.
    """
    found = resolve(model)
    if found.path is None:
        raise ParameterError(f"{model}: works without weights, there is nothing to download.")
    config = found.load().config
    assert config is not None  # every model with weights has one
    target = configure(config, folder or found.name, overwrite=overwrite).parent / WEIGHTS_NAME
    try:
        with AtomicFile(target) as file:
            shutil.copyfile(found.path, file.path)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}.") from None
    return target
