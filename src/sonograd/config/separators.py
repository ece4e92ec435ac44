"""What a separator is built from, as data: one frozen dataclass per architecture.

:data:`SeparatorConfig` is their union, told apart by ``model_type``. A new architecture adds its
dataclass to the union; the type checker then names every place that has to know about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval, MinLen, MultipleOf

from sonograd.config.common import STRICT, Positive, SampleRate, Seconds, framed_problems
from sonograd.config.conv_tasnet import ConvTasNetConfig
from sonograd.config.demucs import DemucsConfig, HTDemucsConfig, HybridDemucsConfig
from sonograd.config.open_unmix import OpenUnmixConfig
from sonograd.config.roformer import BandSplitRoFormerConfig, MelBandRoFormerConfig
from sonograd.config.scnet import SCNetConfig
from sonograd.errors import ConfigError

__all__ = [
    "BandSplitRoFormerConfig",
    "MelBandRoFormerConfig",
    "SCNetConfig",
    "SeparatorConfig",
    "SpectrogramNetConfig",
    "SpectrogramNetLSTMConfig",
    "SpectrogramNetSimpleConfig",
    "SpectrogramNetVAEConfig",
    "TFCTDFUNetConfig",
]

MaskActivation: TypeAlias = Literal["sigmoid", "relu", "leaky_relu", "tanh", "softmax"]


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetConfig:
    """What the three spectrogram U-Nets share.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels, 1 for mono and 2 for stereo.
        num_hidden_channels: Maps of the first of six levels; those below have 2, 4, 8, 16 and 16
            times as many.
        sample_length: Length of a training chunk, and what is kept of an inference chunk, in
            seconds, at least one FFT.
        sample_rate: Rate the model works at, in Hz.
        dropout_p: Dropout probability on each level of the decoder and between recurrent layers.
        leak_factor: Negative slope of the ``leaky_relu`` mask activation.
        normalize_input: Learn a scale and shift per frequency bin at the input.
        normalize_output: Learn a scale and shift per target and frequency bin before the mask
            activation.
        mask_act_fn: Activation that turns logits into masks; ``softmax`` runs over the targets,
            of which it needs two or more.
        num_fft: FFT length in samples.
        window_size: Length of the Hann window in samples, at most ``num_fft``.
        hop_length: Samples between frames, at most half of ``window_size``.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    #: Version of the layers: weights of another one do not fit.
    layers_version: ClassVar[int] = 2

    targets: Annotated[tuple[str, ...], MinLen(1)] = ("vocals",)
    num_channels: Positive = 1
    num_hidden_channels: Positive = 16
    sample_length: Seconds = 3
    sample_rate: SampleRate = 44100
    dropout_p: Annotated[float, Interval(ge=0, lt=1)] = 0.4
    leak_factor: Annotated[float, Ge(0)] = 0
    normalize_input: bool = False
    normalize_output: bool = False
    mask_act_fn: MaskActivation = "sigmoid"
    num_fft: Annotated[int, Ge(64)] = 1024
    window_size: Annotated[int, Ge(16)] = 1024
    hop_length: Positive = 512

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = framed_problems(values, "window_size")
        match values:
            case {"window_size": window_size, "num_fft": num_fft} if window_size > num_fft:
                problems.append(
                    f"window_size: {window_size} is longer than num_fft ({num_fft}); "
                    "expected at most as long."
                )
        match values:
            case {"mask_act_fn": "softmax", "targets": targets} if len(targets) < 2:
                problems.append(
                    "mask_act_fn: 'softmax' over one target is always 1; "
                    "expected two or more targets, or 'sigmoid'."
                )
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(getattr(self, "model_type", type(self).__name__), problems)


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetSimpleConfig(SpectrogramNetConfig):
    """A convolutional U-Net on magnitude spectrograms."""

    #: Keys that auralflow writes for every model and that mean nothing to this one.
    ignored_keys: ClassVar[frozenset[str]] = frozenset(
        {"recurrent_depth", "hidden_size", "input_axis"}
    )

    model_type: Literal["SpectrogramNetSimple"] = "SpectrogramNetSimple"


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetLSTMConfig(SpectrogramNetConfig):
    """The U-Net with recurrent layers in its bottleneck.

    Attributes:
        recurrent_depth: Number of stacked bidirectional LSTM layers.
        hidden_size: Size of their input and output, half of it for each direction.
        input_axis: 1 squeezes frequency into features and recurs over time; 0 recurs over
            frequency, with frames as items.
    """

    model_type: Literal["SpectrogramNetLSTM"] = "SpectrogramNetLSTM"
    recurrent_depth: Positive = 3
    hidden_size: Annotated[int, Ge(2), MultipleOf(2)] = 1024
    input_axis: Literal[0, 1] = 1


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetVAEConfig(SpectrogramNetConfig):
    """The recurrent U-Net with a variational latent, which is sampled only in training.

    Attributes:
        recurrent_depth: Number of stacked bidirectional LSTM layers.
        hidden_size: Size of their input and output, half of it for each direction.
        input_axis: 1 squeezes frequency into features and recurs over time; 0 recurs over
            frequency, with frames as items.
    """

    model_type: Literal["SpectrogramNetVAE"] = "SpectrogramNetVAE"
    recurrent_depth: Positive = 3
    hidden_size: Annotated[int, Ge(2), MultipleOf(2)] = 1024
    input_axis: Literal[0, 1] = 1


