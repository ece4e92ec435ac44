"""What Open-Unmix is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval, MinLen, MultipleOf

from sonograd.config.common import STRICT, Positive, SampleRate, Seconds, target_problems
from sonograd.errors import ConfigError

__all__ = ["OpenUnmixConfig"]


@dataclass(frozen=True, kw_only=True)
class OpenUnmixConfig:
    """One recurrent network per target on magnitudes, then multichannel Wiener filtering.

    Attributes:
        targets: Stems that have a network, in output order.
        residual_target: Name of one more stem, which gets what the networks leave; None for none.
        num_channels: Audio channels.
        num_fft: FFT length and length of the Hann window, in samples.
        hop_length: Samples between frames.
        max_bin: Bins from 0 Hz that the networks see; all if None.
        hidden_size: Features of the networks.
        recurrent_depth: Layers of their recurrences.
        unidirectional: Recur forward in time only.
        wiener_iterations: Iterations of the filter in evaluation; 0 takes the phase of the mix,
            as one stem alone always does.
        wiener_frames: Frames that share one spatial model.
        softmask: Start from ratios of the magnitudes instead of the magnitudes themselves.
        dropout_p: Dropout probability between recurrent layers in training.
        sample_length: Length of a training chunk, and of a chunk that is separated alone, in
            seconds.
        sample_rate: Rate the model works at, in Hz.

    Raises:
        ConfigError: If values contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model_type: Literal["OpenUnmix"] = "OpenUnmix"
    targets: Annotated[tuple[str, ...], MinLen(1)] = ("vocals", "drums", "bass", "other")
    residual_target: str | None = None
    num_channels: Positive = 2
    num_fft: Annotated[int, Ge(16)] = 4096
    hop_length: Positive = 1024
    max_bin: Positive | None = None
    hidden_size: Annotated[int, Ge(2), MultipleOf(2)] = 512
    recurrent_depth: Positive = 3
    unidirectional: bool = False
    wiener_iterations: Annotated[int, Ge(0)] = 1
    wiener_frames: Positive = 300
    softmask: bool = False
    dropout_p: Annotated[float, Interval(ge=0, lt=1)] = 0.4
    sample_length: Seconds = 6
    sample_rate: SampleRate = 44100

    @staticmethod
    def contradictions(values: Mapping[str, Any]) -> list[str]:
        """Return what is wrong between those fields that are in ``values``."""
        problems = []
        match values:
            case {"targets": targets, "residual_target": residual}:
                problems += target_problems((*targets, residual) if residual else targets)
        match values:
            case {"num_fft": num_fft, "hop_length": hop_length} if 2 * hop_length > num_fft:
                problems.append(
                    f"hop_length: {hop_length} is more than half of num_fft ({num_fft}); "
                    f"expected at most {num_fft // 2}."
                )
        match values:
            case {"num_fft": num_fft, "max_bin": int(max_bin)} if max_bin > num_fft // 2 + 1:
                problems.append(
                    f"max_bin: {max_bin} is more than the bins of num_fft ({num_fft // 2 + 1}); "
                    "expected at most as many."
                )
        match values:
            case {"num_fft": num_fft} if num_fft % 2:
                problems.append(f"num_fft: {num_fft} is odd; expected an even length.")
        return problems

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if problems := self.contradictions(vars(self)):
            raise ConfigError(self.model_type, problems)
