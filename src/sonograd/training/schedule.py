"""How far training is, and the learning rate that belongs there."""

import math
from dataclasses import dataclass

__all__ = ["Clock", "learning_rate", "steps_per_epoch"]


@dataclass
class Clock:
    """How far training is; all processes agree on it.

    Attributes:
        steps_per_epoch: Steps of one epoch.
        max_steps: Where training ends, or None.
        max_seconds: After how many seconds it ends, or None.
        step: Steps done.
        seconds: Seconds spent on them.
    """

    steps_per_epoch: int
    max_steps: int | None = None
    max_seconds: float | None = None
    step: int = 0
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """How much of the training is done, from 0 to 1."""
        by_steps = self.step / self.max_steps if self.max_steps else 0.0
        by_time = self.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(max(by_steps, by_time), 1.0)

    @property
    def done(self) -> bool:
        """Whether the training has come to its end."""
        return self.fraction >= 1.0


def learning_rate(clock: Clock, peak: float, warmup_steps: int) -> float:
    """Return the learning rate: a linear rise, times a cosine that ends near zero."""
    rise = min(1.0, (clock.step + 1) / (warmup_steps + 1))
    return peak * rise * (0.5 * (1 + math.cos(math.pi * clock.fraction)) + 0.003)


def steps_per_epoch(seconds: float, chunk_seconds: float, batch_size: int) -> int:
    """Return the number of batches that are as long as all songs together, at least 1."""
    return max(math.ceil(seconds / (chunk_seconds * batch_size)), 1)
