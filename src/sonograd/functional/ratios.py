"""Energy ratios between what was estimated and what should have been.

All are computed in float64 where the device has it, whatever the type of the signals, and are
returned in the type of the signals (at least float32). ``lengths`` tells how many samples of each
item count, for batches that were padded: ``(batch,)``, or one number for each index of the first
dimensions; what lies behind may hold anything, NaN included.
"""

import math

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._pairs import Lengths, center, prepare, ratio_db, result_dtype

__all__ = [
    "msst_sdr",
    "sa_sdr",
    "sd_sdr",
    "sdr",
    "si_sdr",
    "si_snr",
    "snr",
    "thresholded_snr",
    "usdr",
]


def snr(
    estimate: Tensor,
    reference: Tensor,
    *,
    zero_mean: bool = False,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Signal-to-noise ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|s\|^2}{\|s - \hat s\|^2}

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.
        zero_mean: Subtract the mean of both signals first.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per signal, shape ``(...)``. A perfect estimate gives ``inf``, a silent reference
        ``-inf``, and both at once ``nan``.

    Raises:
        ShapeError: The shapes differ, hold no samples, or are no audio.
        AudioError: A sample is NaN or infinite.

    >>> snr(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0]))
    tensor(20.)
    """
    dtype = result_dtype(estimate)
    estimate, reference, count = prepare(estimate, reference, lengths)
    if zero_mean:
        estimate, reference = center(estimate, count), center(reference, count)
    return ratio_db(_energy(reference), _energy(reference - estimate)).to(dtype)


def sdr(estimate: Tensor, reference: Tensor, *, lengths: Lengths | None = None) -> Tensor:
    """Signal-to-distortion ratio, in dB, that allows no distortion: the same as :func:`snr`.

    This is the plain SDR of separation challenges (one signal at a time). The SDR of the sources
    version of BSS eval, which forgives a filter, is another measure: :func:`bss_eval`.
    """
    return snr(estimate, reference, lengths=lengths)


def si_sdr(
    estimate: Tensor,
    reference: Tensor,
    *,
    zero_mean: bool = False,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Scale-invariant signal-to-distortion ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|\alpha s\|^2}{\|\alpha s - \hat s\|^2},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2}

    Le Roux et al., *SDR - half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855.

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.
        zero_mean: Subtract the mean of both signals first, which is :func:`si_snr`.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per signal, shape ``(...)``. Silent references and silent estimates give ``nan``,
        estimates that are orthogonal to the reference ``-inf``.

    Raises:
        ShapeError: The shapes differ, hold no samples, or are no audio.
        AudioError: A sample is NaN or infinite.

    >>> si_sdr(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0]))
    tensor(20.)
    """
    dtype = result_dtype(estimate)
    estimate, reference, count = prepare(estimate, reference, lengths)
    if zero_mean:
        estimate, reference = center(estimate, count), center(reference, count)
    target = _projection(estimate, reference)
    return ratio_db(_energy(target), _energy(target - estimate)).to(dtype)


def si_snr(estimate: Tensor, reference: Tensor, *, lengths: Lengths | None = None) -> Tensor:
    """Scale-invariant signal-to-noise ratio, in dB: :func:`si_sdr` of signals without their mean.

    Luo and Mesgarani, *TasNet*, doi:10.1109/ICASSP.2018.8462116.

    >>> si_snr(torch.tensor([3.0, 1.0, 2.1]), torch.tensor([1.0, -1.0, 0.0])).round(decimals=2)
    tensor(24.7700)
    """
    return si_sdr(estimate, reference, zero_mean=True, lengths=lengths)


def sd_sdr(
    estimate: Tensor,
    reference: Tensor,
    *,
    zero_mean: bool = False,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Scale-dependent signal-to-distortion ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|\alpha s\|^2}{\|s - \hat s\|^2},
        \qquad \alpha = \frac{\langle \hat s, s\rangle}{\|s\|^2}

    Unlike :func:`snr` it also punishes an estimate that is too quiet. Le Roux et al., *SDR -
    half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855.

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.
        zero_mean: Subtract the mean of both signals first.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per signal, shape ``(...)``. Silent references give ``nan``, silent estimates of
        a reference that is not silent ``-inf``.

    >>> sd_sdr(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 0.0])).round(decimals=4)
    tensor(0.)
    """
    dtype = result_dtype(estimate)
    estimate, reference, count = prepare(estimate, reference, lengths)
    if zero_mean:
        estimate, reference = center(estimate, count), center(reference, count)
    target = _projection(estimate, reference)
    return ratio_db(_energy(target), _energy(reference - estimate)).to(dtype)


def sa_sdr(
    estimate: Tensor,
    reference: Tensor,
    *,
    scale_invariant: bool = False,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Source-aggregated signal-to-distortion ratio, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\sum_k \|s_k\|^2}{\sum_k \|s_k - \hat s_k\|^2}

    A silent source among others does no harm. Von Neumann et al., *SA-SDR: a novel loss function
    for separation of meeting style data*, arXiv:2110.15581.

    Args:
        estimate: :math:`\hat s`, shape ``(..., sources, samples)``; for several channels, flatten
            them into the samples: ``stems.flatten(-2)``.
        reference: :math:`s`, same shape.
        scale_invariant: Scale all references by one factor
            :math:`\alpha = \sum_k \langle \hat s_k, s_k\rangle / \sum_k \|s_k\|^2` first.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per set of sources, shape ``(...)``. Perfect estimates give ``inf``, references
        that are all silent ``-inf``, and both at once ``nan``.

    >>> sa_sdr(torch.tensor([[1.0, 0.1], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor(20.)
    """
    dtype = result_dtype(estimate)
    if estimate.ndim < 2:
        raise ShapeError(
            f"estimate has shape {tuple(estimate.shape)}; expected (..., sources, samples)"
        )
    estimate, reference, _ = prepare(estimate, reference, lengths)
    if scale_invariant:
        product = (estimate * reference).sum((-2, -1), keepdim=True)
        reference = product / reference.square().sum((-2, -1), keepdim=True) * reference
    noise = reference - estimate
    return ratio_db(_energy(reference).sum(-1), _energy(noise).sum(-1)).to(dtype)


