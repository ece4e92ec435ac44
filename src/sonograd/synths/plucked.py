"""Plucked strings."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.functional.noise import seeded_noise
from sonograd.functional.waveguides import delay_loop, plucked_shape, string_loop
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["KarplusStrong"]


class KarplusStrong(Synth):
    """A plucked string: a period of noise in a loop that loses its high frequencies.

    K. Karplus and A. Strong, *Digital synthesis of plucked-string and drum timbres*, Computer Music
    Journal 7(2), 1983. The pole of the fundamental lies exactly at its frequency and decay
    (:func:`~sonograd.functional.string_loop`), and gradients reach every parameter; that of the
    frequency is the true slope between two whole delays, and jumps where the delay changes by one.
    """

    params = (
        Param("frequency_hz", "Hz", 20, 5_000, 220, "log"),
        Param("amplitude", "1", 0, 2, 0.3),
        Param("decay_s", "s", 0.01, 60, 3, "log"),
        Param("damping", "1", 0, 1, 0.3),
        Param("brightness", "1", 0.01, 1, 0.7),
        Param("pick_position", "1", 0.02, 0.98, 0.15),
    )
    random = True

    def __init__(self, sample_rate: float) -> None:
        """Strings reach up to an eighth of the sample rate."""
        super().__init__(sample_rate)
        first, *others = self.params
        high = min(first.high, sample_rate / 8.01)
        low = min(first.low, high / 2)
        default = min(max(first.default, low), high)
        self.declare((Param(first.name, first.unit, low, high, default, first.scale), *others))

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Go on from what is in the string."""
        frequency, decay, damping, brightness, pick = (
            values.scalar(name)[:, 0].expand(state.batch)
            for name in ("frequency_hz", "decay_s", "damping", "brightness", "pick_position")
        )
        x, past = self._excitation(samples, state, frequency, brightness, pick)
        taps, delay = string_loop(
            frequency, sample_rate=self.sample_rate, decay_s=decay, damping=damping
        )
        y = delay_loop(x, taps, delay, past=past)
        kept = int(delay.max()) + taps.shape[-1]
        heard = y if past is None else torch.cat([past, y], dim=-1)
        return values.scalar("amplitude") * y, heard[:, -kept:]

    def _excitation(
        self,
        samples: int,
        state: SynthState,
        frequency: Tensor,
        brightness: Tensor,
        pick: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """What the pick adds during this block, and what the string did before it."""
        longest = int(self.sample_rate / self.params[0].low) + 1
        if state.position >= longest:
            return frequency.new_zeros(state.batch, samples), state.memory
        assert state.seed is not None
        noise = seeded_noise(state.seed.to(frequency.device), longest, dtype=frequency.dtype)
        shape = plucked_shape(
            noise,
            frequency,
            sample_rate=self.sample_rate,
            brightness=brightness,
            pick_position=pick,
        )[:, state.position : state.position + samples]
        return pad(shape, (0, samples - shape.shape[-1])), state.memory
