"""From what a user types as MODEL to a separator."""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sonograd.config import SeparatorConfig, read_config, suggest
from sonograd.config.io import read_json
from sonograd.config.session import CONFIG_NAME, STATE_NAME, WEIGHTS_NAME
from sonograd.errors import CheckpointError, ModelNotFoundError, ParameterError
from sonograd.zoo.cache import (
    SOURCE_NAME,
    cached_models,
    damaged_files,
    file_sha256,
    models_folder,
    read_source,
)
from sonograd.zoo.registry import HUB_PREFIX, model_entries

if TYPE_CHECKING:
    from sonograd.separators import Separator

__all__ = ["ResolvedModel", "is_published", "load", "model_names", "resolve"]

_WEIGHTS = Path(__file__).parent / "weights"
_REGISTRY = Path(__file__).parent / "registry.json"
_CLASSICAL = ("center", "hpss", "repet")


@dataclass(frozen=True)
class ResolvedModel:
    """What a MODEL turned out to be; nothing is loaded yet.

    Attributes:
        name: What to call it: the name it was asked by, or that of its file or folder.
        path: Its weights, or the list of its members; None for a model without weights. What is
            still to be downloaded is not there yet; :meth:`load` brings it.
        config_path: The configuration beside the weights, for a session folder.
        expected_sha256: What :attr:`sha256` must be, for weights that come with sonograd.
        note: What its users should know; empty for most.
        is_published: Whether it lies in the cache of downloads, or is to be fetched there.
    """

    name: str
    path: Path | None = None
    config_path: Path | None = None
    expected_sha256: str | None = None
    note: str = ""
    is_published: bool = False

    @property
    def sha256(self) -> str | None:
        """Hash of the file of weights, as hexadecimal digits; None without weights."""
        if self.path is None:
            return None
        return file_sha256(self.path)

    def load(
        self,
        target: str | None = None,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
    ) -> "Separator":
        """Return the separator in evaluation mode; see :func:`load`."""
        separator = self._build(sample_rate, channels)
        if target is not None:
            from sonograd.separators.select import SelectStems

            separator = SelectStems(separator, [target])
        return separator.eval()

    def _build(self, sample_rate: int | None, channels: int | None) -> "Separator":
        if self.path is None:
            return _classical(self.name)(sample_rate=sample_rate or 44100, channels=channels or 2)
        given = {"sample_rate": sample_rate, "channels": channels}
        for option, value in given.items():
            if value is not None:
                raise ParameterError(
                    f"{option} is {value}, but {self.name} was trained for one {option}; "
                    f"leave it out, and convert the audio."
                )
        if self.is_published and not self.path.exists():
            from sonograd.zoo.install import install

            install(self.name)
            found = _published(self.name)  # what comes from a hub may have members
            if found.path != self.path:
                return found._build(sample_rate, channels)
        if self.is_published:
            self._check_published(self.path.parent)
        if self.path.name == SOURCE_NAME:
            return _load_members(self.path.parent)
        if self.expected_sha256 is not None and self.sha256 != self.expected_sha256:
            raise CheckpointError(
                f"{self.path}: damaged, its SHA-256 is {self.sha256} instead of "
                f"{self.expected_sha256}; install sonograd again."
            )
        if self.config_path is not None and self.path.name == STATE_NAME:
            from sonograd.separators.legacy_auralflow import load_legacy_auralflow

            return load_legacy_auralflow(self.path, read_json(self.config_path))
        from sonograd.separators.checkpoint import load_separator

        config = None
        if self.config_path is not None:
            config = read_config(self.config_path, cast("type[SeparatorConfig]", SeparatorConfig))
        return load_separator(self.path, config=config)

    def _check_published(self, folder: Path) -> None:
        """Refuse weights that have changed since they were written."""
        if problems := damaged_files(folder):
            raise CheckpointError(
                f"{folder}: damaged ({'; '.join(problems)}); download it again with: "
                f"sonograd download {self.name}"
            )


def _classical(name: str) -> Callable[..., "Separator"]:
    from sonograd.separators import CenterExtraction, HarmonicPercussive, RepetitionExtraction

    kinds: dict[str, Callable[..., Separator]] = {
        "center": CenterExtraction,
        "hpss": HarmonicPercussive,
        "repet": RepetitionExtraction,
    }
    return kinds[name]


def _load_members(folder: Path) -> "Separator":
    """Return a model that is made of several."""
    from sonograd.separators.checkpoint import load_separator
    from sonograd.separators.ensemble import Ensemble

    record = read_source(folder)
    if record is None or record.member_weights is None:
        raise CheckpointError(f"{folder / SOURCE_NAME}: damaged; download the model again.")
    members = [
        load_separator(folder / str(number) / WEIGHTS_NAME)
        for number in range(len(record.member_weights))
    ]
    return Ensemble(members, weights=record.member_weights)


@cache
def _registry() -> dict[str, dict[str, str]]:
    """Return what is known about the weights that come with sonograd, by name."""
    entries: dict[str, dict[str, str]] = json.loads(_REGISTRY.read_text(encoding="utf-8"))
    return entries


