r"""The constant-Q transform and its relative with variable Q: bins of any frequency and bandwidth.

The atom of bin :math:`k` is a window of the length :math:`\ell_k` samples, whole or not, on a
complex exponential; its samples sum to one in magnitude, and its middle lies on the middle of the
frame:

.. math::
    C_k[t] = s_k \sum_n \overline{g_k[n]} \, x[t H + n], \qquad
    g_k[n] = \frac{w(n / \ell_k)}{\sum_m w(m / \ell_k)} e^{2 \pi i n f_k / f_s}, \qquad
    |n| < \ell_k / 2

Brown, *Calculation of a constant Q spectral transform*, doi:10.1121/1.400476.
"""

import math
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._settings import check_count, check_number, check_option
from sonograd.functional.constant_q_fold import (
    Atoms,
    FoldPlan,
    exact_fold_weights,
    fold,
    plan_fold,
)
from sonograd.functional.constant_q_windows import AtomWindow, window_shape, window_spectrum
from sonograd.functional.framing import PadMode, check_pad_mode
from sonograd.shapes import check_floating

__all__ = [
    "AtomLengths",
    "AtomNormalization",
    "ConstantQBins",
    "constant_q",
    "constant_q_atoms",
    "constant_q_bandwidth",
    "constant_q_bins",
    "constant_q_kernels",
    "design_fold",
]

AtomLengths: TypeAlias = Literal["continuous", "librosa"]
AtomNormalization: TypeAlias = Literal["librosa", "convolutional", "wrap"]

C1_HZ = 32.70319566257483
_LONGEST = 1 << 22


class ConstantQBins(NamedTuple):
    """What the atoms are made from."""

    frequencies: Tensor
    """In Hz, ``(bins,)``, rising."""
    lengths: Tensor
    """In samples, ``(bins,)``."""
    bins_per_octave: int
    filter_scale: float
    gamma: float


def constant_q_bandwidth(bins_per_octave: int) -> float:
    r"""Return the bandwidth of a bin relative to its frequency.

    .. math:: \alpha = \frac{2^{2/B} - 1}{2^{2/B} + 1}

    A bin reaches halfway to its neighbors; :math:`Q = 1 / \alpha`.

    >>> round(1 / constant_q_bandwidth(12), 3)
    17.332
    """
    check_count("bins_per_octave", bins_per_octave)
    ratio = math.exp2(2 / bins_per_octave)
    return (ratio - 1) / (ratio + 1)


def constant_q_bins(
    *,
    sample_rate: float,
    fmin: float = C1_HZ,
    fmax: float | None = None,
    n_bins: int | None = None,
    bins_per_octave: int = 12,
    filter_scale: float = 1.0,
    gamma: float | None = 0.0,
) -> ConstantQBins:
    r"""Lay out bins, equally spaced in pitch.

    .. math::
        f_k = f_{min} 2^{k/B}, \qquad \ell_k = \frac{q f_s}{\alpha f_k + \gamma}

    with the filter scale :math:`q` and :math:`\alpha` from :func:`constant_q_bandwidth`. A
    :math:`\gamma` above 0 widens the low bins, which then answer sooner: the transform has a
    variable Q (Schörkhuber et al., *A Matlab toolbox for efficient perfect reconstruction
    time-frequency transforms with log-frequency resolution*, AES 53, 2014).

    Args:
        sample_rate: Samples per second.
        fmin: Frequency of the lowest bin in Hz; by default the note C1.
        fmax: The highest frequency in Hz, in place of ``n_bins``.
        n_bins: How many bins; by default as many as reach ``fmax``, or 84 without one.
        bins_per_octave: Bins per doubling of the frequency.
        filter_scale: Makes all atoms longer (above 1) or shorter.
        gamma: Bandwidth in Hz that is added to every bin; None for that of the ear,
            :math:`24.7 \alpha / 0.108`.

    Raises:
        ParameterError: If a number is out of range, or a bin lies above the Nyquist frequency.
    """
    alpha = constant_q_bandwidth(bins_per_octave)
    for name, value in (
        ("sample_rate", sample_rate),
        ("fmin", fmin),
        ("filter_scale", filter_scale),
    ):
        check_number(name, value, positive=True)
    if gamma is None:
        gamma = 24.7 * alpha / 0.108
    check_number("gamma", gamma)
    if not 0 <= gamma <= sample_rate / 2:
        raise ParameterError(
            f"gamma is {gamma}; expected 0 to {sample_rate / 2:g} Hz, half the sample rate, or None"
        )
    n_bins = _count_bins(sample_rate / 2, fmin, fmax, n_bins, bins_per_octave)
    index = torch.arange(n_bins, dtype=torch.float64, device="cpu")
    frequencies = fmin * 2.0 ** (index / bins_per_octave)
    lengths = filter_scale * sample_rate / (alpha * frequencies + gamma)
    if float(lengths[0]) > _LONGEST:
        raise ParameterError(
            f"fmin is {fmin} Hz, for which an atom has {float(lengths[0]):.3g} samples, "
            f"longer than {_LONGEST}; expected a higher fmin or gamma, or a smaller filter_scale"
        )
    if float(lengths[-1]) <= 1:
        raise ParameterError(
            f"filter_scale is {filter_scale} and gamma {gamma:g} Hz, for which an atom is shorter "
            "than a sample; expected a larger filter_scale or a smaller gamma"
        )
    return ConstantQBins(frequencies, lengths, bins_per_octave, filter_scale, gamma)


