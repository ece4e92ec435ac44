"""Pieces of a topic that take long, kept so that an interrupted run goes on."""

import json
import os
from collections.abc import Callable
from pathlib import Path


def piece(topic: str, name: str, make: Callable[[], list[str]]) -> list[str]:
    """Return the lines that ``make`` gives.

    With the environment variable ``BENCHMARK_PIECES``, a folder, they are kept there, and taken
    from there the next time; with ``BENCHMARK_ONLY``, comma-separated names, all other pieces that
    are not there yet are left out.
    """
    place = os.environ.get("BENCHMARK_PIECES")
    path = Path(place, f"{topic}-{name}.json") if place else None
    if path is not None and path.exists():
        kept: list[str] = json.loads(path.read_text())
        return kept
    only = os.environ.get("BENCHMARK_ONLY")
    if only is not None and name not in only.split(","):
        return [f"| (not measured: {name}) |"]
    lines = list(make())
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(lines, indent=1))
    return lines
