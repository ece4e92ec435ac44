"""Results of long benchmarks, kept in a file, so that a run goes on where it was stopped."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sonograd" / "benchmarks"


def digest(paths: Iterable[Path]) -> str:
    """A name for the state of some files: results of other states are not mixed in."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


class Kept:
    """Lists of results by name, each written as soon as it is there."""

    def __init__(self, topic: str, version: str) -> None:
        """Read what there is."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.path = FOLDER / f"{topic}-{version}.jsonl"
        self.results: dict[str, list] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                name, result = json.loads(line)
                self.results.setdefault(name, []).append(result)

    def of(self, name: str) -> list:
        """Return all results of this name, perhaps none."""
        return self.results.get(name, [])

    def add(self, name: str, result: object) -> None:
        """Keep one more."""
        self.results.setdefault(name, []).append(result)
        with self.path.open("a") as file:
            file.write(json.dumps([name, result]) + "\n")
