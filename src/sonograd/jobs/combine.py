"""Several models, or changed copies of a mix, as the one model of a run."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sonograd.errors import ParameterError
from sonograd.separators import Separator
from sonograd.zoo.lookup import ResolvedModel, resolve

__all__ = ["CombinedModel", "resolve_models"]


@dataclass(frozen=True)
class CombinedModel:
    """A weighted average of models, over changed copies of the mix; nothing is loaded yet.

    Attributes:
        members: The models.
        weights: How much each counts; all alike if empty.
        shifts: Copies of the mix that begin after some silence.
        swap_channels: One more copy with exchanged channels.
        invert: One more copy with the other sign.
    """

    members: tuple[ResolvedModel, ...]
    weights: tuple[float, ...] = ()
    shifts: int = 0
    swap_channels: bool = False
    invert: bool = False

    @property
    def name(self) -> str:
        """What to call it."""
        return "+".join(member.name for member in self.members)

    @property
    def path(self) -> Path | None:
        """Weights of the first member that has some."""
        return next((member.path for member in self.members if member.path is not None), None)

    @property
    def note(self) -> str:
        """What its users should know."""
        return " ".join(member.note for member in self.members if member.note)

    @property
    def sha256(self) -> str:
        """Hash of all that decides about the result."""
        parts = [
            [(member.name, member.sha256) for member in self.members],
            [self.weights, self.shifts, self.swap_channels, self.invert],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def load(self, *, sample_rate: int | None = None, channels: int | None = None) -> Separator:
        """Return the separator in evaluation mode.

        Args:
            sample_rate: Rate in Hz for models without weights; that of the others if None.
            channels: Channels for models without weights; those of the others if None.

        Raises:
            ParameterError: If the models do not fit together.
        """
        from sonograd.separators.ensemble import Ensemble, augmented

        trained = {
            number: member.load()
            for number, member in enumerate(self.members)
            if member.path is not None
        }
        first = next(iter(trained.values()), None)
        if first is not None:
            sample_rate, channels = first.sample_rate, first.channels
        separators = [
            trained[number]
            if number in trained
            else member.load(sample_rate=sample_rate, channels=channels)
            for number, member in enumerate(self.members)
        ]
        separator = separators[0]
        if len(separators) > 1:
            separator = Ensemble(separators, list(self.weights) or None)
        return augmented(
            separator,
            shifts=self.shifts,
            swap_channels=self.swap_channels,
            invert=self.invert,
        ).eval()


def resolve_models(
    model: str | os.PathLike[str],
    *,
    ensemble: Sequence[str | os.PathLike[str]] = (),
    weights: Sequence[float] = (),
    shifts: int = 0,
    swap_channels: bool = False,
    invert: bool = False,
) -> ResolvedModel | CombinedModel:
    """Find out which model, or average of models, is meant.

    Args:
        model: The first model.
        ensemble: Further ones.
        weights: How much each counts, the first included; all alike if empty.
        shifts: Copies of the mix that begin after up to half a second of silence.
        swap_channels: One more copy with exchanged channels, of each copy.
        invert: One more copy with the other sign, of each copy.

    Raises:
        ModelNotFoundError: If one is not there.
        ParameterError: If the weights do not fit the models.
    """
    found = resolve(model)
    if weights and len(weights) != len(ensemble) + 1:
        raise ParameterError(
            f"{len(weights)} weights for {len(ensemble) + 1} models; expected one for each, the "
            "first included."
        )
    if not ensemble and not shifts and not swap_channels and not invert:
        return found
    members = (found, *(resolve(other) for other in ensemble))
    return CombinedModel(members, tuple(weights), shifts, swap_channels, invert)
