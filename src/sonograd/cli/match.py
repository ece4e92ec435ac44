"""``sonograd match DRY WET``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.config.output import Bits

if TYPE_CHECKING:
    from sonograd.jobs.match import MatchReport
    from sonograd.jobs.outcome import SeparationEvent

__all__ = ["match"]


def match(
    dry: Path,
    wet: Path | None = None,
    /,
    *,
    chain: str = "auto",
    save: Path | None = None,
    fix: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    start: str | None = None,
    method: Literal["lm", "adam", "sgd", "lbfgs"] = "lm",
    loss: str = "waveform",
    steps: int = 300,
    learning_rate: float = 0.03,
    reference: Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=True)] = (),
    bits: Bits = "32f",
    sounds: bool = True,
    workers: int | None = None,
    overwrite: bool = False,
    terminal: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Find the settings between dry and processed audio, with their errors.

    Fills a folder with report.html, preset.json (for sonograd render) and the chain in other
    languages, matched.wav and residual.wav, match.json and pictures.

    Args:
        dry: The dry file; or a folder of them; or a folder of pairs such as song-dry.wav and
            song-wet.wav.
        wet: The processed file, or a folder with files of the same names.
        chain: auto, or effects joined by commas: eq,compressor,gain. sonograd effects lists them
            all; eq4 is an equalizer of four bands.
        save: Folder for the results. Default: WET-match.
        fix: Holds a value: attack_ms=5 or compressor.attack_ms=5; may be given repeatedly.
        start: A preset to start from, a file or a name; it says what the chain is.
        method: lm solves for all values and the delay together, to second order; adam, sgd and
            lbfgs go down the gradient of a loss.
        loss: What these three minimize: waveform, l1 or mrstft.
        steps: How many steps they take.
        learning_rate: Of theirs.
        reference: Instead of WET, files of other material: comes closer to them in loudness,
            spectrum, dynamics and width, and finds nobody's settings.
        bits: Sample format of the audio; 32f is floating point.
        sounds: Put players into the report.
        workers: Pairs in work at a time; the number of free cores by default.
        overwrite: Replace existing results; otherwise they are kept and the pair is skipped.
        terminal: Draw the curves here, too.
        quiet: Show neither progress nor messages.
    """
    from sonograd.jobs.match import match_files

    with Console(quiet=quiet, unit="steps") as console:
        report = match_files(
            dry,
            wet,
            chain=chain,
            save=save,
            fix=fix,
            start=start,
            method=method,
            loss=loss,
            steps=steps,
            learning_rate=learning_rate,
            reference=reference,
            bits=bits,
            sounds=sounds,
            workers=workers,
            overwrite=overwrite,
            on_progress=lambda done, total: console.progress(100 * done, 100 * total),
            on_event=lambda event: _show(console, event),
        )
    _print(report, terminal=terminal)
    return report.status


def _show(console: Console, event: "SeparationEvent") -> None:
    if event.kind == "started":
        console.describe(event.source.name)
    elif event.kind == "failed":
        console.error(event.message)
    else:
        console.message(f"{event.source}: {event.message}")


def _print(report: "MatchReport", *, terminal: bool) -> None:
    """Print what was found, in full for a single pair, in a line each for several."""
    from sonograd.jobs.match_reference import distance_lines
    from sonograd.jobs.match_words import curves_as_text, summary_line, table_lines

    if report.table is not None:
        for item in sorted((*report.skipped, *report.done), key=lambda item: item.pair.name):
            print(summary_line(item.pair.name, item.summary))
        print(report.table)
        return
    for item in report.done:
        if "before" in item.summary:
            print(f"{item.pair.dry}:")
            print(*distance_lines(item.summary["before"], item.summary["after"]), sep="\n")
            print(item.summary["warning"])
            for text in item.summary["notes"]:
                print(f"note: {text}")
        if item.result is not None:
            if terminal:
                print(curves_as_text(item.result, color=sys.stderr.isatty()), file=sys.stderr)
            print(*table_lines(item.result), sep="\n")
            print(*item.result.verdict, sep="\n")
            for text in (*item.result.notes, *item.result.warnings):
                print(f"note: {text}")
    for item in (*report.skipped, *report.done):
        for file in item.files:
            print(file)
