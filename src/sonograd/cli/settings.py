"""Settings by name: how they are typed as ``--set key=value``, and how they are shown."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sonograd.errors import ParameterError

__all__ = ["parse_changes", "print_table"]


def parse_changes(texts: Iterable[str] | None) -> dict[str, Any]:
    """Return the settings that ``key=value`` texts name; values are JSON where they can be.

    >>> parse_changes(["lr=0.001", "schedule=cosine", "init-scale=2"])
    {'lr': 0.001, 'schedule': 'cosine', 'init_scale': 2}

    Raises:
        ParameterError: If one of them has no equals sign.
    """
    changes: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"--set {text}: expected key=value, as in sample_rate=22050")
        try:
            changes[name.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            changes[name.replace("-", "_")] = value
    return changes


def print_table(title: str, settings: Mapping[str, Any]) -> None:
    """Print settings as a table of two columns; those inside another as ``outer.inner``.

    On a terminal the table has frames and colors; elsewhere it is plain text.
    """
    rows = list(_rows(settings))
    if sys.stdout.isatty():
        _print_framed(title, rows)
        return
    width = max((len(name) for name, _ in rows), default=0)
    values = max((len(value) for _, value in rows), default=0)
    line = f"{'-' * width}  {'-' * max(values, len(title))}"
    print(f"{'setting':{width}}  {title}", line, sep="\n")
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    print(line)


def _print_framed(title: str, rows: Iterable[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", title)
    for name, value in rows:
        table.add_row(Text(name), Text(value, style="bold"))
    Console(file=sys.stdout).print(table)


def _rows(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        elif isinstance(value, list) and all(isinstance(part, str) for part in value):
            yield prefix + name, ", ".join(value)
        else:
            yield prefix + name, str(value)
