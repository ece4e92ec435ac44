"""``sonograd separate MODEL AUDIO...``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.cli.fetch import fetch_models
from sonograd.config.output import Bits, Precision
from sonograd.errors import ParameterError

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
    two_stems: str | None = None,
    ensemble: str | None = None,
    weights: str | None = None,
    shifts: int = 0,
    swap_channels: bool = False,
    invert: bool = False,
    format: str = "wav",
    bits: Bits | None = None,
    device: str = "auto",
    batch_size: int = 1,
    overwrite: bool = False,
    repair: bool = False,
    workers: int | None = None,
    precision: Precision = "32",
    offline: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Take songs apart: one file per stem, as long as the song, at its rate and channels.

    The whole song is separated; --duration limits it (auralflow stopped after 30 seconds). Results
    lie in one folder per song, which also holds separation.json. A folder is searched for audio,
    and its tree is mirrored; of two songs with one name, both folders keep the ending.

    Args:
        model: A session folder, a checkpoint file, or the name of a model, such as default, hpss,
            htdemucs: sonograd models lists them. What is not here yet is downloaded.
        audio: Audio files, and folders of them.
        save: Folder for the results.
        residual: Also write the mix minus the written stems.
        duration: Seconds to take from the start of each song; all of it by default.
        sample_rate: Rate of the results in Hz; that of each song by default.
        overlap: Fraction of a chunk that neighbors share, in [0, 1); the model's own by default.
        padding: The same in samples at the model's rate; replaces --overlap.
        stems: Names of the stems to write, separated by commas; all by default.
        two_stems: Write this stem, and all the rest as no_STEM.
        ensemble: Further models, separated by commas; stems are averaged with those of the first.
        weights: How much each of these models counts, separated by commas, the first included.
        shifts: Average over so many shifted copies of the song; slower by that factor.
        swap_channels: Average with a copy whose channels are exchanged.
        invert: Average with a copy of the other sign.
        format: File format of the results: wav, flac, mp3, ...
        bits: Sample format of wav, flac and the like; 32f is floating point.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, cuda:1, mps.
        batch_size: Chunks that run through the model together; helps on a GPU only.
        overwrite: Replace existing results; otherwise a song is skipped if exactly these results
            exist, and fails if others are in their place.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        workers: Chunks in work at a time on the CPU; as many as there are free cores by default.
        precision: Arithmetic of the model; bf16 is faster where the processor supports it.
        offline: Download nothing.
        quiet: Show neither progress nor messages.
    """
    others = _names(ensemble)
    fetch_models((model, *others), offline=offline, quiet=quiet)
    from sonograd.jobs.separate import separate_files  # loads torch

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
            stems=None if stems is None else _names(stems),
            two_stems=two_stems,
            ensemble=others or None,
            weights=None if weights is None else _numbers(weights),
            shifts=shifts,
            swap_channels=swap_channels,
            invert=invert,
            format=format,
            bits=bits,
            device=device,
            batch_size=batch_size,
            overwrite=overwrite,
            repair=repair,
            workers=workers,
            precision=precision,
            offline=offline,
            on_progress=console.progress,
            on_event=lambda event: _show(console, event),
        )
    return _finish(console, report)


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(name) for name in _names(text)]
    except ValueError:
        raise ParameterError(
            f"weights is {text!r}; expected numbers, separated by commas"
        ) from None


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
