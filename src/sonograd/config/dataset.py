"""How training chunks are drawn from songs and varied."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from annotated_types import Ge, Interval

__all__ = ["AugmentationConfig"]

Probability: TypeAlias = Annotated[float, Interval(ge=0, le=1)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How a training example differs from the songs it is made of.

    Attributes:
        remix_p: Probability that the stems of an example come from different songs and places.
        remix_tempo: Let those songs be of similar tempo: stems are stretched to the tempo of the
            first, and moved by less than a beat to where their onsets meet its own best.
        redraws: How often another place is drawn if a stem is silent there; the place where most
            stems sound is taken. Without it, a model may learn to leave rare stems silent.
        speed_p: Probability that a stem (all stems, if they are of one song) is played faster or
            slower, which changes its pitch.
        speed_octaves: Largest change of speed, as an interval.
        stretch_p: Probability that pitch and tempo of a stem are changed apart from each other.
        stretch_octaves: Largest change of each.
        level_db: Level that every stem is brought to before its random gain, the root mean square
            of where it sounds; None keeps the levels of the songs.
        gain_db: Standard deviation of the gain of each stem.
        drop_p: Probability that a stem is silent; one always sounds.
        swap_p: Probability that left and right of a stem are exchanged.
        equalizer_db: Standard deviation of a smooth random equalizer, different for each stem.
        low_pass_p: Probability that the stem called ``bass`` goes through a random low-pass.
        narrow_p: Probability that a stem of two channels is made narrower, down to mono.
        drive_p: Probability that a stem is saturated.
        invert_p: Probability that a stem changes its sign.
        compress_p: Probability that the dynamics of a stem are compressed.
        reverb_p: Probability that a stem stands in a random room.
        codec_p: Probability that a stem has been through mp3, AAC or Opus.
        noise_p: Probability that noise is added to a stem.
        noise_db: Its highest level, relative to the stem.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    remix_p: Probability = 0.5
    remix_tempo: bool = False
    redraws: Annotated[int, Ge(0)] = 4
    speed_p: Probability = 0.3
    speed_octaves: Annotated[float, Interval(ge=0, le=2)] = 0.33
    stretch_p: Probability = 0.0
    stretch_octaves: Annotated[float, Interval(ge=0, le=1)] = 0.17
    level_db: float | None = None
    gain_db: NotNegative = 4.0
    drop_p: Probability = 0.1
    swap_p: Probability = 0.5
    equalizer_db: NotNegative = 3.0
    low_pass_p: Probability = 0.5
    narrow_p: Probability = 0.0
    drive_p: Probability = 0.0
    invert_p: Probability = 0.0
    compress_p: Probability = 0.0
    reverb_p: Probability = 0.0
    codec_p: Probability = 0.0
    noise_p: Probability = 0.0
    noise_db: float = -30.0
