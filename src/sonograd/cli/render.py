"""``sonograd render PRESET AUDIO...``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.config.output import Bits

if TYPE_CHECKING:
    from sonograd.jobs.outcome import SeparationEvent

__all__ = ["render"]


def render(
    preset: str,
    /,
    *audio: Annotated[Path, Parameter(required=True)],
    save: Path = Path(),
    set: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    tail: float = 0.0,
    format: str = "wav",
    bits: Bits | None = None,
    overwrite: bool = False,
    repair: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Run a chain of effects on files of any length: NAME-PRESET.wav for each.

    Args:
        preset: A JSON file, or the name of a preset: broadcast_voice, chorus_guitar, church,
            drum_bus, dub_delay, hall, lofi, mastering, parallel_compression, plate, room,
            slapback, tape, telephone, vocal_chain,
            warm_eq.
        audio: Audio files, and folders of them.
        save: Folder for the results.
        set: Replaces a value of the preset, as stage.parameter=number; may be given repeatedly.
        tail: Seconds to go on after the end, for reverberation.
        format: File format of the results: wav, flac, mp3, ...
        bits: Sample format of wav, flac and the like; 32f is floating point.
        overwrite: Replace existing results; otherwise they are kept and the file is skipped.
        repair: Replace samples that are no finite numbers by silence instead of refusing.
        quiet: Show neither progress nor messages.
    """
    from sonograd.jobs.render import render_files

    with Console(quiet=quiet) as console:
        report = render_files(
            preset,
            audio,
            save=save,
            set=set,
            tail=tail,
            format=format,
            bits=bits,
            overwrite=overwrite,
            repair=repair,
            on_progress=console.progress,
            on_event=lambda event: _show(console, event),
        )
    for song in (*report.skipped, *report.done):
        for file in song.files:
            print(file)
    return report.status


def _show(console: Console, event: "SeparationEvent") -> None:
    if event.kind == "started":
        console.describe(event.source.name)
    elif event.kind == "failed":
        console.error(event.message)
    elif event.kind == "warning":
        console.warning(f"{event.source}: {event.message}")
    else:
        console.message(f"{event.source}: {event.message}")
