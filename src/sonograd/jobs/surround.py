"""How the channels of a file go through a model that has another number of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sonograd.errors import AudioError

__all__ = ["ChannelLayout"]

#: Which channels form pairs, in the order of WAV files: front left and right, center, LFE,
#: back center or back left and right, side left and right.
_PAIRS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((0,),),
    2: ((0, 1),),
    3: ((0, 1), (2,)),
    4: ((0, 1), (2, 3)),
    5: ((0, 1), (2,), (3, 4)),
    6: ((0, 1), (2,), (3,), (4, 5)),
    7: ((0, 1), (2,), (3,), (4,), (5, 6)),
    8: ((0, 1), (2,), (3,), (4, 5), (6, 7)),
}


@dataclass(frozen=True)
class ChannelLayout:
    """Groups of channels that go through the model together.

    A group of one channel is repeated for a model that wants more, and its result averaged back.

    Attributes:
        groups: Channel numbers of each group; together all channels, in order.
        model_channels: Channels that the model wants.
    """

    groups: tuple[tuple[int, ...], ...]
    model_channels: int

    @classmethod
    def between(cls, channels: int, model_channels: int) -> "ChannelLayout":
        """Return the layout for a file with ``channels``.

        Equal numbers need no grouping. A mono model takes each channel alone. A stereo model takes
        left and right of front, back and side as pairs, center and LFE each as dual mono.

        Raises:
            AudioError: If there is no sensible way, for models with more than two channels.
        """
        if channels == model_channels:
            return cls((tuple(range(channels)),), model_channels)
        if model_channels == 1 or channels == 1:
            return cls(tuple((channel,) for channel in range(channels)), model_channels)
        if model_channels == 2:
            pairs = tuple(
                tuple(range(first, min(first + 2, channels))) for first in range(0, channels, 2)
            )
            return cls(_PAIRS.get(channels, pairs), model_channels)
        raise AudioError(
            f"it has {channels} channels and the model works on {model_channels}; "
            f"accepted are files with 1 or {model_channels} channels"
        )

    def split(self, chunk: Tensor) -> list[Tensor]:
        """Turn ``(channels, samples)`` into one ``(model_channels, samples)`` per group."""
        return [
            chunk[list(group)].expand(self.model_channels, -1)
            if len(group) == 1
            else chunk[list(group)]
            for group in self.groups
        ]

    def join(self, stems: Sequence[Tensor]) -> Tensor:
        """Turn one ``(stems, model_channels, samples)`` per group into all channels."""
        parts = [
            part.mean(dim=-2, keepdim=True) if len(group) == 1 else part
            for group, part in zip(self.groups, stems, strict=True)
        ]
        return torch.cat(parts, dim=-2)
