"""``sonograd plot-history FOLDER``."""

from pathlib import Path

__all__ = ["plot_history"]


def plot_history(folder: Path, /, *, out: Path | None = None, overwrite: bool = False) -> int:
    """Draw the losses and scores of a training.

    Args:
        folder: The session folder.
        out: The picture; history.png in the session folder by default.
        overwrite: Replace a picture that is there already.
    """
    from sonograd.jobs.history import plot_history as run

    print(run(folder, out, overwrite=overwrite))
    return 0
