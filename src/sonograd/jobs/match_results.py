"""Write what a match found: the preset, its translations, the record and the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonograd.effects import TARGETS, write_preset
from sonograd.errors import MissingExtraError, SonogradError
from sonograd.jobs.match_audio import Rendering, sounds_of
from sonograd.jobs.match_drawing import Drawing
from sonograd.jobs.match_pictures import Picture
from sonograd.jobs.match_words import decibels
from sonograd.jobs.pairs import Pair
from sonograd.jobs.report import match_report
from sonograd.matching import MatchResult

__all__ = ["RECORD", "write_results"]

#: What a folder of results holds at least.
RECORD = "match.json"
_SUFFIXES = {"pedalboard": "py", "equalizer-apo": "txt", "ffmpeg": "txt"}
#: By how many dB the whole may null worse than the excerpts before that is told.
_WORSE_DB = 6.0


def write_results(
    result: MatchResult,
    rendering: Rendering,
    pair: Pair,
    folder: Path,
    *,
    sounds: bool,
    drawing: Drawing,
) -> dict[str, Any]:
    """Write everything but the audio.

    Args:
        result: What was found.
        rendering: What was made of the whole file.
        pair: The two files.
        folder: Where to write.
        sounds: Whether the report can be listened to.
        drawing: Draws the pictures meanwhile; it has begun.

    Returns:
        What ``match.json`` says.
    """
    write_preset(result.preset, folder / "preset.json")
    exports, notes = _exports(result, folder)
    score = result.score.null_db
    notes.append(
        f"Over the whole {rendering.seconds:.1f} s the null depth is {decibels(rendering.null_db)}."
    )
    if rendering.null_db < score - _WORSE_DB:
        less = f"That is {score - rendering.null_db:.0f} dB less than on the excerpts"
        if any("(clipped)" in note for note in result.notes):
            notes.append(f"{less}, where clipped samples do not count.")
        else:
            notes.append(
                f"{less}: the settings may have moved during the recording, or something else "
                "happened in between."
            )
    summary = {
        "dry": str(pair.dry),
        "wet": str(pair.wet),
        **result.to_dict(),
        "whole_null_db": rendering.null_db if rendering.null_db < 1e9 else None,
        "remarks": notes,
    }
    _text(folder / RECORD, json.dumps(summary, indent=2) + "\n")
    _report(result, pair, folder, exports, notes, sounds=sounds, drawing=drawing)
    return summary


def _report(
    result: MatchResult,
    pair: Pair,
    folder: Path,
    exports: Mapping[str, str],
    notes: list[str],
    *,
    sounds: bool,
    drawing: Drawing,
) -> None:
    """Write the report and its pictures; without matplotlib, without pictures."""
    heard = sounds_of(result, folder) if sounds else None
    pictures: Sequence[Picture] = ()
    try:
        pictures = drawing.finish()
    except MissingExtraError as error:
        notes = [*notes, f"Without pictures: {error}"]
    for item in pictures:
        (folder / f"{item.name}.png").write_bytes(item.png)
    page = match_report(
        result,
        dry=pair.dry.name,
        wet=pair.wet.name,
        pictures=pictures,
        sounds=heard,
        exports=exports,
        notes=notes,
    )
    _text(folder / "report.html", page)


def _exports(result: MatchResult, folder: Path) -> tuple[dict[str, str], list[str]]:
    """Write the chain in the languages that can express it; tell what stands in the way."""
    written, notes = {}, []
    for target in TARGETS:
        try:
            text = result.export(target)
        except SonogradError as error:
            notes.append(f"{error}.")
            continue
        name = f"preset-{target}.{_SUFFIXES.get(target, 'txt')}"
        written[name] = text
        _text(folder / name, text if text.endswith("\n") else f"{text}\n")
    return written, notes


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
