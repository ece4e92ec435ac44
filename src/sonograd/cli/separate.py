"""``sonograd separate MODEL AUDIO...``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.config.output import Bits, Precision

if TYPE_CHECKING:
    from sonograd.jobs.outcome import SeparationEvent, SeparationReport

__all__ = ["separate"]


def separate(
    model: str,
    /,
    *audio: Annotated[Path, Parameter(required=True)],
    save: Path = Path(),
    residual: bool = False,
    duration: float | None = None,
    sample_rate: Annotated[int | None, Parameter(alias="--sr")] = None,
    overlap: float | None = None,
    padding: int | None = None,
    stems: str | None = None,
    format: str = "wav",
    bits: Bits | None = None,
    device: str = "auto",
    batch_size: int = 1,
    overwrite: bool = False,
    repair: bool = False,
    workers: int | None = None,
    precision: Precision = "32",
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Take songs apart: one file per stem, as long as the song, at its rate and channels.

    The whole song is separated; --duration limits it (auralflow stopped after 30 seconds). Results
    lie in one folder per song, which also holds separation.json. A folder is searched for audio,
    and its tree is mirrored; of two songs with one name, both folders keep the ending.

    Args:
        model: A session folder, a checkpoint file, or the name of a model: default, hpss, center,
            repet.
        audio: Audio files, and folders of them.
        save: Folder for the results.
        residual: Also write the mix minus the written stems.
        duration: Seconds to take from the start of each song; all of it by default.
        sample_rate: Rate of the results in Hz; that of each song by default.
        overlap: Fraction of a chunk that neighbors share, in [0, 1); the model's own by default.
        padding: The same in samples at the model's rate; replaces --overlap.
        stems: Names of the stems to write, separated by commas; all by default.
        format: File format of the results: wav, flac, mp3, ...
        bits: Sample format of wav, flac and the like; 32f is floating point.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1, mps.
        batch_size: Chunks that run through the model together; helps on a GPU only.
        overwrite: Replace existing results; otherwise a song is skipped if exactly these results
            exist, and fails if others are in their place.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        workers: Chunks in work at a time on the CPU; as many as there are free cores by default.
        precision: Arithmetic of the model; bf16 is faster where the processor supports it.
        quiet: Show neither progress nor messages.
    """
    from sonograd.jobs.separate import separate_files

    with Console(quiet=quiet) as console:
        report = separate_files(
            model,
            audio,
            save=save,
            residual=residual,
            duration=duration,
            sample_rate=sample_rate,
            overlap=overlap,
            padding=padding,
            stems=None if stems is None else [name.strip() for name in stems.split(",")],
            format=format,
            bits=bits,
            device=device,
            batch_size=batch_size,
            overwrite=overwrite,
            repair=repair,
            workers=workers,
            precision=precision,
            on_progress=console.progress,
            on_event=lambda event: _show(console, event),
        )
    return _finish(console, report)


def _show(console: Console, event: "SeparationEvent") -> None:
    if event.kind == "started":
        console.describe(event.source.name)
    elif event.kind == "failed":
        console.error(event.message)
    elif event.kind == "warning":
        console.warning(f"{event.source}: {event.message}")
    else:
        console.message(f"{event.source}: {event.message}" if event.source.name else event.message)


def _finish(console: Console, report: "SeparationReport") -> int:
    """Print the folders on stdout, the failures on stderr, and return the exit status."""
    for song in (*report.skipped, *report.done):
        print(song.folder)
    if report.failed and len(report.failed) + len(report.done) + len(report.skipped) > 1:
        console.error(f"{len(report.failed)} failed:")
        for failure in report.failed:
            console.error(f"  {failure.source}")
    return report.status
