"""The part of training that Lightning runs: a thin shell around a separator and its loss."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import Chunk, ChunkDataset, collate_chunks
from sonograd.errors import MissingExtraError, TrainingError
from sonograd.separators.base import Separator
from sonograd.training.averaging import WeightAverage
from sonograd.training.criteria import training_loss
from sonograd.training.schedule import Clock, learning_rate

try:
    from lightning.pytorch import LightningModule
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["StepSampler", "TrainingModule", "make_loader"]


class StepSampler(Sampler[list[int]]):
    """The numbers of the chunks of each step until the end of the epoch, for one process.

    Step ``s`` has the chunks from ``s * batch_size`` on; process ``rank`` of ``world`` takes its
    share of them. Where training stands is read when an epoch begins.
    """

    def __init__(self, clock: Clock, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        """Remember the clock; nothing is drawn yet."""
        self.clock = clock
        self.batch_size = batch_size
        self.share = slice(rank * batch_size // world, (rank + 1) * batch_size // world)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the steps that are left of the epoch."""
        clock = self.clock
        end = (clock.epoch + 1) * clock.steps_per_epoch
        for step in range(clock.step, end):
            first = step * self.batch_size
            yield list(range(first, first + self.batch_size))[self.share]


def make_loader(
    dataset: ChunkDataset, sampler: StepSampler, *, num_workers: int = 0, pin: bool = False
) -> DataLoader[Chunk]:
    """Return what yields the batches of an epoch."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate_chunks,
        num_workers=num_workers,
        pin_memory=pin,
    )


class TrainingModule(LightningModule):
    """A separator that learns.

    Attributes:
        separator: The model.
        average: The moving average of its weights.
        clock: How far training is.
        last_loss: Loss of the last step.
        skipped: Steps without effect, because a gradient was no finite number.
    """

    def __init__(self, separator: Separator, config: TrainingConfig, clock: Clock) -> None:
        """Put the model into training mode."""
        super().__init__()
        self.separator = separator.train()
        self.config = config
        self.clock = clock
        self.average: WeightAverage[Separator] = WeightAverage(separator, config.ema)
        self.last_loss = float("nan")
        self.skipped = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over all weights."""
        return torch.optim.AdamW(
            self.separator.parameters(),
            lr=self.config.lr,
            betas=(0.9, 0.98),
            weight_decay=self.config.weight_decay,
        )

    def on_train_start(self) -> None:
        """Bring the average to the device of the model."""
        self.average.model.to(self.device)

    def on_train_batch_start(self, batch: Chunk, batch_idx: int) -> int | None:
        """Set the learning rate and the random numbers of this step."""
        torch.manual_seed((self.config.seed * 1_000_003 + self.clock.step) * 64 + self.global_rank)
        rate = learning_rate(self.clock, self.config.lr, self.config.warmup_steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        return None

    def training_step(self, batch: Chunk, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            TrainingError: If it is not finite; names what the batch was made of.
        """
        loss = training_loss(self.separator, batch, self.config.criterion)
        self.last_loss = loss.item()
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {self.last_loss} in step {self.clock.step}; the last saved state is "
                f"kept. The batch was: {'; '.join(batch.names)}"
            )
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shorten long gradients; leave the weights as they are if one is not finite."""
        parameters = list(self.separator.parameters())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        if not torch.isfinite(norm):
            self.skipped += 1
            for parameter in parameters:
                parameter.grad = None

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Take the step, then move the average and the clock."""
        optimizer.step(closure=optimizer_closure)
        self.average.update(self.separator, self.clock.step)
        self.clock.step += 1
