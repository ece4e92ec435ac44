"""Losses of weighted signals: frequencies count as the ear hears them."""

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError
from sonograd.functional.weighting import (
    EmphasisKind,
    a_weighting,
    k_weighting,
    pre_emphasis,
)
from sonograd.losses.base import (
    Loss,
    Reduction,
    as_float,
    check_positive,
    check_signals,
    full_precision,
)
from sonograd.losses.ratios import mix_power

__all__ = ["AWeighting", "KWeighting", "LogWMSE", "PreEmphasis", "Prefiltered"]


class AWeighting(nn.Module):
    """A-weighting of signals, see :func:`sonograd.functional.a_weighting`."""

    def __init__(self, *, sample_rate: float) -> None:
        """Remember the sample rate in Hz."""
        super().__init__()
        check_positive(sample_rate=sample_rate)
        self.sample_rate = sample_rate

    def forward(self, x: Tensor) -> Tensor:
        """Weight ``(..., samples)``."""
        return a_weighting(x, sample_rate=self.sample_rate)


class KWeighting(nn.Module):
    """K-weighting of signals, see :func:`sonograd.functional.k_weighting`."""

    def __init__(self, *, sample_rate: float) -> None:
        """Remember the sample rate in Hz."""
        super().__init__()
        check_positive(sample_rate=sample_rate)
        self.sample_rate = sample_rate

    def forward(self, x: Tensor) -> Tensor:
        """Weight ``(..., samples)``."""
        return k_weighting(x, sample_rate=self.sample_rate)


class PreEmphasis(nn.Module):
    """High frequencies raised by one tap, see :func:`sonograd.functional.pre_emphasis`."""

    def __init__(self, *, coefficient: float = 0.85, kind: EmphasisKind = "high_pass") -> None:
        """Choose the tap, which suits a sample rate of 44.1 kHz."""
        super().__init__()
        pre_emphasis(torch.zeros(1), coefficient=coefficient, kind=kind)
        self.coefficient = coefficient
        self.kind: EmphasisKind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``(..., samples)``."""
        return pre_emphasis(x, coefficient=self.coefficient, kind=self.kind)


class Prefiltered(Loss):
    """A loss of two signals that were filtered alike before.

    >>> from sonograd.losses import ESR
    >>> loss = Prefiltered(ESR(), PreEmphasis())
    >>> loss(torch.zeros(8), torch.ones(8)).round(decimals=4)
    tensor(1.)
    """

    def __init__(self, loss: Loss, prefilter: nn.Module, *, reduction: Reduction = "mean") -> None:
        """Choose the loss and the filter.

        Args:
            loss: Its own reduction is not used.
            prefilter: From ``(..., samples)`` to the same, such as :class:`AWeighting`,
                :class:`KWeighting` or :class:`PreEmphasis`.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the items of ``loss``.
        """
        super().__init__(reduction=reduction)
        if getattr(loss, "batch_coupled", False) and reduction != "mean":
            raise ParameterError(f"the loss couples the batch; reduction is {reduction!r}")
        self.loss = loss
        self.prefilter = prefilter

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per item of the loss."""
        return self.loss.per_item(self.prefilter(estimate), self.prefilter(reference))


class LogWMSE(Loss):
    r"""Logarithm of the weighted error, relative to what the stem was taken out of.

    .. math::
        4 \ln \Big( \frac{\|w * (\hat s - s)\|^2}{\|w * x\|^2} + 10^{-8} \Big)

    with K-weighting :math:`w` and the mix :math:`x`. Silent stems are a case like any other, since
    the mix is the measure; from -73.7 (perfect) upwards. After logWMSE (Nomono, 2023), whose filter
    is another one: values are alike, not equal.

    >>> loss, stem = LogWMSE(sample_rate=8000), torch.sin(torch.arange(800.0))
    >>> loss(stem, stem, mix=2 * stem).round(decimals=1)
    tensor(-73.7000)
    """

    def __init__(
        self, *, sample_rate: float, silence_db: float = -90.0, reduction: Reduction = "mean"
    ) -> None:
        """Choose the level of silence.

        Args:
            sample_rate: In Hz.
            silence_db: Weighted power below which a mix counts as this loud.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``.
        """
        super().__init__(reduction=reduction)
        check_positive(sample_rate=sample_rate)
        self.sample_rate = sample_rate
        self.silence_db = silence_db

    def forward(self, estimate: Tensor, reference: Tensor, mix: Tensor | None = None) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: ``(..., samples)``.
            reference: The same shape.
            mix: What the stems are part of: the same shape, but it may have size 1 where there
                are several stems, as ``mix.unsqueeze(-3)`` for ``(..., stems, channels,
                samples)``. If None, the reference takes its place.
        """
        check_signals(estimate, reference)
        with full_precision(estimate):
            weighted = None if mix is None else self._weight(as_float(mix))
            power = None if weighted is None else mix_power(weighted, estimate)
            values = self._values(as_float(estimate), as_float(reference), power)
        return self._reduce(values, estimate=estimate, reference=reference)

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        return self._values(estimate, reference, None)

    def _values(self, estimate: Tensor, reference: Tensor, mix: Tensor | None) -> Tensor:
        error = self._weight(estimate - reference).square().mean(dim=-1)
        if mix is None:
            mix = self._weight(reference).square().mean(dim=-1)
        return 4 * torch.log(error / mix.clamp(min=10 ** (self.silence_db / 10)) + 1e-8)

    def _weight(self, x: Tensor) -> Tensor:
        return k_weighting(x, sample_rate=self.sample_rate)
