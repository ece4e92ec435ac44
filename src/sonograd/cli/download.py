"""``sonograd download MODEL --save FOLDER``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.cli.fetch import resumable

__all__ = ["download"]


def download(
    model: str,
    /,
    *,
    save: Path | None = None,
    overwrite: bool = False,
    offline: bool = False,
    quiet: Annotated[bool, Parameter(alias="-q")] = False,
) -> int:
    """Bring a published model here, checked and converted; prints where its weights are.

    A download that broke off goes on where it ended. With --save the model becomes a session
    folder, which can be used, tested and trained on like one that was made by config. Models that
    come with sonograd need no network.

    Args:
        model: Its name, see sonograd models; or hf://OWNER/NAME, or hf://OWNER/NAME/FILE for one
            of several models in a repository.
        save: A session folder to write; by default the model stays in the cache.
        overwrite: Replace model.json and weights.safetensors in a folder that is not empty;
            without --save: download it again.
        offline: Use no network.
        quiet: Show neither progress nor messages; only what a license forbids.
    """
    from sonograd.jobs.download import download as run

    with resumable(), Console(quiet=quiet, unit="bytes") as console:
        console.describe(model)
        path = run(
            model,
            save,
            overwrite=overwrite,
            offline=offline or None,
            on_progress=console.progress,
            on_message=console.message,
            on_warning=console.warning,
        )
    print(path)
    return 0
