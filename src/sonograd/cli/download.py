"""``sonograd download MODEL --save FOLDER``."""

from pathlib import Path

__all__ = ["download"]


def download(model: str, /, *, save: Path | None = None, overwrite: bool = False) -> int:
    """Put a published model into a session folder of your own.

    It can then be used, tested and trained on like one that was made by config. Models that come
    with sonograd need no network.

    Args:
        model: Its name; sonograd separate --help lists them.
        save: The session folder; named like the model by default.
        overwrite: Replace model.json and weights.safetensors in a folder that is not empty.
    """
    from sonograd.jobs.download import download as run

    print(run(model, save, overwrite=overwrite))
    return 0
