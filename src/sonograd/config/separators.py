"""What a separator is built from, as data: one frozen dataclass per architecture.

:data:`SeparatorConfig` is their union, told apart by ``model_type``. A new architecture adds its
dataclass to the union; the type checker then names every place that has to know about it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval, MinLen

__all__ = [
    "SeparatorConfig",
    "SpectrogramNetConfig",
    "SpectrogramNetLSTMConfig",
    "SpectrogramNetSimpleConfig",
    "SpectrogramNetVAEConfig",
]

MaskActivation: TypeAlias = Literal["sigmoid", "relu", "leaky_relu", "tanh", "softmax"]
Positive: TypeAlias = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetConfig:
    """What the three spectrogram U-Nets share.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels, 1 for mono and 2 for stereo.
        num_hidden_channels: Channels of the first block; each of the five levels doubles them.
        sample_length: Length of a training chunk, and of an inference chunk, in seconds.
        sample_rate: Rate the model works at, in Hz.
        dropout_p: Dropout probability in the decoder and the recurrent layers.
        leak_factor: Negative slope of the ``leaky_relu`` mask activation.
        normalize_input: Learn a scale and shift per frequency bin at the input.
        normalize_output: Learn a scale and shift per frequency bin before the mask activation.
        mask_act_fn: Activation that turns logits into masks; ``softmax`` runs over the targets.
        num_fft: FFT length in samples.
        window_size: Length of the Hann window in samples.
        hop_length: Samples between frames.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    targets: Annotated[tuple[str, ...], MinLen(1)] = ("vocals",)
    num_channels: Positive = 1
    num_hidden_channels: Positive = 16
    sample_length: Annotated[float, Gt(0)] = 3
    sample_rate: Annotated[int, Ge(1000)] = 44100
    dropout_p: Annotated[float, Interval(ge=0, lt=1)] = 0.4
    leak_factor: Annotated[float, Ge(0)] = 0
    normalize_input: bool = False
    normalize_output: bool = False
    mask_act_fn: MaskActivation = "sigmoid"
    num_fft: Annotated[int, Ge(64)] = 1024
    window_size: Annotated[int, Ge(16)] = 1024
    hop_length: Positive = 512


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetSimpleConfig(SpectrogramNetConfig):
    """A convolutional U-Net on magnitude spectrograms."""

    model_type: Literal["SpectrogramNetSimple"] = "SpectrogramNetSimple"


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetLSTMConfig(SpectrogramNetConfig):
    """The U-Net with recurrent layers in its bottleneck.

    Attributes:
        recurrent_depth: Number of stacked bidirectional LSTM layers.
        hidden_size: Size of their state.
        input_axis: 1 squeezes frequency into features and recurs over time; 0 recurs over
            frequency, with frames as items.
    """

    model_type: Literal["SpectrogramNetLSTM"] = "SpectrogramNetLSTM"
    recurrent_depth: Positive = 3
    hidden_size: Positive = 1024
    input_axis: Literal[0, 1] = 1


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetVAEConfig(SpectrogramNetConfig):
    """The recurrent U-Net with a variational latent, which is sampled only in training.

    Attributes:
        recurrent_depth: Number of stacked bidirectional LSTM layers.
        hidden_size: Size of their state.
        input_axis: 1 squeezes frequency into features and recurs over time; 0 recurs over
            frequency, with frames as items.
    """

    model_type: Literal["SpectrogramNetVAE"] = "SpectrogramNetVAE"
    recurrent_depth: Positive = 3
    hidden_size: Positive = 1024
    input_axis: Literal[0, 1] = 1


SeparatorConfig: TypeAlias = (
    SpectrogramNetSimpleConfig | SpectrogramNetLSTMConfig | SpectrogramNetVAEConfig
)
