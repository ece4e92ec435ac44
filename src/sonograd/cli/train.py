"""``sonograd train FOLDER DATASET``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console, format_seconds
from sonograd.config.session import WEIGHTS_NAME
from sonograd.config.training import TrainingPrecision

if TYPE_CHECKING:
    from sonograd.training.logging import TrainingEvent

__all__ = ["train"]


def train(
    folder: Path,
    dataset: str,
    /,
    *,
    resume: bool = False,
    max_epochs: int | None = None,
    max_minutes: float | None = None,
    epoch_chunks: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    warmup_steps: int | None = None,
    weight_decay: float | None = None,
    max_grad_norm: float | None = None,
    criterion: str | None = None,
    ema: float | None = None,
    seed: int | None = None,
    precision: TrainingPrecision | None = None,
    validation_songs: int | None = None,
    save_minutes: float | None = None,
    device: str = "auto",
    devices: int = 1,
    num_workers: int = 0,
    stop_after: Annotated[float | None, Parameter(name="--stop-after")] = None,
    quiet: bool = False,
) -> int:
    """Train the model of a session folder on a data set.

    The folder is made by: sonograd config MODEL_TYPE --save FOLDER. Settings are kept in its
    trainer.json; options change them. Training can be stopped at any time, even with kill -9, and
    goes on with --resume.

    Args:
        folder: The session folder.
        dataset: Songs as in MUSDB18-HQ or MUSDB18, or a folder per stem; with train and valid
            folders or without. Or songs: for synthetic songs that are made up on the way.
        resume: Go on from where an earlier run left off, if there was one.
        max_epochs: Number of epochs.
        max_minutes: Minutes of training, validation not counted.
        epoch_chunks: Chunks per epoch; as many as the songs are long by default.
        batch_size: Chunks per step, over all devices.
        lr: Learning rate after the warm-up.
        warmup_steps: Steps over which the learning rate rises.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients longer than this are shortened.
        criterion: What is minimized: log-energy, si-sdr, l1, l2, stft.
        ema: Decay of the moving average of the weights; 0 for none.
        seed: Of the initial weights and everything random.
        precision: 32, bf16, or auto for the faster one.
        validation_songs: Songs held out to validate on, without a valid folder; 0 for none.
        save_minutes: Minutes between saves of the training state.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, mps.
        devices: Processes that train together, each with a device or a share of the cores.
        num_workers: Processes that prepare chunks, per device.
        stop_after: Minutes after which this run ends early; --resume goes on.
        quiet: Show no progress.
    """
    from sonograd.jobs.train import train as run

    given = {
        "max_epochs": max_epochs,
        "max_minutes": max_minutes,
        "epoch_chunks": epoch_chunks,
        "batch_size": batch_size,
        "lr": lr,
        "warmup_steps": warmup_steps,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "criterion": None if criterion is None else criterion.replace("-", "_"),
        "ema": ema,
        "seed": seed,
        "precision": precision,
        "validation_songs": validation_songs,
        "save_minutes": save_minutes,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    with Console(quiet=quiet) as console:
        result = run(
            folder,
            dataset,
            resume=resume,
            settings=settings,
            device=device,
            devices=devices,
            num_workers=num_workers,
            stop_after_minutes=stop_after,
            on_event=lambda event: console.message(_line(event)),
        )
        if not result.done:
            console.message(f"stopped after {result.step} steps; go on with --resume")
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, one tells
        print(result.folder / WEIGHTS_NAME)
    return 0


def _line(event: "TrainingEvent") -> str:
    """Return an event as one line."""
    elapsed = event.minutes * 60
    left = elapsed / event.fraction * (1 - event.fraction) if event.fraction else 0.0
    parts = [
        f"{100 * event.fraction:5.1f} %",
        f"epoch {event.epoch}",
        f"step {event.step}",
        f"loss {event.loss:.4f}",
        f"{event.chunks_per_second:.1f} chunks/s",
        f"{format_seconds(elapsed)} done",
        f"{format_seconds(left)} left",
    ]
    scores = [f"{name} {value:.2f}" for name, value in event.scores.items() if "sdr" in name]
    return ", ".join(parts) + (f"; validation, dB: {', '.join(scores)}" if scores else "")
