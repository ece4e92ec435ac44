"""Published models, brought here before a command uses them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sonograd.cli.console import Console

__all__ = ["fetch_models", "resumable"]


def fetch_models(models: Iterable[str], *, offline: bool = False, quiet: bool = False) -> None:
    """Download those that are not here, with progress in bytes; what is no name is left alone."""
    from sonograd.jobs.download import ensure_model

    for model in models:
        with resumable(), Console(quiet=quiet, unit="bytes") as console:
            console.describe(model)
            ensure_model(
                model,
                offline=offline or None,
                on_progress=console.progress,
                on_message=console.message,
                on_warning=console.warning,
            )


@contextmanager
def resumable() -> Iterator[None]:
    """Let an interruption say what becomes of a download."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; what has arrived is kept, the next download goes on from there"
        ) from None
