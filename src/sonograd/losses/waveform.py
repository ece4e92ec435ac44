"""Losses that compare waveforms sample by sample."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError
from sonograd.functional.spectral import stft
from sonograd.losses.base import Loss, Reduction, check_positive

__all__ = ["DC", "ESR", "L1", "L1SNR", "L2", "RMSE", "LogCosh", "QuantileMasked"]


class L1(Loss):
    r"""Mean absolute error of each signal, :math:`\frac1N \sum_n |\hat s_n - s_n|`.

    Args:
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.

    >>> import torch
    >>> L1()(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(1.)
    """

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        return (estimate - reference).abs().mean(dim=-1)


class L2(Loss):
    r"""Mean squared error of each signal, :math:`\frac1N \sum_n (\hat s_n - s_n)^2`.

    Args:
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.

    >>> import torch
    >>> L2()(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(2.)
    """

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        return (estimate - reference).square().mean(dim=-1)


class RMSE(Loss):
    r"""Root of the mean squared error of each signal, :math:`\|\hat s - s\| / \sqrt N`.

    The gradient of a perfect estimate is 0.

    Args:
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from ``(..., samples)``.

    >>> import torch
    >>> RMSE()(torch.tensor([4.0, 3.0]), torch.tensor([1.0, 0.0]))
    tensor(3.)
    """

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        norm: Tensor = torch.linalg.vector_norm(estimate - reference, dim=-1)
        return norm / math.sqrt(estimate.shape[-1])


class ESR(Loss):
    r"""Error-to-signal ratio, :math:`\|\hat s - s\|^2 / (\|s\|^2 + N \epsilon)`.

    Wright and Välimäki, *Perceptual loss function for neural modeling of audio systems*,
    doi:10.1109/ICASSP40776.2020.9052944. Below the power :math:`\epsilon` a reference counts as
    that loud: a silent one gives :math:`\frac1N\|\hat s\|^2 / \epsilon`, which is large.

    >>> ESR()(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0])).round(decimals=4)
    tensor(0.0100)
    """

    def __init__(self, *, epsilon: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Choose the power of silence.

        Args:
            epsilon: Mean square below which a reference is silence; positive. Raise it where
                quiet references must not outweigh the others.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``.
        """
        super().__init__(reduction=reduction)
        check_positive(epsilon=epsilon)
        self.epsilon = epsilon

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        error = (estimate - reference).square().mean(dim=-1)
        return error / (reference.square().mean(dim=-1) + self.epsilon)


