"""What models there are, and what is in the cache of those that were downloaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sonograd.config import suggest
from sonograd.errors import ModelNotFoundError, ParameterError
from sonograd.zoo.cache import (
    SourceRecord,
    cached_models,
    damaged_files,
    leftovers,
    models_folder,
    read_source,
    remove_cached,
)
from sonograd.zoo.registry import ModelEntry, find_entry, model_entries

__all__ = [
    "ModelStatus",
    "VerifiedModel",
    "leftovers",
    "list_models",
    "remove_model",
    "show_model",
    "verify_models",
]


@dataclass(frozen=True)
class ModelStatus:
    """A model, and whether it is here.

    Attributes:
        name: Its name.
        entry: What is known about it; None for one from a hub.
        source: What it was downloaded from; None if it was not.
        folder: Where it lies, if it was downloaded.
    """

    name: str
    entry: ModelEntry | None
    source: SourceRecord | None = None
    folder: Path | None = None

    @property
    def is_here(self) -> bool:
        """Whether it needs no network."""
        return self.source is not None or (
            self.entry is not None and self.entry.kind in {"classical", "shipped"}
        )


@dataclass(frozen=True)
class VerifiedModel:
    """What became of a check.

    Attributes:
        name: The model.
        problems: Files that are not what they were; empty if all is well.
    """

    name: str
    problems: tuple[str, ...]


def list_models(
    *,
    query: str | None = None,
    family: str | None = None,
    stem: str | None = None,
    here: bool = False,
    commercial: bool = False,
) -> list[ModelStatus]:
    """Return models by name.

    Args:
        query: Part of the name, family or stems; letter case does not matter.
        family: Architecture.
        stem: A stem that it must give.
        here: Only those that need no network.
        commercial: Only those whose license allows commercial use.

    Raises:
        ParameterError: If there is no such family or stem at all.
    """
    entries: dict[str, ModelEntry | None] = dict(model_entries())
    for name in cached_models():
        if name not in entries:
            source = read_source(models_folder() / name)
            entries[source.name if source else name] = None
    found = [_status(name, entry) for name, entry in sorted(entries.items())]
    _check_known("family", family, {_family(status) for status in found})
    _check_known("stem", stem, {stem for status in found for stem in _stems(status)})
    return [
        status
        for status in found
        if (query is None or query.lower() in _words(status))
        and (family is None or family.lower() == _family(status).lower())
        and (stem is None or stem.lower() in {name.lower() for name in _stems(status)})
        and (not here or status.is_here)
        and (not commercial or (status.entry is not None and status.entry.commercial is True))
    ]


def show_model(name: str) -> ModelStatus:
    """Return what is known about one model.

    Raises:
        ModelNotFoundError: If there is none of this name.
    """
    for status in list_models():
        if status.name == name:
            return status
    find_entry(name)
    raise AssertionError(name)


def verify_models(
    names: tuple[str, ...] = (), *, on_progress: Callable[[float, float], None] | None = None
) -> list[VerifiedModel]:
    """Compare downloaded models with the hashes of what was written.

    Args:
        names: Some of them; all if empty.
        on_progress: Called with ``(done, total)`` in models.

    Raises:
        ModelNotFoundError: If one was not downloaded.
    """
    folders = {name: _cached_folder(name) for name in names} or {
        name: models_folder() / name for name in cached_models()
    }
    results = []
    for name, folder in folders.items():
        results.append(VerifiedModel(name, tuple(damaged_files(folder))))
        if on_progress is not None:
            on_progress(len(results), len(folders))
    return results


def remove_model(name: str) -> int:
    """Delete a model from the cache, or what is left of its download; return the freed bytes.

    Raises:
        ModelNotFoundError: If nothing of it was downloaded.
        OutputError: If it cannot be deleted, or is being downloaded.
    """
    known = dict.fromkeys((*cached_models(), *leftovers(with_running=True)))
    return remove_cached(_cached_folder(name, tuple(known)).name)


def _cached_folder(name: str, known: tuple[str, ...] | None = None) -> Path:
    from sonograd.zoo.install import cache_name

    folder = models_folder() / cache_name(name)
    known = cached_models() if known is None else known
    if cache_name(name) not in known:
        raise ModelNotFoundError(
            f"{name!r}: was not downloaded; {', '.join(known) or 'no model'} was."
            + suggest(name, known)
        )
    return folder


def _status(name: str, entry: ModelEntry | None) -> ModelStatus:
    from sonograd.zoo.install import cache_name

    folder = models_folder() / cache_name(name)
    source = read_source(folder)
    return ModelStatus(name, entry, source, folder if source else None)


def _family(status: ModelStatus) -> str:
    if status.source is not None:
        return status.source.family
    return status.entry.family if status.entry else ""


def _stems(status: ModelStatus) -> tuple[str, ...]:
    if status.entry is not None:
        return status.entry.stems
    return status.source.stems if status.source else ()


def _words(status: ModelStatus) -> str:
    return f"{status.name} {_family(status)} {' '.join(_stems(status))}".lower()


def _check_known(option: str, given: str | None, known: set[str]) -> None:
    if given is None or given.lower() in {name.lower() for name in known}:
        return
    raise ParameterError(
        f"{option} is {given!r}; expected one of {', '.join(sorted(known))}."
        + suggest(given, sorted(known))
    )
