"""Train a separator: a session folder, a data set, and what becomes of them."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sonograd.config import (
    SeparatorConfig,
    parse_config,
    read_config,
    to_dict,
    write_config,
)
from sonograd.config.io import suggest
from sonograd.config.session import CONFIG_NAME, STATE_NAME, TRAINER_NAME, WEIGHTS_NAME
from sonograd.config.training import TrainingConfig, from_auralflow
from sonograd.errors import ConfigError, ModelNotFoundError, OutputError, ParameterError

if TYPE_CHECKING:
    from sonograd.data.stems import Example, StemSource
    from sonograd.separators import Separator
    from sonograd.training.logging import OnEvent
    from sonograd.training.state import TrainingState

__all__ = ["TrainResult", "is_first_process", "train"]

#: What DATASET is for songs that are made up while training goes on.
SONGS = "songs:"


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run did.

    Attributes:
        folder: The session folder.
        step: Steps done, over all runs.
        epoch: Epochs done, over all runs.
        minutes: Minutes spent, over all runs.
        done: Whether the training has come to its end; if not, resume it.
        ran: Whether this run did anything; not if the training was at its end already.
        skipped: Songs that could not be read, at the start or later, with the reasons; they were
            left out.
    """

    folder: Path
    step: int
    epoch: int
    minutes: float
    done: bool
    ran: bool = True
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)


