"""The report of a match: one HTML page that needs no other file and no network."""

import base64
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

from sonograd import __version__
from sonograd.jobs.match_pictures import Picture
from sonograd.jobs.match_words import (
    Setting,
    chain_words,
    decibels,
    settings,
    stage_words,
    value_words,
)
from sonograd.matching import MatchResult

__all__ = ["match_report", "page"]

_SQUARE = {"static_curve", "landscape"}
_STRONG = 0.9
_MOST_CORRELATIONS = 4


def match_report(
    result: MatchResult,
    *,
    dry: str,
    wet: str,
    pictures: Sequence[Picture] = (),
    sounds: Mapping[str, bytes] | None = None,
    exports: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Write the page.

    Args:
        result: What was found.
        dry: Name of the dry file.
        wet: Name of the processed file.
        pictures: With SVG in the page's own colors.
        sounds: What to listen to, as flac files, by name.
        exports: The chain in other languages, by name.
        notes: Remarks besides those of the result.
    """
    body = [
        _header(result, dry, wet),
        _facts(result),
        _verdict(result),
        _settings(result),
        *_figures({item.name: item for item in pictures}),
        _sounds(sounds or {}),
        _candidates(result),
        _notes(result, notes),
        _exports(result, exports or {}),
        f"<footer>Written by sonograd {escape(__version__)}. All values belong to the sample rate "
        f"of {result.sample_rate} Hz.</footer>",
    ]
    return page(f"{wet}: what was done to it", body)


def page(title: str, parts: Iterable[str]) -> str:
    """Return an HTML document of our look from its parts, empty ones left out."""
    css = resources.files("sonograd.jobs").joinpath("pages", "match.css").read_text("utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{css}</style></head><body><main>",
            *(part for part in parts if part),
            "</main></body></html>\n",
        ]
    )


def _header(result: MatchResult, dry: str, wet: str) -> str:
    stages = " <i>→</i> ".join(
        f'<span class="stage">{escape(stage_words(stage))}</span>'
        for stage in result.effect.stage_names
    )
    ways = f"<span>dry</span> <i>→</i> {stages} <i>→</i> <span>wet</span>"
    return (
        f'<header><p class="files">{escape(dry)} → {escape(wet)}</p>'
        f"<h1>{escape(_headline(result))}</h1>"
        f'<div class="chain">{ways}</div></header>'
    )


def _headline(result: MatchResult) -> str:
    words = chain_words(result.chain)
    return f"{words[:1].upper()}{words[1:]}, with {decibels(result.score.null_db)} of null depth"


def _facts(result: MatchResult) -> str:
    delay = result.delay_samples
    milliseconds = 1000 * delay / result.sample_rate
    facts = [
        (decibels(result.score.null_db), "null depth: wet over what remains", "first"),
        (_percent(result.score.explained), "of the change explained", ""),
        (decibels(result.score.gain_only_db), "null depth of a gain alone", ""),
        (
            f"{delay:.3f}".rstrip("0").rstrip(".") or "0",
            f"samples of delay ({milliseconds:.2f} ms)",
            "",
        ),
        ("inverted" if result.polarity < 0 else "kept", "polarity", ""),
        (f"{result.alignment.coherence:.3f}", "coherence of dry and wet", ""),
    ]
    boxes = "".join(
        f'<div class="{kind}"><b>{escape(value)}</b><small>{escape(words)}</small></div>'
        for value, words, kind in facts
    )
    return f'<div class="facts">{boxes}</div>'


def _percent(share: float) -> str:
    """Write a share so that what is missing shows: 99.998 %, not 100 %."""
    if share >= 1:
        return "100 %"
    percent = 100 * share
    for digits in (0, 1, 2, 3, 4):
        if round(percent, digits) < 100 and 100 - percent > 0.5 * 10**-digits:
            return f"{percent:.{max(digits, 1)}f} %"
    return "> 99.9999 %"


def _verdict(result: MatchResult) -> str:
    sentences = "".join(f"<p>{escape(text)}</p>" for text in result.verdict)
    parts = [f'<section class="card verdict">{sentences}</section>' if sentences else ""]
    if result.warnings:
        doubts = "".join(f"<p>{escape(text)}</p>" for text in result.warnings)
        parts.append(f'<section class="card warn">{doubts}</section>')
    return "\n".join(part for part in parts if part)


def _settings(result: MatchResult) -> str:
    blocks = []
    for stage, group in itertools.groupby(settings(result), key=lambda item: item.stage):
        rows = list(group)
        bands = [row for row in rows if row.band]
        blocks.append(f"<h3>{escape(stage_words(stage))}</h3>")
        if bands:
            blocks.append(_band_table(bands))
        if plain := [row for row in rows if not row.band]:
            blocks.append(_plain_table(plain))
        if options := _options(result, stage):
            blocks.append(f"<p>{escape(options)}</p>")
    return (
        '<section class="card"><h2>Settings</h2>'
        "<p>Values with their standard error, from the curvature of the fit.</p>"
        f"{''.join(blocks)}{_correlations(result)}</section>"
    )


def _options(result: MatchResult, stage: str) -> str:
    options = result.effect.stage(stage).options()
    shown = [
        f"{name.replace('_', ' ')}: {value}"
        for name, value in options.items()
        if name != "bands" and isinstance(value, str | int | float) and value not in (0.0, "")
    ]
    return ", ".join(shown)


def _plain_table(rows: Iterable[Setting]) -> str:
    lines = "".join(f"<tr><td>{escape(row.label)}</td><td>{_cell(row)}</td></tr>" for row in rows)
    return f'<div class="scroll"><table>{lines}</table></div>'


def _band_table(rows: Sequence[Setting]) -> str:
    labels = list(dict.fromkeys(row.label for row in rows))
    head = "".join(f"<th>{escape(label)}</th>" for label in ("band", "kind", *labels))
    lines = []
    for _, group in itertools.groupby(rows, key=lambda row: row.band):
        cells = {row.label: row for row in group}
        number, kind = next(iter(cells.values())).band or (0, "")
        values = "".join(
            f"<td>{_cell(cells[label]) if label in cells else ''}</td>" for label in labels
        )
        lines.append(f"<tr><td>{number}</td><td>{escape(kind)}</td>{values}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _cell(row: Setting) -> str:
    if row.fixed:
        value = escape(value_words(row.value, 0.0, row.unit))
        return f'{value}<span class="tag">fixed</span>'
    if not row.known:
        return "<em>not identifiable</em>"
    if row.error == 0:
        value = escape(value_words(row.value, 0.0, row.unit))
        return f'{value}<span class="tag">held</span>'
    value, mark, error = value_words(row.value, row.error, row.unit).partition(" ± ")
    if not mark:
        return escape(value)
    behind = f" {row.unit}" if row.unit else ""
    return (
        f'{escape(value)} <span class="pm">± {escape(error.removesuffix(behind))}</span>'
        f"{escape(behind)}"
    )


def _correlations(result: MatchResult) -> str:
    strong = [item for item in result.correlations if abs(item[2]) >= _STRONG]
    if not strong:
        return ""
    labels = {f"{s.stage}.{s.name}": _spoken(s) for s in settings(result)}
    words = "; ".join(
        f"{labels.get(first, first)} and {labels.get(second, second)} ({r:+.3f})"
        for first, second, r in strong[:_MOST_CORRELATIONS]
    )
    return (
        "<p>Some of these can make up for each other, which the errors account for "
        f"(correlation): {escape(words)}.</p>"
    )


def _spoken(row: Setting) -> str:
    band = f" band {row.band[0]}" if row.band else ""
    return f"{stage_words(row.stage)}{band} {row.label}"


def _figures(pictures: Mapping[str, Picture]) -> list[str]:
    cards = {name: _figure(item) for name, item in pictures.items()}
    parts = [cards.pop("response", "")]
    for first, second in (("static_curve", "gain_reduction"), ("landscape", "convergence")):
        pair = [cards.pop(first, ""), cards.pop(second, "")]
        joined = "".join(pair)
        parts.append(f'<div class="pair">{joined}</div>' if all(pair) else joined)
        if first == "static_curve":
            parts.append(cards.pop("remains", ""))
    return [part for part in [*parts, *cards.values()] if part]


def _figure(item: Picture) -> str:
    kind = " chart-square" if item.name in _SQUARE else ""
    return (
        f'<section class="card{kind}"><h2>{escape(item.title)}</h2><p>{escape(item.caption)}</p>'
        f'<div role="img" aria-label="{escape(item.title)}">{item.svg}</div></section>'
    )


def _sounds(sounds: Mapping[str, bytes]) -> str:
    if not sounds:
        return ""
    players = "".join(
        f"<div><label>{escape(name)}</label>"
        '<audio controls preload="none" '
        f'src="data:audio/flac;base64,{base64.b64encode(data).decode()}"></audio></div>'
        for name, data in sounds.items()
    )
    return (
        '<section class="card"><h2>Listen</h2><p>The excerpt that was fitted.</p>'
        f'<div class="sounds">{players}</div></section>'
    )


def _candidates(result: MatchResult) -> str:
    if not result.candidates:
        return ""
    ordered = sorted(result.candidates, key=lambda item: item.bic)
    lines = "".join(
        f'<tr class="{"best" if item.chain == result.chain else ""}">'
        f"<td>{escape(chain_words(item.chain) if item.chain else item.name)}</td>"
        f'<td class="n">{escape(decibels(item.null_db))}</td><td class="n">{item.params}</td>'
        f'<td class="n">{item.starts}</td><td class="n">{item.bic:,.0f}</td></tr>'
        for item in ordered
    )
    return (
        '<section class="card"><h2>Chains that were tried</h2>'
        "<p>On a short excerpt; the least Bayesian information criterion wins, which asks of every "
        "further parameter that it pays.</p>"
        '<div class="scroll"><table><tr><th>chain</th><th class="n">null depth</th>'
        '<th class="n">parameters</th><th class="n">starts</th><th class="n">BIC</th></tr>'
        f"{lines}</table></div>{_variants(result)}</section>"
    )


def _variants(result: MatchResult) -> str:
    if not result.variants:
        return ""
    tried = "; ".join(f"{what}: {decibels(depth)}" for what, depth in result.variants)
    return (
        f"<p>Other kinds of compressor that were tried, with their null depth: {escape(tried)}.</p>"
    )


def _notes(result: MatchResult, more: Sequence[str]) -> str:
    rate = result.sample_rate
    parts = ", ".join(
        f"{item.start / rate:.1f} to {(item.start + item.samples) / rate:.1f} s"
        for item in result.excerpts
    )
    looked = [f"Fitted on {parts} of dry, in {result.seconds:.1f} s."] if parts else []
    lines = "".join(f"<li>{escape(text)}</li>" for text in (*result.notes, *more, *looked))
    return f'<section class="card"><h2>Notes</h2><ul class="plain">{lines}</ul></section>'


def _exports(result: MatchResult, exports: Mapping[str, str]) -> str:
    blocks = {"preset.json": json.dumps(result.preset, indent=2), **exports}
    items = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
        for name, text in blocks.items()
    )
    return f'<section class="card"><h2>The chain, to take along</h2>{items}</section>'
