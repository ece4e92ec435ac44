"""What the Demucs models are built from: waveform, hybrid and hybrid transformer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval, MinLen

from sonograd.config.common import STRICT, Positive, SampleRate, Seconds, target_problems
from sonograd.errors import ConfigError

__all__ = ["DemucsConfig", "HTDemucsConfig", "HybridDemucsConfig", "band_limits"]

#: Heads of the attention in branches.
_HEADS = 4
Count = Annotated[int, Ge(0)]


def _divided(channels: int, groups: int, name: str) -> list[str]:
    if channels % groups == 0:
        return []
    return [f"{name}: {groups} does not divide {channels}, the maps of a layer that it splits."]


@dataclass(frozen=True, kw_only=True)
class _UNetConfig:
    """What the U-Nets of all three have.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels.
        num_hidden_channels: Maps of the first layer.
        growth: Factor by which the maps grow from layer to layer.
        depth: Layers of the encoder, and of the decoder.
        kernel_size: Length of the convolutions along time, and along frequency.
        stride: Their stride.
        context: Steps on both sides that the gates of the decoder see.
        rewrite: Gates after each layer of the encoder and before each of the decoder.
        norm_starts: First layer with group normalization.
        norm_groups: Its groups.
        branch_in_encoder: Residual branches of dilated convolutions in the encoder.
        branch_in_decoder: The same in the decoder.
        branch_depth: Convolutions of a branch.
        branch_compression: How many times fewer maps they have.
        branch_init: Initial scale of a branch.
        sample_length: Length of a chunk in seconds.
        sample_rate: Rate the model works at, in Hz.
        rescale: Standard deviation that initial weights are moved toward; 0 leaves them alone.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model_type: str
    targets: Annotated[tuple[str, ...], MinLen(1)] = ("drums", "bass", "other", "vocals")
    num_channels: Positive = 2
    num_hidden_channels: Positive = 48
    growth: Annotated[float, Interval(ge=1, le=8)] = 2
    depth: Annotated[int, Interval(ge=1, le=8)] = 6
    kernel_size: Positive = 8
    stride: Positive = 4
    context: Count = 1
    rewrite: bool = True
    norm_starts: Count = 4
    norm_groups: Positive = 4
    branch_in_encoder: bool = True
    branch_in_decoder: bool = False
    branch_depth: Positive = 2
    branch_compression: Annotated[float, Interval(ge=1, le=64)] = 4
    branch_init: Annotated[float, Ge(0)] = 1e-3
    sample_length: Seconds = 40
    sample_rate: SampleRate = 44100
    rescale: Annotated[float, Ge(0)] = 0.1

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = target_problems(values["targets"]) if "targets" in values else []
        return problems + _group_problems(values)

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(self.model_type, problems)


@dataclass(frozen=True, kw_only=True)
class _BranchConfig(_UNetConfig):
    """What branches may have besides convolutions.

    Attributes:
        branch_attention_starts: First layer whose branches have local attention.
        branch_lstm_starts: First layer whose branches have an LSTM.
    """

    branch_attention_starts: Count = 4
    branch_lstm_starts: Count = 4


@dataclass(frozen=True, kw_only=True)
class _SpectralConfig(_UNetConfig):
    """What the hybrids have for their spectral branch.

    Attributes:
        num_fft: FFT length and length of the Hann window, in samples; the hop is a quarter.
        complex_channels: Estimate real and imaginary parts; otherwise magnitudes, which
            multichannel Wiener filtering turns into spectra.
        wiener_iterations: Its iterations; -1 takes the phase of the mix instead.
        wiener_residual: Estimate what no target claims, too, while filtering.
        context_encoder: Steps on both sides that the gates of the encoder see.
        frequency_embedding: Weight of the embedding of frequencies after the first layer; 0 for
            none.
        embedding_scale: Factor on the stored embedding.
    """

    growth: Positive = 2
    kernel_size: Annotated[int, Ge(2)] = 8
    stride: Annotated[int, Ge(2)] = 4
    num_fft: Annotated[int, Ge(16)] = 4096
    complex_channels: bool = True
    wiener_iterations: Annotated[int, Ge(-1)] = 0
    wiener_residual: bool = False
    context_encoder: Count = 0
    frequency_embedding: Annotated[float, Ge(0)] = 0.2
    embedding_scale: Annotated[float, Ge(0)] = 10

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        return _hybrid_problems(values) + _UNetConfig.contradictions(values)


