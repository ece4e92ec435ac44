"""Level and stereo image: gain, pan, width, mid and side, delay of channels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sonograd.effects._options import check_flag, check_number, check_option
from sonograd.effects.base import Effect
from sonograd.functional import butterworth, db_to_amplitude, sosfilt_stream
from sonograd.functional.delays import moving_delay
from sonograd.functional.stereo import mid_side, pan_gains, stereo_width
from sonograd.params import Param

__all__ = [
    "ChannelDelay",
    "DCBlocker",
    "Gain",
    "LinearGain",
    "MidSideDecode",
    "MidSideEncode",
    "Pan",
    "Width",
]


class LinearGain(nn.Module):
    """A gain that owns its value: ``gain * x``, for any shape of input.

    >>> gain = LinearGain(0.5)
    >>> gain(torch.ones(2)).tolist(), gain.values()["gain_db"].item() < 0
    ([0.5, 0.5], True)
    """

    gain: nn.Parameter

    def __init__(self, gain: float = 1.0) -> None:
        """Start from ``gain``, a factor; negative ones turn the polarity."""
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(float(check_number(gain, "gain"))))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``gain * x``."""
        return self.gain * x

    def values(self) -> dict[str, Tensor]:
        """Return the gain as that of a :class:`Gain`, without its sign."""
        return {"gain_db": 20 * torch.log10(self.gain.abs())}

    def preset(self, sample_rate: float) -> dict[str, Any]:
        """Return the gain as a preset, see :func:`sonograd.effects.preset`."""
        from sonograd.effects.presets import preset  # noqa: PLC0415

        effect = Gain(sample_rate, invert=bool(self.gain < 0))
        return preset(effect, self.values())


class Gain(Effect):
    """Louder or quieter: ``y = 10^(gain_db / 20) x``, with turned polarity if ``invert``."""

    params = (Param("gain_db", "dB", -60.0, 24.0, 0.0, moves=True),)

    def __init__(self, sample_rate: float, *, invert: bool = False) -> None:
        """Choose the polarity."""
        super().__init__(sample_rate)
        self.invert = check_flag(invert, "invert")

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply."""
        gain = db_to_amplitude(values["gain_db"]).to(x.dtype)
        return (-gain if self.invert else gain) * x, None


class Pan(Effect):
    """Place mono or stereo between left and right, see :func:`~sonograd.functional.pan_gains`.

    Mono becomes stereo; of stereo, each channel gets the gain of its side.
    """

    params = (Param("pan", "1", -1.0, 1.0, 0.0, moves=True, per_channel=False),)
    channel_counts = (1, 2)

    def __init__(self, sample_rate: float, *, law_db: float = 3.0) -> None:
        """Choose how much quieter each channel is in the center: 3, 4.5 or 6 dB."""
        super().__init__(sample_rate)
        self.law_db = check_option(law_db, "law_db", (3.0, 4.5, 6.0))

    def output_channels(self, channels: int) -> int:
        """Return 2."""
        return 2

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Multiply each side with its gain."""
        gains = torch.cat(pan_gains(values["pan"], law_db=self.law_db), dim=1)
        return gains.to(x.dtype) * x, None


class Width(Effect):
    """Scale the difference of the channels, see :func:`~sonograd.functional.stereo_width`."""

    params = (Param("width", "1", 0.0, 2.0, 1.0, moves=True, per_channel=False),)
    channel_counts = (2,)
    mixes_channels = True

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Scale the side."""
        return stereo_width(x, values["width"][:, 0].to(x.dtype)), None


class MidSideEncode(Effect):
    """Turn left and right into ``(L + R) / 2`` and ``(L - R) / 2``."""

    channel_counts = (2,)
    mixes_channels = True

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Take half of the sum and of the difference."""
        return mid_side(x), None


class MidSideDecode(Effect):
    """Turn middle and side into ``M + S`` and ``M - S``, the opposite of :class:`MidSideEncode`."""

    channel_counts = (2,)
    mixes_channels = True

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Take the sum and the difference."""
        return 2 * mid_side(x), None


class ChannelDelay(Effect):
    """Move channels against each other, between samples too (third-order Lagrange).

    It looks one sample ahead, which is its latency.
    """

    params = (Param("delay_ms", "ms", 0.0, 100.0, 0.0, moves=True),)

    @property
    def latency(self) -> int:
        """One sample."""
        return 1

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Read in the past."""
        delay = values["delay_ms"] * (self.sample_rate / 1000) + 1
        limit = 0.1 * self.sample_rate + 1
        return moving_delay(x, delay, limit=limit, interpolation="cubic", state=memory)


class DCBlocker(Effect):
    """Remove a constant offset: a first-order high pass, -3 dB at ``cutoff_hz``."""

    params = (Param("cutoff_hz", "Hz", 1.0, 100.0, 10.0, scale="log"),)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Filter, see :func:`~sonograd.functional.butterworth`."""
        cutoff = values["cutoff_hz"][..., 0]
        sos = butterworth(1, cutoff, sample_rate=self.sample_rate, kind="high_pass")
        return sosfilt_stream(x, sos, memory)
