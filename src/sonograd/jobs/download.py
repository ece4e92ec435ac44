"""Bring a published model here, into the cache or into a session folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from sonograd.errors import ParameterError
from sonograd.jobs.configure import write_session
from sonograd.zoo.cache import SOURCE_NAME
from sonograd.zoo.install import install
from sonograd.zoo.lookup import is_published, resolve

__all__ = ["download", "ensure_model"]

OnBytes = Callable[[float, float], None]


def ensure_model(
    model: str | os.PathLike[str],
    *,
    offline: bool | None = None,
    on_progress: OnBytes | None = None,
    on_message: Callable[[str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> None:
    """Download a published model unless it is here; anything else is left alone.

    Args:
        model: A name, file or folder, as :func:`~sonograd.zoo.resolve` takes it.
        offline: Use no network; ``$SONOGRAD_OFFLINE`` if None.
        on_progress: Called with ``(done, total)`` in bytes, for each file.
        on_message: Told what happens, and once under which license.
        on_warning: Told that instead, where the license forbids commercial use or there is none.

    Raises:
        DownloadError: If a file cannot be fetched.
        CheckpointError: If it is another file than expected.
        OutputError: If the cache cannot be written to.
    """
    if not is_published(model):
        return
    found = resolve(model)
    if found.path is None or not found.path.exists():
        install(
            str(model),
            offline=offline,
            on_progress=on_progress,
            on_message=on_message,
            on_warning=on_warning,
        )


def download(
    model: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    offline: bool | None = None,
    on_progress: OnBytes | None = None,
    on_message: Callable[[str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Path:
    """Bring a model into the cache, or into a session folder that can be trained on.

    Args:
        model: Its name, see :func:`sonograd.zoo.model_entries`, or ``hf://owner/name``, with
            ``/file`` where a repository has several.
        folder: The session folder to write; None leaves it in the cache.
        overwrite: Replace ``model.json`` and the weights, and nothing else, in a folder that is
            not empty; without a folder: download again what is in the cache.
        offline: Use no network; ``$SONOGRAD_OFFLINE`` if None.
        on_progress: Called with ``(done, total)`` in bytes, for each file.
        on_message: Told what happens, and once under which license.
        on_warning: Told that instead, where the license forbids commercial use or there is none.

    Returns:
        The path of the weights.

    Raises:
        ModelNotFoundError: If there is no such model.
        ParameterError: If it has no weights, or is made of several and a folder was given.
        DownloadError: If a file cannot be fetched.
        CheckpointError: If it is another file than expected; it is kept as ``NAME.bad``.
        OutputError: If the folder is not empty, or cannot be written to.
    """
    if is_published(model):
        install(
            model,
            offline=offline,
            overwrite=overwrite and folder is None,
            on_progress=on_progress,
            on_message=on_message,
            on_warning=on_warning,
        )
    found = resolve(model)
    if found.path is None:
        raise ParameterError(f"{model}: works without weights, there is nothing to download.")
    if folder is None:
        return found.path
    if found.path.name == SOURCE_NAME:
        raise ParameterError(
            f"{model}: is made of several networks and cannot be one session folder; "
            f"they are in {found.path.parent}."
        )
    config = found.load().config
    assert config is not None  # every model with weights has one
    source = found.path
    return write_session(
        config, folder, lambda path: shutil.copyfile(source, path), overwrite=overwrite
    )
