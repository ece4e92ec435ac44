"""Reverberation: Freeverb, a feedback delay network, convolution, rooms, and noise."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from sonograd.effects._options import check_number, check_option, check_whole
from sonograd.effects.base import Effect
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import db_to_amplitude
from sonograd.functional.convolution import convolve_stream, partition_kernel
from sonograd.functional.delays import delay_line, moving_delay
from sonograd.functional.feedback_networks import (
    decay_filters,
    feedback_network,
    hadamard,
    prime_delays,
)
from sonograd.functional.freeverb import freeverb
from sonograd.functional.rooms import band_noise, image_source_room
from sonograd.params import Param

__all__ = ["ConvolutionReverb", "FDNReverb", "Freeverb", "NoiseReverb", "RoomReverb"]

_MIX = Param("mix", "1", 0.0, 1.0, 0.3, moves=True)


class Freeverb(Effect):
    """The classic reverb of eight combs and four all-passes, for mono and stereo.

    ``y = 2 dry x + 3 wet ((1 + width) / 2 r + (1 - width) / 2 r')``, where ``r'`` is the
    reverberation of the other channel, see :func:`~sonograd.functional.freeverb`.
    """

    params = (
        Param("room_size", "1", 0.0, 1.0, 0.5, per_channel=False),
        Param("damping", "1", 0.0, 1.0, 0.5, per_channel=False),
        Param("wet", "1", 0.0, 1.0, 0.33, moves=True, per_channel=False),
        Param("dry", "1", 0.0, 1.0, 0.4, moves=True, per_channel=False),
        Param("width", "1", 0.0, 1.0, 1.0, moves=True, per_channel=False),
    )
    channel_counts = (1, 2)
    mixes_channels = True

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the reverberation."""
        room, memory = freeverb(
            x,
            room_size=values["room_size"],
            damping=values["damping"],
            sample_rate=self.sample_rate,
            state=memory,
        )
        width, wet = values["width"], 3 * values["wet"]
        y = (2 * values["dry"]).to(x.dtype) * x + (wet * (1 + width) / 2).to(x.dtype) * room
        if x.shape[1] == 2:
            y = y + (wet * (1 - width) / 2).to(x.dtype) * room.flip(1)
        return y, memory


class FDNReverb(Effect):
    """A feedback delay network with a reverberation time for low, middle and high tones.

    ``lines`` prime delays of 23 to 79 ms times ``size`` hear each other through a Hadamard matrix
    and lose, per turn, what the reverberation times say, see
    :func:`~sonograd.functional.feedback_network` and :func:`~sonograd.functional.decay_filters`.
    Left and right enter and leave in every other line, with signs that keep them apart.
    """

    params = (
        Param("t60_low_s", "s", 0.1, 20.0, 2.0, scale="log", per_channel=False),
        Param("t60_mid_s", "s", 0.1, 20.0, 1.5, scale="log", per_channel=False),
        Param("t60_high_s", "s", 0.05, 20.0, 0.7, scale="log", per_channel=False),
        Param("low_edge_hz", "Hz", 50.0, 1_000.0, 250.0, scale="log", per_channel=False),
        Param("high_edge_hz", "Hz", 1_000.0, 12_000.0, 4_000.0, scale="log", per_channel=False),
        Param("predelay_ms", "ms", 0.0, 200.0, 10.0, per_channel=False),
        _MIX,
    )
    channel_counts = (1, 2)
    mixes_channels = True

    def __init__(self, sample_rate: float, *, lines: int = 8, size: float = 1.0) -> None:
        """Choose the network.

        Args:
            sample_rate: Of the audio, in Hz.
            lines: Number of delays, 8 or 16.
            size: Factor on all delays, 0.25 to 4.
        """
        super().__init__(sample_rate)
        self.lines = lines = check_option(lines, "lines", (8, 16))
        self.size = size = check_number(size, "size", 0.25, 4)
        self.delays = prime_delays(lines, 0.023 * size, 0.079 * size, sample_rate)
        self._matrix = hadamard(lines)
        # Two orthogonal patterns of signs, each on every other line.
        number = torch.arange(lines)
        signs = torch.where((number // 2) % 2 == 0, 1.0, -1.0).to(torch.float64)
        left = torch.where(number % 2 == 0, signs, 0.0)
        right = torch.where(number % 2 == 1, signs, 0.0)
        self._ports = torch.stack([left, right]) / math.sqrt(lines / 2)

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Add the reverberation."""
        before, network = (None, None) if memory is None else memory
        limit = 0.2 * self.sample_rate + 1
        late = values["predelay_ms"] * (self.sample_rate / 1000) + 1
        # The cubic needs the next sample: it is one early here, and one late in the delays.
        early, before = moving_delay(x, late, limit=limit, state=before)
        ports = self._ports.to(x)
        if x.shape[1] == 1:
            ports = ports.sum(0, keepdim=True) / math.sqrt(2)
        names = ("t60_low_s", "t60_mid_s", "t60_high_s")
        low, middle, high = (values[name][:, 0, 0] for name in names)
        filters = decay_filters(
            self.delays,
            (low, middle, high),
            (values["low_edge_hz"][:, 0, 0], values["high_edge_hz"][:, 0, 0]),
            sample_rate=self.sample_rate,
        )
        lines, network = feedback_network(
            ports.mT @ early, self.delays, self._matrix, filters, state=network
        )
        wet = ports @ lines
        return x + values["mix"].to(x.dtype) * (wet - x), (before, network)


class _Convolving(Effect):
    """An effect that convolves with an impulse response made from its values."""

    mixes_channels = True

    @abstractmethod
    def impulse_response(self, values: Mapping[str, Tensor], channels: int) -> Tensor:
        """Return the response, ``(1 or batch, 1 or channels, taps)``, float64."""

    def process(self, x: Tensor, memory: Any, values: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Convolve and mix; the dry sound is as late as the response."""
        used = {name: value for name, value in values.items() if name != "mix"}
        # FFTs know no half precision.
        single = torch.promote_types(x.dtype, torch.float32)
        old, kernel, state, line = ({}, None, None, None) if memory is None else memory
        if kernel is None or not _unchanged(used, old):
            kernel = partition_kernel(self.impulse_response(values, x.shape[1]).to(single))
        wet, state = convolve_stream(x.to(single), kernel, state)
        wet = wet.to(x.dtype)
        dry, line = delay_line(x, self.latency, line)
        y = dry + values["mix"].to(x.dtype) * (wet - dry)
        return y, (used, kernel, state, line)


class ConvolutionReverb(_Convolving):
    """Convolution with an impulse response of your own: ``y = (1 - mix) x + mix h * x``."""

    params = (_MIX,)
    mixes_channels = False

    def __init__(self, sample_rate: float, *, impulse: Tensor | Sequence[Any] = (1.0,)) -> None:
        """Take the impulse response.

        Args:
            sample_rate: Of the audio and of the response, in Hz.
            impulse: ``(taps,)``, or ``(channels, taps)`` for one per channel.
        """
        super().__init__(sample_rate)
        try:
            taps = torch.as_tensor(impulse, dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"impulse: {error}; expected numbers") from None
        if taps.ndim not in {1, 2} or not taps.numel():
            raise ShapeError(
                f"impulse has shape {tuple(taps.shape)}; expected (taps,) or (channels, taps)"
            )
        if not bool(taps.isfinite().all()):
            raise ParameterError("impulse holds values that are no finite numbers")
        self.impulse = taps

    def impulse_response(self, values: Mapping[str, Tensor], channels: int) -> Tensor:
        """Return the given response."""
        taps = self.impulse.to(values["mix"].device, values["mix"].dtype)
        taps = taps.reshape(1, -1, taps.shape[-1])
        if taps.shape[1] not in {1, channels}:
            raise ShapeError(f"the impulse has {taps.shape[1]} channels; x has {channels}")
        return taps

    def extra_repr(self) -> str:
        """Show the rate and the shape of the response."""
        return f"sample_rate={self.sample_rate}, impulse={tuple(self.impulse.shape)}"


class RoomReverb(_Convolving):
    """A rectangular room by image sources, differentiable in its size and its walls.

    Mono hears at one place, stereo at two, a tenth of the room apart; see
    :func:`~sonograd.functional.image_source_room`.
    """

    params = (
        Param("width_m", "m", 2.0, 50.0, 5.0, scale="log", per_channel=False),
        Param("depth_m", "m", 2.0, 50.0, 7.0, scale="log", per_channel=False),
        Param("height_m", "m", 2.0, 20.0, 3.0, scale="log", per_channel=False),
        Param("absorption", "1", 0.01, 0.99, 0.3, per_channel=False),
        _MIX,
    )
    channel_counts = (1, 2)

    def __init__(
        self,
        sample_rate: float,
        *,
        order: int = 10,
        duration_s: float = 0.4,
        source: Sequence[float] = (0.31, 0.27, 0.45),
        listener: Sequence[float] = (0.58, 0.71, 0.52),
    ) -> None:
        """Choose how much is computed, and the places.

        Args:
            sample_rate: Of the audio, in Hz.
            order: Largest number of reflections, up to 30; their number grows with its cube.
            duration_s: Length of the response; later reflections are left out.
            source: Place of the source, as fractions of width, depth and height.
            listener: Place of the listener; stereo hears 0.05 to both sides of it.
        """
        super().__init__(sample_rate)
        self.order = check_whole(order, "order", 0, 30)
        self.duration_s = check_number(duration_s, "duration_s", 0.01, 20, unit="seconds")
        self.source = _checked_place("source", source)
        self.listener = _checked_place("listener", listener)

    @property
    def latency(self) -> int:
        """Samples before the direct sound."""
        return 32

    def impulse_response(self, values: Mapping[str, Tensor], channels: int) -> Tensor:
        """Compute the response of the room."""
        names = ("width_m", "depth_m", "height_m")
        size = torch.cat([values[name][:, 0].expand(_items(values), 1) for name in names], dim=-1)
        sides = (0.0,) if channels == 1 else (-0.05, 0.05)
        return image_source_room(
            size,
            values["absorption"][:, 0, 0],
            source=self.source,
            receivers=[(self.listener[0] + side, *self.listener[1:]) for side in sides],
            order=self.order,
            samples=round(self.duration_s * self.sample_rate) + 66,
            sample_rate=self.sample_rate,
        )


class NoiseReverb(_Convolving):
    """A diffuse room: seeded noise in 12 bands, each with a level and a reverberation time.

    The bands are equally wide on a logarithmic scale between 20 Hz and 20 kHz, see
    :func:`~sonograd.functional.band_noise`; each decays by 60 dB in ``t60_K_s`` and has the level
    ``band_K_db``. The response ends after ``duration_s`` and has unit energy at the defaults. The
    channels have independent noise.
    """

    params = (
        *(Param(f"band_{k}_db", "dB", -60.0, 12.0, 0.0, per_channel=False) for k in range(1, 13)),
        *(
            Param(f"t60_{k}_s", "s", 0.05, 10.0, 1.0, scale="log", per_channel=False)
            for k in range(1, 13)
        ),
        _MIX,
    )

    def __init__(
        self, sample_rate: float, *, duration_s: float = 2.0, seed: int | torch.Generator = 0
    ) -> None:
        """Choose the noise.

        Args:
            sample_rate: Of the audio, in Hz.
            duration_s: Length of the response.
            seed: Of the noise; a generator draws one, which is kept here and in presets.
        """
        super().__init__(sample_rate)
        self.duration_s = check_number(duration_s, "duration_s", 0.01, 20, unit="seconds")
        if isinstance(seed, torch.Generator):
            place = seed.device
            seed = int(torch.randint(2**62, (), generator=seed, device=place, dtype=torch.int64))
        self.seed = check_whole(seed, "seed", 0, 2**63 - 1)
        self._drawn: dict[int, Tensor] = {}

    def impulse_response(self, values: Mapping[str, Tensor], channels: int) -> Tensor:
        """Shape the noise."""
        like = values["mix"]
        noise = self._noise(channels).to(like.device, like.dtype)
        time = torch.arange(noise.shape[-1], device=like.device, dtype=like.dtype)
        response = torch.zeros((), device=like.device, dtype=like.dtype)
        for k, band in enumerate(noise, start=1):
            level = db_to_amplitude(values[f"band_{k}_db"])
            rate = -3 * math.log(10) / self.sample_rate / values[f"t60_{k}_s"]
            response = response + level * torch.exp(rate * time) * band
        return response

    def _noise(self, channels: int) -> Tensor:
        """Draw the noise once per number of channels, ``(bands, channels, samples)``."""
        if channels not in self._drawn:
            samples = max(round(self.duration_s * self.sample_rate), 2)
            noise, _ = band_noise(
                12, channels, samples, sample_rate=self.sample_rate, seed=self.seed
            )
            time = torch.arange(samples, dtype=torch.float64)
            decay = torch.exp(-3 * math.log(10) / self.sample_rate * time)
            energy = (noise.sum(0) * decay).square().sum(-1, keepdim=True)
            self._drawn[channels] = noise / energy.sqrt()
        return self._drawn[channels]


def _items(values: Mapping[str, Tensor]) -> int:
    return max(value.shape[0] for value in values.values())


def _checked_place(name: str, place: Sequence[float]) -> list[float]:
    numbers = isinstance(place, Sequence) and all(isinstance(item, Real) for item in place)
    if not numbers or len(place) != 3 or not all(0.06 <= item <= 0.94 for item in place):
        raise ParameterError(
            f"{name} is {place!r}; expected three fractions of the room, from 0.06 to 0.94"
        )
    return [float(item) for item in place]


def _unchanged(new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> bool:
    """Tell whether values are those of the block before, and nobody asks for gradients."""
    if torch.compiler.is_compiling():
        return False
    if any(value.requires_grad for value in (*new.values(), *old.values())):
        return False
    try:
        return all(torch.equal(value, old[name]) for name, value in new.items())
    except RuntimeError:  # under vmap
        return False
