"""``sonograd evaluate ESTIMATES REFERENCES``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console

if TYPE_CHECKING:
    from sonograd.jobs.evaluate import EvaluationReport

__all__ = ["evaluate", "metric_names", "show_report"]


def evaluate(
    estimates: Path,
    references: Path,
    /,
    *,
    save: Path = Path("eval.csv"),
    metrics: Annotated[list[str] | None, Parameter(negative="")] = None,
    max_tracks: int | None = None,
    duration: float | None = None,
    baseline: bool = True,
    plot: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    quiet: bool = False,
) -> int:
    """Score estimates that are there as files against their references.

    Writes a table with a row for each track and target, and the same with every frame as JSON.
    An interrupted run goes on where it stopped.

    Args:
        estimates: A folder with a folder of stems per song, or with audio files.
        references: The same with the truth, or a data set with a test folder.
        save: The table, or a folder for eval.csv.
        metrics: What to measure, with commas between or several times; usdr, si-sdr and bss-v4 by
            default. An unknown name lists all.
        max_tracks: Score so many tracks at most.
        duration: Only the first seconds of each.
        baseline: Score the mix as an estimate, too, where there is one.
        plot: Draw box plots beside the table.
        overwrite: Start anew, whatever an earlier run wrote.
        workers: Tracks that are scored at a time.
        quiet: Show neither progress nor messages.
    """
    from sonograd.jobs.evaluate import evaluate as run
    from sonograd.jobs.scoring import DEFAULT_METRICS

    with Console(quiet=quiet, unit="tracks") as console:
        report = run(
            estimates,
            references,
            save=save,
            metrics=metric_names(metrics) or DEFAULT_METRICS,
            max_tracks=max_tracks,
            duration=duration,
            baseline=baseline,
            plot=plot,
            overwrite=overwrite,
            workers=workers,
            on_progress=console.progress,
            on_track=lambda name, error: _tell(console, name, error),
        )
    return show_report(report, console)


def metric_names(given: list[str] | None) -> list[str]:
    """Return names that may be several in one text."""
    return [name.strip() for text in given or () for name in text.split(",") if name.strip()]


def _tell(console: Console, name: str, error: str) -> None:
    console.describe(name)
    if error:
        console.error(f"{name}: {error}")


def show_report(report: "EvaluationReport", console: Console) -> int:
    """Print the table and where it is; return the exit status."""
    from sonograd.jobs.summary import format_table

    if report.kept:
        console.message(f"{report.kept} tracks are scored already, by an earlier run")
    if report.summaries:
        print(format_table(report.summaries, report.versions))
        print(report.csv)
        if report.picture is not None:
            print(report.picture)
    if len(report.failed) > 1:
        console.error(f"{len(report.failed)} tracks could not be scored")
    return report.status
