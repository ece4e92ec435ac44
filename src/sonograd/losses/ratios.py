"""Energy ratios as losses, in dB: lower is better."""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.pairwise import inner_products
from sonograd.losses.base import (
    Loss,
    Reduction,
    as_float,
    check_positive,
    check_signals,
    full_precision,
)

__all__ = ["SASDR", "SDSDR", "SISDR", "SNR", "LogEnergy", "ThresholdedSNR"]

#: Energies far below that of any signal at a level of -120 dB.
_TINY = 1e-14


class _Ratio(Loss):
    """Base of ratios between the energies of a target and of an error."""

    def __init__(
        self, *, zero_mean: bool = False, epsilon: float = 1e-8, reduction: Reduction = "mean"
    ) -> None:
        """Choose where the ratio levels off.

        Args:
            zero_mean: Subtract the mean of each signal first.
            epsilon: Energy of an error that no longer matters, relative to that of the signal:
                the default caps the ratio at 80 dB, smoothly. Positive.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., samples)``.
        """
        super().__init__(reduction=reduction)
        check_positive(epsilon=epsilon)
        self.zero_mean = zero_mean
        self.epsilon = epsilon

    @abstractmethod
    def _energies(self, estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the energies of the target, of the error, and what the cap is relative to."""

    @abstractmethod
    def _from_products(
        self, squares: Tensor, products: Tensor, energies: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same of all pairs, from inner products."""

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        if self.zero_mean:
            estimate = estimate - estimate.mean(dim=-1, keepdim=True)
            reference = reference - reference.mean(dim=-1, keepdim=True)
        return self._decibels(*self._energies(estimate, reference))

    def pairwise(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return the value of every estimate against every reference, without gradient.

        As :meth:`Loss.pairwise`, from inner products in float64 instead of differences.
        """
        with torch.no_grad():
            products = inner_products(
                estimate.transpose(-3, -2), reference.transpose(-3, -2), zero_mean=self.zero_mean
            )
            return self._decibels(*self._from_products(*products)).mean(dim=-3)

    def _decibels(self, target: Tensor, error: Tensor, scale: Tensor) -> Tensor:
        return 10 * (
            torch.log10(error + self.epsilon * scale + _TINY) - torch.log10(target + _TINY)
        )


class SNR(_Ratio):
    r"""Negative signal-to-noise ratio, in dB.

    .. math::
        10 \lg \frac{\|\hat s - s\|^2 + \epsilon \|s\|^2}{\|s\|^2}

    Never below :math:`10 \lg \epsilon`. Offsets of :math:`10^{-14}` keep silence finite: a silent
    reference gives the energy of the estimate in dB plus 140, and pulls it to silence. The exact
    measure is :func:`sonograd.functional.snr`.

    >>> SNR()(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0])).round(decimals=3)
    tensor(-20.)
    """

    def _energies(self, estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        energy = reference.square().sum(dim=-1)
        return energy, (estimate - reference).square().sum(dim=-1), energy

    def _from_products(
        self, squares: Tensor, products: Tensor, energies: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        error = (squares[..., :, None] - 2 * products + energies[..., None, :]).clamp(min=0.0)
        target = energies[..., None, :].expand_as(error)
        return target, error, target


class SISDR(_Ratio):
    r"""Negative scale-invariant signal-to-distortion ratio, in dB.

    .. math::
        10 \lg \frac{\|\alpha s - \hat s\|^2 + \epsilon \|\hat s\|^2}{\|\alpha s\|^2},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2}

    Le Roux et al., *SDR - half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855; with
    ``zero_mean`` it is also called SI-SNR. Never below :math:`10 \lg \epsilon`, and the same for
    any scale of estimate and reference, down to a level of -120 dB. Offsets of :math:`10^{-14}`
    keep silence finite: a silent reference has :math:`\alpha = 0` and gives the energy of the
    estimate in dB plus 140, which is then pulled to silence; where many references are silent,
    :class:`ThresholdedSNR` is the better choice. The exact measure is
    :func:`sonograd.functional.si_sdr`.

    >>> estimate, reference = torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0])
    >>> SISDR()(estimate, reference).round(decimals=3)
    tensor(-20.)
    """

    def _energies(self, estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target = _projection(estimate, reference)
        error = (target - estimate).square().sum(dim=-1)
        return target.square().sum(dim=-1), error, estimate.square().sum(dim=-1)

    def _from_products(
        self, squares: Tensor, products: Tensor, energies: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        target = products.square() / (energies[..., None, :] + 1e-30)
        scale = squares[..., :, None].expand_as(target)
        return target, (scale - target).clamp(min=0.0), scale


class SDSDR(_Ratio):
    r"""Negative scale-dependent signal-to-distortion ratio, in dB.

    .. math::
        10 \lg \frac{\|\hat s - s\|^2 + \epsilon \|s\|^2}{\|\alpha s\|^2},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2}

    Le Roux et al., as :class:`SISDR`. Unlike :class:`SNR` it also punishes estimates that are too
    quiet: a silent one of a reference that sounds gives its energy in dB plus 140. Silent
    references as :class:`SNR`. The exact measure is :func:`sonograd.functional.sd_sdr`.

    >>> SDSDR()(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 0.0])).abs().round(decimals=4)
    tensor(0.)
    """

    def _energies(self, estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target = _projection(estimate, reference).square().sum(dim=-1)
        error = (estimate - reference).square().sum(dim=-1)
        return target, error, reference.square().sum(dim=-1)

    def _from_products(
        self, squares: Tensor, products: Tensor, energies: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        target = products.square() / (energies[..., None, :] + 1e-30)
        error = (squares[..., :, None] - 2 * products + energies[..., None, :]).clamp(min=0.0)
        return target, error, energies[..., None, :].expand_as(error)


class SASDR(Loss):
    r"""Negative source-aggregated signal-to-distortion ratio of all stems together, in dB.

    .. math::
        10 \lg \frac{\sum_k \|\hat s_k - s_k\|^2 + \epsilon \sum_k \|s_k\|^2}{\sum_k \|s_k\|^2}

    A silent stem among others does no harm. Von Neumann et al., *SA-SDR: a novel loss function for
    separation of meeting style data*, arXiv:2110.15581. All stems silent: as :class:`SNR`. The
    exact measure is :func:`sonograd.functional.sa_sdr`.

    >>> stems = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> SASDR()(stems + torch.tensor([0.0, 0.1]), stems).round(decimals=2)
    tensor(-16.9900)
    """

    def __init__(self, *, epsilon: float = 1e-8, reduction: Reduction = "mean") -> None:
        """Choose the cap.

        Args:
            epsilon: Energy of an error that no longer matters, relative to the stems; positive.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., stems, channels, samples)``.
        """
        super().__init__(reduction=reduction)
        check_positive(epsilon=epsilon)
        self.epsilon = epsilon

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per set of stems, ``(...)``."""
        check_stems(estimate)
        dims = (-3, -2, -1)
        energy = reference.square().sum(dim=dims)
        error = (estimate - reference).square().sum(dim=dims)
        ratio = (error + self.epsilon * energy + _TINY) / (energy + _TINY)
        return 10 * torch.log10(ratio)


