"""Bring a published model into the cache: download, check, convert, and forget the rest."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from sonograd.config import write_config
from sonograd.config.session import CONFIG_NAME, WEIGHTS_NAME
from sonograd.errors import CheckpointError, ConfigError, ModelNotFoundError, ParameterError
from sonograd.zoo.cache import (
    FileRecord,
    SourceRecord,
    damaged_files,
    downloads_folder,
    file_sha256,
    lock_model,
    models_folder,
    read_source,
    remove_leftovers,
    staged_folder,
    write_source,
)
from sonograd.zoo.download import OnBytes, fetch
from sonograd.zoo.registry import HUB_PREFIX, UNKNOWN, ModelEntry, PublishedFile, find_entry

if TYPE_CHECKING:
    from sonograd.separators import Separator

__all__ = ["cache_name", "install", "installed_folder", "license_notice", "write_converted"]


def installed_folder(name: str) -> Path | None:
    """Return the folder of a model in the cache, or None if it is not there."""
    folder = models_folder() / cache_name(name)
    return folder if _is_of(folder, name) else None


def install(
    name: str,
    *,
    offline: bool | None = None,
    overwrite: bool = False,
    on_progress: OnBytes | None = None,
    on_message: Callable[[str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Path:
    """Make sure that a published model is in the cache; return its folder.

    Where several processes ask for one model, one brings it and the others wait. That needs locks
    of files, which Windows and some network file systems do not have: there each brings its own,
    and the last one stays.

    Args:
        name: Its name.
        offline: Use no network; ``$SONOGRAD_OFFLINE`` if None.
        overwrite: Download it again, even if it is there and whole. Files whose publisher gives
            no hash have to be those of the first time.
        on_progress: Called with ``(done, total)`` in bytes, for each file.
        on_message: Told what happens, once under which license, and which files cannot be checked.
        on_warning: Told once under which license instead, where it forbids commercial use or there
            is none; if both are None, that is a warning.

    Raises:
        ModelNotFoundError: If there is no such model, or it is not one to download.
        DownloadError: If a file cannot be fetched.
        CheckpointError: If a file is another one than expected, or does not fit the model.
        OutputError: If the cache cannot be written to.

    Warns:
        UserWarning: Once, when it is downloaded, see ``on_warning``.
    """
    folder = models_folder() / cache_name(name)
    if not overwrite and _is_whole(folder, name):
        return folder
    entry = _find(name, offline)
    if not entry.files:
        what = "has no files" if entry.kind == "user" else "comes with sonograd"
        raise ModelNotFoundError(f"{name}: {what}, there is nothing to download.")
    tell = on_message or (lambda _: None)
    with lock_model(folder.name, lambda: tell(f"{name}: waiting for another process")):
        if not overwrite and _is_whole(folder, name):
            return folder
        if entry.license is None or entry.commercial is False:
            warn = on_warning or on_message or partial(warnings.warn, stacklevel=2)
            warn(license_notice(name, entry))
        else:
            tell(license_notice(name, entry))
        settings, paths, files = _fetched(name, entry, offline, on_progress, tell)
        tell(f"{name}: converting")
        unsure = [
            path for path, file in zip(paths, entry.files, strict=True) if file.sha256 is None
        ]
        with _put_aside([*unsure, *([settings] if settings else ())]):
            separators = _converted(entry, paths, settings)
        record = SourceRecord(
            name=name,
            family=_family(entry, separators),
            license=entry.license,
            stems=separators[0].stems,
            files=files,
            member_weights=_member_weights(entry, separators),
        )
        write_converted(separators, folder, record)
        remove_leftovers(folder.name)
    return folder


@contextmanager
def _put_aside(paths: Sequence[Path]) -> Iterator[None]:
    """Keep files that cannot be used, and that no hash vouches for, from being taken again."""
    try:
        yield
    except (CheckpointError, ConfigError, ParameterError) as error:
        moved = []
        for path in paths:
            if path.is_file():
                path.replace(path.with_name(path.name + ".bad"))
                moved.append(f"{path.name}.bad")
        if not moved:
            raise
        kept = f"What was downloaded is kept as {', '.join(moved)} in {paths[0].parent}."
        if isinstance(error, ConfigError):
            raise ConfigError(error.source, [*error.problems, kept]) from None
        raise type(error)(f"{error} {kept}") from None


def _addresses(entry: ModelEntry) -> list[str]:
    """Return the first addresses of the weights, and behind them that of the settings."""
    settings = entry.settings_urls if entry.arguments is None else ()
    return [*(file.urls[0] for file in entry.files), *settings[:1]]


def _is_of(folder: Path, name: str) -> bool:
    """Tell whether a folder of the cache holds this model, by its name or that of the folder."""
    record = read_source(folder)
    return record is not None and (record.name == name or cache_name(record.name) == name)


def _is_whole(folder: Path, name: str) -> bool:
    return _is_of(folder, name) and not damaged_files(folder)


def _find(name: str, offline: bool | None) -> ModelEntry:
    if name.startswith(HUB_PREFIX):
        from sonograd.zoo.hub import hub_entry

        return hub_entry(name, offline=offline)
    return find_entry(name)


def _fetched(
    name: str,
    entry: ModelEntry,
    offline: bool | None,
    on_progress: OnBytes | None,
    tell: Callable[[str], None],
) -> tuple[Path | None, list[Path], tuple[FileRecord, ...]]:
    """Bring the settings, then the weights; return where they are, and what they are."""
    raw = downloads_folder() / cache_name(name)
    before = read_source(models_folder() / cache_name(name))
    places = [raw / called for called in _file_names(_addresses(entry))]
    settings = None
    if len(places) > len(entry.files):  # first, since nothing can be done without them
        settings = places.pop()
        fetch(entry.settings_urls, settings, offline=offline)
        if entry.family != UNKNOWN:  # else the weights may do without
            with _put_aside([settings]):
                from sonograd.zoo.settings import model_arguments, read_settings  # loads yaml

                model_arguments(read_settings(settings), source=str(settings))
    found: dict[PublishedFile, tuple[Path, FileRecord]] = {}  # a member may be there twice
    for file, path in zip(entry.files, places, strict=True):
        if file in found:
            continue
        expected = _expected(file, before)
        if expected is None:
            tell(f"{name}: {path.name} cannot be checked, its publisher gives no hash")
        get = partial(fetch, offline=offline, on_progress=on_progress)
        found[file] = path, _fetch_one(name, file, path, expected, get)
    paths, records = zip(*(found[file] for file in entry.files), strict=True)
    return settings, list(paths), records


def _fetch_one(
    name: str, file: PublishedFile, path: Path, expected: str | None, get: Callable[..., str]
) -> FileRecord:
    sources = [file.urls[0]]
    try:
        sha256 = get(file.urls, path, sha256=expected, size=file.size, on_source=sources.append)
    except CheckpointError as error:
        if expected == file.sha256:
            raise
        raise CheckpointError(
            f"{error} It was another one when it was downloaded first; to take this one: "
            f"sonograd models remove {name}, then download it again."
        ) from None
    return FileRecord(url=sources[-1], sha256=sha256, size=path.stat().st_size)


def _expected(file: PublishedFile, before: SourceRecord | None) -> str | None:
    """Return the hash that a file must have: the published one, or that of the first time."""
    for known in before.files if before is not None else ():
        if known.url in file.urls and known.sha256.startswith(file.sha256 or ""):
            return known.sha256
    return file.sha256


def cache_name(name: str) -> str:
    """Return what the folder of a model is called, no two alike.

    >>> cache_name("hf://owner/name")
    'hf--owner--name'
    >>> cache_name("hf://owner/name/a b.th")
    'hf--owner--name--a_b.th-4a0c1e34'
    """
    flat = name.replace("://", "--").replace("/", "--")
    if not name.startswith(HUB_PREFIX):
        return flat
    plain = _plain_name(flat)
    if HUB_PREFIX + plain.removeprefix("hf--").replace("--", "/") == name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


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
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return _plain_name(name) or "file"


def _plain_name(name: str) -> str:
    """Return a name that every system takes for a file."""
    return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name)


def _file_names(urls: Sequence[str]) -> list[str]:
    """Return names for files, no two alike, even where letter case does not count."""
    names: list[str] = []
    for number, url in enumerate(urls):
        name = file_name(url)
        while name.lower() in {other.lower() for other in names}:
            name = f"{number}-{name}"
        names.append(name)
    return names


def _converted(
    entry: ModelEntry, paths: Sequence[Path], settings: Path | None
) -> "list[Separator]":
    from sonograd.zoo.convert import Hints, convert_checkpoint  # loads torch

    hints = Hints(
        family=None if entry.family == UNKNOWN else entry.family,
        settings=entry.arguments if entry.arguments is not None else settings,
        overrides=entry.overrides or {},
    )
    groups: list[Sequence[Path] | Mapping[str, Path]] = [paths]
    if entry.member_weights is not None:
        groups = [[path] for path in paths]
    elif all(file.target for file in entry.files):
        groups = [{str(file.target): path for file, path in zip(entry.files, paths, strict=True)}]
    found = [convert_checkpoint(group, hints=hints) for group in groups]
    stems = found[0].stems if entry.stems == (UNKNOWN,) else entry.stems
    for separator, group in zip(found, groups, strict=True):
        if set(separator.stems) != set(stems):
            path = next(iter(group.values() if isinstance(group, Mapping) else group))
            raise CheckpointError(
                f"{path.name}: gives {', '.join(separator.stems)}; expected {', '.join(stems)}."
            )
    return found


def _family(entry: ModelEntry, separators: "Sequence[Separator]") -> str:
    """Return the architecture of most of what is known; members may differ."""
    found = [separator.config.model_type for separator in separators if separator.config]
    return entry.family if entry.family in found or not found else found[0]


def _member_weights(
    entry: ModelEntry, separators: "Sequence[Separator]"
) -> tuple[tuple[float, ...], ...] | None:
    """Return a weight for each member and stem of the first one, in its order.

    One number is meant for all stems.

    Raises:
        CheckpointError: If there are more or less numbers than stems.
    """
    if entry.member_weights is None:
        return None
    stems = separators[0].stems
    rows = tuple(row * len(stems) if len(row) == 1 else row for row in entry.member_weights)
    if any(len(row) != len(stems) for row in rows):
        raise CheckpointError(
            f"{entry.page or 'members'}: has weights for {len(entry.member_weights[0])} stems, but "
            f"the members give {', '.join(stems)}."
        )
    order = stems if entry.stems == (UNKNOWN,) else entry.stems
    return tuple(tuple(row[order.index(stem)] for stem in stems) for row in rows)