def thresholded_snr(
    estimate: Tensor,
    reference: Tensor,
    *,
    max_snr_db: float = 30.0,
    mix: Tensor | None = None,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Signal-to-noise ratio with a ceiling, in dB; higher is better.

    .. math::
        10 \log_{10} \frac{\|s\|^2}{\|s - \hat s\|^2 + \tau \|s\|^2},
        \qquad \tau = 10^{-\mathrm{max} / 10}

    Where the reference is silent and ``mix`` is given, the mix :math:`x` takes its place in the
    energies: :math:`10 \log_{10} (\|x\|^2 / (\|\hat s\|^2 + \tau \|x\|^2))`, so that leakage into
    an inactive source has a number. Wisdom et al., *What's all the FUSS about free universal sound
    separation data?*, arXiv:2011.00803.

    Args:
        estimate: :math:`\hat s`, shape ``(..., samples)``.
        reference: :math:`s`, same shape.
        max_snr_db: The ceiling, which a perfect estimate reaches.
        mix: :math:`x`, same shape; for silent references.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per signal, shape ``(...)``, at most ``max_snr_db``. Silent references without a
        mix give ``-inf``, and ``nan`` if the estimate is silent too.

    >>> thresholded_snr(torch.ones(4), torch.ones(4))
    tensor(30.)
    """
    if not math.isfinite(max_snr_db):
        raise ParameterError(f"max_snr_db is {max_snr_db}; expected a number of dB")
    dtype = result_dtype(estimate)
    threshold = 10 ** (-max_snr_db / 10)
    error, signal, _ = prepare(estimate, reference, lengths)
    energy, noise = _energy(signal), _energy(signal - error)
    level = energy
    if mix is not None:
        whole = _energy(prepare(mix, reference, lengths)[0])
        level = torch.where(energy == 0, whole, energy)
    return ratio_db(level, noise + threshold * level).to(dtype)


def usdr(
    estimate: Tensor,
    reference: Tensor,
    *,
    delta: float = 1e-7,
    lengths: Lengths | None = None,
) -> Tensor:
    r"""Utterance-level SDR of the MDX and SDX challenges ("SDR", nSDR, uSDR), in dB.

    .. math::
        10 \log_{10} \frac{\sum_{c,n} s^2 + \delta}{\sum_{c,n} (s - \hat s)^2 + \delta}

    over all channels and samples of a song. The sums are no means, so near silence the value
    depends on level and length. Mitsufuji et al., *Music Demixing Challenge 2021*,
    doi:10.3389/frsip.2021.808395.

    Args:
        estimate: :math:`\hat s`, shape ``(..., channels, samples)``.
        reference: :math:`s`, same shape.
        delta: The constant :math:`\delta`.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        One value per item, shape ``(...)``. Always finite: 0 dB if both are silent, and about
        ``10 log10(delta / energy)`` for a silent reference.

    >>> usdr(torch.tensor([[1.0, 0.1]]), torch.tensor([[1.0, 0.0]])).round(decimals=2)
    tensor(20.)
    """
    if not delta >= 0:
        raise ParameterError(f"delta is {delta}; expected a number >= 0")
    dtype = result_dtype(estimate)
    estimate, reference, _ = prepare(estimate, reference, lengths, dims=2)
    energy = _energy(reference).sum(-1) + delta
    return ratio_db(energy, _energy(reference - estimate).sum(-1) + delta).to(dtype)


def msst_sdr(estimate: Tensor, reference: Tensor, *, lengths: Lengths | None = None) -> Tensor:
    """Global SDR as MSST and the MVSep leaderboard print it: :func:`usdr` with ``delta=1e-8``."""
    return usdr(estimate, reference, delta=1e-8, lengths=lengths)


def _energy(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def _projection(estimate: Tensor, reference: Tensor) -> Tensor:
    scale = (estimate * reference).sum(-1) / reference.square().sum(-1)
    return scale.unsqueeze(-1) * reference
