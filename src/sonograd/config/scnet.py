"""What an SCNet is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval, MinLen, MultipleOf

from sonograd.config.common import STRICT, Positive, SampleRate, Seconds, framed_problems
from sonograd.errors import ConfigError

__all__ = ["SCNET_PRESETS", "SCNetConfig"]

Share: TypeAlias = Annotated[float, Interval(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class SCNetConfig:
    """A sparse compression network: three bands, compressed the more the higher they are.

    Attributes:
        targets: Stems to estimate, in output order.
        num_channels: Audio channels, 1 for mono and 2 for stereo.
        sample_rate: Rate the model works at, in Hz.
        sample_length: Length of a chunk in seconds, at least one FFT.
        num_overlap: Chunks that every sample lies in; more are slower and a little better.
        standardize: Bring a mix as a whole to mean 0 and deviation 1, and its stems back.
        widths: Maps of each level of the encoder.
        num_fft: FFT length in samples.
        hop_length: Samples between frames, at most half of ``num_fft``.
        band_shares: Parts of the spectrum that the low, middle and high band take.
        band_strides: How many bins of each band become one on each level.
        band_kernels: Bins that this looks at, at least the stride.
        band_depths: Convolution blocks in each band of each level.
        compression: How much narrower these blocks are inside.
        conv_kernel: Frames that they look at, odd.
        num_dual_path: Blocks that recur over frequency and time; even, as every other one works
            on the spectrum of the features over time.
        recurrent_factor: Units of their recurrent layers per map.
        masked: Estimate masks, in -1 to 1 for the real and imaginary part, instead of spectra;
            the transform then has a Hann window instead of none.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model_type: Literal["SCNet"] = "SCNet"
    targets: Annotated[tuple[str, ...], MinLen(1)] = ("drums", "bass", "other", "vocals")
    num_channels: Literal[1, 2] = 2
    sample_rate: SampleRate = 44100
    sample_length: Seconds = 11
    num_overlap: Positive = 2
    standardize: bool = False
    widths: Annotated[tuple[Positive, ...], MinLen(1)] = (32, 64, 128)
    num_fft: Annotated[int, Ge(64), MultipleOf(2)] = 4096
    hop_length: Positive = 1024
    band_shares: tuple[Share, Share, Share] = (0.175, 0.392, 0.433)
    band_strides: tuple[Positive, Positive, Positive] = (1, 4, 16)
    band_kernels: tuple[Positive, Positive, Positive] = (3, 4, 16)
    band_depths: tuple[Positive, Positive, Positive] = (3, 2, 1)
    compression: Annotated[float, Gt(0)] = 4
    conv_kernel: Positive = 3
    num_dual_path: Annotated[int, Ge(2), MultipleOf(2)] = 6
    recurrent_factor: Positive = 1
    masked: bool = False

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = framed_problems(values)
        match values:
            case {"conv_kernel": kernel} if kernel % 2 == 0:
                problems.append(f"conv_kernel: {kernel} is even; expected an odd number.")
        match values:
            case {"band_kernels": kernels, "band_strides": strides} if any(
                kernel < stride for kernel, stride in zip(kernels, strides, strict=False)
            ):
                problems.append(
                    f"band_kernels: {tuple(kernels)} leaves bins out with strides "
                    f"{tuple(strides)}; expected none below its stride."
                )
        match values:
            case {"widths": widths, "compression": factor} if min(widths) < factor:
                problems.append(
                    f"compression: {factor} leaves nothing of {min(widths)} maps; "
                    f"expected at most {min(widths)}."
                )
        match values:
            case {"band_shares": shares} if abs(sum(shares) - 1) > 0.01:
                problems.append(
                    f"band_shares: {tuple(shares)} sum to {sum(shares):.4g}; expected 1."
                )
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(self.model_type, problems)


_LARGE: dict[str, Any] = {"widths": (64, 128, 256)}
_WIDE: dict[str, Any] = {
    **_LARGE,
    "band_shares": (0.23, 0.37, 0.4),
    "band_strides": (1, 4, 4),
    "band_kernels": (3, 4, 4),
    "band_depths": (3, 3, 3),
    "num_dual_path": 8,
}

#: The published sizes, by name.
SCNET_PRESETS: dict[str, SCNetConfig] = {
    "small": SCNetConfig(),
    "large": SCNetConfig(**_LARGE, band_shares=(0.225, 0.372, 0.403)),
    "xl": SCNetConfig(**_WIDE),
    "masked": SCNetConfig(masked=True, band_shares=(0.225, 0.372, 0.403)),
}
