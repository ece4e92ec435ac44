"""A track in blocks as accumulators read it, and the sums that energy ratios are made of."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from sonograd.errors import AudioError, ShapeError
from sonograd.functional._pairs import check_pair, wide

__all__ = ["Blocks", "Guard", "Sums", "error_energy"]

Blocks: TypeAlias = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Opens a track again: pairs of estimate and reference, ``(targets, channels, samples)`` each."""


class Guard:
    """Opens a track without its empty blocks, and with silence for targets that hold NaN.

    Attributes:
        errors: Why targets cannot be scored, by their index; complete after one pass.
    """

    def __init__(self, blocks: Blocks, *, reference: bool = True) -> None:
        """Wrap what opens the track; ``reference`` if the reference counts."""
        self._blocks = blocks
        self._sides = 2 if reference else 1
        self.errors: dict[int, AudioError] = {}

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the track.

        Raises:
            ShapeError: A block has another layout than those before.
        """
        layout: torch.Size | None = None
        place = 0
        for estimate, reference in self._blocks():
            if estimate.shape == reference.shape and estimate.ndim and not estimate.shape[-1]:
                continue
            check_pair(estimate, reference, dims=3)
            if estimate.ndim != 3 or layout not in {None, estimate.shape[:2]}:
                raise ShapeError(
                    f"a block has shape {tuple(estimate.shape)}; expected (targets, channels, "
                    "samples) with the same targets and channels throughout"
                )
            layout = estimate.shape[:2]
            sides = (("estimate", estimate), ("reference", reference))
            for name, x in sides[: self._sides]:
                if not bool(x.sum().isfinite()):
                    self._note(name, x, place)
            yield self._silenced(estimate), self._silenced(reference)
            place += estimate.shape[-1]

    def _silenced(self, x: Tensor) -> Tensor:
        if not self.errors:
            return x
        bad = torch.zeros(x.shape[0], 1, 1, dtype=torch.bool)
        bad[list(self.errors)] = True
        return x.masked_fill(bad.to(x.device), 0.0)

    def _note(self, name: str, x: Tensor, place: int) -> None:
        for target, signal in enumerate(x):
            wrong = (~signal.isfinite()).nonzero()
            if len(wrong) and target not in self.errors:
                channel, sample = wrong[wrong[:, 1].argmin()].tolist()
                self.errors[target] = AudioError(
                    f"{name} holds samples that are NaN or infinite, the first at sample "
                    f"{place + sample} of channel {channel}; a score would mean nothing"
                )


@dataclass(frozen=True)
class Sums:
    r"""What one pass over a track finds out, float64 ``(targets,)`` each.

    Attributes:
        product: :math:`\langle \hat s, s\rangle` over channels and samples.
        reference: :math:`\|s\|^2`.
        error: :math:`\|s - \hat s\|^2`.
        mix: Energy of the sum of all references, a scalar.
        means: Of estimate and reference, ``(2, targets, channels, 1)``; 0 unless centered.
    """

    product: Tensor
    reference: Tensor
    error: Tensor
    mix: Tensor
    means: Tensor

    @property
    def scale(self) -> Tensor:
        r""":math:`\alpha = \langle \hat s, s\rangle / \|s\|^2`."""
        return self.product / self.reference

    @classmethod
    def of(cls, blocks: Blocks, *, center: bool = False) -> "Sums":
        """Read a track once.

        Args:
            blocks: Opens the track.
            center: Take the mean of each channel from both signals; ``error`` and ``mix`` are
                those with means all the same.
        """
        shift: Tensor | None = None
        total = mix = first = torch.zeros(())
        samples = 0
        for estimate, reference in blocks():
            pair = torch.stack([wide(estimate), wide(reference)])
            if shift is None:
                # Near the mean, so that little is lost when the rest of it is taken out.
                shift = pair.mean(-1, True) if center else torch.zeros_like(pair[..., :1])
                total, mix = pair.new_zeros(3, *pair.shape[1:3]), pair.new_zeros(())
                first = torch.zeros_like(shift)
            error = pair[1] - pair[0]
            mix = mix + pair[1].sum(0).square().sum()
            if center:
                pair = pair - shift
                first = first + pair.sum(-1, True)
            parts = (pair[0] * pair[1], pair[1].square(), error.square())
            total = total + torch.stack([part.sum(-1) for part in parts])
            samples += pair.shape[-1]
        assert shift is not None
        product, energy, error = total
        if center:
            ours, theirs = (first / samples).squeeze(-1)
            product = product - samples * ours * theirs
            energy = (energy - samples * theirs * theirs).clamp(min=0.0)
        return cls(product.sum(-1), energy.sum(-1), error.sum(-1), mix, shift + first / samples)


def error_energy(blocks: Blocks, scale: Tensor, means: Tensor) -> Tensor:
    r"""Read a track once more for :math:`\|\alpha s - \hat s\|^2`, ``(targets,)``.

    Args:
        blocks: Opens the track.
        scale: :math:`\alpha`, ``(targets,)``.
        means: To subtract first, see :class:`Sums`.
    """
    total = torch.zeros_like(scale)
    for estimate, reference in blocks():
        ours, theirs = wide(estimate) - means[0], wide(reference) - means[1]
        total = total + (scale[:, None, None] * theirs - ours).square().sum((-2, -1))
    return total