@dataclass(frozen=True, kw_only=True)
class TFCTDFUNetConfig:
    """A small U-Net of convolutions and frequency bottlenecks whose masks share out the mix.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels, 1 for mono and 2 for stereo.
        num_hidden_channels: Channels of the first level; each level below adds as many.
        num_levels: Levels below the first; each halves the time and frequency axes.
        bottleneck_factor: How much narrower than the frequency axis its bottleneck is.
        complete_targets: The targets make up the whole mix, so that their masks sum to one. If
            not, one more mask takes what belongs to none of them.
        sample_length: Length of a training chunk in seconds, at least one FFT.
        sample_rate: Rate the model works at, in Hz.
        num_fft: FFT length and length of the Hann window, in samples.
        hop_length: Samples between frames, at most half of ``num_fft``.
        full_resolution_hz: Up to here masks have one value per bin, then one per 2 bins for the
            next octave, per 4 for the octave above, and per 16 beyond.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model_type: Literal["TFCTDFUNet"] = "TFCTDFUNet"
    targets: Annotated[tuple[str, ...], MinLen(1)] = ("drums", "bass", "other", "vocals")
    num_channels: Literal[1, 2] = 2
    num_hidden_channels: Positive = 32
    num_levels: Annotated[int, Interval(ge=1, le=6)] = 4
    bottleneck_factor: Positive = 8
    complete_targets: bool = True
    sample_length: Seconds = 2.95
    sample_rate: SampleRate = 44100
    num_fft: Annotated[int, Ge(64)] = 4096
    hop_length: Positive = 1024
    full_resolution_hz: Annotated[float, Gt(0)] = 4000

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = framed_problems(values, "num_fft")
        match values:
            case {"complete_targets": True, "targets": [target]}:
                problems.append(
                    f"complete_targets: {target!r} alone cannot be the whole mix; "
                    "expected more targets, or false."
                )
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(self.model_type, problems)


SeparatorConfig: TypeAlias = (
    SpectrogramNetSimpleConfig
    | SpectrogramNetLSTMConfig
    | SpectrogramNetVAEConfig
    | TFCTDFUNetConfig
    | SCNetConfig
    | OpenUnmixConfig
    | DemucsConfig
    | HybridDemucsConfig
    | HTDemucsConfig
    | ConvTasNetConfig
    | BandSplitRoFormerConfig
    | MelBandRoFormerConfig
)
