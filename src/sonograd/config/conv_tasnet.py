"""What Conv-TasNet is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, MinLen

from sonograd.config.common import STRICT, Positive, SampleRate, Seconds, target_problems
from sonograd.errors import ConfigError

__all__ = ["ConvTasNetConfig"]


@dataclass(frozen=True, kw_only=True)
class ConvTasNetConfig:
    """Masks over a learned filterbank from a stack of dilated convolutions.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels.
        num_filters: Filters of the encoder and the decoder.
        filter_length: Their length in samples.
        hop_length: Samples between frames.
        bottleneck_channels: Maps between blocks.
        hidden_channels: Maps within a block.
        skip_channels: Maps of the skip connections; 0 for none.
        kernel_size: Length of the dilated convolutions, odd.
        num_blocks: Blocks of a repeat; each doubles the dilation.
        num_repeats: Repeats.
        norm: ``global`` normalizes over features and time, ``channel`` over features,
            ``cumulative`` over features and the past, ``batch`` with fixed statistics.
        mask_act_fn: Activation of the masks; ``softmax`` runs over the targets.
        encoder_relu: Rectify what the encoder gives.
        causal: See no future; needs the norm ``channel`` or ``cumulative``.
        interchangeable: Stems have no order of their own, such as speakers: those of a chunk are
            put into the order of the chunk before.
        sample_length: Length of a chunk in seconds.
        sample_rate: Rate the model works at, in Hz.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model_type: Literal["ConvTasNet"] = "ConvTasNet"
    targets: Annotated[tuple[str, ...], MinLen(1)] = ("speaker 1", "speaker 2")
    num_channels: Positive = 1
    num_filters: Positive = 512
    filter_length: Annotated[int, Ge(2)] = 16
    hop_length: Positive = 8
    bottleneck_channels: Positive = 128
    hidden_channels: Positive = 512
    skip_channels: Annotated[int, Ge(0)] = 128
    kernel_size: Positive = 3
    num_blocks: Annotated[int, Ge(1)] = 8
    num_repeats: Positive = 3
    norm: Literal["global", "channel", "cumulative", "batch"] = "global"
    mask_act_fn: Literal["sigmoid", "relu", "softmax", "linear", "tanh"] = "sigmoid"
    encoder_relu: bool = False
    causal: bool = False
    interchangeable: bool = False
    sample_length: Seconds = 8
    sample_rate: SampleRate = 8000

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = target_problems(values["targets"]) if "targets" in values else []
        match values:
            case {"hop_length": hop, "filter_length": length} if hop > length:
                problems.append(
                    f"hop_length: {hop} is more than filter_length ({length}), so that samples "
                    "would be left out; expected at most as much."
                )
        match values:
            case {"causal": True, "norm": ("global" | "batch") as norm}:
                problems.append(
                    f"norm: {norm!r} sees the future or a batch; a causal model needs 'channel' "
                    "or 'cumulative'."
                )
        match values:
            case {"kernel_size": size} if size % 2 == 0:
                problems.append(f"kernel_size: {size} is even; expected an odd length.")
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(self.model_type, problems)
