"""Train a separator: a session folder, a data set, and what becomes of them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sonograd.config import SeparatorConfig, read_config, validate, write_config
from sonograd.config.io import suggest
from sonograd.config.session import CONFIG_NAME, STATE_NAME, TRAINER_NAME
from sonograd.config.training import TrainingConfig
from sonograd.errors import ConfigError, DatasetError, OutputError, ParameterError

if TYPE_CHECKING:
    from sonograd.data.stems import Example, StemSource
    from sonograd.separators import Separator
    from sonograd.training.logging import OnEvent
    from sonograd.training.state import TrainingState

__all__ = ["TrainResult", "train"]

#: What DATASET is for songs that are made up while training goes on.
SONGS = "songs:"
_DEFAULT_EPOCHS = 100


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run did.

    Attributes:
        folder: The session folder.
        step: Steps done, over all runs.
        epoch: Epochs done, over all runs.
        minutes: Minutes spent, over all runs.
        done: Whether the training has come to its end; if not, resume it.
    """

    folder: Path
    step: int
    epoch: int
    minutes: float
    done: bool


def train(
    folder: str | os.PathLike[str],
    dataset: str | os.PathLike[str],
    *,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    devices: int = 1,
    num_workers: int = 0,
    stop_after_minutes: float | None = None,
    on_event: "OnEvent | None" = None,
) -> TrainResult:
    """Train the model of a session folder.

    The folder holds ``model.json``. ``trainer.json`` is read if there is one, changed by
    ``settings``, and written. Beside them appear ``log.csv``, ``checkpoint.pth`` (the state to
    resume from, saved every few minutes) and ``model.safetensors`` (the best weights so far).

    Args:
        folder: The session folder.
        dataset: A folder of songs, see :mod:`sonograd.data.layouts`, with or without ``train``
            and ``valid`` in it; or ``songs:`` for synthetic songs that are never the same twice.
        resume: Go on from ``checkpoint.pth``, if there is one.
        settings: Fields of :class:`~sonograd.config.training.TrainingConfig` to change.
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``mps``.
        devices: Processes that train together, each with a device, or a share of the cores.
        num_workers: Processes that prepare chunks, per device.
        stop_after_minutes: End this run early; ``resume`` then goes on as planned.
        on_event: Called every 50 steps, and after validations.

    Raises:
        ConfigError: If a configuration or one of ``settings`` is not valid.
        DatasetError: If songs lack stems.
        OutputError: If the folder holds a training and ``resume`` is not set.
        TrainingError: If the loss is no number.
        MissingExtraError: If Lightning is not installed.
    """
    folder = Path(folder)
    if devices < 1 or num_workers < 0:
        raise ParameterError(
            f"devices is {devices} and num_workers {num_workers}; expected at least 1 and 0"
        )
    model_config = read_config(folder / CONFIG_NAME, cast("type[SeparatorConfig]", SeparatorConfig))
    first = "LOCAL_RANK" not in os.environ  # later processes are started by the first
    config = _settings(folder, settings or {})
    from sonograd.jobs.resources import choose_device
    from sonograd.jobs.workers import shared_cores
    from sonograd.training.state import read_state

    chosen = choose_device(device)
    state = None
    if (folder / STATE_NAME).exists():
        if resume:
            state = read_state(folder / STATE_NAME)
        elif first:
            raise OutputError(
                f"{folder}: holds a training already; go on with --resume, "
                "or train in another folder."
            )
    if first:
        write_config(config, folder / TRAINER_NAME)
    with shared_cores(devices if chosen.type == "cpu" else 1):
        return _run(
            folder,
            str(dataset),
            model_config,
            config,
            state=state,
            options={
                "device": chosen,
                "devices": devices,
                "num_workers": num_workers,
                "stop_after_seconds": None
                if stop_after_minutes is None
                else 60 * stop_after_minutes,
                "on_event": on_event,
            },
        )


