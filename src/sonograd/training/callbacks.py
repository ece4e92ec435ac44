"""What happens around the steps: time, logs, saving, validation, the end."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from sonograd.config.session import STATE_NAME, WEIGHTS_NAME
from sonograd.data.chunks import Chunk
from sonograd.data.stems import Example
from sonograd.errors import MissingExtraError, SonogradError
from sonograd.separators.checkpoint import layers_version, save_separator
from sonograd.training.criteria import sounding
from sonograd.training.logging import LOG_NAME, LogTable, OnEvent, TrainingEvent
from sonograd.training.module import TrainingModule
from sonograd.training.schedule import Clock, Plateaus
from sonograd.training.state import TrainingState, write_state
from sonograd.training.validation import median_scores, score_song

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["Conductor"]

_LOG_STEPS = 50
#: Seconds between calls of ``on_progress``.
_PROGRESS_SECONDS = 0.5


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
        on_progress: OnEvent | None = None,
        on_message: Callable[[str], None] | None = None,
        on_epoch: Sequence[Callable[[float, Mapping[str, float]], None]] = (),
        state: TrainingState | None = None,
        stop_after_seconds: float | None = None,
    ) -> None:
        """Remember where things go.

        Args:
            module: What is trained.
            folder: Where state and weights are saved.
            songs: What is validated on.
            on_event: Gets every event; in the first process only.
            on_progress: Is told after steps how far training is, a few times a second at most;
                in the first process only.
            on_message: Is told what was saved; in the first process only.
            on_epoch: Get the mean loss of every epoch, and the scores of its validation.
            state: Where an earlier run left off.
            stop_after_seconds: End this run after so long, wherever the schedule is.
        """
        super().__init__()
        self.module = module
        self.folder = folder
        self.songs = songs
        self._table: LogTable | None = None
        self.on_event = on_event
        self.on_progress = on_progress
        self.on_message = on_message
        self.on_epoch = on_epoch
        self.best = None if state is None else state.best
        self._state = state
        self._stop_after = stop_after_seconds
        self._since = _Since()
        self._epoch = _Since()
        self._told: set[str] = set()
        self._last = self._saved = self._began = self._shown = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the optimizer its state back, now that weights are on their device."""
        if self._state is not None:
            _restore_optimizer(trainer, self._state)
            self._state = None
        if trainer.is_global_zero:
            module = self.module
            stems, step = module.separator.stems, module.clock.step
            self._table = LogTable(self.folder / LOG_NAME, stems, step=step)
        self._saved = self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count time."""
        self._epoch = _Since()
        self._last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count time, log, save when it is time, stop at the end."""
        clock, now = self.module.clock, time.perf_counter()
        spent, total = _agree([now - self._last, now - self._began], trainer, self.module.device)
        clock.seconds += spent
        since, accumulate = self._since, self.module.config.accumulate
        since.loss += self.module.last_loss / accumulate
        self._epoch.loss += self.module.last_loss / accumulate
        since.seconds += spent
        if (batch_idx + 1) % accumulate:
            self._last = time.perf_counter()
            return
        since.steps += 1
        self._epoch.steps += 1
        if self.on_progress is not None and now - self._shown > _PROGRESS_SECONDS:
            self._shown = now
            if trainer.is_global_zero:
                self.on_progress(self._event(trainer, since, {}))
        if since.steps == _LOG_STEPS:
            self._tell(trainer, {})
        if now - self._saved > 60 * self.module.config.save_minutes:
            self._save(trainer)
        if clock.done or (self._stop_after is not None and total >= self._stop_after):
            trainer.should_stop = True
        self._last = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate, count plateaus, and save."""
        scores = self._validate(trainer)
        clock, plateaus = self.module.clock, self.module.clock.plateaus
        whole = clock.step == clock.first_step + clock.steps_per_epoch * (
            clock.epoch - clock.first_epoch
        )  # a run that is stopped within an epoch validates, too
        if plateaus is not None and whole and "validation_loss" in scores:
            plateaus.update(scores["validation_loss"])
            trainer.should_stop |= plateaus.exhausted
        loss = self.module.merged_loss(self._epoch.loss / max(self._epoch.steps, 1))
        for show in self.on_epoch:
            show(loss, scores)
        self._gather_unreadable(trainer)
        self._tell(trainer, scores, ends_epoch=True)
        score = scores.get("sdr")
        better = score is not None and (self.best is None or score > self.best)
        if better:
            self.best = score
        if trainer.is_global_zero and (better or score is None):
            self._save_model(scores)
        self._save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save the state if somebody ends the run; after an error the last one is kept."""
        if isinstance(exception, Exception) or not self.module.between_steps:
            return
        if trainer.is_global_zero and self.module.clock.step:
            self._save(trainer)
            if self.on_message is not None:
                self.on_message(f"saved step {self.module.clock.step}; go on with --resume")

    def _tell(
        self, trainer: Trainer, scores: dict[str, float], *, ends_epoch: bool = False
    ) -> None:
        since = self._since
        self._since = _Since()
        since.loss = self.module.merged_loss(since.loss)
        self._tell_unreadable()
        if not trainer.is_global_zero:
            return
        event = self._event(trainer, since, scores, ends_epoch=ends_epoch)
        if self._table is not None:
            self._table.add(event)
        if self.on_event is not None:
            self.on_event(event)

    def _event(
        self,
        trainer: Trainer,
        since: _Since,
        scores: dict[str, float],
        *,
        ends_epoch: bool = False,
    ) -> TrainingEvent:
        clock, config = self.module.clock, self.module.config
        return TrainingEvent(
            step=clock.step,
            epoch=clock.epoch,
            chunks=clock.step * config.batch_size * config.accumulate,
            fraction=clock.fraction,
            minutes=clock.seconds / 60,
            loss=since.loss / max(since.steps, 1),
            lr=trainer.optimizers[0].param_groups[0]["lr"],
            chunks_per_second=since.steps
            * config.batch_size
            * config.accumulate
            / (since.seconds or 1),
            scores=scores,
            ends_epoch=ends_epoch,
        )

    def _tell_unreadable(self) -> None:
        for name, reason in self.module.unreadable.items():
            if name not in self._told and self.on_message is not None:
                self.on_message(f"left out: {name}: {reason}")
            self._told.add(name)

    def _gather_unreadable(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            distributed.all_gather_object(gathered, self.module.unreadable)
            for part in gathered:
                self.module.unreadable |= part

    def _validate(self, trainer: Trainer) -> dict[str, float]:
        """Score every song in one of the processes, and gather the scores in all of them."""
        if not self.songs:
            return {}
        model = self.module.average.model
        rank, world = trainer.global_rank, trainer.world_size
        if world > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)
        scores, losses = [], []
        for number in range(rank, len(self.songs), world):
            try:
                song = self.songs[number]
            except (SonogradError, OSError) as error:  # it could be read when training began
                names = getattr(self.songs, "names", ())
                name = names[number] if names else f"validation song {number}"
                self.module.unreadable[name] = str(error)
                continue
            scores.append(score_song(model, song))
            losses.append(self._song_loss(song))
        if world > 1:
            gathered: list[Any] = [None] * world
            distributed.all_gather_object(gathered, (scores, losses))
            scores = [score for part, _ in gathered for score in part]
            losses = [loss for _, part in gathered for loss in part]
        finite = [loss for loss in losses if math.isfinite(loss)]
        mean = {"validation_loss": sum(finite) / len(finite)} if finite else {}
        return median_scores(scores) | mean

    def _song_loss(self, song: Example) -> float:
        """Return the criterion's mean over the chunks of a song, each as long as in training.

        Where the criterion is SI-SDR, that is over what is not silent; NaN if all of it is.
        """
        module = self.module
        model, samples = module.average.model, module.chunk_samples
        bins = getattr(model.config, "num_fft", 2) // 2 + 1
        targets = len(model.stems)
        partial = module.loss is None and module.config.criterion == "si_sdr"
        total = count = 0.0
        for begin in range(0, max(song.stems.shape[-1] - samples, 0) + 1, samples):
            stems = song.stems[None, ..., begin : begin + samples].to(module.device)
            share = sounding(stems[:, :targets]).float().mean().item() if partial else 1.0
            if share == 0:
                continue
            flat = stems.new_ones(1, stems.shape[1], bins)
            chunk = Chunk(stems, flat, (song.name,))
            with torch.no_grad():
                total += module.criterion(model, chunk).item()
            count += share
        return total / count if count else math.nan

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
            plateaus=_plateau_state(clock),
            scaler=_scaler_state(trainer),
            epochs=clock.epochs,
            layers=layers_version(self.module.separator.config),
        )
        write_state(state, self.folder / STATE_NAME)
        if not (self.folder / WEIGHTS_NAME).exists():
            self._save_model({})

    def _save_model(self, scores: dict[str, float]) -> None:
        notes = {name: f"{value:.3f}" for name, value in scores.items()}
        notes |= {"step": str(self.module.clock.step), "epoch": str(self.module.clock.epoch)}
        save_separator(self.module.average.model, self.folder / WEIGHTS_NAME, metadata=notes)
        if self.on_message is not None and scores:
            self.on_message(f"saved the best weights so far: {self.folder / WEIGHTS_NAME}")


def _restore_optimizer(trainer: Trainer, state: TrainingState) -> None:
    """Put the state of the optimizer and of the gradient scaler back, with today's rates."""
    optimizer = trainer.optimizers[0]
    peaks = [group["peak"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state.optimizer)
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["peak"] = peak
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is not None and state.scaler:
        scaler.load_state_dict(state.scaler)


def _plateau_state(clock: Clock) -> tuple[float, int, int]:
    plateaus = clock.plateaus or Plateaus()
    return plateaus.best, plateaus.waited, plateaus.count


def _scaler_state(trainer: Trainer) -> dict[str, Any]:
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return {} if scaler is None else dict(scaler.state_dict())


def _agree(values: list[float], trainer: Trainer, device: torch.device) -> list[float]:
    """Return the numbers of the first process, so that all end with the same step."""
    if trainer.world_size == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float32, device=device)
    distributed.broadcast(shared, 0)
    result: list[float] = shared.tolist()
    return result
