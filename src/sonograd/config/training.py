"""How a separator is trained."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval

from sonograd.config.dataset import AugmentationConfig

__all__ = ["CriterionName", "TrainingConfig", "TrainingPrecision"]

CriterionName: TypeAlias = Literal["log_energy", "si_sdr", "l1", "l2", "stft"]
TrainingPrecision: TypeAlias = Literal["auto", "32", "bf16"]
Positive: TypeAlias = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What ``sonograd train`` writes to ``trainer.json``.

    Training ends with whichever limit comes first, ``max_epochs`` or ``max_minutes``; the learning
    rate follows a cosine to that end.

    Attributes:
        criterion: What is minimized, see :mod:`sonograd.training.criteria`.
        max_epochs: Number of epochs; None for no limit.
        max_minutes: Minutes of training, validation not counted; None for no limit.
        epoch_chunks: Chunks per epoch; None for as many as the songs are long.
        batch_size: Chunks per step, over all devices.
        lr: Learning rate after the warm-up.
        warmup_steps: Steps over which the learning rate rises from zero.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients longer than this are shortened to it.
        ema: Decay of the moving average of the weights, which is what is validated and saved; 0
            for the weights themselves.
        seed: Of the initial weights and of everything random in training.
        precision: ``bf16`` computes in bfloat16 where that loses nothing; ``auto`` does so where
            the device is faster with it.
        validation_songs: Songs held out of the training set, if the data set has no ``valid``
            folder; 0 for no validation.
        save_minutes: Minutes between saves of the training state.
        augmentation: How training chunks differ from songs.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    criterion: CriterionName = "log_energy"
    max_epochs: Positive | None = None
    max_minutes: Annotated[float, Gt(0)] | None = None
    epoch_chunks: Positive | None = None
    batch_size: Positive = 8
    lr: Annotated[float, Gt(0)] = 2e-3
    warmup_steps: Annotated[int, Ge(0)] = 50
    weight_decay: Annotated[float, Ge(0)] = 1e-2
    max_grad_norm: Annotated[float, Gt(0)] = 1.0
    ema: Annotated[float, Interval(ge=0, lt=1)] = 0.995
    seed: Annotated[int, Ge(0)] = 0
    precision: TrainingPrecision = "auto"
    validation_songs: Annotated[int, Ge(0)] = 14
    save_minutes: Annotated[float, Gt(0)] = 5.0
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