def _count_bins(
    nyquist: float, fmin: float, fmax: float | None, n_bins: int | None, bins_per_octave: int
) -> int:
    if fmin > nyquist:
        raise ParameterError(
            f"fmin is {fmin} Hz; expected at most {nyquist} Hz, half the sample rate"
        )
    if fmax is not None and n_bins is not None:
        raise ParameterError(f"fmax is {fmax} and n_bins {n_bins}; expected only one of them")
    most = 1 + math.floor(bins_per_octave * math.log2(nyquist / fmin) + 1e-9)
    if fmax is not None:
        check_number("fmax", fmax)
        if not fmin <= fmax <= nyquist * (1 + 1e-9):
            raise ParameterError(
                f"fmax is {fmax} Hz; expected {fmin} (fmin) to {nyquist} Hz, half the sample rate"
            )
        return 1 + math.floor(bins_per_octave * math.log2(fmax / fmin) + 1e-9)
    n_bins = 84 if n_bins is None else n_bins
    check_count("n_bins", n_bins)
    if n_bins > most:
        raise ParameterError(
            f"n_bins is {n_bins}: the highest would lie above {nyquist} Hz, half the sample rate; "
            f"expected at most {most}"
        )
    return n_bins


def check_options(hop_length: int, lengths: str, tolerance: float) -> None:
    """Raise :class:`~sonograd.errors.ParameterError` if one of them is out of range."""
    check_count("hop_length", hop_length)
    check_option(lengths, "lengths", ("continuous", "librosa"))
    check_number("tolerance", tolerance)
    if not 1e-9 <= tolerance <= 0.1:
        raise ParameterError(f"tolerance is {tolerance}; expected a value in [1e-9, 0.1]")


def constant_q_atoms(
    bins: ConstantQBins,
    *,
    sample_rate: float,
    normalization: AtomNormalization = "librosa",
) -> Atoms:
    """Return the atoms of continuous length of the bins, centered in their frames.

    Args:
        bins: Frequencies and lengths, which gradients reach.
        sample_rate: Samples per second.
        normalization: See :func:`constant_q`.
    """
    frequencies, lengths = bins.frequencies, bins.lengths
    zero = torch.zeros_like(lengths)
    scales = atom_scales(lengths, normalization)
    return Atoms(frequencies / sample_rate, lengths, scales, zero, torch.ones_like(zero), zero)


def atom_scales(lengths: Tensor, normalization: AtomNormalization) -> Tensor:
    """Return what the magnitudes of the samples of each atom sum to."""
    check_option(normalization, "normalization", ("librosa", "convolutional", "wrap"))
    if normalization == "librosa":
        return lengths.sqrt()
    return torch.full_like(lengths, 1.0 if normalization == "convolutional" else 2.0)