def model_names() -> tuple[str, ...]:
    """Return the names of the models that are on this computer, sorted.

    :func:`~sonograd.zoo.model_entries` has those that can be downloaded, too.

    >>> "hpss" in model_names()
    True
    """
    return tuple(sorted({*_CLASSICAL, *_registry(), *cached_models()}))


def resolve(model: str | os.PathLike[str]) -> ResolvedModel:
    """Find out what ``model`` means, without loading it.

    Args:
        model: A session folder, a ``.safetensors`` file, or the name of a model, see
            :func:`model_names` and :func:`~sonograd.zoo.model_entries`; or ``hf://owner/name``,
            with ``/file`` for one of several. A name comes first; write ``./hpss`` for a folder
            that is called like a model.

    Raises:
        ModelNotFoundError: If it is none of them, or a session folder without weights.
    """
    name, path = str(model), _expand(model)
    if name in _CLASSICAL:
        return ResolvedModel(name)
    if name in _registry():
        sha256 = _registry()[name]["sha256"]
        return ResolvedModel(name, _WEIGHTS / f"{name}.safetensors", expected_sha256=sha256)
    if is_published(name):
        return _published(name)
    if name and path.is_dir():
        return _session(path)
    if path.is_file():
        if path.name == CONFIG_NAME:
            return _session(path.parent)
        return ResolvedModel(path.stem, path)
    names = sorted({*model_names(), *model_entries()})
    looks_like_path = path.suffix or len(path.parts) > 1
    what = "there is no such file or folder" if looks_like_path else "no model has this name"
    raise ModelNotFoundError(
        f"{name!r}: {what}; expected a session folder, a .safetensors file, or a name (sonograd "
        f"models lists them), such as {', '.join(model_names())}.{suggest(name, names)}"
    )


def is_published(model: str | os.PathLike[str]) -> bool:
    """Tell whether ``model`` is a name of something to be downloaded, here already or not."""
    name = str(model)
    if name.startswith(HUB_PREFIX) or name in cached_models():
        return True
    entries = model_entries()
    return name in entries and entries[name].kind in {"published", "user"}


def _published(name: str) -> ResolvedModel:
    from sonograd.zoo.install import cache_name

    folder = models_folder() / cache_name(name)
    record = read_source(folder)
    entry = model_entries().get(name)
    members = record.member_weights if record else entry.member_weights if entry else None
    if members is not None or (record and record.weights.keys() != {WEIGHTS_NAME}):
        return ResolvedModel(name, folder / SOURCE_NAME, is_published=True)
    return ResolvedModel(name, folder / WEIGHTS_NAME, is_published=True)


def _expand(model: str | os.PathLike[str]) -> Path:
    path = Path(model)
    try:
        path = path.expanduser()
        path.exists()  # the system refuses some names, such as those that are too long
    except (OSError, RuntimeError) as error:
        raise ModelNotFoundError(f"{str(model)[:100]!r}: not a usable path: {error}") from None
    return path


def _session(folder: Path) -> ResolvedModel:
    record = read_source(folder)
    if record is not None and record.member_weights is not None:
        return ResolvedModel(folder.resolve().name, folder / SOURCE_NAME)
    config_path, weights = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    if not config_path.is_file():
        raise ModelNotFoundError(
            f"{folder}: not a session folder, there is no {CONFIG_NAME} in it; "
            "create one with: sonograd config MODEL_TYPE --save FOLDER"
        )
    if not weights.is_file() and _is_auralflow(folder / STATE_NAME):
        from sonograd.separators.legacy_auralflow import NOTE

        return ResolvedModel(folder.resolve().name, folder / STATE_NAME, config_path, note=NOTE)
    if not weights.is_file():
        raise ModelNotFoundError(
            f"{folder}: this model has no weights yet ({WEIGHTS_NAME} is missing); "
            f"train it first: sonograd train {folder} DATASET"
        )
    return ResolvedModel(folder.resolve().name, weights, config_path)


def _is_auralflow(state: Path) -> bool:
    """Tell whether a file is a checkpoint that auralflow wrote, by the names in it."""
    if not state.is_file():
        return False
    from sonograd.separators.archive import Archive

    try:
        content = Archive(state).content
    except (CheckpointError, OSError):
        return False
    return isinstance(content, dict) and "best_model" in content


def load(
    model: str | os.PathLike[str],
    target: str | None = None,
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
) -> "Separator":
    """Return the separator that answers to ``model``, in evaluation mode on the CPU.

    Args:
        model: A session folder, a ``.safetensors`` file, or a name, see :func:`model_names`.
        target: Return this stem only; all of them if None.
        sample_rate: Rate in Hz for models without weights, 44100 if None. Others have their own.
        channels: Channels for models without weights, 2 if None. Others have their own.

    Raises:
        ModelNotFoundError: If nothing answers to ``model``.
        CheckpointError: If its weights are damaged or belong to another model.
        ParameterError: If it has no such ``target``, or was trained for one rate.

    Warns:
        UserWarning: If there is something to know about it, such as that it is auralflow's.

    >>> load("hpss", "percussive", sample_rate=16000).stems
    ('percussive',)
    """
    found = resolve(model)
    separator = found.load(target, sample_rate=sample_rate, channels=channels)
    if found.note:
        warnings.warn(f"{found.name}: {found.note}", stacklevel=2)
    return separator
