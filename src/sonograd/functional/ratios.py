"""Energy ratios between what was estimated and what should have been."""

import torch
from torch import Tensor

from sonograd.shapes import check_same_shape

__all__ = ["sa_sdr", "sd_sdr", "sdr", "si_sdr", "snr"]


def _ratio_db(signal: Tensor, noise: Tensor, dims: tuple[int, ...] = (-1,)) -> Tensor:
    return 10.0 * torch.log10(signal.square().sum(dims) / noise.square().sum(dims))


def snr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Signal-to-noise ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|s\|^2}{\|s - \hat s\|^2}

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.

    Returns:
        One value per signal, shape ``(...)``. A perfect estimate gives ``inf``, a silent reference
        ``-inf``, and both at once ``nan``.

    >>> snr(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0]))
    tensor(20.)
    """
    check_same_shape(estimate, reference)
    return _ratio_db(reference, reference - estimate)


def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Signal-to-distortion ratio, in dB, that allows no distortion: the same as :func:`snr`.

    This is the plain SDR of separation challenges (one signal at a time). The SDR of BSS eval,
    which forgives a filter, is another measure.
    """
    return snr(estimate, reference)


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Scale-invariant signal-to-distortion ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|\alpha s\|^2}{\|\alpha s - \hat s\|^2},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2}

    Le Roux et al., *SDR - half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855.

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.

    Returns:
        One value per signal, shape ``(...)``. Silent references and silent estimates give ``nan``,
        estimates that are orthogonal to the reference ``-inf``.

    >>> si_sdr(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0]))
    tensor(20.)
    """
    target = _projection(estimate, reference)
    return _ratio_db(target, target - estimate)


def sd_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Scale-dependent signal-to-distortion ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|\alpha s\|^2}{\|s - \hat s\|^2},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2}

    Unlike :func:`snr` it also punishes an estimate that is too quiet. Le Roux et al., *SDR -
    half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855.

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.

    Returns:
        One value per signal, shape ``(...)``. Silent references give ``nan``, silent estimates of
        a reference that is not silent ``-inf``.

    >>> sd_sdr(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 0.0])).round(decimals=4)
    tensor(0.)
    """
    return _ratio_db(_projection(estimate, reference), reference - estimate)


def sa_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Source-aggregated signal-to-distortion ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\sum_k \|s_k\|^2}{\sum_k \|s_k - \hat s_k\|^2}

    A silent source among others does no harm. Von Neumann et al., *SA-SDR: a novel loss function
    for separation of meeting style data*, arXiv:2110.15581.

    Args:
        estimate: :math:`\hat s`, shape ``(..., sources, samples)``; for several channels, flatten
            them into the samples: ``stems.flatten(-2)``.
        reference: :math:`s`, same shape.

    Returns:
        One value per set of sources, shape ``(...)``. Perfect estimates give ``inf``, references
        that are all silent ``-inf``, and both at once ``nan``.

    >>> sa_sdr(torch.tensor([[1.0, 0.1], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor(20.)
    """
    check_same_shape(estimate, reference)
    return _ratio_db(reference, reference - estimate, (-2, -1))


def _projection(estimate: Tensor, reference: Tensor) -> Tensor:
    check_same_shape(estimate, reference)
    scale = (estimate * reference).sum(-1) / reference.square().sum(-1)
    return scale.unsqueeze(-1) * reference
