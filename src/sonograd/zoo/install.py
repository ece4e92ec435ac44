"""Bring a published model into the cache: download, check, convert, and forget the rest."""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sonograd.config import write_config
from sonograd.config.session import CONFIG_NAME, WEIGHTS_NAME
from sonograd.errors import CheckpointError, ModelNotFoundError
from sonograd.zoo.cache import (
    FileRecord,
    SourceRecord,
    damaged_files,
    file_sha256,
    models_folder,
    read_source,
    staged_folder,
    write_source,
)
from sonograd.zoo.download import OnBytes, fetch
from sonograd.zoo.registry import HUB_PREFIX, UNKNOWN, ModelEntry, find_entry

if TYPE_CHECKING:
    from sonograd.separators import Separator

__all__ = ["cache_name", "install", "installed_folder", "license_notice", "write_converted"]


def installed_folder(name: str) -> Path | None:
    """Return the folder of a model in the cache, or None if it is not there."""
    folder = models_folder() / cache_name(name)
    return folder if read_source(folder) is not None else None


def install(
    name: str,
    *,
    offline: bool | None = None,
    overwrite: bool = False,
    on_progress: OnBytes | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Path:
    """Make sure that a published model is in the cache; return its folder.

    Args:
        name: Its name.
        offline: Use no network; ``$SONOGRAD_OFFLINE`` if None.
        overwrite: Download it again, even if it is there and whole.
        on_progress: Called with ``(done, total)`` in bytes, for each file.
        on_message: Told what happens, and once under which license; if None, a warning says so
            where the license forbids commercial use, or there is none.

    Raises:
        ModelNotFoundError: If there is no such model, or it is not one to download.
        DownloadError: If a file cannot be fetched.
        CheckpointError: If a file is another one than expected, or does not fit the model.
        OutputError: If the cache cannot be written to.

    Warns:
        UserWarning: Once, when it is downloaded, see ``on_message``.
    """
    if name.startswith(HUB_PREFIX):
        from sonograd.zoo.hub import hub_entry

        find: Callable[[str], ModelEntry] = partial(hub_entry, offline=offline)
    else:
        find = find_entry
    folder = models_folder() / cache_name(name)
    if not overwrite and read_source(folder) is not None and not damaged_files(folder):
        return folder
    entry = find(name)
    if not entry.files:
        raise ModelNotFoundError(f"{name}: comes with sonograd, there is nothing to download.")
    tell = on_message or (lambda _: None)
    tell(license_notice(name, entry))
    raw = models_folder().with_name("downloads") / cache_name(name)
    paths, files = [], []
    for file in entry.files:
        path = raw / file_name(file.urls[0])
        sources = [file.urls[0]]
        sha256 = fetch(
            file.urls, path, sha256=file.sha256, size=file.size, offline=offline,
            on_progress=on_progress, on_source=sources.append,
        )  # fmt: skip
        paths.append(path)
        files.append(FileRecord(url=sources[-1], sha256=sha256, size=path.stat().st_size))
    settings = _settings(entry, raw, offline)
    if on_message is None and (entry.license is None or entry.commercial is False):
        warnings.warn(license_notice(name, entry), stacklevel=2)
    tell(f"{name}: converting")
    separators = _converted(entry, paths, settings)
    record = SourceRecord(
        name=name,
        family=separators[0].config.model_type if separators[0].config else entry.family,
        license=entry.license,
        files=tuple(files),
        member_weights=entry.member_weights,
    )
    write_converted(separators, folder, record)
    shutil.rmtree(raw, ignore_errors=True)
    return folder


def cache_name(name: str) -> str:
    """Return what the folder of a model is called.

    >>> cache_name("hf://owner/name")
    'hf--owner--name'
    """
    return name.replace("://", "--").replace("/", "--")


def license_notice(name: str, entry: ModelEntry) -> str:
    """Return one sentence on what one may do with the weights of a model."""
    if entry.license is None:
        terms = "published without a license, so that nothing but private use is sure"
    elif entry.commercial is False:
        terms = f"license {entry.license}: no commercial use"
    else:
        terms = f"license {entry.license}"
    return f"{name}: {terms}{f'; see {entry.page}' if entry.page else ''}"


def write_converted(separators: "Sequence[Separator]", folder: Path, record: SourceRecord) -> None:
    """Write the members of a model as session folders, or as one if it is alone.

    Raises:
        OutputError: If the folder cannot be written to.
    """
    from sonograd.separators import save_separator

    notes = {"source": record.name, "license": record.license or "unknown"}
    weights = {}
    with staged_folder(folder) as stage:
        for number, separator in enumerate(separators):
            part = stage if record.member_weights is None else stage / str(number)
            part.mkdir(exist_ok=True)
            write_config(separator.config, part / CONFIG_NAME)
            path = part / WEIGHTS_NAME
            save_separator(separator, path, metadata=notes)
            weights[path.relative_to(stage).as_posix()] = file_sha256(path)
        write_source(replace(record, weights=weights), stage)


def file_name(url: str) -> str:
    """Return the last part of an address, as the name of a file.

    >>> file_name("https://example.org/a/b.th?download=true")
    'b.th'
    """
    name = PurePosixPath(urlsplit(url).path).name
    return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name) or "file"


def _settings(entry: ModelEntry, raw: Path, offline: bool | None) -> Path | Mapping[str, Any]:
    """Return the arguments of a model's constructor, or the file with them."""
    if entry.arguments is not None or not entry.settings_urls:
        return entry.arguments or {}
    path = raw / file_name(entry.settings_urls[0])
    fetch(entry.settings_urls, path, offline=offline)
    return path


def _converted(
    entry: ModelEntry, paths: Sequence[Path], settings: Path | Mapping[str, Any]
) -> "list[Separator]":
    from sonograd.zoo.convert import convert_checkpoint  # loads torch

    family = None if entry.family == UNKNOWN else entry.family
    groups: list[Sequence[Path] | Mapping[str, Path]] = [paths]
    if entry.member_weights is not None:
        groups = [[path] for path in paths]
    elif all(file.target for file in entry.files):
        groups = [{str(file.target): path for file, path in zip(entry.files, paths, strict=True)}]
    found = [convert_checkpoint(group, family=family, settings=settings) for group in groups]
    for separator in found:
        if entry.stems != (UNKNOWN,) and set(separator.stems) != set(entry.stems):
            raise CheckpointError(
                f"{paths[0].name}: gives {', '.join(separator.stems)}; "
                f"expected {', '.join(entry.stems)}."
            )
    return found
