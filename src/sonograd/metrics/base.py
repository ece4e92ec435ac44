"""What every accumulator is: it scores tracks one at a time and keeps every score.

How to use one, whatever it measures::

    metric = BSSEval(sample_rate=44100)                # every constructor takes the sample rate
    for song in songs:                                 # tensors (targets, channels, samples)
        scores = metric.update(estimates, references, track=song.name, targets=song.stems)
        scores[0].values                               # {"bss_v4_sdr": 6.1, "bss_v4_isr": ...}
        scores[0].reason                               # why a value is NaN, or ""
    metric.compute()["bss_v4_sdr"].median              # over all tracks and targets
    metric.compute(target="vocals")["bss_v4_sdr"].mean
    metric.scores                                      # all of them, with their frames

Long songs need not be held in memory: ``metric.update_blocks(open_blocks, ...)`` takes a function
that returns a fresh iterator over pairs of blocks ``(targets, channels, any number)``.

Scores merge: ``metric.merge(other)`` adds those of another process, ``metric.gathered()`` those of
all processes of a ``torch.distributed`` group, ``state_dict()`` is plain data (JSON as it is).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional._pairs import Lengths, check_pair, lengths_tensor
from sonograd.metrics._blocks import Blocks, Guard
from sonograd.metrics.scores import Score, Statistic, summarize

__all__ = ["Accumulator", "Blocks"]

_NO_SAMPLES = "the track has no samples: blocks() gave no blocks"


class Accumulator(ABC):
    """Base class of metrics that score track after track.

    A subclass names itself and writes :meth:`measure`. Values that cannot be had (NaN samples, a
    silent reference, a clip too short) become NaN with a reason, and the rest goes on; shapes
    that do not fit raise.
    """

    name: ClassVar[str]
    """Exact name of the metric."""
    version: ClassVar[str] = "1"
    """Changes whenever a value would."""
    value_names: ClassVar[tuple[str, ...]]
    """Names of the values of a score; each names its definition."""
    unit: ClassVar[str] = "dB"
    higher_is_better: ClassVar[bool | None] = True
    """Order of the values; None if they have none. :meth:`direction` knows exceptions."""
    improvable: ClassVar[frozenset[str] | None] = None
    """Values of which a difference from those of the mix says something; None for all of them."""
    best: ClassVar[float | None] = None
    """The best value if neither the highest nor the lowest is."""
    joint: ClassVar[bool] = False
    """Whether all targets of a track are needed at once."""
    streams: ClassVar[bool] = False
    """Whether :meth:`update_blocks` holds no more than a block of the track at a time."""
    compares: ClassVar[bool] = True
    """Whether the reference matters."""

    def __init__(self, *, sample_rate: int) -> None:
        """Start without scores.

        Args:
            sample_rate: Of everything that will be scored, in Hz.
        """
        if not (sample_rate > 0 and math.isfinite(sample_rate)):
            raise ParameterError(f"sample_rate is {sample_rate}; expected a positive number of Hz")
        self.sample_rate = sample_rate
        self._scores: list[Score] = []
        self._places: dict[tuple[str, str], int] = {}

    @abstractmethod
    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Measure one track, or one target of it if the metric is not ``joint``.

        Args:
            estimate: ``(targets, channels, samples)``, finite.
            reference: The same shape.

        Returns:
            For each name in ``value_names`` a tensor ``(targets,)``, or ``(targets, frames)`` of
            which the value is the median of the frames that are numbers.

        Raises:
            AudioError: The track cannot be scored.
        """

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Measure all targets of one track that comes in blocks; only if ``streams``.

        Args:
            blocks: Opens the track; its blocks have one layout, hold samples, and are finite.
        """
        raise NotImplementedError(f"{self.name} needs the whole track")

    @classmethod
    def direction(cls, name: str) -> Literal[-1, 0, 1]:
        """Return 1 if higher values of ``name`` are better, -1 if lower ones are, 0 if neither.

        Raises:
            ParameterError: The metric has no such value.
        """
        cls._check_name(name)
        if cls.higher_is_better is None:
            return 0
        return 1 if cls.higher_is_better else -1

    @classmethod
    def improvement(cls, name: str, value: float, mixture: float) -> float:
        """Return how much better an estimate is than the mix in its place.

        Args:
            name: One of ``value_names``.
            value: Of the estimate.
            mixture: Of the mix as the estimate.

        Returns:
            Positive if the estimate is better; NaN if the difference says nothing, as of values
            that have no order, or that a mix has by construction (its artifacts).

        Raises:
            ParameterError: The metric has no such value.

        >>> from sonograd.metrics import BSSEvalV4, LogSpectralDistance
        >>> BSSEvalV4.improvement("bss_v4_sdr", 6.0, 1.5)
        4.5
        >>> LogSpectralDistance.improvement("log_spectral_distance", 6.0, 8.0)
        2.0
        >>> BSSEvalV4.improvement("bss_v4_sar", 6.0, 280.0)
        nan
        """
        direction = cls.direction(name)
        if cls.improvable is not None and name not in cls.improvable:
            return math.nan
        if cls.best is not None:
            return abs(mixture - cls.best) - abs(value - cls.best)
        return direction * (value - mixture) if direction else math.nan

    @classmethod
    def _check_name(cls, name: str) -> None:
        if name not in cls.value_names:
            raise ParameterError(
                f"{cls.name} has no value {name!r}; expected one of {', '.join(cls.value_names)}"
            )

    @property
    def options(self) -> Mapping[str, Any]:
        """What distinguishes this accumulator from others of its class, as plain data."""
        return {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, (int, float, str, bool, type(None))) and not name.startswith("_")
        }

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every score so far, in the order in which they came."""
        return tuple(self._scores)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets that were scored, in the order in which they came."""
        return tuple(dict.fromkeys(score.target for score in self._scores))

    def update(
        self,
        estimate: Tensor,
        reference: Tensor,
        *,
        track: str | Sequence[str] = "",
        targets: Sequence[str] | None = None,
        lengths: Lengths | None = None,
    ) -> list[Score]:
        """Score one track, or a batch of tracks.

        Args:
            estimate: ``(channels, samples)``, ``(targets, channels, samples)``, or a batch
                ``(batch, targets, channels, samples)``.
            reference: The same shape.
            track: Name of the track, or one for each item of a batch. A track that is scored
                again replaces its score; without a name each one counts.
            targets: Names of the targets; numbers if None and there are several.
            lengths: Samples that count in each item of a batch; all if None.

        Returns:
            The new scores, one per track and target.

        Raises:
            ShapeError: The shapes differ or are none of those above.
        """
        check_pair(estimate, reference, dims=2)
        if estimate.ndim > 4:
            raise ShapeError(
                f"estimate has shape {tuple(estimate.shape)}; expected (channels, samples), "
                "(targets, channels, samples) or (batch, targets, channels, samples)"
            )
        shape = (1,) * (4 - estimate.ndim) + tuple(estimate.shape)
        batch, count = shape[:2]
        tracks = [track] * batch if isinstance(track, str) else list(track)
        names = self._names(targets, count)
        if len(tracks) != batch or len(names) != count:
            raise ShapeError(
                f"there are names for {len(tracks)} tracks and {len(names)} targets, but estimate "
                f"has shape {tuple(estimate.shape)}"
            )
        if batch > 1 and isinstance(track, str) and track:
            raise ParameterError(
                f"track is {track!r} for a batch of {batch}; expected a name for each of them"
            )
        cuts = [shape[-1]] * batch
        if lengths is not None:
            whole = estimate.reshape(shape).shape
            cuts = lengths_tensor(lengths, whole, keep=3).expand(batch).tolist()
        new: list[Score] = []
        pairs = zip(estimate.reshape(shape), reference.reshape(shape), strict=True)
        for (ours, theirs), cut, title in zip(pairs, cuts, tracks, strict=True):
            new += self._score(ours[..., :cut].detach(), theirs[..., :cut].detach(), title, names)
        self._keep(new)
        return new

    def update_blocks(
        self, blocks: Blocks, *, track: str = "", targets: Sequence[str] | None = None
    ) -> list[Score]:
        """Score one track that comes in blocks, for example from files.

        Args:
            blocks: Called whenever the track is needed from its start; returns pairs of estimate
                and reference, ``(targets, channels, samples)`` each, the last of any length.
            track: As in :meth:`update`.
            targets: As in :meth:`update`.
        """
        if not self.streams:
            pairs = list(blocks())
            if not pairs:
                raise ShapeError(_NO_SAMPLES)
            estimate, reference = (torch.cat(parts, dim=-1) for parts in zip(*pairs, strict=True))
            del pairs
            check_pair(estimate, reference, dims=3)
            return self.update(estimate, reference, track=track, targets=targets)
        guard = Guard(blocks, reference=self.compares)
        first = next(guard(), None)
        if first is None:
            raise ShapeError(_NO_SAMPLES)
        count = first[0].shape[0]
        names = self._names(targets, count)
        if len(names) != count:
            raise ShapeError(f"there are {len(names)} names of targets for blocks of {count}")
        try:
            new = self._present(self.measure_blocks(guard), track, names)
        except AudioError as error:
            new = [self._failure(track, name, error) for name in names]
        for index, reason in guard.errors.items():
            for bad in range(count) if self.joint else (index,):
                new[bad] = self._failure(track, names[bad], reason)
        self._keep(new)
        return new

    def compute(self, *, target: str | None = None) -> dict[str, Statistic]:
        """Summarize.

        Args:
            target: Only scores of this target; all of them if None.

        Returns:
            A statistic for each name in ``value_names``, the same in whatever order and in however
            many processes the tracks were scored.
        """
        chosen = [s for s in self._scores if target is None or s.target == target]
        return {name: summarize([s.values[name] for s in chosen]) for name in self.value_names}

    def reset(self) -> None:
        """Forget all scores."""
        self._scores.clear()
        self._places.clear()

    def merge(self, other: "Accumulator") -> None:
        """Add the scores of ``other``, which must measure the same.

        Raises:
            ParameterError: The metrics, their versions or their options differ.
        """
        ours, theirs = self._identity(), other._identity()
        if ours != theirs:
            raise ParameterError(f"cannot merge scores of {theirs} into those of {ours}")
        self._keep(list(other._scores))

    def state_dict(self) -> dict[str, Any]:
        """Return all scores as plain data, which JSON can hold (with NaN)."""
        scores = [
            {
                "track": score.track,
                "target": score.target,
                "values": dict(score.values),
                "frames": {name: list(values) for name, values in score.frames.items()},
                "reason": score.reason,
            }
            for score in self._scores
        ]
        return {**self._identity(), "scores": scores}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace all scores by those of :meth:`state_dict`.

        Raises:
            ParameterError: The state is that of another metric, version or options.
        """
        theirs = {name: state.get(name) for name in self._identity()}
        if theirs != self._identity():
            raise ParameterError(f"cannot load scores of {theirs} into {self._identity()}")
        self.reset()
        self._keep(
            [
                Score(
                    entry["track"],
                    entry["target"],
                    dict(entry["values"]),
                    {name: tuple(values) for name, values in entry["frames"].items()},
                    entry["reason"],
                )
                for entry in state["scores"]
            ]
        )

    def gathered(self, group: Any = None) -> Self:
        """Return a copy with the scores of all processes of a ``torch.distributed`` group.

        Every process of the group must call it. Without a running group it is just a copy.
        """
        merged = copy.copy(self)
        merged._scores, merged._places = [], {}
        states: list[Any] = [self.state_dict()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size(group)
            torch.distributed.all_gather_object(states, self.state_dict(), group=group)
        part = copy.copy(merged)
        for state in states:
            part._scores, part._places = [], {}
            part.load_state_dict(state)
            merged.merge(part)
        return merged

    def __repr__(self) -> str:
        """Name, version, options and the number of scores."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options}; {len(self._scores)} scores)"

    def _identity(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "options": dict(self.options)}

    @staticmethod
    def _names(targets: Sequence[str] | None, count: int) -> list[str]:
        if targets is not None:
            return list(targets)
        return [""] if count == 1 else [str(index) for index in range(count)]

    def _score(self, ours: Tensor, theirs: Tensor, track: str, names: Sequence[str]) -> list[Score]:
        """Score one track, all targets at once or one by one."""
        step = len(names) if self.joint else 1
        scores: list[Score] = []
        for start in range(0, len(names), step):
            part = slice(start, start + step)
            try:
                values = self.measure(ours[part], theirs[part])
                scores += self._present(values, track, names[part])
            except AudioError as error:
                scores += [self._failure(track, name, error) for name in names[part]]
        return scores

    def _present(
        self, measured: Mapping[str, Tensor], track: str, names: Sequence[str]
    ) -> list[Score]:
        scores: list[Score] = []
        for index, name in enumerate(names):
            values: dict[str, float] = {}
            frames: dict[str, tuple[float, ...]] = {}
            for key in self.value_names:
                value = measured[key][index]
                if value.ndim:
                    frames[key] = tuple(value.tolist())
                    values[key] = summarize(frames[key]).median
                else:
                    values[key] = value.item()
            lost = [key for key, value in values.items() if math.isnan(value)]
            scores.append(Score(track, name, values, frames, self.explain(lost) if lost else ""))
        return scores

    def explain(self, names: Sequence[str]) -> str:
        """Say why the values ``names`` can be NaN although nothing was wrong with the audio."""
        if not names:
            return ""
        return f"{', '.join(names)} not defined: the reference or the estimate is silent"

    def _failure(self, track: str, target: str, error: Exception) -> Score:
        return Score(track, target, dict.fromkeys(self.value_names, math.nan), {}, str(error))

    def _keep(self, scores: Iterable[Score]) -> None:
        for score in scores:
            key = (score.track, score.target)
            if score.track and key in self._places:
                self._scores[self._places[key]] = score
                continue
            self._places[key] = len(self._scores)
            self._scores.append(score)
