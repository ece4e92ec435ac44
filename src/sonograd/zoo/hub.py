"""Models on the hub of Hugging Face, by ``hf://owner/name``: their list of files as an entry."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from sonograd.errors import DownloadError, ModelNotFoundError
from sonograd.zoo.download import fetch_bytes
from sonograd.zoo.registry import HUB_PREFIX, UNKNOWN, ModelEntry, PublishedFile

__all__ = ["hub_entry"]

_ENDPOINT = "https://huggingface.co"
_MAX_LIST = 8 << 20
_WEIGHTS = (".safetensors", ".ckpt", ".th", ".pth")
_SETTINGS = (".yaml", ".yml", ".json")
#: Files that are no settings of a model.
_OTHER = frozenset({"config.json", "source.json", "trainer.json", "README.json"})


def hub_entry(name: str, *, offline: bool | None = None) -> ModelEntry:
    """Return what is known about ``hf://owner/name``: its one file of weights, with its hash.

    A file of settings is taken if there is one. ``$HF_ENDPOINT`` names another server.

    Raises:
        ModelNotFoundError: If the name is no ``owner/name``, or there is not one file of weights.
        DownloadError: If the server cannot be asked.
    """
    repository = name.removeprefix(HUB_PREFIX)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository) or ".." in repository:
        raise ModelNotFoundError(f"{name!r}: expected {HUB_PREFIX}OWNER/NAME.")
    endpoint = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
    listing = _listing(f"{endpoint}/api/models/{repository}?blobs=true", offline)
    files = {
        str(item["rfilename"]): item
        for item in listing.get("siblings", ())
        if isinstance(item, dict) and "rfilename" in item
    }
    weights = [path for path in files if PurePosixPath(path).suffix.lower() in _WEIGHTS]
    if len(weights) != 1:
        found = f"{len(weights)} files of weights" if weights else "no file of weights"
        raise ModelNotFoundError(
            f"{name}: has {found}, expected one; download it and use: sonograd convert FILE"
        )
    settings = [
        path
        for path in files
        if PurePosixPath(path).suffix.lower() in _SETTINGS
        and PurePosixPath(path).name not in _OTHER
    ]
    root = f"{endpoint}/{repository}/resolve/main/"
    card = listing.get("cardData")
    terms = card.get("license") if isinstance(card, Mapping) else None
    lfs = files[weights[0]].get("lfs") or {}
    return ModelEntry(
        family=UNKNOWN,
        stems=(UNKNOWN,),
        license=str(terms) if terms else None,
        files=(
            PublishedFile(
                urls=(root + weights[0],),
                sha256=str(lfs["sha256"]) if "sha256" in lfs else None,
                size=files[weights[0]].get("size"),
            ),
        ),
        settings_urls=tuple(root + path for path in settings[:1]),
        page=f"{endpoint}/{repository}",
    )


def _listing(url: str, offline: bool | None) -> Mapping[str, Any]:
    content = fetch_bytes(url, limit=_MAX_LIST, offline=offline)
    try:
        listing = json.loads(content)
    except (ValueError, RecursionError):
        listing = None
    if not isinstance(listing, dict):
        raise DownloadError(f"{url}: no list of files.")
    return listing
