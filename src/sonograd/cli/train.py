"""``sonograd train FOLDER DATASET``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sonograd.cli.console import Console, format_seconds
from sonograd.cli.settings import parse_changes, print_table
from sonograd.config.session import TRAINER_NAME, WEIGHTS_NAME
from sonograd.config.training import OptimizerName, ScheduleName

if TYPE_CHECKING:
    from sonograd.training.logging import TrainingEvent

__all__ = ["train"]

#: Options that are fields of ``visuals`` in ``trainer.json``.
_VISUALS = (
    "tensorboard",
    "view_iter",
    "view_epoch",
    "view_weights",
    "view_grad",
    "view_norm",
    "view_spec",
    "view_wave",
    "play_estimate",
    "play_residual",
    "image_freq",
)
#: Options that are no settings of the training itself.
_ELSEWHERE = (
    "folder",
    "dataset",
    "resume",
    "display",
    "silent",
    "device",
    "devices",
    "num_nodes",
    "strategy",
    "stop_after",
    "change",
    "quiet",
)
_PRECISIONS = {"bf16-mixed": "bf16", "16-mixed": "16", "32-true": "32"}


def train(
    folder: Path,
    dataset: str,
    /,
    *,
    resume: bool = False,
    display: bool = False,
    max_tracks: int | None = None,
    max_samples: int | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    persistent_workers: bool | None = None,
    pin_memory: bool | None = None,
    pre_fetch: int | None = None,
    max_epochs: int | None = None,
    max_minutes: float | None = None,
    lr: float | None = None,
    lr_lstm: float | None = None,
    criterion: str | None = None,
    construction_loss: str | None = None,
    reduction: str | None = None,
    best_perm: bool | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    optimizer: OptimizerName | None = None,
    schedule: ScheduleName | None = None,
    warmup_steps: int | None = None,
    weight_decay: float | None = None,
    use_amp: bool | None = None,
    precision: str | None = None,
    scale_grad: bool | None = None,
    init_scale: float | None = None,
    clip_grad: bool | None = None,
    max_grad_norm: float | None = None,
    accumulate: int | None = None,
    stop_patience: int | None = None,
    max_plateaus: int | None = None,
    min_delta: float | None = None,
    ema: float | None = None,
    seed: int | None = None,
    compile: Annotated[bool | None, Parameter(name="--compile")] = None,
    channels_last: bool | None = None,
    validation_songs: int | None = None,
    save_minutes: float | None = None,
    cache_gb: float | None = None,
    tensorboard: bool | None = None,
    view_iter: bool | None = None,
    view_epoch: bool | None = None,
    view_weights: bool | None = None,
    view_grad: bool | None = None,
    view_norm: bool | None = None,
    view_spec: bool | None = None,
    view_wave: Annotated[bool | None, Parameter(alias="--view-wav")] = None,
    play_estimate: bool | None = None,
    play_residual: bool | None = None,
    image_freq: int | None = None,
    silent: bool = False,
    device: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    stop_after: float | None = None,
    change: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    quiet: bool = False,
) -> int:
    """Train the model of a session folder on a data set.

    The folder is made by: sonograd config MODEL_TYPE --save FOLDER. Settings are kept in its
    trainer.json; options change them. Training can be stopped at any time, even with kill -9, and
    goes on with --resume. A GPU is used if there is one.

    Args:
        folder: The session folder.
        dataset: Songs as in MUSDB18-HQ, MUSDB18 or MoisesDB, a folder per stem, or a list of
            files in a csv file; with train and valid folders or without. Or songs: for synthetic
            songs that are made up on the way.
        resume: Go on from where an earlier run left off, if there was one.
        display: Show the settings.
        max_tracks: Songs to use at most. Default: 80.
        max_samples: Chunks per epoch. Default: 10000.
        batch_size: Chunks per batch, over all devices. Default: 32.
        num_workers: Processes that prepare chunks, per device, at most one per core; 0 for none.
            Default: 8.
        persistent_workers: Keep them from one epoch to the next.
        pin_memory: Load batches into page-locked memory, for a GPU.
        pre_fetch: Batches that each of them prepares ahead. Default: 4.
        max_epochs: Number of epochs, over all runs. Default: 100.
        max_minutes: Minutes of training, over all runs, validation not counted.
        lr: Learning rate. Default: 0.01.
        lr_lstm: Learning rate of recurrent layers. Default: 0.00001.
        criterion: What is minimized: component, kl-div, l1, l2, log-energy, mask, rmse, si-sdr or
            stft. Default: si-sdr.
        construction_loss: Distance of magnitudes in kl-div: l1 or l2. Default: l2.
        reduction: mean or sum of the loss over a batch. Default: mean.
        best_perm: Compare estimates with the references that they fit best, for si-sdr.
        alpha: Weight of the first part of the component loss, what is lost of the stem.
            Default: 0.2.
        beta: Weight of the second part, what stays of the rest of the mix. Default: 0.8.
        optimizer: Default: adamw.
        schedule: Of the learning rate: plateau divides it by ten when the patience runs out;
            cosine falls to the end; constant stays. Default: plateau.
        warmup_steps: Steps over which the learning rate rises. Default: 0.
        weight_decay: Of the optimizer. Default: 0.01.
        use_amp: Compute in half precision where the device is faster with it.
        precision: 32, bf16 or 16, whatever --use-amp says; auto obeys it. Default: auto.
        scale_grad: Scale gradients, on a GPU with --use-amp.
        init_scale: The first scale. Default: 65536.
        clip_grad: Shorten long gradients.
        max_grad_norm: To this length. Default: 1000.
        accumulate: Batches per step. Default: 1.
        stop_patience: Epochs without a better validation loss that make a plateau. Default: 5.
        max_plateaus: Plateaus after which training ends. Default: 5.
        min_delta: By how much a loss must be lower to be better. Default: 0.01.
        ema: Decay of the moving average of the weights; 0 for none. Default: 0.995.
        seed: Of the initial weights and everything random. Default: 0.
        compile: Compile the network first.
        channels_last: Keep feature maps with channels innermost, which suits many devices.
        validation_songs: Songs held out to validate on, without a valid folder; 0 for none.
            Default: 14.
        save_minutes: Minutes between saves of the training state. Default: 5.
        cache_gb: Gigabytes on disk for stems that are decoded once instead of for every chunk: all
            but 16-bit wav at the rate of the model; 0 for none. Default: 50.
        tensorboard: Write logs for TensorBoard into runs/.
        view_iter: Log the loss of every step in TensorBoard.
        view_epoch: Log losses and scores of every epoch in TensorBoard.
        view_weights: Log the weights of every layer in TensorBoard.
        view_grad: Log their gradients in TensorBoard.
        view_norm: Log the norms of both instead of histograms.
        view_spec: Save spectrograms of estimate and truth.
        view_wave: Save their waveforms.
        play_estimate: Send estimates to TensorBoard for playback.
        play_residual: Send residuals to TensorBoard for playback.
        image_freq: Epochs between pictures. Default: 5.
        silent: Do not tell about saved checkpoints.
        device: auto (CUDA, then MPS, then CPU), cpu, cuda, mps.
        devices: Processes that train together, each with a device or a share of the cores.
        num_nodes: Machines that train together; start the command on each with torchrun.
        strategy: How they work together, in Lightning's words; auto is data parallel.
        stop_after: Minutes after which this run ends early; --resume goes on.
        change: Any other setting as key=value, for instance augmentation.gain_db=3; may be given
            several times.
        quiet: Show no progress.
    """
    settings = _settings(locals())
    from sonograd.jobs.train import is_first_process
    from sonograd.jobs.train import train as run

    with Console(quiet=quiet, unit="chunks") as console:
        best: dict[str, float] = {}

        def on_event(event: "TrainingEvent") -> None:
            best.update(event.scores)
            if event.ends_epoch:
                console.message(_line(event))
            on_progress(event)

        def on_progress(event: "TrainingEvent") -> None:
            console.describe(_short(event, best.get("si_sdr")))
            total = event.chunks / event.fraction if event.fraction else event.chunks
            console.progress(event.chunks, max(total, event.chunks))

        def on_message(text: str) -> None:
            if not (silent and text.startswith("saved")):
                console.message(text)

        result = run(
            folder,
            dataset,
            resume=resume,
            settings=settings,
            device=device,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            stop_after_minutes=stop_after,
            on_start=_display if display else None,
            on_event=on_event,
            on_progress=on_progress,
            on_message=on_message,
        )
        if result.skipped:
            console.message(f"{len(result.skipped)} songs could not be read and were left out")
        if not result.done:
            console.message(f"stopped after {result.step} steps; go on with --resume")
        elif not result.ran:
            console.message(
                f"this training is finished, after {result.epoch} epochs; raise --max-epochs to "
                "go on"
            )
    if is_first_process():
        print(result.folder / WEIGHTS_NAME)
    return 0


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, by the names of the settings."""
    given = {
        f"visuals.{name}" if name in _VISUALS else name: value
        for name, value in options.items()
        if name not in _ELSEWHERE and value is not None
    }
    for name in ("criterion", "construction_loss", "reduction"):
        if name in given:
            given[name] = given[name].replace("-", "_")
    if "precision" in given:
        given["precision"] = _PRECISIONS.get(given["precision"], given["precision"])
    return given | parse_changes(options["change"])


def _display(settings: dict[str, Any]) -> None:
    print_table(TRAINER_NAME, settings)


def _short(event: "TrainingEvent", si_sdr: float | None) -> str:
    """Return where training stands, short enough to stand before a bar."""
    whole = event.ends_epoch or event.fraction >= 1
    epoch = event.epoch if whole else event.epoch + 1
    text = f"epoch {epoch}, loss {event.loss:.3g}"
    return text if si_sdr is None else f"{text}, {si_sdr:.1f} dB"


def _line(event: "TrainingEvent") -> str:
    """Return an event as one line."""
    elapsed = event.minutes * 60
    left = elapsed / event.fraction * (1 - event.fraction) if event.fraction else 0.0
    parts = [
        f"{100 * event.fraction:5.1f} %",
        f"epoch {event.epoch}",
        f"step {event.step}",
        f"loss {event.loss:.4f}",
        f"{event.chunks_per_second:.1f} chunks/s",
        f"{format_seconds(elapsed)} done",
        f"{format_seconds(left)} left",
    ]
    scores = [
        f"{name.replace('validation_', '')} {value:.2f}" for name, value in event.scores.items()
    ]
    line = ", ".join(parts)
    return f"{line}; validation: {', '.join(scores)}" if scores else line
