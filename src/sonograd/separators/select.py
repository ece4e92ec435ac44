"""Some of the stems of a separator."""

from collections.abc import Sequence

from torch import Tensor

from sonograd.config import suggest
from sonograd.errors import ParameterError
from sonograd.separators.base import Separator

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
        self._indices = [separator.stems.index(name) for name in stems]

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        stems: Tensor = self.separator(mix)
        return stems[:, self._indices]
