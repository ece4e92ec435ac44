"""Losses of stems in no particular order."""

import itertools

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.assignment import best_permutation
from sonograd.losses.base import Criterion, Loss, Reduction, as_float, check_signals, full_precision
from sonograd.shapes import check_floating

__all__ = ["MixtureInvariant", "PermutationInvariant"]


class PermutationInvariant(Criterion):
    """A loss of the best assignment between estimates and references.

    The assignment is found without gradient, in float64, from the loss of all pairs (for ratios of
    energies, from inner products); the loss is then differentiated once, for the pairs that were
    chosen. Yu et al., *Permutation invariant training of deep models for speaker-independent
    multi-talker speech separation*, doi:10.1109/ICASSP.2017.7952154.

    If there are more estimates than references, the surplus is left out, and the other way around;
    add silent references and a loss such as :class:`ThresholdedSNR` to silence a surplus.

    >>> from sonograd.losses import L1
    >>> stems = torch.tensor([[[1.0, 2.0]], [[5.0, 6.0]]])
    >>> PermutationInvariant(L1())(stems.flip(0), stems)
    tensor(0.)
    """

    def __init__(self, loss: Loss, *, reduction: Reduction = "mean") -> None:
        """Choose the loss of one pair.

        Args:
            loss: Of ``(..., channels, samples)``; its own reduction is not used.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., stems, channels, samples)``: the mean over the assigned stems.
        """
        super().__init__(reduction=reduction)
        if getattr(loss, "batch_coupled", False):
            raise ParameterError("the loss couples the batch; expected one with values per item")
        self.loss = loss

    def permutation(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return which estimate belongs to each reference, ``(..., references)``, -1 for none."""
        _check_groups(estimate, reference, "stems")
        return best_permutation(self.loss.pairwise(estimate, reference))

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: ``(..., estimates, channels, samples)``.
            reference: ``(..., references, channels, samples)``.

        Raises:
            ShapeError: If they differ in another axis than the stems.
            AudioError: If a value is NaN or infinite.
        """
        _check_groups(estimate, reference, "stems")
        estimate, reference = as_float(estimate), as_float(reference)
        costs = self.loss.pairwise(estimate, reference)
        if not costs.isfinite().all():
            self._reduce(costs, estimate=estimate, reference=reference)
            costs = torch.nan_to_num(costs)
        chosen = best_permutation(costs)
        count = min(estimate.shape[-3], reference.shape[-3])
        # The same number of pairs everywhere, those without a partner last.
        pairs = torch.sort((chosen < 0).to(torch.int8), dim=-1, stable=True).indices[..., :count]
        estimate = _take(estimate, chosen.gather(-1, pairs))
        reference = _take(reference, pairs)
        with full_precision(estimate):
            values = self.loss.per_item(estimate, reference).flatten(estimate.ndim - 3).mean(dim=-1)
        return self._reduce(values, estimate=estimate, reference=reference)


class MixtureInvariant(Criterion):
    """A loss of estimates that are added up to several known mixtures, in the best way.

    Training without stems: the network gets the sum of two songs and must make stems that can be
    put together to either. Wisdom et al., *Unsupervised sound separation using mixture invariant
    training*, arXiv:2006.12701. All assignments are tried in float64 without gradient, the best is
    differentiated.

    >>> from sonograd.losses import L1
    >>> stems = torch.tensor([[[1.0, 2.0]], [[5.0, 6.0]], [[0.0, 1.0]]])
    >>> mixtures = torch.stack([stems[1], stems[0] + stems[2]])
    >>> MixtureInvariant(L1())(stems, mixtures)
    tensor(0.)
    """

    def __init__(self, loss: Loss, *, reduction: Reduction = "mean") -> None:
        """Choose the loss of one mixture.

        Args:
            loss: Of ``(..., channels, samples)``, such as :class:`ThresholdedSNR`; its own
                reduction is not used.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``: the mean over
                mixtures.
        """
        super().__init__(reduction=reduction)
        if getattr(loss, "batch_coupled", False):
            raise ParameterError("the loss couples the batch; expected one with values per item")
        self.loss = loss

    def assignment(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return the number of the mixture that each estimate goes to, ``(..., estimates)``."""
        _check_groups(estimate, reference, "mixtures")
        stems, mixtures = estimate.shape[-3], reference.shape[-3]
        if mixtures**stems > 1 << 16:
            raise ParameterError(
                f"{stems} estimates for {mixtures} mixtures can be assigned in "
                f"{mixtures**stems} ways; expected at most 65536"
            )
        lead = estimate.ndim - 3
        with torch.no_grad(), full_precision(estimate):
            # The cost of a subset of the estimates for each mixture serves many assignments.
            subsets = torch.tensor(list(itertools.product((0, 1), repeat=stems)))
            costs = []
            for subset in subsets:
                total = estimate[..., subset.bool(), :, :].double().sum(dim=-3, keepdim=True)
                costs.append(self.loss.pairwise(total, reference).squeeze(-2))
            table = torch.stack(costs, dim=lead)
            options = torch.tensor(list(itertools.product(range(mixtures), repeat=stems)))
            weights = 1 << torch.arange(stems - 1, -1, -1)
            sums = torch.zeros_like(table[..., :1, 0])
            for mixture in range(mixtures):
                members = ((options == mixture).long() * weights).sum(dim=-1)
                sums = sums + table[..., members.to(table.device), mixture]
            return options.to(estimate.device)[sums.argmin(dim=-1)]

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: ``(..., stems, channels, samples)``.
            reference: ``(..., mixtures, channels, samples)``.

        Raises:
            ShapeError: If they differ in another axis than the third from the end.
            ParameterError: If there are too many assignments to try.
            AudioError: If a value is NaN or infinite.
        """
        chosen = self.assignment(estimate, reference)
        estimate, reference = as_float(estimate), as_float(reference)
        member = torch.nn.functional.one_hot(chosen, reference.shape[-3]).to(estimate)
        with full_precision(estimate):
            totals = torch.einsum("...sct,...sm->...mct", estimate, member)
            values = self.loss.per_item(totals, reference).flatten(estimate.ndim - 3).mean(dim=-1)
        return self._reduce(values, estimate=estimate, reference=reference)


def _check_groups(estimate: Tensor, reference: Tensor, group: str) -> None:
    shapes = tuple(estimate.shape), tuple(reference.shape)
    for name, x in (("estimate", estimate), ("reference", reference)):
        check_floating(x, name=name)
    if min(map(len, shapes)) < 3:
        raise ShapeError(
            f"estimate has shape {shapes[0]} and reference {shapes[1]}; expected "
            f"(..., stems, channels, samples) and (..., {group}, channels, samples). "
            "For mono signals without the axis of channels: x.unsqueeze(-2)."
        )
    if shapes[0][:-3] != shapes[1][:-3] or shapes[0][-2:] != shapes[1][-2:]:
        raise ShapeError(
            f"estimate has shape {shapes[0]} but reference has {shapes[1]}; they must be equal "
            "but for the third axis from the end (nothing is broadcast)."
        )
    check_signals(estimate, estimate)
    check_signals(reference, reference)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Pick signals ``(..., n, channels, samples)`` by ``(..., m)``."""
    return x.take_along_dim(index[..., None, None], dim=-3)
