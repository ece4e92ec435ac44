"""Run a training from its configuration to its end, or from where an earlier run left off."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import ChunkDataset
from sonograd.data.stems import Example
from sonograd.errors import CheckpointError, MissingExtraError
from sonograd.separators.base import Separator
from sonograd.training.callbacks import Conductor
from sonograd.training.logging import OnEvent
from sonograd.training.module import StepSampler, TrainingModule, make_loader
from sonograd.training.schedule import Clock
from sonograd.training.state import TrainingState

try:
    from lightning.pytorch import Trainer
    from lightning.pytorch.strategies import DDPStrategy
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["bf16_is_faster", "fit"]


def fit(
    separator: Separator,
    dataset: ChunkDataset,
    config: TrainingConfig,
    *,
    folder: Path,
    clock: Clock,
    validation: Sequence[Example] = (),
    state: TrainingState | None = None,
    device: torch.device | None = None,
    devices: int = 1,
    num_workers: int = 0,
    stop_after_seconds: float | None = None,
    on_event: OnEvent | None = None,
) -> TrainingModule:
    """Train ``separator`` in place.

    With several devices the program is started again once per device, as Lightning does it; each
    process comes here with the same arguments.

    Args:
        separator: The model; its weights change.
        dataset: What chunks are drawn from.
        config: How it is trained.
        folder: The session folder, for state, weights and log.
        clock: Length of the training.
        validation: Songs that are separated and scored after every epoch.
        state: Where an earlier run left off.
        device: Where it is trained; the CPU if None.
        devices: Processes, each with a device of that kind, or a share of the cores.
        num_workers: Processes that prepare chunks, per device; 0 to do so between the steps.
        stop_after_seconds: End this run after so long, wherever the schedule is.
        on_event: Called in the first process every 50 steps, and after validations.

    Raises:
        TrainingError: If the loss is no number.
        CheckpointError: If ``state`` belongs to another model.
        OutputError: If the folder cannot be written to.
    """
    device = torch.device("cpu") if device is None else device
    if state is not None:
        clock.step, clock.seconds = state.step, state.seconds
    module = TrainingModule(separator, config, clock)
    if state is not None:
        _restore(module, state)
    if clock.done:
        return module
    conductor = Conductor(
        module,
        folder,
        validation,
        on_event=on_event,
        optimizer_state=None if state is None else state.optimizer,
        best=None if state is None else state.best,
        stop_after_seconds=stop_after_seconds,
    )
    trainer = _trainer(config, device, devices, conductor)
    sampler = StepSampler(clock, config.batch_size, rank=trainer.global_rank, world=devices)
    loader = make_loader(dataset, sampler, num_workers=num_workers, pin=device.type == "cuda")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*lightning.*")
        trainer.fit(module, loader)
    return module


def _restore(module: TrainingModule, state: TrainingState) -> None:
    try:
        module.separator.load_state_dict(state.model)
        module.average.model.load_state_dict(state.average)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"the training state belongs to another model: {reason}") from None


def _trainer(
    config: TrainingConfig, device: torch.device, devices: int, conductor: Conductor
) -> Trainer:
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and bf16_is_faster(device))
    accelerator = {"cuda": "gpu"}.get(device.type, device.type)
    chosen: list[int] | int = devices
    if device.type == "cuda" and device.index is not None and devices == 1:
        chosen = [device.index]
    return Trainer(
        accelerator=accelerator,
        devices=chosen,
        strategy=DDPStrategy() if devices > 1 else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
        max_epochs=-1,
        callbacks=[conductor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def bf16_is_faster(device: torch.device) -> bool:
    """Tell whether convolutions in bfloat16 are faster there: GPUs, and CPUs with tile units."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "amx_bf16" in flags
