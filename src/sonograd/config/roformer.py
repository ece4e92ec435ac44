"""What the two RoFormers are built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Interval, MinLen, MultipleOf

from sonograd.config.common import STRICT, Positive, SampleRate, Seconds, framed_problems
from sonograd.errors import ConfigError

__all__ = ["BandSplitRoFormerConfig", "MelBandRoFormerConfig", "RoFormerConfig"]

Count: TypeAlias = Annotated[int, Ge(0)]
#: Bins of each band of the paper, for an FFT of 2048 samples.
_BANDS = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)


@dataclass(frozen=True, kw_only=True)
class RoFormerConfig:
    """What the transformers over bands and time share.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels, 1 for mono and 2 for stereo.
        sample_rate: Rate the model works at, in Hz.
        sample_length: Length of a chunk in seconds, at least one FFT.
        num_overlap: Chunks that every sample lies in; more are slower and a little better.
        standardize: Bring a mix as a whole to mean 0 and deviation 1, and its stems back.
        num_fft: FFT length and length of the Hann window, in samples.
        hop_length: Samples between frames, at most half of ``num_fft``.
        width: Features of each band.
        depth: Blocks, each over time and then over bands.
        time_depth: Layers over time in each block.
        band_depth: Layers over bands in each block.
        linear_depth: Layers of linear attention over all bands and frames in each block.
        num_heads: Heads of the attention.
        head_width: Features of each head; even.
        mask_expansion: How many times wider the mask networks are inside.
        mask_depth: Layers of the mask networks before the last.
        zero_dc: Leave nothing at 0 Hz.
        skip_connection: Give every block the sum of all that came before.
        attention_dropout_p: Dropout probability of the attention in training.
        dropout_p: Dropout probability behind the other layers in training.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    targets: Annotated[tuple[str, ...], MinLen(1)] = ("vocals",)
    num_channels: Literal[1, 2] = 2
    sample_rate: SampleRate = 44100
    sample_length: Seconds = 8
    num_overlap: Positive = 2
    standardize: bool = False
    num_fft: Annotated[int, Ge(64), MultipleOf(2)] = 2048
    hop_length: Positive = 441
    width: Positive = 384
    depth: Positive = 6
    time_depth: Count = 1
    band_depth: Count = 1
    linear_depth: Count = 0
    num_heads: Positive = 8
    head_width: Annotated[int, Ge(2), MultipleOf(2)] = 64
    mask_expansion: Positive = 4
    mask_depth: Count = 1
    zero_dc: bool = True
    skip_connection: bool = False
    attention_dropout_p: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    dropout_p: Annotated[float, Interval(ge=0, lt=1)] = 0.1

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = framed_problems(values)
        match values:
            case {"bins_per_band": bands, "num_fft": length} if sum(bands) != length // 2 + 1:
                problems.append(
                    f"bins_per_band: sums to {sum(bands)}; expected the bins of num_fft "
                    f"({length // 2 + 1})."
                )
        match values:
            case {"num_bands": bands, "num_fft": length} if bands > length // 4:
                problems.append(
                    f"num_bands: {bands} are too many for num_fft ({length}); "
                    f"expected at most {length // 4}."
                )
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(getattr(self, "model_type", type(self).__name__), problems)


@dataclass(frozen=True, kw_only=True)
class BandSplitRoFormerConfig(RoFormerConfig):
    """Bands that lie side by side.

    Attributes:
        bins_per_band: Bins of each band; together all bins.
    """

    model_type: Literal["BandSplitRoFormer"] = "BandSplitRoFormer"
    bins_per_band: Annotated[tuple[Positive, ...], MinLen(1)] = _BANDS


@dataclass(frozen=True, kw_only=True)
class MelBandRoFormerConfig(RoFormerConfig):
    """Bands that overlap, as mel filters do.

    Attributes:
        num_bands: Bands, equally far apart in mel.
    """

    model_type: Literal["MelBandRoFormer"] = "MelBandRoFormer"
    num_bands: Positive = 60
    mask_depth: Count = 2
