"""Which models there are: those that come with sonograd, and those that others published.

``published.json`` beside this file is data: nothing in it names code. A file of yours with the same
layout, ``$SONOGRAD_MODELS`` or ``models.json`` in the folder of the cache, adds entries.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, MinLen

from sonograd.config import parse_config, suggest
from sonograd.config.common import STRICT, SampleRate, target_problems
from sonograd.config.io import read_json
from sonograd.errors import ConfigError, ModelNotFoundError
from sonograd.zoo.cache import models_folder

__all__ = [
    "CLASSICAL",
    "FAMILIES",
    "HUB_PREFIX",
    "UNKNOWN",
    "ModelEntry",
    "PublishedFile",
    "Score",
    "find_entry",
    "model_entries",
    "published_entries",
    "shipped_entries",
    "usable_weights",
]

_HERE = Path(__file__).parent
_PUBLISHED = _HERE / "published.json"
_SHIPPED = _HERE / "registry.json"

#: Architectures that weights are converted for.
FAMILIES = (
    "BandSplitRoFormer",
    "ConvTasNet",
    "Demucs",
    "HTDemucs",
    "HybridDemucs",
    "MelBandRoFormer",
    "OpenUnmix",
    "SCNet",
)
#: How models of a hub are called: ``hf://owner/name``.
HUB_PREFIX = "hf://"
#: Family and stems of a model that says so only in its weights.
UNKNOWN = "unknown"
Kind: TypeAlias = Literal["classical", "shipped", "published", "user"]


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of weights on the web.

    Attributes:
        urls: Where it is, best first.
        sha256: Its hash, or the first digits that its publisher gives; None where none is given.
        size: Its bytes, where they are published.
        target: The stem that it is for, if it is for one.
    """

    urls: Annotated[tuple[str, ...], MinLen(1)]
    sha256: str | None = None
    size: Annotated[int, Ge(1)] | None = None
    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """A published score.

    Attributes:
        value: The number.
        metric: What it is, on which songs, and of which stems it is the mean.
    """

    value: float
    metric: str


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What is known about a model by its name.

    Attributes:
        family: Its architecture; what a file of weights says about itself comes first.
        stems: What it gives.
        sample_rate: Rate it works at, in Hz; None for any.
        license: Under which conditions its weights may be used; None if its publisher says nothing.
        commercial: Whether these allow commercial use; None if that is unknown.
        files: The weights; several for one network per stem, or for members.
        member_weights: For members: how much of each stem each gives, ``(members, stems)``.
        arguments: Arguments of the constructor that the weights were published for.
        overrides: Arguments that the publisher changes in every member, beside those that its file
            holds; a ``segment`` longer than that of a member with a transformer is left out.
        settings_urls: Where a file with such arguments is, if they are not here.
        parameters: Number of weights, in millions.
        gflop_per_second: Billion floating-point operations per second of stereo audio.
        score: A published score.
        paper: Where the architecture is described.
        page: Where the weights are described.
        kind: Where this entry is from.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    family: str
    stems: Annotated[tuple[str, ...], MinLen(1)]
    sample_rate: SampleRate | None = None
    license: str | None = None
    commercial: bool | None = None
    files: tuple[PublishedFile, ...] = ()
    member_weights: tuple[tuple[float, ...], ...] | None = None
    arguments: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None
    settings_urls: tuple[str, ...] = ()
    parameters: Annotated[float, Gt(0)] | None = None
    gflop_per_second: Annotated[float, Gt(0)] | None = None
    score: Score | None = None
    paper: str | None = None
    page: str | None = None
    kind: Kind = "user"

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = [
            problem.replace("targets", "stems", 1)
            for problem in target_problems(values.get("stems", ()))
        ]
        match values:
            case {"files": files, "family": family} if files and family not in {*FAMILIES, UNKNOWN}:
                problems.append(
                    f"family: got {family!r}; expected one of {', '.join(FAMILIES)}."
                    + suggest(family, FAMILIES)
                )
        match values:
            case {"member_weights": rows, "files": files, "stems": stems} if rows and (
                len(rows) != len(files)
                or len(columns := {len(row) for row in rows}) > 1
                or (stems != (UNKNOWN,) and columns != {len(stems)})
            ):
                problems.append("member_weights: expected a row per file, a column per stem.")
        match values:
            case {"member_weights": rows} if rows and not usable_weights(rows):
                problems.append(
                    "member_weights: expected 0 or more, and more than 0 of each stem altogether."
                )
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError("model", problems)