def constant_q_kernels(
    bins: ConstantQBins,
    *,
    sample_rate: float,
    window: AtomWindow = "hann",
    normalization: AtomNormalization = "librosa",
    half_length: int | None = None,
) -> Tensor:
    """Sample the atoms, differentiably in their frequencies and lengths.

    Args:
        bins: Frequencies and lengths.
        sample_rate: Samples per second.
        window: See :func:`constant_q`.
        normalization: See :func:`constant_q`.
        half_length: Samples before and after the middle; as many as the longest atom has, if None.

    Returns:
        Complex, ``(bins, 2 * half_length + 1)``. A transform correlates with their conjugates.
    """
    frequencies, lengths = bins.frequencies, bins.lengths
    if half_length is None:
        half_length = math.ceil(float(lengths.max()) / 2 - 1e-9) - 1
    dtype, device = lengths.dtype, lengths.device
    n = torch.arange(-half_length, half_length + 1, dtype=dtype, device=device)
    position = n / lengths[:, None]
    inside = position.abs() < 0.5 * (1 - 1e-12)
    shape = window_shape(window)
    values = torch.where(inside, shape(position.where(inside, 0.0)), 0.0)
    scales = atom_scales(lengths, normalization)[:, None]
    phase = 2 * math.pi / sample_rate * frequencies[:, None] * n
    return torch.polar(torch.ones_like(phase), phase) * (values * scales / values.sum(-1, True))


def librosa_atoms(
    bins: ConstantQBins,
    *,
    sample_rate: float,
    hop_length: int,
    window: AtomWindow = "hann",
    normalization: AtomNormalization = "librosa",
) -> Atoms:
    """Return the atoms as librosa 0.10 and later make them.

    There each octave is analyzed at half the rate of the one above, as long as the hop is even,
    with atoms of a whole number of samples at that rate, whose middle may lie between two samples.

    Args:
        bins: Frequencies and lengths.
        sample_rate: Samples per second.
        hop_length: Samples between frames.
        window: See :func:`constant_q`.
        normalization: See :func:`constant_q`.
    """
    halvings = _librosa_halvings(bins, sample_rate, hop_length, window)
    strides = 2.0**halvings
    before = (bins.lengths / strides / 2).floor()
    after = (bins.lengths / strides / 2).ceil()
    # Point i of the window lies at `after - i`, and its middle at `(before + after) / 2`.
    centers = (after - before) / 2 * strides
    points = bins.lengths / strides
    frames = torch.stack([2 ** points[strides == s].max().log2().ceil() for s in strides])
    scales = atom_scales(bins.lengths, normalization)
    whole = (before + after) * strides
    return Atoms(bins.frequencies / sample_rate, whole, scales, centers, strides, frames)


def _librosa_halvings(
    bins: ConstantQBins, sample_rate: float, hop_length: int, window: AtomWindow
) -> Tensor:
    """Return how often the sample rate is halved for each bin."""
    position = torch.arange(1000, dtype=torch.float64, device="cpu") / 1000 - 0.5
    shape = window_shape(window)(position)
    bandwidth = float(1000 * shape.square().sum() / shape.abs().sum() ** 2)
    relative = 1 + 0.5 * bandwidth * constant_q_bandwidth(bins.bins_per_octave) / bins.filter_scale
    cutoff = float((bins.frequencies * relative).max()) + 0.5 * bins.gamma
    count = len(bins.frequencies)
    octaves = math.ceil(count / bins.bins_per_octave)
    twos = (hop_length & -hop_length).bit_length() - 1
    early = max(0, math.ceil(math.log2(sample_rate / 2 / cutoff)) - 2)
    depth = min(early, max(0, twos - octaves + 1))
    octave = (count - 1 - torch.arange(count, device="cpu")) // bins.bins_per_octave
    return (octave + depth).clamp(max=twos).to(torch.float64)


