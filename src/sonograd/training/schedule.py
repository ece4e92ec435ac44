"""How far training is, and the learning rate that belongs there."""

import math
from dataclasses import dataclass, field

from sonograd.config.training import ScheduleName, TrainingConfig

__all__ = ["Clock", "Plateaus", "learning_rate", "make_clock", "steps_per_epoch"]


@dataclass
class Plateaus:
    """How long the validation loss has not become better.

    An epoch is better if its loss is below the best one by ``min_delta``. After ``patience``
    epochs in a row that are not, a plateau is complete and the patience starts anew; training
    ends after ``limit`` plateaus.

    Attributes:
        patience: Epochs.
        limit: Plateaus.
        min_delta: See above.
        best: The lowest loss.
        waited: Epochs since then, or since the last plateau.
        count: Plateaus.

    >>> plateaus = Plateaus(patience=2, limit=2, min_delta=0.1)
    >>> [plateaus.update(loss) for loss in (1.0, 0.95, 1.2, 0.5, 0.5, 0.5)]
    [False, False, True, False, False, True]
    >>> plateaus.count, plateaus.exhausted
    (2, True)
    """

    patience: int = 5
    limit: int = 5
    min_delta: float = 0.01
    best: float = math.inf
    waited: int = 0
    count: int = 0

    def update(self, loss: float) -> bool:
        """Take in the loss of an epoch; return whether it completes a plateau."""
        if loss < self.best and loss <= self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return False
        self.waited += 1
        if self.waited < self.patience:
            return False
        self.waited = 0
        self.count += 1
        return True

    @property
    def exhausted(self) -> bool:
        """Whether training has come to its end."""
        return self.count >= self.limit


@dataclass
class Clock:
    """How far training is; all processes agree on it.

    Attributes:
        steps_per_epoch: Steps of one epoch.
        max_steps: Where training ends, or None.
        max_seconds: After how many seconds it ends, or None.
        step: Steps done.
        seconds: Seconds spent on them.
        plateaus: How long validation has not become better; None where that does not matter.
        first_step: Step from which epochs have that many steps.
        first_epoch: Epochs done before it.
    """

    steps_per_epoch: int
    max_steps: int | None = None
    max_seconds: float | None = None
    step: int = 0
    seconds: float = 0.0
    plateaus: Plateaus | None = field(default=None)
    first_step: int = 0
    first_epoch: int = 0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.first_epoch + (self.step - self.first_step) // self.steps_per_epoch

    @property
    def epoch_end(self) -> int:
        """Steps that will be done when the epoch that is under way ends."""
        return self.first_step + (self.epoch + 1 - self.first_epoch) * self.steps_per_epoch

    @property
    def epochs(self) -> tuple[int, int, int]:
        """What :meth:`go_on` needs: the first step and epoch, and the steps per epoch."""
        return self.first_step, self.first_epoch, self.steps_per_epoch

    def go_on(self, step: int, seconds: float, epochs: tuple[int, int, int] | None) -> None:
        """Take up where an earlier run left off.

        Epochs that were shorter or longer then (another batch size, other songs) stay counted as
        they were; one that was under way begins anew with the new length.

        Args:
            step: Steps done.
            seconds: Seconds spent on them.
            epochs: :attr:`epochs` of the earlier run, None if they are those of today.
        """
        self.step, self.seconds = step, seconds
        if epochs is None:
            return
        self.first_step, self.first_epoch, length = epochs
        limit = None if self.max_steps is None else self.max_steps // self.steps_per_epoch
        if length != self.steps_per_epoch:
            self.first_epoch += (step - self.first_step) // length
            self.first_step = step
        if limit is not None:
            left = limit - self.first_epoch
            self.max_steps = max(self.first_step + left * self.steps_per_epoch, 1)

    @property
    def fraction(self) -> float:
        """How much of the training is done, from 0 to 1."""
        by_steps = self.step / self.max_steps if self.max_steps else 0.0
        by_time = self.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(max(by_steps, by_time), 1.0)

    @property
    def done(self) -> bool:
        """Whether the training has come to its end."""
        return self.fraction >= 1.0 or (self.plateaus is not None and self.plateaus.exhausted)


def make_clock(config: TrainingConfig, steps_per_epoch: int) -> Clock:
    """Return the clock of a training that has not begun."""
    plateaus = Plateaus(config.stop_patience, config.max_plateaus, config.min_delta)
    return Clock(
        steps_per_epoch=steps_per_epoch,
        max_steps=None if config.max_epochs is None else config.max_epochs * steps_per_epoch,
        max_seconds=None if config.max_minutes is None else config.max_minutes * 60,
        plateaus=None if config.schedule == "cosine" else plateaus,
    )


def learning_rate(clock: Clock, peak: float, warmup_steps: int, schedule: ScheduleName) -> float:
    """Return the learning rate: a linear rise to ``peak``, times what the schedule says.

    ``cosine`` falls along a cosine to near zero; ``plateau`` is a tenth of it after each plateau
    of the validation loss; ``constant`` stays.
    """
    rate = peak * min(1.0, (clock.step + 1) / (warmup_steps + 1))
    match schedule:
        case "cosine":
            return rate * (0.5 * (1 + math.cos(math.pi * clock.fraction)) + 0.003)
        case "plateau":
            return rate * 0.1 ** (0 if clock.plateaus is None else clock.plateaus.count)
        case "constant":
            return rate


def steps_per_epoch(seconds: float, chunk_seconds: float, batch_size: int) -> int:
    """Return the number of batches that are as long as all songs together, at least 1."""
    return max(math.ceil(seconds / (chunk_seconds * batch_size)), 1)
