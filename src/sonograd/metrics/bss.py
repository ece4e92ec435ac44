"""Accumulators of BSS eval: all targets of a track at once, frame by frame, streamed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sonograd.errors import ParameterError
from sonograd.functional.bss_eval import bss_eval_blocks, framewise_sdr_blocks
from sonograd.metrics.base import Accumulator, Blocks
from sonograd.metrics.scores import Score

__all__ = ["CSDR", "BSSEvalV3", "BSSEvalV4"]


class _Framewise(Accumulator):
    """Frames of ``window_s`` seconds; the value of a track is the median of its frames."""

    joint: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def __init__(
        self,
        *,
        sample_rate: int,
        window_s: float = 1.0,
        hop_s: float = 1.0,
        silent: Literal["nan", "skip_source", "museval"] = "nan",
    ) -> None:
        """Choose the frames.

        Args:
            sample_rate: In Hz.
            window_s: Length of a frame in seconds.
            hop_s: Seconds between frames.
            silent: As in :func:`~sonograd.functional.bss_eval`.
        """
        super().__init__(sample_rate=sample_rate)
        if not (window_s > 0 and hop_s > 0):
            raise ParameterError(f"window_s is {window_s} and hop_s {hop_s}; expected more than 0")
        self.window_s = window_s
        self.hop_s = hop_s
        self.silent: Literal["nan", "skip_source", "museval"] = silent

    @property
    def _frames(self) -> tuple[int, int]:
        return (
            max(1, round(self.window_s * self.sample_rate)),
            max(1, round(self.hop_s * self.sample_rate)),
        )


class CSDR(_Framewise):
    """Chunk-level SDR: the median over frames of one second of the SDR of BSS eval version 4.

    The number of SiSEC 2018 and of most papers on MUSDB18: take the median over tracks. Only the
    SDR is computed, see :func:`~sonograd.functional.framewise_sdr`.
    """

    name: ClassVar[str] = "csdr"
    value_names: ClassVar[tuple[str, ...]] = ("csdr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``csdr`` with its frames."""
        return self.measure_blocks(lambda: [(estimate, reference)])

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return ``csdr`` with its frames, of a track in blocks."""
        window, hop = self._frames
        sdr = framewise_sdr_blocks(blocks, window=window, hop=hop, silent=self.silent)
        return {"csdr": sdr}


class BSSEvalV4(_Framewise):
    """BSS eval version 4, images, see :func:`~sonograd.functional.bss_eval`.

    ``bss_v4_residual_dbfs`` is the mean level of the estimate where its reference is silent. Where
    a track has a single target, nothing that could interfere is known, and there is no
    ``bss_v4_sir``.
    """

    name: ClassVar[str] = "bss_v4"
    value_names: ClassVar[tuple[str, ...]] = (
        "bss_v4_sdr",
        "bss_v4_isr",
        "bss_v4_sir",
        "bss_v4_sar",
        "bss_v4_silent_frames",
        "bss_v4_residual_dbfs",
    )
    improvable: ClassVar[frozenset[str] | None] = frozenset({"bss_v4_sdr", "bss_v4_sir"})
    filters: ClassVar[Literal["v4", "v3"]] = "v4"

    def __init__(
        self,
        *,
        sample_rate: int,
        window_s: float = 1.0,
        hop_s: float = 1.0,
        silent: Literal["nan", "skip_source", "museval"] = "nan",
        filter_length: int = 512,
    ) -> None:
        """Choose the frames, and the length of the distortion filters in samples."""
        super().__init__(sample_rate=sample_rate, window_s=window_s, hop_s=hop_s, silent=silent)
        if filter_length < 1:
            raise ParameterError(f"filter_length is {filter_length}; expected at least 1 tap")
        self.filter_length = filter_length

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return the four ratios with their frames, and two numbers about silent frames."""
        return self.measure_blocks(lambda: [(estimate, reference)])

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        window, hop = self._frames
        result = bss_eval_blocks(
            blocks,
            window=window,
            hop=hop,
            version=self.filters,
            filter_length=self.filter_length,
            silent=self.silent,
        )
        silent_frames = result.silent.sum(-1).to(torch.float64)
        ratios = (result.sdr, result.isr, result.sir, result.sar)
        values = (*ratios, silent_frames, result.residual_dbfs)
        return dict(zip(self.value_names, values, strict=True))

    def _present(
        self, measured: Mapping[str, Tensor], track: str, names: Sequence[str]
    ) -> list[Score]:
        scores = super()._present(measured, track, names)
        return [_without_sir(score) for score in scores] if len(names) == 1 else scores

    @classmethod
    def direction(cls, name: str) -> Literal[-1, 0, 1]:
        """Lower is better for the residual; a number of silent frames has no order."""
        cls._check_name(name)
        if name.endswith("_residual_dbfs"):
            return -1
        return 0 if name.endswith("_silent_frames") else super().direction(name)

    def explain(self, names: Sequence[str]) -> str:
        """Say why there is no value; that no frame is silent needs no explanation."""
        return super().explain([name for name in names if not name.endswith("residual_dbfs")])


def _without_sir(score: Score) -> Score:
    """Return the score of a single target without its ratio to the interference of others."""
    (name,) = (key for key in score.values if key.endswith("_sir"))
    reason = f"{name} not defined: it tells targets apart, and there is one alone"
    return replace(
        score,
        values={**score.values, name: math.nan},
        frames={**score.frames, name: (math.nan,) * len(score.frames[name])},
        reason="; ".join(filter(None, (score.reason, reason))),
    )


class BSSEvalV3(BSSEvalV4):
    """BSS eval version 3, images: as :class:`BSSEvalV4`, with filters found for every frame."""

    name: ClassVar[str] = "bss_v3"
    value_names: ClassVar[tuple[str, ...]] = tuple(
        name.replace("v4", "v3") for name in BSSEvalV4.value_names
    )
    improvable: ClassVar[frozenset[str] | None] = frozenset({"bss_v3_sdr", "bss_v3_sir"})
    filters: ClassVar[Literal["v4", "v3"]] = "v3"