@dataclass(frozen=True, kw_only=True)
class DemucsConfig(_BranchConfig):
    """The waveform U-Net, Demucs v2 and v3.

    Attributes:
        glu: Gated linear units; otherwise ReLU.
        gelu: GELU after convolutions; otherwise ReLU.
        lstm_layers: Bidirectional LSTM layers between encoder and decoder.
        normalize: Standardize every chunk, and restore its level and offset.
        resample: Work at twice the sample rate.

    Raises:
        ConfigError: If values contradict each other.
    """

    model_type: Literal["Demucs"] = "Demucs"
    num_hidden_channels: Positive = 64
    glu: bool = True
    gelu: bool = True
    lstm_layers: Count = 0
    branch_init: Annotated[float, Ge(0)] = 1e-4
    normalize: bool = True
    resample: bool = True

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = _UNetConfig.contradictions(values)
        match values:
            case {"stride": stride, "kernel_size": kernel_size} if stride > kernel_size:
                problems.append(
                    f"stride: {stride} is more than kernel_size ({kernel_size}); "
                    "expected at most as much."
                )
        return problems


@dataclass(frozen=True, kw_only=True)
class HybridDemucsConfig(_SpectralConfig, _BranchConfig):
    """The hybrid U-Net: one branch on the spectrum, one on the waveform, joined at the bottom.

    Attributes:
        legacy_padding: Pad the spectrum as the first published hybrid models did.
        time_stride: Stride of the layers in which the branches are one.
        num_hidden_time_channels: Maps of the first layer of the temporal branch; 0 for as many as
            the spectral branch has.
        band_edges: Where bands of frequency end that have weights of their own in the outermost
            layers, as parts of the rows; none for one set of weights.
        banded_layers: How many layers have them.

    Raises:
        ConfigError: If values contradict each other.
    """

    model_type: Literal["HybridDemucs"] = "HybridDemucs"
    legacy_padding: bool = False
    time_stride: Positive = 2
    num_hidden_time_channels: Count = 0
    band_edges: tuple[Annotated[float, Interval(gt=0, lt=1)], ...] = ()
    banded_layers: Positive = 2

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = _SpectralConfig.contradictions(values)
        return problems if problems else _band_problems(values)


@dataclass(frozen=True, kw_only=True)
class HTDemucsConfig(_SpectralConfig):
    """The hybrid U-Net with a transformer across both branches at its bottom.

    Attributes:
        bottom_channels: Features of the transformer; 0 for the maps that come in.
        transformer_layers: Layers, by turns within a branch and across; 0 for no transformer.
        transformer_heads: Heads of the attention.
        transformer_expansion: How many times wider the feed-forward layers are.
        transformer_dropout: Dropout probability in training.
        transformer_cross_first: Begin across the branches.
        transformer_norm_in: Layer normalization before the positions are added.
        transformer_norm_first: Normalize before attention and feed-forward; otherwise after.
        transformer_norm_out: Normalize over features and time after each layer.
        transformer_layer_scale: Learned scale of each residual.
        transformer_gelu: GELU; otherwise ReLU.
        position_weight: Weight of the positions.
        position_max_period: Their longest period.
        fixed_length: Fill up what is shorter than a chunk with silence.

    Raises:
        ConfigError: If values contradict each other.
    """

    model_type: Literal["HTDemucs"] = "HTDemucs"
    depth: Annotated[int, Interval(ge=1, le=8)] = 4
    branch_in_decoder: bool = True
    branch_compression: Annotated[float, Interval(ge=1, le=64)] = 8
    bottom_channels: Count = 512
    transformer_layers: Count = 5
    transformer_heads: Positive = 8
    transformer_expansion: Annotated[float, Interval(gt=0, le=64)] = 4
    transformer_dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.02
    transformer_cross_first: bool = False
    transformer_norm_in: bool = True
    transformer_norm_first: bool = True
    transformer_norm_out: bool = True
    transformer_layer_scale: bool = True
    transformer_gelu: bool = True
    position_weight: float = 1
    position_max_period: Annotated[float, Ge(1)] = 10000
    sample_length: Seconds = 7.8
    fixed_length: bool = True

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = _SpectralConfig.contradictions(values)
        match values:
            case {
                "num_hidden_channels": channels,
                "growth": growth,
                "depth": depth,
                "bottom_channels": bottom,
                "transformer_heads": heads,
                "transformer_layers": layers,
            } if layers:
                features = bottom or channels * growth ** (depth - 1)
                if features % heads or features % 4:
                    problems.append(
                        f"transformer_heads: {heads} heads do not share {features} features "
                        "evenly; expected a divisor, and features that are a multiple of 4."
                    )
        match values:
            case {"num_fft": num_fft, "stride": stride, "depth": depth, "kernel_size": kernel}:
                rows = num_fft // 2 // stride ** (depth - 1)
                if rows <= kernel:
                    problems.append(
                        f"depth: {depth} layers leave one row of {num_fft // 2} for the "
                        "transformer; expected fewer."
                    )
        return problems


