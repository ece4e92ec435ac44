"""``sonograd spectrogram FILE...``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonograd.cli.console import Console

if TYPE_CHECKING:
    from sonograd.jobs.spectrogram import Drawing

__all__ = ["spectrogram"]


def spectrogram(
    *audio: Annotated[Path, Parameter(required=True)],
    kind: Literal["stft", "mel", "cqt", "vqt", "gammatone", "chroma", "mfcc"] = "stft",
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    terminal: Annotated[bool, Parameter(negative="")] = False,
    n_fft: int = 4096,
    bins_per_octave: int = 36,
    fmin: float | None = None,
    fmax: float | None = None,
    floor_db: float = -80.0,
    duration: float | None = None,
    repair: bool = False,
    overwrite: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Draw spectrograms, with notes or Hz on one axis and time on the other.

    Files of any length; of a file with several channels, their mean power.

    Args:
        audio: Audio files, and folders of them.
        kind: stft, mel, gammatone (bands of hearing), cqt (notes), vqt (notes, quick in the
            bass), chroma (pitch classes) or mfcc (cepstral coefficients).
        out: The picture, such as picture.png or .pdf, for one file; else a folder for NAME.png.
            The current folder by default, unless there is --terminal.
        terminal: Print the picture as text.
        n_fft: Length of the Fourier transform in samples, for all but cqt and vqt.
        bins_per_octave: Bins per octave of cqt and vqt.
        fmin: Lowest frequency in Hz.
        fmax: Highest frequency in Hz.
        floor_db: What is black, in dB relative to the loudest point.
        duration: Seconds to take from the start of each file; all of it by default.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        overwrite: Replace pictures that are there already.
        quiet: Show no progress.
    """
    import os
    import shutil
    import sys

    from sonograd.jobs.spectrogram import draw_spectrograms

    size = shutil.get_terminal_size()
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    with Console(quiet=quiet) as console:
        console.describe("spectrogram")
        report = draw_spectrograms(
            audio,
            kind=kind,
            out=out,
            terminal=(size.columns, size.lines) if terminal else None,
            color=color,
            n_fft=n_fft,
            bins_per_octave=bins_per_octave,
            fmin=fmin,
            fmax=fmax,
            floor_db=floor_db,
            duration=duration,
            repair=repair,
            overwrite=overwrite,
            on_progress=console.progress,
            on_drawing=lambda drawing: _show(console, drawing),
        )
    for drawing in report.done:
        if drawing.text:
            if len(report.done) > 1:
                print(drawing.source)
            print(drawing.text)
        if drawing.path is not None:
            print(drawing.path)
    return report.status


def _show(console: Console, drawing: "Drawing") -> None:
    if drawing.message:
        console.error(drawing.message)