def train(
    folder: str | os.PathLike[str],
    dataset: str | os.PathLike[str],
    *,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    stop_after_minutes: float | None = None,
    on_start: Callable[[dict[str, Any]], None] | None = None,
    on_event: "OnEvent | None" = None,
    on_progress: "OnEvent | None" = None,
    on_message: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train the model of a session folder.

    The folder holds ``model.json``. ``trainer.json`` is read if there is one, changed by
    ``settings``, and written once nothing speaks against the training. Beside them appear
    ``log.csv``, ``checkpoint.pth`` (the state to resume from, saved every few minutes) and
    ``weights.safetensors`` (the best weights so far), and what
    :class:`~sonograd.config.training.VisualsConfig` asks for. Where there is no state yet, but
    weights, as :func:`~sonograd.jobs.download.download` leaves a folder, training starts from
    these weights.

    Args:
        folder: The session folder.
        dataset: A folder or list of songs, see :mod:`sonograd.data.layouts`, with or without
            ``train`` and ``valid`` (or ``val``) in it; or ``songs:`` for synthetic songs that are
            never the same twice.
        resume: Go on from ``checkpoint.pth``, if there is one.
        settings: Fields of :class:`~sonograd.config.training.TrainingConfig` to change;
            ``augmentation.gain_db`` and the like for those inside another.
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``mps``.
        devices: Processes that train together, each with a device, or a share of the cores.
        num_nodes: Machines that train together; start this on each, for instance by torchrun.
        strategy: How Lightning lets them work together; ``auto`` is data parallel.
        stop_after_minutes: End this run early; ``resume`` then goes on as planned.
        on_start: Called with all settings before training starts.
        on_event: Called every 50 steps, and at the end of epochs.
        on_progress: Called after steps, at most twice a second.
        on_message: Called with what else there is to say: songs left out, state saved.

    Raises:
        ConfigError: If a configuration or one of ``settings`` is not valid.
        DatasetError: If songs lack stems.
        OutputError: If the folder holds a training and ``resume`` is not set.
        TrainingError: If the loss is no number.
        MissingExtraError: If Lightning is not installed.
    """
    folder = Path(folder)
    if devices < 1 or num_nodes < 1:
        raise ParameterError(
            f"devices is {devices} and num_nodes {num_nodes}; expected at least 1 of each"
        )
    if not (folder / CONFIG_NAME).is_file():
        raise ConfigError(
            str(folder / CONFIG_NAME),
            [f"no such file; make a session folder: sonograd config MODEL_TYPE --save {folder}"],
        )
    model_config = read_config(folder / CONFIG_NAME, cast("type[SeparatorConfig]", SeparatorConfig))
    config = _settings(folder, settings or {})
    from sonograd.jobs.resources import choose_device
    from sonograd.jobs.workers import shared_cores
    from sonograd.training.state import read_state

    chosen = choose_device(device)
    _check_devices(chosen.type, devices)
    state = None
    if (folder / STATE_NAME).exists():
        _refuse_auralflow(folder)
        if not resume:
            raise OutputError(
                f"{folder}: holds a training already; go on with --resume, "
                "or train in another folder."
            )
        state = read_state(folder / STATE_NAME)
    tell = on_message or _ignore
    if not is_first_process():
        tell = _ignore
    elif on_start is not None:
        on_start(to_dict(config))
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
                "num_nodes": num_nodes,
                "strategy": strategy,
                "stop_after_seconds": None
                if stop_after_minutes is None
                else 60 * stop_after_minutes,
                "on_event": on_event,
                "on_progress": on_progress,
                "on_message": on_message or _ignore,
            },
            tell=tell,
        )


def is_first_process() -> bool:
    """Tell whether this is the one of several processes that writes and talks.

    torchrun numbers all processes of all machines in ``RANK``; those that Lightning starts on one
    machine have ``LOCAL_RANK`` alone.
    """
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def _ignore(message: str) -> None:
    """Say nothing."""


def _check_devices(kind: str, devices: int) -> None:
    import torch

    if kind == "cuda" and devices > torch.cuda.device_count():
        raise ParameterError(
            f"devices is {devices}, but there are {torch.cuda.device_count()} GPUs; "
            "choose fewer, or --device cpu."
        )


def _refuse_auralflow(folder: Path) -> None:
    from sonograd.zoo.lookup import resolve

    try:
        note = resolve(folder).note
    except ModelNotFoundError:  # a state of ours without weights, killed between the two
        return
    if note:
        raise OutputError(
            f"{folder}: holds weights of auralflow, which can be used but not trained on; "
            "train in another folder."
        )


def _settings(folder: Path, settings: Mapping[str, Any]) -> TrainingConfig:
    """Read ``trainer.json``, if there is one, and change it."""
    path = folder / TRAINER_NAME
    config = TrainingConfig()
    if path.exists():
        config = read_config(path, TrainingConfig, convert=from_auralflow)
    data = to_dict(config)
    unknown = []
    for name, value in settings.items():
        *outer, last = name.split(".")
        place = data
        for part in outer:
            inner = place.get(part)
            place = inner if isinstance(inner, dict) else {}
        if last in place:
            place[last] = value
        else:
            unknown.append(f"{name}: no such setting.{suggest(name, _setting_names(data))}")
    if unknown:
        raise ConfigError("training", unknown)
    return parse_config(data, TrainingConfig, source="training")


def _setting_names(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for name, value in data.items():
        names += _setting_names(value, f"{name}.") if isinstance(value, dict) else [prefix + name]
    return names


def _run(
    folder: Path,
    dataset: str,
    model_config: SeparatorConfig,
    config: TrainingConfig,
    *,
    state: "TrainingState | None",
    options: dict[str, Any],
    tell: Callable[[str], None],
) -> TrainResult:
    from sonograd.data.chunks import ChunkDataset
    from sonograd.training.criteria import check_criterion
    from sonograd.training.loop import check_compiler, fit
    from sonograd.training.schedule import make_clock, steps_per_epoch
    from sonograd.training.state import check_state

    if config.compile:
        check_compiler(options["device"])
    processes = options["devices"] * options["num_nodes"]
    if config.batch_size % processes:
        raise ParameterError(
            f"batch_size is {config.batch_size}; expected a multiple of the number of processes "
            f"({processes})"
        )
    separator = _initial(folder, model_config, config.seed, tell if state is None else None)
    check_criterion(separator, config)
    if state is not None:
        check_state(state, separator)
    source, validation = _data(dataset, separator, model_config, config, tell)
    skipped = getattr(source, "skipped", {}) | getattr(validation, "skipped", {})
    for name, reason in skipped.items():
        tell(f"left out: {name}: {reason}")
    samples = _chunk_samples(separator, model_config)
    chunks_per_step = config.batch_size * config.accumulate
    if config.max_samples is not None:
        steps = max(config.max_samples // chunks_per_step, 1)
    else:
        steps = steps_per_epoch(source.samples, samples, chunks_per_step)
    clock = make_clock(config, steps)
    chunks = ChunkDataset(
        source,
        samples,
        config=config.augmentation,
        equalizer_bins=getattr(model_config, "num_fft", 4096) // 2 + 1,
        seed=config.seed,
    )
    before = 0 if state is None else state.step
    if is_first_process():
        write_config(config, folder / TRAINER_NAME)
    module = fit(
        separator,
        chunks,
        config,
        folder=folder,
        clock=clock,
        validation=validation,
        state=state,
        **options,
    )
    return TrainResult(
        folder,
        clock.step,
        clock.epoch,
        clock.seconds / 60,
        clock.done,
        ran=clock.step > before,
        skipped=skipped | module.unreadable,
    )


def _initial(
    folder: Path,
    model_config: SeparatorConfig,
    seed: int,
    tell: Callable[[str], None] | None,
) -> "Separator":
    """Return the model before its first step, with the weights of its folder if there are some.

    Args:
        folder: The session folder.
        model_config: Its configuration.
        seed: Of random weights.
        tell: Is told where weights come from; None if they will be replaced by a saved state.
    """
    import torch

    from sonograd.separators import build_separator, load_separator

    weights = folder / WEIGHTS_NAME
    if tell is not None and weights.exists():
        tell(f"starting from the weights in {weights}")
        return load_separator(weights, config=model_config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_separator(model_config)


def _chunk_samples(separator: "Separator", config: SeparatorConfig) -> int:
    from sonograd.separators import TFCTDFUNet

    if isinstance(separator, TFCTDFUNet):
        return separator.chunk_samples
    seconds = getattr(config, "sample_length", None)
    return separator.plan.length if seconds is None else round(seconds * separator.sample_rate)


def _data(
    dataset: str,
    separator: "Separator",
    model_config: SeparatorConfig,
    config: TrainingConfig,
    tell: Callable[[str], None],
) -> "tuple[StemSource, Sequence[Example]]":
    """Return what is trained and what is validated on."""
    from sonograd.data.layouts import find_songs, find_splits
    from sonograd.data.splits import choose_held_out
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
    splits = find_splits(root)
    split = "train" if "train" in splits else None
    valid = next((name for name in ("valid", "val") if name in splits), None)

    def open_songs(names: Sequence[str] | None, part: str | None) -> StemFolder:
        return StemFolder(
            root,
            separator.stems,
            split=part,
            sample_rate=separator.sample_rate,
            channels=separator.channels,
            complete=complete,
            only=names,
            cache_gb=config.cache_gb,
            skip_unreadable=True,
            on_message=tell,
        )

    names = [song.name for song in find_songs(root, split)]
    if valid is not None:
        held_out = open_songs(None, valid) if config.validation_songs else ()
        return open_songs(names[: config.max_tracks], split), held_out

    def choose(names: Sequence[str]) -> set[str]:
        return choose_held_out(names, config.validation_songs, seed=config.seed)

    chosen = choose(names)
    rest = [name for name in names if name not in chosen][: config.max_tracks]
    found = open_songs([*rest, *chosen], split)
    if not chosen.intersection(found.names):
        chosen = choose(found.names)
    held_out = found.subset(chosen)
    return found.subset(set(found.names) - chosen), held_out if len(held_out) else ()
