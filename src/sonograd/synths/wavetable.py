"""Oscillators that read a row of recorded or drawn waves."""

from typing import Any

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.wavetables import (
    band_limited_tables,
    band_limited_wavetable,
    harmonic_table,
)
from sonograd.params import Param
from sonograd.synths.base import Synth, SynthState
from sonograd.synths.controls import Controls

__all__ = ["Wavetable"]


class Wavetable(Synth):
    """A row of single periods, read at any pitch and any place between them, without aliases.

    See :func:`~sonograd.functional.band_limited_wavetable`.

    Attributes:
        tables: ``(tables, size)``; a parameter if it is trainable.
    """

    params = (
        Param("frequency_hz", "Hz", 0.1, 20_000, 440, "log", moves=True),
        Param("amplitude", "1", 0, 2, 1, moves=True),
        Param("position", "1", 0, 1, 0, moves=True),
        Param("phase_turns", "turns", 0, 1, 0),
    )
    tables: Tensor

    def __init__(
        self, sample_rate: float, *, tables: Tensor | None = None, trainable: bool = False
    ) -> None:
        """Take the waves.

        Args:
            sample_rate: Of the sound, in Hz.
            tables: ``(tables, size)``; sine, triangle, square and saw of 512 samples if not given.
            trainable: Make them a parameter.
        """
        super().__init__(sample_rate)
        tables = _plain_waves() if tables is None else tables
        if tables.ndim != 2 or tables.shape[-1] < 4 or not tables.shape[0]:
            raise ShapeError(
                f"tables has shape {tuple(tables.shape)}; expected (tables, size) with size >= 4. "
                "For one wave, pass tables.unsqueeze(0)."
            )
        if not tables.is_floating_point() or not bool(tables.isfinite().all()):
            raise ParameterError(
                f"tables (dtype {tables.dtype}) must hold finite floating-point numbers"
            )
        self.trainable = trainable
        if trainable:
            self.tables = nn.Parameter(tables.detach().clone())
        else:
            self.register_buffer("tables", tables.detach().clone())

    def process(self, samples: int, state: SynthState, values: Controls) -> tuple[Tensor, Any]:
        """Go on from the phase that the block before has reached."""
        frequency = values.scalar("frequency_hz").expand(-1, samples)
        start = values.scalar("phase_turns")[:, 0] if state.memory is None else state.memory
        y = band_limited_wavetable(
            frequency,
            band_limited_tables(self.tables.to(values.device, values.dtype)),
            sample_rate=self.sample_rate,
            position=values.scalar("position"),
            phase=start,
        )
        end = torch.remainder(start + (frequency / self.sample_rate).sum(-1), 1.0)
        return values.scalar("amplitude") * y, end


def _plain_waves(size: int = 512) -> Tensor:
    k = torch.arange(1, (size - 1) // 2 + 1, dtype=torch.float64)
    odd = (k % 2 == 1).to(k.dtype)
    series = (
        (k == 1).to(k.dtype),
        odd * 8 / (torch.pi * k).square() * torch.where(k % 4 == 1, 1.0, -1.0),
        odd * 4 / (torch.pi * k),
        2 / (torch.pi * k),
    )
    return harmonic_table(torch.stack(series), size=size).float()