class ThresholdedSNR(Loss):
    r"""Negative signal-to-noise ratio with a cap, defined for stems that do not sound, in dB.

    .. math::
        10 \lg \Big( \frac{\|\hat s - s\|^2}{P} + \tau \Big)

    with :math:`P = \|s\|^2` of a reference that sounds, else the energy of the mix. So a silent
    stem is learned too: the estimate counts by what it adds to the mix. Wisdom et al., *What's all
    the FUSS about free universal sound separation data?*, doi:10.1109/ICASSP39728.2021.9414774,
    up to the constant :math:`10 \lg P`.

    >>> loss, silence = ThresholdedSNR(threshold_db=30), torch.zeros(4)
    >>> loss(silence, silence).round(decimals=3)
    tensor(-30.)
    >>> loss(0.1 * torch.ones(4), silence, mix=torch.ones(4)).round(decimals=1)
    tensor(-19.6000)
    """

    def __init__(
        self,
        *,
        threshold_db: float = 30.0,
        silence_db: float = -90.0,
        reduction: Reduction = "mean",
    ) -> None:
        r"""Choose the cap.

        Args:
            threshold_db: The best value that can be reached, :math:`-10 \lg \tau`.
            silence_db: Mean power below which a reference, or a mix, is silent, relative to full
                scale.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)``.
        """
        super().__init__(reduction=reduction)
        if not 0 < threshold_db < 150:
            raise ParameterError(
                f"threshold_db is {threshold_db}; expected a number of dB in (0, 150)"
            )
        self.threshold_db = threshold_db
        self.silence_db = silence_db

    def forward(self, estimate: Tensor, reference: Tensor, mix: Tensor | None = None) -> Tensor:
        """Compare; lower is better.

        Args:
            estimate: ``(..., samples)``.
            reference: The same shape.
            mix: What the stems are part of: the same shape, but it may have size 1 where there
                are several stems, as ``mix.unsqueeze(-3)`` for ``(..., stems, channels,
                samples)``. If None, silent references are weighed against full scale.
        """
        check_signals(estimate, reference)
        with full_precision(estimate):
            power = None if mix is None else mix_power(as_float(mix), estimate)
            values = self._values(as_float(estimate), as_float(reference), power)
        return self._reduce(values, estimate=estimate, reference=reference)

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per signal, ``(...)``."""
        return self._values(estimate, reference, None)

    def _values(self, estimate: Tensor, reference: Tensor, mix: Tensor | None) -> Tensor:
        error = (estimate - reference).square().mean(dim=-1)
        power = reference.square().mean(dim=-1)
        silence = 10 ** (self.silence_db / 10)
        other = torch.ones_like(power) if mix is None else mix.clamp(min=silence)
        scale = torch.where(power > silence, power, other)
        return 10 * torch.log10(error / scale + 10 ** (-self.threshold_db / 10))


class LogEnergy(Loss):
    r"""Logarithm of the energy of the error, :math:`\lg(\frac1N \|\hat s - s\|^2 + f)`.

    A tenth of the negative signal-to-noise ratio in dB, up to a constant, with a floor: a
    tenfold smaller error counts the same for a loud and a quiet stem, until it falls below
    :math:`f`. Scale signals to a mix of unit power before.

    >>> LogEnergy(floor_db=-30)(torch.ones(2, 100), torch.ones(2, 100)).round(decimals=4)
    tensor(-3.)
    """

    def __init__(self, *, floor_db: float = -25.0, reduction: Reduction = "mean") -> None:
        """Choose the floor.

        Args:
            floor_db: Power of an error that no longer matters, in dB.
            reduction: ``"mean"``, ``"sum"``, or ``"none"`` for shape ``(...)`` from
                ``(..., channels, samples)``.
        """
        super().__init__(reduction=reduction)
        if not math.isfinite(floor_db):
            raise ParameterError(f"floor_db is {floor_db}; expected a number of dB")
        self.floor_db = floor_db

    def per_item(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Return one value per audio signal, ``(...)``."""
        if estimate.ndim < 2:
            raise ShapeError(
                f"estimate has shape {tuple(estimate.shape)}; expected (..., channels, samples)"
            )
        power = (estimate - reference).square().mean(dim=(-2, -1))
        return torch.log10(power + 10 ** (self.floor_db / 10))


