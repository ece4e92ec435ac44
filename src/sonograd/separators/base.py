"""What every separator is: a module from a mix to its stems."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.stream import Lane, SeparatorStream
from sonograd.separators.survey import Blocks, Run, Survey, listen
from sonograd.shapes import check_audio

if TYPE_CHECKING:
    from sonograd.config import SeparatorConfig

__all__ = ["MaskEstimate", "Progress", "Separator"]

#: Called with ``(done, total)`` in seconds of audio, over the whole job.
Progress: TypeAlias = Callable[[float, float], None]


@dataclass(frozen=True)
class MaskEstimate:
    """What a mask network found out about a mix.

    Attributes:
        stems: Audio, ``(batch, stems, channels, samples)``.
        masks: One mask per stem, real, ``(batch, stems, channels, bins, frames)``.
        mix_spectrum: Spectrum of the mix, complex, ``(batch, channels, bins, frames)``.
        latent: Mean and log-variance of a variational latent, each ``(batch, steps, features)``,
            or None for models without one.
    """

    stems: Tensor
    masks: Tensor
    mix_spectrum: Tensor
    latent: tuple[Tensor, Tensor] | None = None


class Separator(nn.Module, ABC):
    """Base class of all models that take a mix apart.

    A subclass sets the first four attributes below and writes :meth:`forward`; long signals,
    streams and batches then work. An item's stems must not depend on the other items of its
    batch, and in evaluation mode :meth:`forward` must be deterministic.

    Attributes:
        stems: Names of the stems, in output order.
        sample_rate: Rate of the audio that the model works at, in Hz.
        channels: Audio channels of the mix and of every stem.
        plan: How a signal longer than one chunk is cut; ``forward`` gets ``plan.input_length``
            samples at a time, but accepts any number, 0 included.
        config: What the model was built from; it stays None for models without weights.
        interchangeable: Stems have no order of their own, such as speakers, so that those of each
            chunk are put into the order of the chunk before. Neighboring chunks have to overlap.
    """

    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    plan: ChunkPlan
    config: "SeparatorConfig | None" = None
    interchangeable: bool = False

    @abstractmethod
    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""

    def separate_chunks(self, chunks: Tensor) -> Tensor:
        """Run one batch of chunks without gradients; silent chunks give silent stems.

        Args:
            chunks: ``(batch, channels, samples)``, usually ``plan.input_length`` samples.

        Returns:
            ``(batch, stems, channels, samples)``.
        """
        with torch.no_grad():
            stems: Tensor = self(chunks)
            silent = chunks.abs().amax(dim=(-2, -1)) == 0
            return stems.masked_fill(silent[:, None, None, None], 0.0) if silent.any() else stems

    def survey(
        self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None
    ) -> Survey | None:
        """Return a fresh survey of one mix, or None for models that need to know no more of it.

        Args:
            plan: How chunks are to be cut; the model's own plan if None.
            blocks: Where to keep what does not stay small; in memory if None.
        """
        del plan, blocks
        return None

    def lanes(self, plan: ChunkPlan | None = None) -> tuple[Lane, ...]:
        """Return what runs side by side on a mix, and is averaged: the model alone, for most."""
        return (Lane(self, self.plan if plan is None else plan),)

    def hear(
        self,
        blocks: Callable[[], Iterable[Tensor]],
        *,
        plan: ChunkPlan | None = None,
        store: Callable[[], Blocks] = dict,
        run: Run = map,
    ) -> list[Survey | None]:
        """Let every lane hear a whole mix, if it wants to, before the mix is separated.

        Args:
            blocks: Begins the mix anew, in blocks ``(channels, samples)`` of any length.
            plan: How chunks are to be cut; the model's own plan if None.
            store: Makes what keeps a survey's data, see :data:`~sonograd.separators.Blocks`.
            run: Applies a function to many things, as :func:`map` does.

        Returns:
            What to give to :meth:`stream`: a survey per lane, or None.
        """
        heard = []
        for lane in self.lanes(plan):
            survey = lane.separator.eval().survey(lane.plan, blocks=store())
            if survey is not None:
                listen(survey, blocks(), run)
            heard.append(survey)
        return heard

    def separate(
        self,
        mix: Tensor,
        *,
        overlap: float | None = None,
        batch_size: int = 1,
        on_progress: Progress | None = None,
    ) -> Tensor:
        """Take apart a signal of any length, chunk by chunk, at the model's rate and channels.

        The model is put into evaluation mode and runs without gradients.

        Args:
            mix: ``(..., channels, samples)``.
            overlap: Fraction of a chunk that neighbors share, in [0, 1); the model's own if None.
            batch_size: Chunks that run together; 1 is bitwise equal to streaming.
            on_progress: Called with ``(done, total)`` in seconds of audio.

        Returns:
            ``(..., stems, channels, samples)``, as long as the mix. Silence gives silence.

        Raises:
            ShapeError: If ``mix`` has another layout or number of channels.
            ParameterError: If ``overlap`` is outside [0, 1).
        """
        check_audio(mix, name="mix", channels=self.channels)
        *leading, channels, samples = mix.shape
        flat = mix.reshape(math.prod(leading), channels, samples)
        total = flat.shape[0] * samples / self.sample_rate
        results = []
        for number, item in enumerate(flat):
            plan = self._plan(overlap)
            heard = self.hear(lambda item=item: item.split(1 << 18, dim=-1), plan=plan)  # type: ignore[misc]
            stream = SeparatorStream(self, plan, batch_size=batch_size, heard=heard)
            parts = []
            for begin in range(0, max(samples, 1), plan.hop):
                parts.append(stream.push(item[:, begin : begin + plan.hop]))
                if on_progress is not None and samples:
                    done = number * samples + min(begin + plan.hop, samples)
                    on_progress(done / self.sample_rate, total)
            parts.append(stream.finish())
            results.append(torch.cat(parts, dim=-1))
        if not results:
            return mix.new_empty(*leading, len(self.stems), channels, samples)
        return torch.stack(results).reshape(*leading, len(self.stems), channels, samples)

    def stream(
        self,
        *,
        overlap: float | None = None,
        batch_size: int = 1,
        heard: Sequence[Survey | None] | None = None,
    ) -> SeparatorStream:
        """Start a block-wise separation, see :class:`~sonograd.separators.SeparatorStream`.

        Args:
            overlap: Fraction of a chunk that neighbors share, in [0, 1); the model's own if None.
            batch_size: Chunks that run together.
            heard: What :meth:`hear` returned for the same mix and overlap. Models that need to
                know a mix as a whole otherwise take each chunk for itself, as live ones do.
        """
        return SeparatorStream(self, self._plan(overlap), batch_size=batch_size, heard=heard)

    def _plan(self, overlap: float | None) -> ChunkPlan:
        return self.plan if overlap is None else self.plan.with_overlap(overlap)
