"""Models on the hub of Hugging Face, by ``hf://owner/name``: their list of files as an entry."""

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from sonograd.errors import ConfigError, DownloadError, ModelNotFoundError
from sonograd.zoo.download import fetch_bytes
from sonograd.zoo.registry import HUB_PREFIX, UNKNOWN, ModelEntry, PublishedFile, usable_weights
from sonograd.zoo.settings import read_settings

__all__ = ["hub_entry"]

_ENDPOINT = "https://huggingface.co"
_MAX_LIST = 8 << 20
_MAX_BAG = 1 << 16
#: Lists that are looked at, and members of one.
_MAX_BAGS = 32
#: Signs in the name of a file.
_MAX_NAME = 250
_WEIGHTS = (".safetensors", ".ckpt", ".th", ".pth", ".pt", ".bin")
#: Files of these kinds never say how their network is built.
_SILENT = (".ckpt",)
_YAML = (".yaml", ".yml")
#: Files of a training that are no weights.
_NOT_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)")
#: Files that are no settings of a model.
_NOT_SETTINGS = frozenset({"environment.yml", "environment.yaml", "dvc.yaml", "mkdocs.yml"})
#: Names that say nothing about what is in a file, which may be there in several formats.
_ANY = frozenset({"model", "pytorch_model", "weights"})
#: How the members of bags are called: by the hash of a training, and of the file.
_MEMBER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8})?")
#: Licenses of model cards that are known to allow commercial use.
_FREE = frozenset(
    {
        "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0",
        "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "isc", "mit", "unlicense", "wtfpl", "zlib",
    }
)  # fmt: skip


def hub_entry(name: str, *, offline: bool | None = None) -> ModelEntry:
    """Return what is known about ``hf://owner/name`` or ``hf://owner/name/file``.

    Without a file, the repository has to hold one model: a file of weights, perhaps in several
    formats, or a bag of Demucs, which is a ``.yaml`` file that lists its members. Settings are
    those that are called like the weights, or the only ones. ``$HF_ENDPOINT`` names another server.

    Raises:
        ModelNotFoundError: If the name is no ``owner/name``, or it is not clear which model is
            meant.
        DownloadError: If the server cannot be asked.
    """
    parts = name.removeprefix(HUB_PREFIX).split("/", 2)
    repository = "/".join(parts[:2])
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository) or ".." in repository:
        raise ModelNotFoundError(f"{name!r}: expected {HUB_PREFIX}OWNER/NAME.")
    endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
    listing = _listing(f"{endpoint}/api/models/{repository}?blobs=true", offline)
    siblings = listing.get("siblings")
    files = {
        item["rfilename"]: item
        for item in (siblings if isinstance(siblings, list) else ())
        if isinstance(item, dict) and _is_name(item.get("rfilename"))
    }
    model = _Repository(
        name=HUB_PREFIX + repository,
        root=f"{endpoint}/{repository}/resolve/main/",
        files=files,
        offline=offline,
    ).find(parts[2] if len(parts) > 2 else None)
    card = listing.get("cardData")
    terms = card.get("license") if isinstance(card, Mapping) else None
    return ModelEntry(
        family=UNKNOWN,
        stems=(UNKNOWN,),
        license=str(terms) if terms else None,
        commercial=_is_commercial(terms),
        page=f"{endpoint}/{repository}",
        **model,
    )


