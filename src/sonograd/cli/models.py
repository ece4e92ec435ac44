"""``sonograd models``: which models there are; show, verify and remove them."""

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from sonograd.cli.console import Console
from sonograd.errors import ParameterError

if TYPE_CHECKING:
    from sonograd.jobs.models import ModelStatus

__all__ = ["models"]


def models(
    action: Literal["list", "show", "verify", "remove"] = "list",
    /,
    *names: str,
    filter: str | None = None,
    family: str | None = None,
    stem: str | None = None,
    here: bool = False,
    commercial: bool = False,
    json: bool = False,
) -> int:
    """List models; or show, verify or remove some by name.

    Args:
        action: list them; show what is known about one; verify the files of those that were
            downloaded; remove downloaded ones, and what downloads that broke off have left.
        names: The models to show, verify (all by default) or remove.
        filter: List those with this in their name, family or stems.
        family: List those of one architecture.
        stem: List those that give this stem.
        here: List those that need no network.
        commercial: List those whose license allows commercial use.
        json: Print JSON.
    """
    if action == "list":
        if names:
            raise ParameterError(
                f"models list takes no names, got {', '.join(names)}; expected --filter {names[0]}"
                f", or: sonograd models show {names[0]}"
            )
        return _list(json, query=filter, family=family, stem=stem, here=here, commercial=commercial)
    if not names and action != "verify":
        raise ParameterError(f"models {action} needs a name; sonograd models lists them.")
    if action == "show":
        return _show(names, json)
    return _verify(names) if action == "verify" else _remove(names)


def _list(as_json: bool, **wanted: Any) -> int:
    from sonograd.jobs.models import list_models

    found = list_models(**wanted)
    if as_json:
        print(json_format.dumps({status.name: _plain(status) for status in found}, indent=2))
        return 0
    if not found:
        Console().message("no model is like that; sonograd models lists them all.")
        return 0
    rows = [("NAME", "FAMILY", "STEMS", "LICENSE", "SCORE", "HERE"), *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0


def _row(status: "ModelStatus") -> tuple[str, ...]:
    entry = status.entry
    score = f"{entry.score.value:.2f} dB" if entry and entry.score else ""
    return (
        status.name,
        entry.family if entry else status.source.family if status.source else "",
        ", ".join(entry.stems if entry else status.source.stems if status.source else ()),
        _license(status),
        score,
        "yes" if status.is_here else "",
    )


def _license(status: "ModelStatus") -> str:
    known = status.entry.license if status.entry else status.source and status.source.license
    return known or "none given"


def _show(names: tuple[str, ...], as_json: bool) -> int:
    from sonograd.jobs.models import show_model

    found = [show_model(name) for name in names]
    if as_json:
        print(json_format.dumps({status.name: _plain(status) for status in found}, indent=2))
        return 0
    for status in found:
        print("\n".join(_lines(status)))
    return 0


def _lines(status: "ModelStatus") -> list[str]:
    lines = [status.name]
    plain = _plain(status)
    files = plain.pop("files", [])
    source = plain.pop("source", None)
    for key, value in plain.items():
        if key != "name" and value is not None:
            lines.append(f"  {key.replace('_', ' ')}: {_text(value)}")
    for file in files:
        known = file.get("sha256") or "not published"
        lines.append(f"  file: {file['urls'][0]} (SHA-256 {known})")
    for file in (source or {}).get("files", []):
        lines.append(
            f"  downloaded: {file['url']} ({file['size']} bytes, SHA-256 {file['sha256']})"
        )
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):
        if value.keys() == {"value", "metric"}:
            return f"{value['value']} dB ({value['metric']})"
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _plain(status: "ModelStatus") -> dict[str, Any]:
    """Return what is known about a model as JSON."""
    entry = asdict(status.entry) if status.entry else {}
    source = asdict(status.source) if status.source else None
    if source is not None and status.entry is None:
        entry = {key: source[key] for key in ("family", "stems", "license")}
    known = {key: value for key, value in entry.items() if value not in (None, (), [])}
    return {
        "name": status.name,
        **known,
        "here": status.is_here,
        "folder": str(status.folder) if status.folder else None,
        "source": source,
    }


def _verify(names: tuple[str, ...]) -> int:
    from sonograd.jobs.models import leftovers, verify_models

    with Console(unit="models") as console:
        results = verify_models(names, on_progress=console.progress)
        for result in results:
            for problem in result.problems:
                console.error(f"{result.name}: {problem}")
        if not results:
            console.message("no model was downloaded, there is nothing to verify.")
        for name, size in leftovers().items() if not names else ():
            console.message(
                f"{name}: {size / 1e6:.1f} MB are left of a download that did not end; a new one "
                f"goes on from there, sonograd models remove {name} deletes them."
            )
    for result in results:
        print(f"{result.name}: {'damaged' if result.problems else 'as it was written'}")
    return 1 if any(result.problems for result in results) else 0


def _remove(names: tuple[str, ...]) -> int:
    from sonograd.jobs.models import remove_model

    for name in names:
        print(f"{name}: removed, {remove_model(name) / 1e6:.0f} MB")
    return 0
