"""``sonograd demo``."""

from pathlib import Path

from sonograd.cli import console
from sonograd.cli.fetch import fetch_models


def demo(
    song: Path | None = None,
    *,
    model: str | None = None,
    save: Path = Path("demo"),
    seconds: float = 30.0,
    seed: int = 24,
    overwrite: bool = False,
) -> None:
    """Make a song, take it apart, and show how well; or take SONG apart.

    Parameters
    ----------
    song
        An audio file; without one, a synthetic song is made, whose true stems are known.
    model
        Name, session folder or checkpoint; the best one that is installed by default.
    save
        Folder for the song, its stems and the picture.
    seconds
        Length of the synthetic song.
    seed
        Seed of the synthetic song.
    overwrite
        Replace what an earlier demo wrote.
    """
    if model is not None:
        fetch_models([model])
    from sonograd import jobs

    with console.progress("separating") as on_progress:
        report = jobs.demo(
            song,
            model=model,
            save=save,
            seconds=seconds,
            seed=seed,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    print(f"song     {report.song}  ({report.seconds:.1f} s)")
    print(f"model    {report.model}")
    for path in report.stems:
        print(f"stem     {path}")
    if report.picture is not None:
        print(f"picture  {report.picture}")
    for score in report.scores:
        print(
            f"SI-SDR   {score.stem:<12}{score.si_sdr:6.1f} dB  "
            f"(the mix itself {score.mix_si_sdr:6.1f} dB, improvement {score.improvement:+.1f} dB)"
        )
    print(
        f"speed    {1 / report.real_time_factor:.1f}x real time, "
        f"peak memory {report.peak_memory / 1e6:.0f} MB"
    )
