"""How a separator is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval

from sonograd.config.dataset import AugmentationConfig
from sonograd.errors import ConfigError

__all__ = [
    "CriterionName",
    "OptimizerName",
    "ScheduleName",
    "TrainingConfig",
    "TrainingPrecision",
    "VisualsConfig",
    "from_auralflow",
]

CriterionName: TypeAlias = Literal[
    "component", "kl_div", "l1", "l2", "log_energy", "mask", "rmse", "si_sdr", "stft"
]
OptimizerName: TypeAlias = Literal["adamw", "adam", "sgd"]
ScheduleName: TypeAlias = Literal["plateau", "cosine", "constant"]
TrainingPrecision: TypeAlias = Literal["auto", "32", "bf16", "16"]
Positive: TypeAlias = Annotated[int, Ge(1)]
NotNegative: TypeAlias = Annotated[int, Ge(0)]

_STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True, kw_only=True)
class VisualsConfig:
    """What a training shows of itself.

    Attributes:
        tensorboard: Write logs for TensorBoard into ``runs/``; those marked * need it.
        view_iter: Loss of every step.*
        view_epoch: Training and validation loss, and scores, of every epoch.*
        view_weights: Histogram of each weight tensor, every epoch.*
        view_grad: Histogram of each gradient, every epoch.*
        view_norm: Their Euclidean norms, as numbers.*
        view_spec: Spectrograms of estimate and truth, as PNG files in ``spectrogram/``, and in
            TensorBoard.
        view_wave: Waveforms, in ``waveform/``, and in TensorBoard.
        play_estimate: Audio of estimate and truth.*
        play_residual: Audio of what is left of the mix without them.*
        image_freq: Epochs between pictures.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    tensorboard: bool = False
    view_iter: bool = False
    view_epoch: bool = False
    view_weights: bool = False
    view_grad: bool = False
    view_norm: bool = False
    view_spec: bool = False
    view_wave: bool = False
    play_estimate: bool = False
    play_residual: bool = False
    image_freq: Positive = 5


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What ``sonograd train`` writes to ``trainer.json``.

    Training ends with whichever limit comes first: ``max_epochs``, ``max_minutes``, or, unless
    the schedule is ``cosine``, ``max_plateaus``.

    Attributes:
        criterion: What is minimized, see :mod:`sonograd.training.criteria`.
        construction_loss: Distance of magnitudes in ``kl_div``, ``l1`` or ``l2``.
        reduction: Whether the loss is averaged or summed over the items of a batch.
        best_perm: Compare estimates with the references that they fit best, for ``si_sdr``.
        alpha: Weight of the first part of ``component``: what is lost of the stem.
        beta: Weight of its second part: what stays of the rest of the mix. What is missing from 1
            is the weight of the third: how that sounds.
        max_tracks: Songs that are used at most, the first by name; None for all.
        max_samples: Chunks per epoch; None for as many as the songs are long.
        batch_size: Chunks per step, over all devices.
        accumulate: Batches whose gradients are added up before a step.
        num_workers: Processes that prepare chunks, per device; no more than there are cores.
        persistent_workers: Keep them from one epoch to the next.
        pin_memory: Load batches into page-locked memory, for a GPU.
        pre_fetch: Batches that each of them prepares ahead.
        max_epochs: Number of epochs, over all runs; None for no limit.
        max_minutes: Minutes of training, validation not counted; None for no limit.
        optimizer: Which one.
        lr: Learning rate after the warm-up.
        lr_lstm: The same for recurrent layers; None for ``lr``.
        schedule: ``plateau`` divides the learning rate by ten whenever ``stop_patience`` runs
            out; ``cosine`` follows a cosine to the end; ``constant`` keeps it.
        warmup_steps: Steps over which the learning rate rises from zero.
        weight_decay: Of AdamW, and of the others.
        stop_patience: Epochs without a better validation loss that make a plateau.
        max_plateaus: Plateaus after which training ends.
        min_delta: What is better: a loss that is lower by this.
        use_amp: Compute in half precision where the device is faster with it.
        scale_grad: Scale gradients, so that float16 can hold them, on a GPU with ``use_amp``.
        init_scale: The first scale.
        clip_grad: Shorten gradients that are longer than ``max_grad_norm``.
        max_grad_norm: That length.
        ema: Decay of the moving average of the weights, which is what is validated and saved; 0
            for the weights themselves.
        seed: Of the initial weights and of everything random in training.
        precision: ``32``, ``bf16`` or ``16``; ``auto`` obeys ``use_amp``.
        compile: Compile the network first.
        channels_last: Keep weights and feature maps with channels innermost, which suits the
            convolutions of many devices.
        validation_songs: Songs held out of the training set, if the data set has no ``valid``
            folder; 0 for no validation.
        save_minutes: Minutes between saves of the training state.
        cache_gb: Gigabytes on disk for stems that are decoded once instead of for every chunk
            (those that are not 16-bit wav at the rate of the model); 0 for none.
        augmentation: How training chunks differ from songs.
        visuals: What it shows of itself.
        version: Of this format.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    criterion: CriterionName = "si_sdr"
    construction_loss: Literal["l1", "l2"] = "l2"
    reduction: Literal["mean", "sum"] = "mean"
    best_perm: bool = False
    alpha: Annotated[float, Interval(ge=0, le=1)] = 0.2
    beta: Annotated[float, Interval(ge=0, le=1)] = 0.8
    max_tracks: Positive | None = 80
    max_samples: Positive | None = 10000
    batch_size: Positive = 32
    accumulate: Positive = 1
    num_workers: NotNegative = 8
    persistent_workers: bool = False
    pin_memory: bool = False
    pre_fetch: Positive = 4
    max_epochs: Positive | None = 100
    max_minutes: Annotated[float, Gt(0)] | None = None
    optimizer: OptimizerName = "adamw"
    lr: Annotated[float, Gt(0)] = 1e-2
    lr_lstm: Annotated[float, Gt(0)] | None = 1e-5
    schedule: ScheduleName = "plateau"
    warmup_steps: NotNegative = 0
    weight_decay: Annotated[float, Ge(0)] = 1e-2
    stop_patience: Positive = 5
    max_plateaus: Positive = 5
    min_delta: Annotated[float, Ge(0)] = 1e-2
    use_amp: bool = False
    scale_grad: bool = False
    init_scale: Annotated[float, Gt(0)] = 2.0**16
    clip_grad: bool = False
    max_grad_norm: Annotated[float, Gt(0)] = 1000.0
    ema: Annotated[float, Interval(ge=0, lt=1)] = 0.995
    seed: NotNegative = 0
    precision: TrainingPrecision = "auto"
    compile: bool = False
    channels_last: bool = False
    validation_songs: NotNegative = 14
    save_minutes: Annotated[float, Gt(0)] = 5.0
    cache_gb: Annotated[float, Ge(0)] = 50.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    visuals: VisualsConfig = field(default_factory=VisualsConfig)
    version: Literal[1] = 1

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        alpha, beta = values.get("alpha", 0.2), values.get("beta", 0.8)
        if values.get("criterion") == "component" and not 0 < alpha <= 1 - beta + 1e-9:
            return [
                f"alpha and beta: {alpha} and {beta}; expected alpha > 0 and a sum of at most 1, "
                "since what is missing from 1 is the weight of the third part."
            ]
        return []

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError("training", problems)


def from_auralflow(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a ``trainer.json`` that auralflow wrote in the format of this package.

    Other content is returned as it is. Paths, the device, and settings that are not numbers any
    more (an infinite ``max_grad_norm`` stood for no clipping) are left out.

    >>> from_auralflow({"criterion_config": {"criterion": "l1"}, "lr": 0.5, "device": "cpu"})
    {'lr': 0.5, 'criterion': 'l1'}
    """
    if "criterion_config" not in data:
        return dict(data)
    known = {entry.name for entry in fields(TrainingConfig)}
    shown = {entry.name for entry in fields(VisualsConfig)}
    merged = {**data, **data["criterion_config"]}
    result = {key: value for key, value in merged.items() if key in known}
    if not result.get("max_grad_norm", 1.0) < float("inf"):
        del result["max_grad_norm"]
    visuals = {k: v for k, v in data.get("visuals_config", {}).items() if k in shown}
    return result | ({"visuals": visuals} if visuals else {})
