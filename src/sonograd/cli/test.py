"""``sonograd test MODEL DATASET``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.cli.evaluate import metric_names, show_report
from sonograd.cli.fetch import fetch_models

__all__ = ["test"]


def test(
    model: str,
    dataset: Path,
    /,
    *,
    save: Path | None = None,
    split: str = "test",
    metrics: Annotated[list[str] | None, Parameter(negative="")] = None,
    max_tracks: int | None = None,
    duration: float | None = None,
    baseline: bool = True,
    plot: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    workers: int | None = None,
    quiet: bool = False,
) -> int:
    """Separate the test songs of a data set, and score what comes out.

    Writes eval.csv, with a row for each song and target, and eval.json, with every frame. An
    interrupted run goes on where it stopped.

    Args:
        model: A session folder, a checkpoint, or a name from the zoo.
        dataset: Songs as in MUSDB18-HQ or MUSDB18, or a folder per stem.
        save: The table, or a folder for eval.csv; the session folder by default.
        split: Folder of the data set to look in, if it has such a folder.
        metrics: What to measure, with commas between or several times; usdr, si-sdr and bss-v4 by
            default. An unknown name lists all.
        max_tracks: Score so many songs at most.
        duration: Only the first seconds of each.
        baseline: Score the mix as an estimate, too.
        plot: Draw box plots beside the table.
        overwrite: Start anew, whatever an earlier run wrote.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, mps.
        workers: Chunks in work at a time on the CPU; as many as there are free cores by default.
        quiet: Show neither progress nor messages.
    """
    fetch_models([model], quiet=quiet)
    from sonograd.jobs.scoring import DEFAULT_METRICS
    from sonograd.jobs.test import test as run
    from sonograd.zoo import resolve

    with Console(quiet=quiet, unit="songs") as console:
        if note := resolve(model).note:
            console.warning(f"{model}: {note}")

        def on_track(name: str, error: str) -> None:
            console.describe(name)
            if error:
                console.error(f"{name}: {error}")

        report = run(
            model,
            dataset,
            save=save,
            split=split,
            metrics=metric_names(metrics) or DEFAULT_METRICS,
            max_tracks=max_tracks,
            duration=duration,
            baseline=baseline,
            plot=plot,
            overwrite=overwrite,
            device=device,
            workers=workers,
            on_progress=console.progress,
            on_track=on_track,
        )
    return show_report(report, console)
