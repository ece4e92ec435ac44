"""``sonograd songs OUT``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonograd.cli.console import Console

__all__ = ["songs"]


def songs(
    out: Path,
    /,
    *,
    count: int = 10,
    seconds: float = 180.0,
    seed: int = 0,
    sample_rate: Annotated[int, Parameter(alias="--sr")] = 44100,
    genre: str | None = None,
    source: Literal["synthesis", "sampled", "both"] = "synthesis",
    workers: int = 1,
    describe: bool = False,
    quiet: bool = False,
) -> int:
    """Make synthetic multitrack songs: train/ and test/ with one folder of WAV files per song.

    Songs that are there already are kept, so an interrupted run goes on where it stopped.

    Args:
        out: Folder for the songs.
        count: Number of songs, at least 2; every fifth is for testing.
        seconds: Length of each song.
        seed: Another seed, other songs.
        sample_rate: In Hz.
        genre: Only songs of this genre; all by default.
        source: synthesis needs nothing else; sampled needs FluidSynth with a General MIDI
            SoundFont, eSpeak NG and pyworld; both draws one of them for each song.
        workers: Songs in work at a time.
        describe: Print what the songs would be, as JSON lines, and write nothing.
        quiet: Show neither progress nor messages.
    """
    import json

    from sonograd.jobs.songs import describe_songs, write_songs

    if describe:
        for song in describe_songs(
            count=count,
            seconds=seconds,
            seed=seed,
            sample_rate=sample_rate,
            genre=genre,
            source=source,
        ):
            print(json.dumps(song))
        return 0
    with Console(quiet=quiet) as console:
        console.describe("songs")
        report = write_songs(
            out,
            count=count,
            seconds=seconds,
            seed=seed,
            sample_rate=sample_rate,
            genre=genre,
            source=source,
            workers=workers,
            on_progress=console.progress,
        )
        console.message(f"{len(report.written)} songs written, {len(report.skipped)} kept")
    print(report.folder)
    return 0
