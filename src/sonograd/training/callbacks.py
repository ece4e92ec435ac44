"""What happens around the steps: time, logs, saving, validation, the end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from sonograd.config.session import STATE_NAME, WEIGHTS_NAME
from sonograd.data.stems import Example
from sonograd.errors import MissingExtraError
from sonograd.separators.checkpoint import save_separator
from sonograd.training.logging import LOG_NAME, LogTable, OnEvent, TrainingEvent
from sonograd.training.module import TrainingModule
from sonograd.training.state import TrainingState, write_state
from sonograd.training.validation import median_scores, score_song

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["Conductor"]

_LOG_STEPS = 50


@dataclass
class _Since:
    """What has happened since the last event."""

    loss: float = 0.0
    steps: int = 0
    seconds: float = 0.0


class Conductor(Callback):
    """Keeps the time, tells, validates, saves, and ends the training.

    Attributes:
        best: Best mean SDR in a validation so far, in dB.
    """

    def __init__(
        self,
        module: TrainingModule,
        folder: Path,
        songs: Sequence[Example],
        *,
        on_event: OnEvent | None,
        optimizer_state: dict[str, Any] | None = None,
        best: float | None = None,
        stop_after_seconds: float | None = None,
    ) -> None:
        """Remember where things go.

        Args:
            module: What is trained.
            folder: Where state and weights are saved.
            songs: What is validated on.
            on_event: Gets every event; in the first process only.
            optimizer_state: Of the run that this one goes on from.
            best: Of the run that this one goes on from.
            stop_after_seconds: End this run after so long, wherever the schedule is.
        """
        super().__init__()
        self.module = module
        self.folder = folder
        self.songs = songs
        self._table: LogTable | None = None
        self.on_event = on_event
        self.best = best
        self._optimizer_state = optimizer_state
        self._stop_after = stop_after_seconds
        self._since = _Since()
        self._last = self._saved = self._began = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the optimizer its state back, now that weights are on their device."""
        if self._optimizer_state is not None:
            trainer.optimizers[0].load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        if trainer.is_global_zero:
            module = self.module
            stems, step = module.separator.stems, module.clock.step
            self._table = LogTable(self.folder / LOG_NAME, stems, step=step)
        self._saved = self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count time."""
        self._last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count time, log, save when it is time, stop at the end."""
        clock, now = self.module.clock, time.perf_counter()
        spent, total = _agree([now - self._last, now - self._began], trainer, self.module.device)
        clock.seconds += spent
        since = self._since
        since.loss += self.module.last_loss
        since.seconds += spent
        since.steps += 1
        if since.steps == _LOG_STEPS:
            self._tell(trainer, {})
        if now - self._saved > 60 * self.module.config.save_minutes:
            self._save(trainer)
        if clock.done or (self._stop_after is not None and total >= self._stop_after):
            trainer.should_stop = True
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate and save."""
        scores = self._validate(trainer)
        self._tell(trainer, scores)
        score = scores.get("sdr")
        better = score is not None and (self.best is None or score > self.best)
        if better:
            self.best = score
        if trainer.is_global_zero and (better or not self.songs):
            self._save_model(scores)
        self._save(trainer)

    def _tell(self, trainer: Trainer, scores: dict[str, float]) -> None:
        clock, since = self.module.clock, self._since
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
            chunks_per_second=since.steps * self.module.config.batch_size / (since.seconds or 1),
            scores=scores,
        )
        if self._table is not None:
            self._table.add(event)
        if self.on_event is not None:
            self.on_event(event)

    def _validate(self, trainer: Trainer) -> dict[str, float]:
        """Score every song in one of the processes, and gather the scores in all of them."""
        if not self.songs:
            return {}
        model = self.module.average.model
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

    def _save(self, trainer: Trainer) -> None:
        self._saved = time.perf_counter()
        if not trainer.is_global_zero:
            return
        clock = self.module.clock
        state = TrainingState(
            step=clock.step,
            seconds=clock.seconds,
            best=self.best,
            model=self.module.separator.state_dict(),
            average=self.module.average.model.state_dict(),
            optimizer=trainer.optimizers[0].state_dict(),
        )
        write_state(state, self.folder / STATE_NAME)
        if not (self.folder / WEIGHTS_NAME).exists():
            self._save_model({})

    def _save_model(self, scores: dict[str, float]) -> None:
        notes = {name: f"{value:.3f}" for name, value in scores.items()}
        notes |= {"step": str(self.module.clock.step), "epoch": str(self.module.clock.epoch)}
        save_separator(self.module.average.model, self.folder / WEIGHTS_NAME, metadata=notes)


def _agree(values: list[float], trainer: Trainer, device: torch.device) -> list[float]:
    """Return the numbers of the first process, so that all end with the same step."""
    if trainer.world_size == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float32, device=device)
    distributed.broadcast(shared, 0)
    result: list[float] = shared.tolist()
    return result
