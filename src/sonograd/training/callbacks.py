"""What happens around the steps: time, logs, saving, validation, the end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from sonograd.data.stems import Example
from sonograd.errors import MissingExtraError
from sonograd.separators.checkpoint import save_separator
from sonograd.training.logging import LogTable, OnEvent, TrainingEvent
from sonograd.training.module import TrainingModule
from sonograd.training.state import STATE_NAME, TrainingState, write_state
from sonograd.training.validation import median_scores, score_song

try:
    from lightning.pytorch import Callback, Trainer
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["MODEL_NAME", "Conductor"]

#: Weights in a session folder.
MODEL_NAME = "model.safetensors"
_LOG_STEPS = 50


@dataclass
class _Since:
    """What has happened since the last event."""

    loss: float = 0.0
    steps: int = 0
    seconds: float = 0.0


class Conductor(Callback):  # type: ignore[misc]
    """Keeps the time, tells, validates, saves, and ends the training.

    Attributes:
        best: Best mean SDR in a validation so far, in dB.
    """

    def __init__(
        self,
        folder: Path,
        songs: "Sequence[Example]",
        *,
        table: LogTable | None,
        on_event: OnEvent | None,
        optimizer_state: dict[str, Any] | None = None,
        best: float | None = None,
        stop_after_seconds: float | None = None,
    ) -> None:
        """Remember where things go.

        Args:
            folder: Where state and weights are saved.
            songs: What is validated on.
            table: Gets every event; in the first process only.
            on_event: Gets every event; in the first process only.
            optimizer_state: Of the run that this one goes on from.
            best: Of the run that this one goes on from.
            stop_after_seconds: End this run after so long, wherever the schedule is.
        """
        super().__init__()
        self.folder = folder
        self.songs = songs
        self.table = table
        self.on_event = on_event
        self.best = best
        self._optimizer_state = optimizer_state
        self._stop_after = stop_after_seconds
        self._since = _Since()
        self._last = self._saved = self._began = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: TrainingModule) -> None:
        """Give the optimizer its state back, now that weights are on their device."""
        if self._optimizer_state is not None:
            trainer.optimizers[0].load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        self._saved = self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: TrainingModule) -> None:
        """Start to count time."""
        self._last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count time, log, save when it is time, stop at the end."""
        clock, now = pl_module.clock, time.perf_counter()
        spent, total = _agree([now - self._last, now - self._began], trainer, pl_module.device)
        clock.seconds += spent
        since = self._since
        since.loss += pl_module.last_loss
        since.seconds += spent
        since.steps += 1
        if since.steps == _LOG_STEPS:
            self._tell(trainer, pl_module, {})
        if now - self._saved > 60 * pl_module.config.save_minutes:
            self._save(trainer, pl_module)
        if clock.done or (self._stop_after is not None and total >= self._stop_after):
            trainer.should_stop = True
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: TrainingModule) -> None:
        """Validate and save."""
        scores = self._validate(trainer, pl_module)
        self._tell(trainer, pl_module, scores)
        score = scores.get("sdr")
        better = score is not None and (self.best is None or score > self.best)
        if better:
            self.best = score
        if trainer.is_global_zero and (better or not self.songs):
            self._save_model(pl_module, scores)
        self._save(trainer, pl_module)

    def _tell(self, trainer: Trainer, pl_module: TrainingModule, scores: dict[str, float]) -> None:
        clock, since = pl_module.clock, self._since
        self._since = _Since()
        if not trainer.is_global_zero:
            return
        event = TrainingEvent(
            step=clock.step,
            epoch=clock.epoch,
            fraction=clock.fraction,
            minutes=clock.seconds / 60,
            loss=since.loss / max(since.steps, 1),
            lr=trainer.optimizers[0].param_groups[0]["lr"],
            chunks_per_second=since.steps * pl_module.config.batch_size / (since.seconds or 1),
            scores=scores,
        )
        if self.table is not None:
            self.table.add(event)
        if self.on_event is not None:
            self.on_event(event)

    def _validate(self, trainer: Trainer, pl_module: TrainingModule) -> dict[str, float]:
        """Score every song in one of the processes, and gather the scores in all of them."""
        if not self.songs:
            return {}
        model = pl_module.average.model
        rank, world = trainer.global_rank, trainer.world_size
        if world > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)
        scores = [score_song(model, self.songs[k]) for k in range(rank, len(self.songs), world)]
        if world > 1:
            gathered: list[Any] = [None] * world
            distributed.all_gather_object(gathered, scores)
            scores = [score for part in gathered for score in part]
        return median_scores(scores)

    def _save(self, trainer: Trainer, pl_module: TrainingModule) -> None:
        self._saved = time.perf_counter()
        if not trainer.is_global_zero:
            return
        clock = pl_module.clock
        state = TrainingState(
            step=clock.step,
            seconds=clock.seconds,
            best=self.best,
            model=pl_module.separator.state_dict(),
            average=pl_module.average.model.state_dict(),
            optimizer=trainer.optimizers[0].state_dict(),
        )
        write_state(state, self.folder / STATE_NAME)
        if not (self.folder / MODEL_NAME).exists():
            self._save_model(pl_module, {})

    def _save_model(self, pl_module: TrainingModule, scores: dict[str, float]) -> None:
        notes = {name: f"{value:.3f}" for name, value in scores.items()}
        notes |= {"step": str(pl_module.clock.step), "epoch": str(pl_module.clock.epoch)}
        save_separator(pl_module.average.model, self.folder / MODEL_NAME, metadata=notes)


def _agree(values: list[float], trainer: Trainer, device: torch.device) -> list[float]:
    """Return the numbers of the first process, so that all end with the same step."""
    if trainer.world_size == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float32, device=device)
    distributed.broadcast(shared, 0)
    result: list[float] = shared.tolist()
    return result