def design_fold(
    bins: ConstantQBins,
    *,
    sample_rate: float,
    hop_length: int = 512,
    window: AtomWindow = "hann",
    normalization: AtomNormalization = "librosa",
    lengths: AtomLengths = "continuous",
    tolerance: float = 7.5e-5,
) -> tuple[FoldPlan, list[Tensor]]:
    """Return the plan and the weights of the fast transform, in float64.

    Arguments are those of :func:`constant_q`.
    """
    if lengths == "librosa":
        atoms = librosa_atoms(
            bins,
            sample_rate=sample_rate,
            hop_length=hop_length,
            window=window,
            normalization=normalization,
        )
        tolerance = 0.2 * tolerance
    else:
        atoms = constant_q_atoms(bins, sample_rate=sample_rate, normalization=normalization)
    longest = float(atoms.lengths.max())
    spectrum = window_spectrum(window, tolerance=tolerance, longest=longest)
    plan = plan_fold(atoms, hop_length=hop_length, reach=spectrum.reach)
    return plan, exact_fold_weights(plan, atoms, window_shape(window), spectrum)


def constant_q(
    x: Tensor,
    *,
    sample_rate: float,
    hop_length: int = 512,
    fmin: float = C1_HZ,
    fmax: float | None = None,
    n_bins: int | None = None,
    bins_per_octave: int = 12,
    filter_scale: float = 1.0,
    gamma: float | None = 0.0,
    window: AtomWindow = "hann",
    normalization: AtomNormalization = "librosa",
    lengths: AtomLengths = "continuous",
    pad_mode: PadMode = "constant",
    tolerance: float = 7.5e-5,
) -> Tensor:
    r"""Constant-Q transform, or with ``gamma`` variable-Q transform.

    The scale :math:`s_k` of a bin is a matter of taste:

    - ``"librosa"``: :math:`\sqrt{\ell_k}`. White noise is equally loud in every bin, as atoms have
      the same energy; a sinusoid of amplitude 1 measures :math:`\sqrt{\ell_k} / 2`, 3 dB less for
      every octave up.
    - ``"convolutional"``: 1. The atoms are filters of gain 1 at their frequency, so a sinusoid
      of amplitude 1 measures 1/2 (the other half is at the negative frequency).
    - ``"wrap"``: 2. A sinusoid of amplitude 1 measures 1.

    The weights are designed anew with every call; to transform more than once, make a
    :class:`~sonograd.frontends.ConstantQ`.

    Args:
        x: Signals ``(..., samples)``, any number of samples.
        sample_rate: Samples per second.
        hop_length: Samples between frames, any number; frame ``t`` is centered at ``t *
            hop_length``.
        fmin: See :func:`constant_q_bins`, as for ``fmax``, ``n_bins``, ``bins_per_octave``,
            ``filter_scale`` and ``gamma``.
        fmax: See there.
        n_bins: See there.
        bins_per_octave: See there.
        filter_scale: See there.
        gamma: See there.
        window: Shape of the atoms, see :func:`~sonograd.functional.window_shape`.
        normalization: See above.
        lengths: ``"continuous"``: the definition; ``"librosa"``: atoms of a whole number of
            samples at the rate of their octave, which librosa uses.
        pad_mode: What lies outside the signal, as in :func:`~sonograd.functional.stft`.
        tolerance: Root of the part of an atom's energy that may be left out of its spectrum:
            about the relative error of the result.

    Returns:
        Complex, ``(..., bins, 1 + samples // hop_length)``.

    Raises:
        ShapeError: If ``x`` is not floating-point or has no axis.
        ParameterError: If a number is out of range, or a bin lies above the Nyquist frequency.

    >>> constant_q(torch.zeros(2, 1000), sample_rate=8000, hop_length=100, n_bins=60).shape
    torch.Size([2, 60, 11])
    """
    check_floating(x)
    if x.ndim < 1:
        raise ShapeError("x has no axes; expected (..., samples)")
    check_pad_mode(pad_mode)
    check_options(hop_length, lengths, tolerance)
    if x.dtype in {torch.float16, torch.bfloat16}:
        x = x.float()
    bins = constant_q_bins(
        sample_rate=sample_rate,
        fmin=fmin,
        fmax=fmax,
        n_bins=n_bins,
        bins_per_octave=bins_per_octave,
        filter_scale=filter_scale,
        gamma=gamma,
    )
    plan, weights = design_fold(
        bins,
        sample_rate=sample_rate,
        hop_length=hop_length,
        window=window,
        normalization=normalization,
        lengths=lengths,
        tolerance=tolerance,
    )
    return fold(x, [w.to(x) for w in weights], plan, pad_mode=pad_mode)
