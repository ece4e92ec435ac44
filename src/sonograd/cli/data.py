"""``sonograd data check DATASET``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sonograd.cli.console import Console, format_seconds

if TYPE_CHECKING:
    from sonograd.data.check import SongCheck
    from sonograd.jobs.data_check import DatasetReport

__all__ = ["data"]


def data(
    action: Literal["check"],
    dataset: Path,
    /,
    *,
    split: str | None = None,
    max_tracks: int | None = None,
    fix: Path | None = None,
    json: bool = False,
    workers: int | None = None,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Listen to all songs of a data set and list what is wrong with them.

    Finds tracks that cannot be read or hold samples that are no numbers, stems of different
    length, rate or channels, missing stems, stems that do not sum to the mix, silence, clipping,
    and songs that are there twice. Exit status 1 if something is wrong.

    Args:
        action: check.
        dataset: Songs as in MUSDB18-HQ, MUSDB18 or MoisesDB, a folder per stem, or a list of files
            in a csv file.
        split: Only train, valid, val or test.
        max_tracks: So many songs at most, of each of these.
        fix: A folder for repaired copies: lengths and rates as those of the mix, no samples that
            are no numbers, mixes that are the sum of their stems. Its songs.csv lists all usable
            songs and can be trained on. Originals stay as they are.
        json: Print everything as JSON.
        workers: Songs read at a time. Default: as many as there are cores.
        quiet: Show no progress.
    """
    from sonograd.jobs.data_check import check_dataset

    assert action == "check"
    with Console(quiet=quiet, unit="songs") as console:
        report = check_dataset(
            dataset,
            split=split,
            max_tracks=max_tracks,
            fix=fix,
            workers=workers,
            on_progress=console.progress,
            on_song=lambda song: console.describe(song.name),
        )
    if json:
        print(_text(report))
    else:
        _show(report)
    return report.status


def _text(report: "DatasetReport") -> str:
    import json

    return json.dumps(report.to_dict(), indent=2, allow_nan=False)


def _show(report: "DatasetReport") -> None:
    """Print a table of songs with findings, and a summary."""
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    console = RichConsole(highlight=False, markup=False)
    if any(song.findings for song in report.songs):
        table = Table("song", "length", "Hz", "stem", "what", "remedy", box=None, pad_edge=False)
        for song in report.songs:
            for number, row in enumerate(_rows(song)):
                left = (_name(song), format_seconds(song.seconds), str(song.sample_rate or ""))
                cells = (*(left if number == 0 else ("", "", "")), *row[:3])
                table.add_row(*map(Text, cells), style="" if row[3] else "dim")
        console.print(table)
    seconds = sum(song.seconds for song in report.songs)
    faulty = len(report.faulty)
    print(f"{len(report.songs)} songs, {format_seconds(seconds)}: {faulty or 'none'} with errors")
    if report.list_path is not None:
        for name, reason in report.left_out.items():
            print(f"left out: {name}: {reason}")
        print(f"{len(report.repaired)} songs repaired; usable songs: {report.list_path}")


def _rows(song: "SongCheck") -> list[tuple[str, str, str, bool]]:
    from sonograd.data.repair import remedy

    return [
        (item.stem, f"{item.kind}: {item.message}", remedy(item, song) if item.error else "note",
         item.error)
        for item in song.findings
    ]  # fmt: skip


def _name(song: "SongCheck") -> str:
    return f"{song.split}/{song.name}" if song.split else song.name
