"""Some of the stems of a separator."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from sonograd.config import suggest
from sonograd.errors import ParameterError
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.stream import Lane
from sonograd.separators.survey import Blocks, SelectedSurvey

__all__ = ["SelectStems"]


class SelectStems(Separator):
    """A separator that returns only the stems that were asked for, in that order."""

    def __init__(self, separator: Separator, stems: Sequence[str]) -> None:
        """Choose ``stems`` of ``separator``.

        Raises:
            ParameterError: If there is no such stem, or none or one twice is asked for.
        """
        super().__init__()
        for name in stems:
            if name not in separator.stems:
                raise ParameterError(
                    f"there is no stem {name!r}; expected one of {', '.join(separator.stems)}."
                    + suggest(name, separator.stems)
                )
        if not stems or len(set(stems)) < len(stems):
            raise ParameterError(f"stems is {list(stems)}; expected one or more, each once")
        self.separator = separator
        self.stems = tuple(stems)
        self.sample_rate = separator.sample_rate
        self.channels = separator.channels
        self.plan = separator.plan
        self.interchangeable = separator.interchangeable
        self._indices = [separator.stems.index(name) for name in stems]

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        stems: Tensor = self.separator(mix)
        return stems[:, self._indices]

    def survey(
        self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None
    ) -> SelectedSurvey | None:
        """Return the survey of the separator, if it has one."""
        survey = self.separator.survey(plan, blocks=blocks)
        return None if survey is None else SelectedSurvey(survey, self._indices)

    def lanes(self, plan: ChunkPlan | None = None) -> tuple[Lane, ...]:
        """Return the lanes of the separator, with these stems only, if there are several."""
        lanes = self.separator.lanes(plan)
        if self.separator.interchangeable:  # their order shows only where all are there
            lane = lanes[0]
            kept = range(len(self.separator.stems)) if lane.kept is None else lane.kept
            chosen = tuple(list(kept)[index] for index in self._indices)
            return (replace(lane, kept=chosen),)
        if len(lanes) == 1:
            return super().lanes(plan)
        lanes = tuple(
            lane
            for lane in lanes
            if lane.weights is None or any(lane.weights[i] for i in self._indices)
        )
        return tuple(
            Lane(
                SelectStems(lane.separator, self.stems),
                lane.plan,
                None if lane.weights is None else tuple(lane.weights[i] for i in self._indices),
            )
            for lane in lanes
        )
