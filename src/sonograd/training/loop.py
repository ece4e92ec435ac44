"""Run a training from its configuration to its end, or from where an earlier run left off."""

import importlib.util
import logging
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader

from sonograd.config.training import TrainingConfig
from sonograd.data.chunks import Chunk, ChunkDataset
from sonograd.data.stems import Example
from sonograd.errors import MissingExtraError, OutputError, ParameterError, TrainingError
from sonograd.precision import has_bf16_units
from sonograd.separators.base import Separator
from sonograd.training.callbacks import Conductor
from sonograd.training.logging import OnEvent
from sonograd.training.module import StepSampler, TrainingModule, make_loader
from sonograd.training.schedule import Clock, make_clock
from sonograd.training.state import TrainingState, check_state
from sonograd.training.visuals import make_visuals

try:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.plugins.precision import MixedPrecision
    from lightning.pytorch.strategies import DDPStrategy
except ImportError:
    raise MissingExtraError("training", "train") from None

__all__ = ["check_compiler", "chosen_precision", "fit"]


def fit(
    separator: Separator,
    dataset: ChunkDataset,
    config: TrainingConfig,
    *,
    folder: Path,
    clock: Clock | None = None,
    loss: nn.Module | None = None,
    validation: Sequence[Example] = (),
    state: TrainingState | None = None,
    device: torch.device | None = None,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    callbacks: Sequence[Callback] = (),
    stop_after_seconds: float | None = None,
    on_event: OnEvent | None = None,
    on_progress: OnEvent | None = None,
    on_message: Callable[[str], None] | None = None,
) -> TrainingModule:
    """Train ``separator`` in place.

    With several devices the program is started again once per device, as Lightning does it; each
    process comes here with the same arguments.

    .. code-block:: python

        songs = StemFolder("musdb18hq", ("drums", "bass", "other", "vocals"), split="train")
        chunks = ChunkDataset(songs, samples=130048, equalizer_bins=2049)
        model = TFCTDFUNet(TFCTDFUNetConfig())
        fit(model, chunks, TrainingConfig(max_epochs=3), folder=Path("run"), loss=L1())

    Args:
        separator: The model; its weights change.
        dataset: What chunks are drawn from.
        config: How it is trained.
        folder: The session folder, for state, weights and log.
        clock: Length of the training; that of ``config`` if None.
        loss: A module that maps stems ``(estimate, reference)``, each ``(batch, stems, channels,
            samples)``, to a scalar; the criterion of ``config`` if None.
        validation: Songs that are separated and scored after every epoch.
        state: Where an earlier run left off.
        device: Where it is trained; the CPU if None.
        devices: Processes per node, each with a device of that kind, or a share of the cores.
        num_nodes: Machines, each of which runs this program, for instance through torchrun.
        strategy: How Lightning lets processes work together; ``auto`` is data parallel.
        callbacks: Lightning callbacks of your own.
        stop_after_seconds: End this run after so long, wherever the schedule is.
        on_event: Called in the first process every 50 steps, and at the end of epochs.
        on_progress: Called there after steps, at most twice a second, for whoever watches.
        on_message: Called in the first process when something was saved.

    Raises:
        TrainingError: If the loss is no number, or the network cannot be compiled.
        ParameterError: If it shall be compiled, and there is no compiler.
        CheckpointError: If ``state`` belongs to another model.
        OutputError: If the folder cannot be written to.
    """
    device = torch.device("cpu") if device is None else device
    if config.compile:
        check_compiler(device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}.") from None
    if clock is None:
        epoch = config.max_samples or dataset.source.samples // dataset.samples
        clock = make_clock(config, max(epoch // (config.batch_size * config.accumulate), 1))
    if state is not None:
        clock.go_on(state.step, state.seconds, state.epochs)
        if clock.plateaus is not None:
            plateaus = clock.plateaus
            plateaus.best, plateaus.waited, plateaus.count = state.plateaus
    module = TrainingModule(separator, config, clock, chunk_samples=dataset.samples, loss=loss)
    if state is not None:
        _restore(module, state)
    if clock.done:
        return module
    preview = validation[0] if validation else Example("", dataset[0].stems)
    visuals = make_visuals(module, folder, preview)
    conductor = Conductor(
        module,
        folder,
        validation,
        on_event=on_event,
        on_progress=on_progress,
        on_message=on_message,
        on_epoch=[part.show_epoch for part in visuals],
        state=state,
        stop_after_seconds=stop_after_seconds,
    )
    trainer = _trainer(
        config,
        device,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        callbacks=[*visuals, conductor, *callbacks],
    )
    sampler = StepSampler(
        clock,
        config.batch_size,
        accumulate=config.accumulate,
        rank=trainer.global_rank,
        world=trainer.world_size,
    )
    loader = make_loader(dataset, sampler, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*lightning.*")
        if config.compile:  # what the compiler thinks of the network is not for users
            warnings.filterwarnings("ignore", module=r"torch\..*")
        _run(trainer, module, loader)
    return module


def _run(trainer: Trainer, module: TrainingModule, loader: DataLoader[Chunk]) -> None:
    """Run Lightning's loop; Ctrl-C arrives as what it is, where Lightning would exit."""
    try:
        trainer.fit(module, loader)
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrainingError(
            f"the network cannot be compiled here ({reason}); train without --compile"
        ) from None
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where there is nothing to compile with.

    Raises:
        ParameterError: If there is no C++ compiler, or for a GPU no Triton.
    """
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if device.type == "cpu" and shutil.which(name) is None:
        raise ParameterError(
            f"compile: there is no C++ compiler here ({name}); install one, name it in the "
            "environment variable CXX, or train without --compile"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ParameterError(
            "compile: Triton is not installed, which compiles for GPUs; pip install triton, or "
            "train without --compile"
        )


def _restore(module: TrainingModule, state: TrainingState) -> None:
    check_state(state, module.separator)
    module.separator.load_state_dict(state.model)
    module.average.model.load_state_dict(state.average)


def _trainer(
    config: TrainingConfig,
    device: torch.device,
    *,
    devices: int,
    num_nodes: int,
    strategy: str,
    callbacks: list[Callback],
) -> Trainer:
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    accelerator = {"cuda": "gpu"}.get(device.type, device.type)
    chosen: list[int] | int = devices
    if device.type == "cuda" and device.index is not None and devices == 1:
        chosen = [device.index]
    precision: Any = chosen_precision(config, device)
    plugins: list[Any] = []
    if precision == "16-mixed":
        scaler = torch.amp.GradScaler(
            device.type, init_scale=config.init_scale, enabled=config.scale_grad
        )
        plugins, precision = [MixedPrecision("16-mixed", device.type, scaler)], None
    parallel = devices * num_nodes > 1
    try:
        return Trainer(
            accelerator=accelerator,
            devices=chosen,
            num_nodes=num_nodes,
            strategy=DDPStrategy() if parallel and strategy == "auto" else strategy,
            precision=precision,
            plugins=plugins,
            accumulate_grad_batches=config.accumulate,
            max_epochs=-1,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            sync_batchnorm=parallel and device.type == "cuda",
            use_distributed_sampler=False,
        )
    except (ValueError, ImportError, RuntimeError) as error:
        reason = str(error).split(". ")[0].strip()
        raise ParameterError(
            f"{devices} devices ({device.type}) on {num_nodes} nodes with the strategy {strategy} "
            f"cannot work together: {reason}. Try --strategy auto."
        ) from None


def chosen_precision(
    config: TrainingConfig, device: torch.device
) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Return the precision, in Lightning's words, that a configuration means on a device."""
    match config.precision:
        case "32":
            return "32-true"
        case "bf16":
            return "bf16-mixed"
        case "16":
            return "16-mixed"
        case "auto":
            if not config.use_amp:
                return "32-true"
            if device.type == "cuda" and (config.scale_grad or not has_bf16_units(device)):
                return "16-mixed"
            return "bf16-mixed" if has_bf16_units(device) else "32-true"