def _group_problems(values: Mapping[str, Any]) -> list[str]:
    """Return what keeps the maps of a layer from being split evenly."""
    match values:
        case {"num_hidden_channels": channels, "branch_compression": compression} if (
            compression > channels
        ):
            return [
                f"branch_compression: {compression} leaves none of {channels} maps; "
                f"expected at most {channels}."
            ]
    match values:
        case {
            "num_hidden_channels": channels,
            "growth": growth,
            "depth": depth,
            "branch_attention_starts": starts,
            "branch_compression": compression,
        } if values.get("branch_in_encoder") or values.get("branch_in_decoder"):
            for layer in range(depth):
                if layer >= starts and int(channels / compression) % _HEADS:
                    return [
                        f"branch_compression: {compression} leaves {int(channels / compression)} "
                        f"of {channels} maps for {_HEADS} heads of attention; expected a multiple."
                    ]
                channels = int(growth * channels)
    match values:
        case {
            "num_hidden_channels": channels,
            "growth": growth,
            "depth": depth,
            "norm_starts": starts,
            "norm_groups": groups,
        }:
            for layer in range(depth):
                if layer >= starts and (problems := _divided(channels, groups, "norm_groups")):
                    return problems
                channels = int(growth * channels)
    return []


def band_limits(rows: int, stride: int, edges: Sequence[float]) -> tuple[list[int], list[int]]:
    """Return where bands begin, and where the last one ends, in a layer with weights for each.

    Args:
        rows: What the layer of the encoder is given.
        stride: Its stride; its kernels are twice as long.
        edges: Ends of all bands but the last, as parts of the rows.

    Returns:
        Limits in rows that the encoder gives, and in those that the decoder is given.
    """
    wide = [0]
    for edge in edges:
        # The original rounds twice: an edge to rows that come in, and to kernels that fit before.
        wide.append(wide[-1] + round(round(rows * edge) / stride - wide[-1] - 0.5))
    narrow = [0, *(round(rows // stride * edge) for edge in edges)]
    return [*wide, rows // stride], [*narrow, rows // stride]


def _band_problems(values: Mapping[str, Any]) -> list[str]:
    """Return what keeps layers from having weights for each band."""
    match values:
        case {"band_edges": (_, *_) as edges, "banded_layers": layers, "stride": stride}:
            pass
        case _:
            return []
    if stride % 2:
        return [f"stride: {stride} is odd; expected an even one where there are band_edges."]
    if layers > values.get("norm_starts", layers):
        return [
            f"banded_layers: {layers}, but layers from number {values['norm_starts']} on are "
            f"normalized over all rows; expected at most {values['norm_starts']}."
        ]
    match values:
        case {"num_fft": num_fft, "kernel_size": kernel, "depth": depth}:
            rows = num_fft // 2
            for layer in range(layers):
                if layer >= depth or rows <= kernel:
                    return [f"banded_layers: {layers}; expected at most {layer}."]
                for limits in band_limits(rows, stride, edges):
                    if any(end <= begin for begin, end in pairwise(limits)):
                        return [
                            f"band_edges: {', '.join(map(str, edges))} leave a band without rows "
                            f"in layer {layer} of {rows // stride} rows."
                        ]
                rows //= stride
    return []


def _hybrid_problems(values: Mapping[str, Any]) -> list[str]:
    """Return what keeps the two branches from having steps of one length."""
    match values:
        case {
            "num_fft": num_fft,
            "depth": depth,
            "kernel_size": kernel_size,
            "stride": stride,
        }:
            pass
        case _:
            return []
    if num_fft % 8:
        return [f"num_fft: {num_fft} is no multiple of 8; expected one, such as 4096."]
    if kernel_size != 2 * stride:
        return [
            f"kernel_size: {kernel_size} is not twice the stride ({stride}), so that the branches "
            f"would not stay aligned; expected {2 * stride}."
        ]
    rows, steps = num_fft // 2, 1
    for _ in range(depth):
        if rows == 1:
            break
        steps *= stride
        if rows <= kernel_size:
            rows = 1
        elif rows % stride:
            return [f"num_fft: half of {num_fft} cannot be divided by {stride} once per layer."]
        else:
            rows //= stride
    if rows > 1 and values.get("model_type") == "HybridDemucs":
        return [f"depth: {depth} layers leave {rows} rows, so that the branches never meet."]
    if rows == 1 and steps != num_fft // 4:
        return [
            f"num_fft: {num_fft} does not fit the strides; the branches meet at steps of {steps} "
            f"samples, so expected {4 * steps}."
        ]
    return []
