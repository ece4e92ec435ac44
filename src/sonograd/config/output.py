"""How results are written, as data."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Interval

__all__ = ["Bits", "Precision", "SeparationRecord", "SeparationSettings"]

#: Sample format of files that are not lossy; ``32f`` is floating point.
Bits: TypeAlias = Literal["16", "24", "32f"]

#: Arithmetic of the model.
Precision: TypeAlias = Literal["32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class SeparationSettings:
    """What decides about the content of separated stems.

    Attributes:
        stems: Names of the stems that were written.
        residual: Whether the mix minus these stems was written too.
        residual_name: What that is called.
        duration: Seconds taken from the start of the song; all of it if None.
        sample_rate: Rate of the results in Hz.
        chunk: Samples kept of each chunk, at the model's rate.
        overlap: Samples that neighboring chunks share, at the model's rate.
        format: File format of the stems.
        bits: Sample format, or None where the codec decides.
        precision: Arithmetic of the model.
        repair: Whether samples that are not finite were replaced by silence.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    stems: tuple[str, ...]
    residual: bool = False
    residual_name: str = "residual"
    duration: Annotated[float, Gt(0)] | None = None
    sample_rate: Annotated[int, Gt(0)]
    chunk: Annotated[int, Gt(0)]
    overlap: Annotated[int, Ge(0)]
    format: str = "wav"
    bits: Bits | None = None
    precision: Precision = "32"
    repair: bool = False


@dataclass(frozen=True, kw_only=True)
class SeparationRecord:
    """What ``separation.json`` in a folder of stems says about them.

    Attributes:
        model: What the model was called.
        model_sha256: Hash of its file of weights, or None for a model without weights.
        source: Name of the song's file.
        source_bytes: Its size.
        source_sample_rate: Its sample rate in Hz.
        source_channels: Its channels.
        settings: What the stems depend on besides model and song.
        gain_db: Gain that all stems got so that none clips; 0 for floating-point files.
        versions: Versions of the packages that did the work.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    model: str
    model_sha256: str | None = None
    source: str
    source_bytes: Annotated[int, Ge(0)]
    source_sample_rate: Annotated[int, Gt(0)]
    source_channels: Annotated[int, Gt(0)]
    settings: SeparationSettings
    gain_db: Annotated[float, Interval(le=0)] = 0.0
    versions: dict[str, str] = field(default_factory=dict)
