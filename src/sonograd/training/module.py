"""The part of training that Lightning runs: a thin shell around a separator and its loss."""

import math
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import Chunk, collate_chunks
from sonograd.errors import MissingExtraError, TrainingError
from sonograd.separators.base import Separator
from sonograd.separators.default import TFCTDFUNet
from sonograd.training.averaging import WeightAverage
from sonograd.training.criteria import mix_and_reference, training_loss
from sonograd.training.schedule import Clock, learning_rate

try:
    from lightning.pytorch import LightningModule
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["StepSampler", "TrainingModule", "make_loader", "recurrent_parameters"]


class StepSampler(Sampler[list[int]]):
    """The numbers of the chunks of each batch until the end of the epoch, for one process.

    Batch ``b`` has the chunks from ``b * batch_size`` on, and a step ``accumulate`` batches;
    process ``rank`` of ``world`` takes its share of each batch. Where training stands is read
    when an epoch begins.
    """

    def __init__(
        self,
        clock: Clock,
        batch_size: int,
        *,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Remember the clock; nothing is drawn yet."""
        self.clock = clock
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.share = slice(rank * batch_size // world, (rank + 1) * batch_size // world)

    def __iter__(self) -> Iterator[list[int]]:
        """Iterate over the batches that are left of the epoch."""
        clock = self.clock
        for batch in range(clock.step * self.accumulate, clock.epoch_end * self.accumulate):
            first = batch * self.batch_size
            yield list(range(first, first + self.batch_size))[self.share]


def make_loader(
    dataset: Dataset[Chunk], sampler: StepSampler, config: TrainingConfig
) -> DataLoader[Chunk]:
    """Return what yields the batches of an epoch."""
    workers = min(config.num_workers, os.cpu_count() or 1)
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate_chunks,
        num_workers=workers,
        pin_memory=config.pin_memory and torch.accelerator.is_available(),
        prefetch_factor=config.pre_fetch if workers else None,
        persistent_workers=config.persistent_workers and workers > 0,
    )


def recurrent_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of all recurrent layers."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.RNNBase)]
    return [parameter for layer in layers for parameter in layer.parameters()]


def _compile(separator: Separator) -> None:
    """Compile the network inside a separator, in place; its weights keep their names."""
    unet = getattr(separator, "unet", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own modules
        if isinstance(separator, TFCTDFUNet):
            separator.logits = torch.compile(separator.logits)  # type: ignore[method-assign]
        elif isinstance(unet, nn.Module):
            unet.compile()
        else:
            separator.compile()


class TrainingModule(LightningModule):
    """A separator that learns.

    Attributes:
        separator: The model.
        average: The moving average of its weights.
        clock: How far training is.
        loss: What is minimized, if not the criterion of ``config``: a module that maps stems
            ``(estimate, reference)`` to a scalar.
        chunk_samples: Length of a training chunk.
        last_loss: Loss of the last batch.
        between_steps: Whether weights, average, optimizer and clock belong to the same step.
        skipped: Steps without effect, because a gradient was no finite number.
        unreadable: Songs that could not be read while training, with the reasons.
    """

    def __init__(
        self,
        separator: Separator,
        config: TrainingConfig,
        clock: Clock,
        *,
        chunk_samples: int,
        loss: nn.Module | None = None,
    ) -> None:
        """Put the model into training mode."""
        super().__init__()
        if config.channels_last:
            separator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = loss
        self.chunk_samples = chunk_samples
        self.separator = separator.train()
        self.config = config
        self.clock = clock
        self.average: WeightAverage[Separator] = WeightAverage(separator, config.ema)
        if config.compile:
            _compile(separator)
        self.last_loss = float("nan")
        self.between_steps = True
        self.skipped = 0
        self.unreadable: dict[str, str] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer, with a group of its own for recurrent layers."""
        config = self.config
        slow = recurrent_parameters(self.separator) if config.lr_lstm is not None else []
        known = {id(parameter) for parameter in slow}
        rest = [p for p in self.separator.parameters() if id(p) not in known]
        groups: list[dict[str, Any]] = [{"params": rest, "peak": config.lr}]
        if slow:
            groups.append({"params": slow, "peak": config.lr_lstm})
        match config.optimizer:
            case "adamw":
                return torch.optim.AdamW(
                    groups, config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay
                )
            case "adam":
                return torch.optim.Adam(groups, config.lr, weight_decay=config.weight_decay)
            case "sgd":
                return torch.optim.SGD(
                    groups, config.lr, momentum=0.9, weight_decay=config.weight_decay
                )

    def on_train_start(self) -> None:
        """Bring the average to the device of the model."""
        self.average.model.to(self.device)

    def on_train_batch_start(self, batch: Chunk, batch_idx: int) -> int | None:
        """Set the learning rates and the random numbers of this batch."""
        config, clock = self.config, self.clock
        place = clock.step * config.accumulate + batch_idx % config.accumulate
        torch.manual_seed((config.seed * 1_000_003 + place) * 64 + self.global_rank)
        for group in self.trainer.optimizers[0].param_groups:
            peak = group["peak"]
            group["lr"] = learning_rate(clock, peak, config.warmup_steps, config.schedule)
        return None

    def training_step(self, batch: Chunk, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            TrainingError: If it is not finite; names what the batch was made of.
        """
        self.unreadable.update(batch.problems)
        loss = self.criterion(self.separator, batch)
        self.last_loss = loss.item()
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {self.last_loss} in step {self.clock.step}; the last saved state is "
                f"kept. The batch was: {'; '.join(batch.names)}"
            )
        if self.loss is None and self.config.reduction == "sum":
            return loss * self.trainer.world_size  # gradients are averaged over processes
        return loss

    def criterion(self, separator: Separator, batch: Chunk) -> Tensor:
        """Return what is minimized, a scalar."""
        if self.loss is None:
            return training_loss(separator, batch, self.config)
        mix, reference = mix_and_reference(batch, len(separator.stems))
        value: Tensor = self.loss(separator(mix), reference)
        return value

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shorten long gradients; leave the weights as they are if one is not finite."""
        parameters = [p for p in self.separator.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        limit = self.config.max_grad_norm if self.config.clip_grad else math.inf
        if norm > limit:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
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
        self.between_steps = False
        optimizer.step(closure=optimizer_closure)
        self.average.update(self.separator, self.clock.step)
        self.clock.step += 1
        self.between_steps = True

    def merged_loss(self, loss: float) -> float:
        """Return the loss of all processes from that of this one; all of them must call it."""
        world = self.trainer.world_size
        if world == 1:
            return loss
        share = torch.tensor(loss, dtype=torch.float32, device=self.device)
        distributed.all_reduce(share)
        whole = self.loss is None and self.config.reduction == "sum"
        return share.item() / (1 if whole else world)
