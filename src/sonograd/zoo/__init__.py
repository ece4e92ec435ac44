"""Models by name: what there is, how it comes here, and how others' weights become ours."""

from sonograd.zoo.lookup import ResolvedModel, is_published, load, model_names, resolve
from sonograd.zoo.registry import (
    FAMILIES,
    ModelEntry,
    PublishedFile,
    Score,
    find_entry,
    model_entries,
)

__all__ = [
    "FAMILIES",
    "ModelEntry",
    "PublishedFile",
    "ResolvedModel",
    "Score",
    "find_entry",
    "is_published",
    "load",
    "model_entries",
    "model_names",
    "resolve",
]