def usable_weights(rows: Sequence[Sequence[float]]) -> bool:
    """Tell whether members with these weights, ``(members, stems)``, have a mean of each stem.

    >>> usable_weights([[1.0, 0.5], [0.0, 1.0]]), usable_weights([[1.0, 0.0], [1.0, 0.0]])
    (True, False)
    """
    return all(
        min(column) >= 0 and 0 < sum(column) < math.inf for column in zip(*rows, strict=False)
    )


@dataclass(frozen=True, kw_only=True)
class _Registry:
    """The content of a registry file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    models: dict[str, ModelEntry] = field(default_factory=dict)


_CENTER = "Avendano and Jot, 2004"
#: Models without weights.
CLASSICAL: Mapping[str, ModelEntry] = {
    "center": ModelEntry(
        family="CenterExtraction", stems=("center", "sides"), kind="classical", license="MIT",
        commercial=True, paper=_CENTER,
    ),
    "hpss": ModelEntry(
        family="HarmonicPercussive", stems=("harmonic", "percussive"), kind="classical",
        license="MIT", commercial=True, paper="Fitzgerald, DAFx 2010",
    ),
    "repet": ModelEntry(
        family="RepetitionExtraction", stems=("foreground", "background"), kind="classical",
        license="MIT", commercial=True, paper="Rafii and Pardo, doi:10.1109/TASL.2012.2213249",
    ),
}  # fmt: skip


def model_entries() -> dict[str, ModelEntry]:
    """Return all models by name: without weights, shipped, published, and of the user's.

    Raises:
        ConfigError: If the user's file is not valid.
    """
    entries = {**CLASSICAL, **shipped_entries(), **published_entries()}
    path = _user_file()
    if path is not None:
        for name, entry in _read(path).models.items():
            problems = [
                problem.replace("targets.0", "models", 1) for problem in target_problems([name])
            ]
            if name in entries:
                problems = [f"models.{name}: there is a model of this name already."]
            if problems:
                raise ConfigError(str(path), problems)
            entries[name] = entry
    return dict(sorted(entries.items()))


def find_entry(name: str) -> ModelEntry:
    """Return what is known about a model.

    Raises:
        ModelNotFoundError: If there is no model of this name; with the nearest names.
    """
    entries = model_entries()
    if name not in entries:
        raise ModelNotFoundError(
            f"{name!r}: no model has this name; sonograd models lists them.{suggest(name, entries)}"
        )
    return entries[name]


def _user_file() -> Path | None:
    given = os.environ.get("SONOGRAD_MODELS")
    if given:
        return Path(os.path.expanduser(given))  # noqa: PTH111, never fails
    path = models_folder().with_name("models.json")
    return path if path.is_file() else None


def _read(path: Path) -> _Registry:
    return parse_config(read_json(path), _Registry, source=str(path))


@cache
def published_entries() -> dict[str, ModelEntry]:
    """Return the models that others published, by name."""
    return _read(_PUBLISHED).models


@cache
def shipped_entries() -> dict[str, ModelEntry]:
    """Return the models that come with sonograd, by name."""
    entries = {}
    for name, known in read_json(_SHIPPED).items():
        entries[name] = _described(_HERE / "weights" / f"{name}.safetensors", known)
    return entries


def _described(path: Path, known: Mapping[str, str]) -> ModelEntry:
    """Return the entry of weights that come with sonograd, from what their file says."""
    header = _safetensors_header(path)
    config = parse_config(
        _json(header.get("__metadata__", {}).get("config", "{}")), _Stems, source=str(path)
    )
    return ModelEntry(
        family=config.model_type,
        stems=config.targets,
        sample_rate=config.sample_rate,
        license=known.get("license"),
        commercial=known.get("license") == "MIT",
        page=known.get("card"),
        parameters=round(sum(_numel(item) for item in header.values()) / 1e6, 3),
        kind="shipped",
    )


@dataclass(frozen=True, kw_only=True)
class _Stems:
    """What every configuration of a model says; the rest is passed over."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "ignore", "strict": True}

    model_type: str
    targets: tuple[str, ...]
    sample_rate: int


def _safetensors_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file, without torch."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = _json(file.read(size).decode())
    return header


def _json(text: str) -> Any:
    import json

    return json.loads(text)


def _numel(item: Mapping[str, Any]) -> int:
    count = 1 if "shape" in item else 0
    for length in item.get("shape", ()):
        count *= length
    return count