class _Repository:
    """The files of a repository, and which of them make a model."""

    def __init__(
        self, *, name: str, root: str, files: Mapping[str, Any], offline: bool | None
    ) -> None:
        """Keep what the server said; nothing is fetched yet."""
        self.name, self.root, self.files, self.offline = name, root, files, offline
        self.weights = [path for path in files if _is_weights(path)]
        self.yaml = [path for path in files if _is_yaml(path)]

    def find(self, wanted: str | None) -> dict[str, Any]:
        """Return the fields of an entry about the file that is wanted, or the only model."""
        bags = self._bags(self.yaml if wanted is None else [wanted])
        if wanted is None and len(bags) == 1 and self._is_all(next(iter(bags.values()))):
            wanted = next(iter(bags))
        if wanted is None:
            wanted = self._only(bags)
        if wanted in bags:
            return self._bag(wanted, bags[wanted])
        if wanted not in self.weights:
            found = ", ".join([*self.weights, *self.yaml][:5]) or "no model"
            raise ModelNotFoundError(f"{self.name}: has no model {wanted!r}; it has {found}.")
        return self._single(wanted)

    def _is_all(self, bag: Mapping[str, Any]) -> bool:
        """Tell whether a bag leaves no other weights to choose."""
        members = {path for name in bag["models"] for path in self._named(name)}
        return set(self.weights) <= members

    def _only(self, bags: Mapping[str, Any]) -> str:
        """Return the file of weights that is the model, in its safest format."""
        safe = [path for path in self.weights if path.endswith(".safetensors")]
        stems = {PurePosixPath(path).stem for path in self.weights} - _ANY
        if len(self.weights) == 1:
            return self.weights[0]
        if len(safe) == 1 and len(stems) <= 1:
            return safe[0]
        if not self.weights:
            raise ModelNotFoundError(
                f"{self.name}: has no file of weights; expected one ({', '.join(_WEIGHTS)})."
            )
        choice = [*bags, *self.weights]
        raise ModelNotFoundError(
            f"{self.name}: has {len(self.weights)} files of weights; name one of "
            f"{', '.join(choice[:5])}{', ...' if len(choice) > 5 else ''}, such as "
            f"{self.name}/{choice[0]}"
        )

    def _single(self, path: str) -> dict[str, Any]:
        settings = self._settings(path)
        return {
            "files": (self._file(path),),
            "settings_urls": (self._url(settings),) if settings else (),
        }

    def _settings(self, weights: str) -> str | None:
        """Return the file of settings that is called like the weights, or the only one."""
        stem = PurePosixPath(weights).stem.lower()
        same = {stem, f"config_{stem}", f"{stem}_config"}
        json_files = [path for path in self.files if PurePosixPath(path).suffix.lower() == ".json"]
        named = [
            path for path in (*self.yaml, *json_files) if PurePosixPath(path).stem.lower() in same
        ]
        if named or len(self.yaml) == 1:
            return (named or self.yaml)[0]
        if len(self.yaml) > 1 and PurePosixPath(weights).suffix.lower() in _SILENT:
            raise ModelNotFoundError(
                f"{self.name}: has {len(self.yaml)} files of settings, none of them called like "
                f"{weights}; download it and the right one, and use: sonograd convert FILE "
                "--config FILE.yaml"
            )
        return None

    def _bags(self, candidates: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return the files that list members which are here."""
        if not any(_MEMBER.fullmatch(PurePosixPath(path).stem) for path in self.weights):
            return {}
        bags = {}
        for path in candidates[:_MAX_BAGS]:
            content = self._read(path) if path in self.yaml else {}
            names = content.get("models")
            if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
                bags[path] = content
        return bags

    def _read(self, path: str) -> Mapping[str, Any]:
        if (self._file(path).size or 0) > _MAX_BAG:
            return {}
        content = fetch_bytes(self._url(path), limit=_MAX_BAG, offline=self.offline)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "bag.yaml")
            copy.write_bytes(content)
            try:
                return read_settings(copy)
            except ConfigError:
                return {}

    def _bag(self, path: str, bag: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an entry with the members of a bag."""
        files = []
        if len(bag["models"]) > _MAX_BAGS:
            raise ModelNotFoundError(f"{self.name}: {path} lists {len(bag['models'])} members.")
        for member in bag["models"]:
            found = self._named(member)
            if not found:
                raise ModelNotFoundError(
                    f"{self.name}: {path} lists {member[:80]!r}, which is not there."
                )
            files.append(self._file(found[0]))
        weights, segment = bag.get("weights"), bag.get("segment")
        fields: dict[str, Any] = {"files": tuple(files)}
        if weights is not None:
            fields["member_weights"] = _rows(weights, len(files), f"{self.name}: {path}")
        elif len(files) > 1:
            fields["member_weights"] = ((1.0,),) * len(files)
        if segment is not None:
            fields["overrides"] = {"segment": segment}
        return fields

    def _named(self, member: str) -> list[str]:
        """Return the files of a member, the safest format first."""
        found = [
            path
            for path in self.weights
            if PurePosixPath(path).stem == member or PurePosixPath(path).stem[:9] == f"{member}-"
        ]
        return sorted(found, key=lambda path: (not path.endswith(".safetensors"), path))

    def _file(self, path: str) -> PublishedFile:
        item = self.files[path]
        lfs, size = item.get("lfs"), item.get("size")
        return PublishedFile(
            urls=(self._url(path),),
            sha256=str(lfs["sha256"]) if isinstance(lfs, dict) and "sha256" in lfs else None,
            size=size if isinstance(size, int) and size > 0 else None,
        )

    def _url(self, path: str) -> str:
        return self.root + quote(path)


def _is_name(name: Any) -> bool:
    """Tell whether a file may be called so: in one line, and not beyond all measure."""
    return isinstance(name, str) and name.isprintable() and len(name) <= _MAX_NAME


def _is_weights(path: str) -> bool:
    place = PurePosixPath(path)
    return place.suffix.lower() in _WEIGHTS and not _NOT_WEIGHTS.match(place.name)


def _is_yaml(path: str) -> bool:
    place = PurePosixPath(path)
    hidden = any(part.startswith(".") for part in place.parts)
    return place.suffix.lower() in _YAML and not hidden and place.name not in _NOT_SETTINGS


def _is_commercial(terms: Any) -> bool | None:
    """Tell whether a license allows commercial use; None if that is not known."""
    words = str(terms).lower()
    if re.search(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial", words):
        return False
    return True if words in _FREE else None


def _rows(weights: Any, members: int, source: str) -> tuple[tuple[float, ...], ...]:
    try:
        rows = tuple(tuple(float(weight) for weight in row) for row in weights)
    except (TypeError, ValueError):
        rows = ()
    if len(rows) != members or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ModelNotFoundError(f"{source}: expected weights with a row for each member.")
    if not usable_weights(rows):
        raise ModelNotFoundError(
            f"{source}: expected weights of 0 or more, and more than 0 of each stem altogether."
        )
    return rows


def _listing(url: str, offline: bool | None) -> Mapping[str, Any]:
    content = fetch_bytes(url, limit=_MAX_LIST, offline=offline)
    try:
        listing = json.loads(content)
    except (ValueError, RecursionError):
        listing = None
    if not isinstance(listing, dict):
        raise DownloadError(f"{url}: no list of files.")
    return listing
