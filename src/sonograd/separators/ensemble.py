"""Several separators as one: averages of models, of time shifts and of other changed copies."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.stream import Lane
from sonograd.separators.survey import Blocks, Survey, WrappedSurvey
from sonograd.shapes import check_batch

__all__ = ["Ensemble", "TimeShifts", "Transformed", "augmented", "draw_shifts"]


class Ensemble(Separator):
    """A weighted average of separators, stem by stem.

    Each member cuts a mix as it would alone; their stems are joined by name. A stem that no member
    with a weight above 0 has is left out. Chunk sizes may differ, rates and channels may not.
    """

    def __init__(
        self,
        members: Sequence[Separator],
        weights: Sequence[float] | Sequence[Sequence[float]] | None = None,
        *,
        stems: Sequence[str] | None = None,
    ) -> None:
        """Join ``members``.

        Args:
            members: Separators with one sample rate and number of channels.
            weights: One number per member, or a row of numbers per member with one per stem in
                the order of ``stems``; all 1 if None. A bag of published models has such rows.
            stems: Stems of the result; those that all members have, in the order of the first, if
                None.

        Raises:
            ParameterError: If the members do not fit together, or the weights not to them.
        """
        super().__init__()
        if not members:
            raise ParameterError("there are no members; expected one separator or more")
        first = members[0]
        _check_order(members)
        for member in members[1:]:
            ours = (member.sample_rate, member.channels)
            if ours != (first.sample_rate, first.channels):
                raise ParameterError(
                    f"{type(member).__name__} works on {ours[1]} channels at {ours[0]} Hz, but "
                    f"{type(first).__name__} on {first.channels} at {first.sample_rate} Hz; "
                    "members of an ensemble need the same"
                )
        common = [stem for stem in first.stems if all(stem in other.stems for other in members)]
        self.stems = tuple(common if stems is None else stems)
        self.members = nn.ModuleList(members)
        self.weights = _rows(weights, len(members), len(self.stems))
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.plan = max((member.plan for member in members), key=lambda plan: plan.input_length)
        self._check_stems()

    def _check_stems(self) -> None:
        if not self.stems:
            names = "; ".join(", ".join(member.stems) for member in self._separators())
            raise ParameterError(f"the members have no stem in common: {names}")
        for index, stem in enumerate(self.stems):
            for member, row in zip(self._separators(), self.weights, strict=True):
                if row[index] and stem not in member.stems:
                    raise ParameterError(
                        f"{type(member).__name__} has no stem {stem!r}, only "
                        f"{', '.join(member.stems)}; give it the weight 0 there"
                    )
            if not sum(row[index] for row in self.weights) > 0:
                raise ParameterError(f"the weights of {stem!r} add up to nothing; expected more")

    def _separators(self) -> list[Separator]:
        return [member for member in self.members if isinstance(member, Separator)]

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        weights = torch.tensor(self.weights, dtype=mix.dtype, device=mix.device)
        total: Tensor | None = None
        for member, row in zip(self._separators(), weights, strict=True):
            stems = _arranged(member, self.stems)(mix) * row[:, None, None]
            total = stems if total is None else total + stems
        assert total is not None
        return total / weights.sum(0)[:, None, None]

    def lanes(self, plan: ChunkPlan | None = None) -> tuple[Lane, ...]:
        """Return the lanes of all members.

        Args:
            plan: Its overlap, as a part of a chunk, is that of every member; their own if None or
                if it is the plan of this ensemble.
        """
        lanes = []
        for member, row in zip(self._separators(), self.weights, strict=True):
            chosen = member.plan
            if plan is not None and plan != self.plan:
                chosen = member.plan.with_overlap(1 - plan.hop / plan.length)
            arranged = _arranged(member, self.stems)
            inner = arranged.lanes(chosen)
            for lane in inner:
                own = lane.weights or (1.0,) * len(self.stems)
                # Every member counts as a whole, however many lanes it has.
                totals = [
                    sum((other.weights or (1.0,) * len(self.stems))[stem] for other in inner)
                    for stem in range(len(self.stems))
                ]
                weights = tuple(
                    weight * part / (total or 1.0)
                    for weight, part, total in zip(row, own, totals, strict=True)
                )
                lanes.append(Lane(lane.separator, lane.plan, weights))
        return tuple(lanes)


def _check_order(members: Sequence[Separator]) -> None:
    """Refuse stems that cannot be averaged, since nothing says which ones belong together."""
    for member in members:
        if member.interchangeable:
            raise ParameterError(
                f"{type(member).__name__} gives {', '.join(member.stems)} in any order, so that "
                "they cannot be averaged over models or copies; use it alone, or set "
                "interchangeable to false in its model.json if they have an order"
            )


def _rows(
    weights: Sequence[float] | Sequence[Sequence[float]] | None, members: int, stems: int
) -> tuple[tuple[float, ...], ...]:
    """Return a row of weights per member."""
    given: Sequence[float | Sequence[float]] = [1.0] * members if weights is None else weights
    rows = tuple(
        tuple(map(float, row)) if isinstance(row, Sequence) else (float(row),) * stems
        for row in given
    )
    if len(rows) != members or any(len(row) != stems for row in rows):
        raise ParameterError(
            f"weights are {weights}; expected {members} numbers, or {members} rows of {stems}"
        )
    if any(not 0 <= part < float("inf") for row in rows for part in row):
        raise ParameterError(f"weights are {weights}; expected numbers of at least 0")
    return rows


class Transformed(Separator):
    """A separator that hears a changed copy of the mix; the change is undone on the stems.

    A member has the stems that are asked for, in their order; silence stands for those that it
    does not have.
    """

    def __init__(
        self,
        separator: Separator,
        *,
        stems: Sequence[str] | None = None,
        swap_channels: bool = False,
        invert: bool = False,
    ) -> None:
        """Wrap a separator.

        Args:
            separator: What hears the copy.
            stems: Stems to return; those of ``separator`` if None.
            swap_channels: Exchange the channels, the first with the last.
            invert: Change the sign.
        """
        super().__init__()
        self.separator = separator
        self.stems = separator.stems if stems is None else tuple(stems)
        self.sample_rate, self.channels = separator.sample_rate, separator.channels
        self.plan = separator.plan
        self.interchangeable = separator.interchangeable
        self._swap, self._sign = swap_channels, -1.0 if invert else 1.0
        names = separator.stems
        self._indices = [names.index(stem) if stem in names else len(names) for stem in self.stems]

    def change(self, x: Tensor) -> Tensor:
        """Change ``(..., channels, samples)``; twice gives what it was."""
        x = x.flip(-2) if self._swap else x
        return x if self._sign > 0 else -x

    def choose(self, stems: Tensor) -> Tensor:
        """Return the stems that were asked for, of ``(..., stems, channels, samples)``."""
        if self._indices == list(range(stems.shape[-3])):
            return stems
        missing = torch.zeros_like(stems[..., :1, :, :])
        return torch.cat([stems, missing], dim=-3)[..., self._indices, :, :]

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        return self.choose(self.change(self.separator(self.change(mix))))

    def survey(
        self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None
    ) -> Survey | None:
        """Return a survey of the changed mix, if the separator wants one."""
        survey = self.separator.survey(plan, blocks=blocks)
        return None if survey is None else _TransformedSurvey(survey, self)

    def lanes(self, plan: ChunkPlan | None = None) -> tuple[Lane, ...]:
        """Return the lanes of the separator, each with this change."""
        inner = self.separator.lanes(self.plan if plan is None else plan)
        if len(inner) == 1 and inner[0].separator is self.separator:
            return (Lane(self, inner[0].plan, inner[0].weights),)
        return tuple(
            Lane(
                Transformed(
                    lane.separator,
                    stems=self.stems,
                    swap_channels=self._swap,
                    invert=self._sign < 0,
                ),
                lane.plan,
                None
                if lane.weights is None
                else tuple((*lane.weights, 0.0)[index] for index in self._indices),
            )
            for lane in inner
        )


class _TransformedSurvey(WrappedSurvey):
    """A survey of a changed mix."""

    def __init__(self, survey: Survey, change: Transformed) -> None:
        super().__init__(survey)
        self._change = change

    def look(self, chunk: Tensor, index: int, samples: int | None) -> Any:
        return self.inner.look(self._change.change(chunk), index, samples)

    def prepare(self, block: Tensor) -> Tensor:
        return self.inner.prepare(self._change.change(block))

    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        return self._change.choose(self.inner.separate(chunks, indices))

    def restore(self, stems: Tensor) -> Tensor:
        return self._change.change(self.inner.restore(stems))


def _arranged(separator: Separator, stems: tuple[str, ...]) -> Separator:
    return separator if separator.stems == stems else Transformed(separator, stems=stems)


class TimeShifts(Separator):
    """An average over copies of a mix that begin after some silence.

    Chunks then lie elsewhere, and what depends on that is averaged out.
    """

    def __init__(self, separator: Separator, shifts: Sequence[int]) -> None:
        """Wrap a separator.

        Args:
            separator: What hears the copies.
            shifts: Samples of silence before each copy; see :func:`draw_shifts`.

        Raises:
            ParameterError: If there are no shifts, or one is negative.
        """
        super().__init__()
        _check_order([separator])
        if not shifts or min(shifts) < 0:
            raise ParameterError(
                f"shifts are {list(shifts)}; expected one or more numbers of samples, at least 0"
            )
        self.separator = separator
        self.shifts = tuple(shifts)
        self.stems = separator.stems
        self.sample_rate, self.channels = separator.sample_rate, separator.channels
        self.plan = separator.plan

    def forward(self, mix: Tensor) -> Tensor:
        """Separate one chunk, without shifts."""
        stems: Tensor = self.separator(mix)
        return stems

    def lanes(self, plan: ChunkPlan | None = None) -> tuple[Lane, ...]:
        """Return the lanes of the separator once per shift."""
        return tuple(
            Lane(lane.separator, lane.plan.shifted(shift), lane.weights)
            for shift in self.shifts
            for lane in self.separator.lanes(self.plan if plan is None else plan)
        )


def draw_shifts(count: int, sample_rate: int, *, seed: int = 0, most: float = 0.5) -> list[int]:
    """Draw shifts of up to ``most`` seconds, always the same for one ``seed``.

    >>> draw_shifts(2, 1000) == draw_shifts(2, 1000)
    True
    """
    generator = random.Random(seed)
    return [generator.randint(0, int(most * sample_rate)) for _ in range(count)]


def augmented(
    separator: Separator,
    *,
    shifts: int = 0,
    swap_channels: bool = False,
    invert: bool = False,
    seed: int = 0,
) -> Separator:
    """Average a separator over changed copies of the mix.

    Args:
        separator: What hears the copies.
        shifts: Copies that begin after up to half a second of silence; 0 for none.
        swap_channels: One more copy with exchanged channels, of each copy so far.
        invert: One more copy with the other sign.
        seed: Decides about the shifts.

    Returns:
        The separator itself if nothing is asked for.
    """
    copies = [separator]
    if swap_channels and separator.channels > 1:
        copies.append(Transformed(separator, swap_channels=True))
    if invert:
        copies.append(Transformed(separator, invert=True))
    result = separator if len(copies) == 1 else Ensemble(copies)
    if shifts:
        return TimeShifts(result, draw_shifts(shifts, separator.sample_rate, seed=seed))
    return result