class DC(Loss):
    r"""Difference of means, :math:`(\overline{\hat s} - \bar s)^2 / (\overline{s^2} + \epsilon)`.

    Wright and Välimäki, as :class:`ESR`, to which it is added: a filter ahead of that may remove
    what this one sees. A silent reference gives the squared mean over :math:`\epsilon`.

    >>> DC()(torch.tensor([1.5, -0.5]), torch.tensor([1.0, -1.0])).round(decimals=4)
    tensor(0.2500)
    """

    def __init__(self, *, epsilon: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Choose the power of silence, ``epsilon``, as for :class:`ESR`."""
        super().__init__(reduction=reduction)
        check_positive(epsilon=epsilon)
        self.epsilon = epsilon

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        offset = (estimate - reference).mean(dim=-1).square()
        return offset / (reference.square().mean(dim=-1) + self.epsilon)


class LogCosh(Loss):
    r"""Squares of small errors, absolute values of large: :math:`\frac1{aN}\sum\ln\cosh(a d_n)`.

    Here :math:`d = \hat s - s`. Chen et al., *Log hyperbolic cosine loss improves variational
    auto-encoder*, 2019. Errors of any size are fine; the hyperbolic cosine itself is not computed.

    >>> LogCosh(a=100.0)(torch.tensor([2.0]), torch.tensor([0.0])).round(decimals=3)
    tensor(1.9930)
    """

    def __init__(self, *, a: float = 1.0, reduction: Reduction = "mean") -> None:
        """Choose the bend.

        Args:
            a: The error where squares end is about ``1 / a``; positive.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``.
        """
        super().__init__(reduction=reduction)
        check_positive(a=a)
        self.a = a

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        scaled = self.a * (estimate - reference)
        values = scaled + nnf.softplus(-2 * scaled) - math.log(2)
        return values.mean(dim=-1) / self.a


class L1SNR(Loss):
    r"""Ratio of absolute values in dB, :math:`10 \lg \frac{|\hat s-s|_1+\epsilon}{|s|_1+\epsilon}`.

    :math:`|\cdot|_1` is the mean of absolute values. Watcharasupat et al., *A generalized bandsplit
    neural network for cinematic audio source separation*, doi:10.1109/OJSP.2023.3339428. With
    ``n_ffts``, the mean of this and the same ratio for real and imaginary parts of each spectrum.
    A silent reference gives the level of the estimate over :math:`\epsilon`.

    >>> L1SNR()(torch.tensor([1.1, -1.1]), torch.tensor([1.0, -1.0])).round(decimals=2)
    tensor(-10.)
    """

    def __init__(
        self,
        *,
        n_ffts: Sequence[int] = (),
        epsilon: float = 1e-5,
        reduction: Reduction = "mean",
    ) -> None:
        """Choose what is compared.

        Args:
            n_ffts: Transforms to compare besides waveforms; hop a quarter, Hann windows of unit
                sum.
            epsilon: Mean absolute value of silence; positive.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``.
        """
        super().__init__(reduction=reduction)
        check_positive(epsilon=epsilon)
        if any(n_fft < 4 for n_fft in n_ffts):
            raise ParameterError(f"n_ffts is {tuple(n_ffts)}; expected lengths of at least 4")
        self.n_ffts = tuple(n_ffts)
        self.epsilon = epsilon

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        error = estimate - reference
        values = [self._ratio(error, reference)]
        for n_fft in self.n_ffts:
            parts = []
            for x in (error, reference):
                spectrum = stft(x, n_fft=n_fft, hop_length=n_fft // 4) / (n_fft / 2)
                parts.append(torch.view_as_real(spectrum).flatten(-3))
            values.append(self._ratio(*parts))
        return torch.stack(values).mean(dim=0)

    def _ratio(self, error: Tensor, reference: Tensor) -> Tensor:
        above, below = error.abs().mean(dim=-1), reference.abs().mean(dim=-1)
        return 10 * torch.log10((above + self.epsilon) / (below + self.epsilon))


class QuantileMasked(Loss):
    r"""Mean of :math:`|\hat s_n - s_n|^p` over the samples where it is not among the largest.

    Which samples are left out is decided for each signal alone. Against references with faults in
    places: bleeding, clicks, late entries (Fabbro et al., *The sound demixing challenge 2023 -
    music demixing track*, doi:10.5334/tismir.171).

    >>> error = torch.tensor([0.0, 1.0, 2.0, 9.0])
    >>> QuantileMasked(quantile=0.75, power=1)(error, torch.zeros(4))
    tensor(1.)
    """

    def __init__(
        self, *, quantile: float = 0.95, power: float = 2.0, reduction: Reduction = "mean"
    ) -> None:
        """Choose how much is left out.

        Args:
            quantile: Share of the samples that counts, in (0, 1].
            power: Exponent :math:`p`, at least 1.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``.
        """
        super().__init__(reduction=reduction)
        if not 0 < quantile <= 1:
            raise ParameterError(f"quantile is {quantile}; expected a number in (0, 1]")
        if not power >= 1:
            raise ParameterError(f"power is {power}; expected a number >= 1")
        self.quantile = quantile
        self.power = power

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        error = (estimate - reference).abs()
        kept = max(1, math.floor(self.quantile * error.shape[-1] + 1e-9))
        smallest = error.topk(kept, dim=-1, largest=False, sorted=False).values
        # What is no number is among the largest, and must not go unseen.
        return smallest.pow(self.power).mean(dim=-1) + 0 * error.detach().sum(dim=-1)