def _settings(folder: Path, settings: Mapping[str, Any]) -> TrainingConfig:
    """Read ``trainer.json``, if there is one, and change it."""
    path = folder / TRAINER_NAME
    config = read_config(path, TrainingConfig) if path.exists() else TrainingConfig()
    names = [field.name for field in dataclasses.fields(TrainingConfig)]
    unknown = [
        f"{name}: no such setting.{suggest(name, names)}" for name in settings if name not in names
    ]
    if unknown:
        raise ConfigError("training", unknown)
    config = dataclasses.replace(config, **settings)
    if config.max_epochs is None and config.max_minutes is None:
        config = dataclasses.replace(config, max_epochs=_DEFAULT_EPOCHS)
    return validate(config, source="training")


def _run(
    folder: Path,
    dataset: str,
    model_config: SeparatorConfig,
    config: TrainingConfig,
    *,
    state: "TrainingState | None",
    options: dict[str, Any],
) -> TrainResult:
    import torch

    from sonograd.data.chunks import ChunkDataset
    from sonograd.separators import build_separator
    from sonograd.training.loop import fit
    from sonograd.training.schedule import Clock, steps_per_epoch

    if config.batch_size % options["devices"]:
        raise ParameterError(
            f"batch_size is {config.batch_size}; expected a multiple of devices "
            f"({options['devices']})"
        )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        separator = build_separator(model_config)
    source, validation = _data(dataset, separator, model_config, config)
    samples = _chunk_samples(separator, model_config)
    if config.epoch_chunks is not None:
        steps = max(config.epoch_chunks // config.batch_size, 1)
    else:
        steps = steps_per_epoch(source.samples, samples, config.batch_size)
    clock = Clock(
        steps_per_epoch=steps,
        max_steps=None if config.max_epochs is None else config.max_epochs * steps,
        max_seconds=None if config.max_minutes is None else config.max_minutes * 60,
    )
    chunks = ChunkDataset(
        source,
        samples,
        config=config.augmentation,
        equalizer_bins=model_config.num_fft // 2 + 1,
        seed=config.seed,
    )
    fit(
        separator,
        chunks,
        config,
        folder=folder,
        clock=clock,
        validation=validation,
        state=state,
        **options,
    )
    return TrainResult(folder, clock.step, clock.epoch, clock.seconds / 60, clock.done)


def _chunk_samples(separator: "Separator", config: SeparatorConfig) -> int:
    from sonograd.separators import TFCTDFUNet

    if isinstance(separator, TFCTDFUNet):
        return separator.chunk_samples
    return round(config.sample_length * config.sample_rate)


def _data(
    dataset: str, separator: "Separator", model_config: SeparatorConfig, config: TrainingConfig
) -> "tuple[StemSource, Sequence[Example]]":
    """Return what is trained and what is validated on."""
    from sonograd.data.layouts import find_songs
    from sonograd.data.stems import EndlessSongs, StemFolder

    complete = getattr(model_config, "complete_targets", None)
    if dataset.startswith(SONGS):
        songs = EndlessSongs(
            separator.stems,
            sample_rate=separator.sample_rate,
            channels=separator.channels,
            seed=config.seed,
        )
        return songs, songs.held_out(config.validation_songs)
    root = Path(dataset)
    split = "train" if (root / "train").is_dir() else None

    def open_songs(names: Sequence[str] | None, part: str | None) -> StemFolder:
        return StemFolder(
            root,
            separator.stems,
            split=part,
            sample_rate=separator.sample_rate,
            channels=separator.channels,
            complete=complete,
            only=names,
        )

    if (root / "valid").is_dir():
        held_out = open_songs(None, "valid") if config.validation_songs else ()
        return open_songs(None, split), held_out
    names = [song.name for song in find_songs(root, split)]
    chosen = _held_out(names, config.validation_songs)
    rest = [name for name in names if name not in chosen]
    if not rest:
        raise DatasetError(
            f"{root}: has {len(names)} songs; expected at least 2, one to validate on."
        )
    return open_songs(rest, split), open_songs(sorted(chosen), split) if chosen else ()


def _held_out(names: Sequence[str], count: int) -> set[str]:
    """Choose songs to validate on: always the same, at most a fifth, spread over the names."""
    import hashlib

    count = min(count, max(len(names) // 5, min(len(names) - 1, 1)))
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ranked[:count])