def check_stems(estimate: Tensor) -> None:
    """Raise :class:`~sonograd.errors.ShapeError` unless there is an axis of stems."""
    if estimate.ndim < 3:
        raise ShapeError(
            f"estimate has shape {tuple(estimate.shape)}; expected (..., stems, channels, "
            "samples). For mono stems without the axis of channels: estimate.unsqueeze(-2)."
        )


def mix_power(mix: Tensor, estimate: Tensor) -> Tensor:
    """Return the mean power of a mix for every signal of ``estimate``.

    Raises:
        ShapeError: If ``mix`` is not as ``estimate`` but for one axis of size 1.
    """
    shape, wanted = tuple(mix.shape), tuple(estimate.shape)
    same = len(shape) == len(wanted) and shape[-1] == wanted[-1]
    pairs = list(zip(shape[:-1], wanted[:-1], strict=True)) if same else []
    if not same or any(a not in (1, b) for a, b in pairs) or sum(a != b for a, b in pairs) > 1:
        raise ShapeError(
            f"mix has shape {shape} for an estimate of shape {wanted}; expected the same, or one "
            "axis of size 1: mix.unsqueeze(-3) for (..., stems, channels, samples)"
        )
    return mix.square().mean(dim=-1).expand(estimate.shape[:-1])


def _projection(estimate: Tensor, reference: Tensor) -> Tensor:
    scale = (estimate * reference).sum(dim=-1) / (reference.square().sum(dim=-1) + 1e-30)
    return scale.unsqueeze(-1) * reference
